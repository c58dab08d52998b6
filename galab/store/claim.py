"""Names of runs, and how one of many processes takes a name: all or nothing."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galab.errors import RunFolderError, UsageError
from galab.store.files import folder_error, sync_folder, write_atomic, write_json_atomic

_STAGING_SUFFIX = ".galab-new"
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


def free_name(runs: Path, stem: str) -> str:
    """``stem``, or the first of ``stem-2``, ``stem-3``, ... that nobody has taken yet.

    Another process may take it at any time: :meth:`RunFolder.create_free` tries again then.
    """
    name, number = stem, 1
    while os.path.lexists(Path(runs) / name):
        number += 1
        name = f"{stem}-{number}"
    return name


def check_name(name: str) -> None:
    """Refuse a name that cannot be a run folder's.

    Raises:
        UsageError: it is empty, too long, hidden, looks like a flag, or holds a separator or an invisible character.
    """
    fine = name.isprintable() and name == name.strip() and 1 <= len(name.encode("utf-8", "replace")) <= 200
    if not fine or name[0] in ".-" or any(letter in name for letter in '/\\:*?"<>|'):
        raise UsageError(
            f"expected a run's name as a plain word (such as mnist-2), got {name!r:.80}; leave out separators, a "
            "leading '.' or '-', and have at most 200 letters"
        )


def claim(
    path: Path, config: dict[str, Any], *, file: str = "config.json", files: Mapping[str, bytes] | None = None
) -> bool:
    """Make the folder with its ``config.json``, or say False because the name is taken.

    Args:
        path: the folder to make; an empty one counts as free.
        config: plain data for the file.
        file: another name than ``config.json``, for a folder that is no run's.
        files: content of further files by their path in the folder.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    if os.path.lexists(path) and not _is_empty(path):
        return False
    # A hidden folder beside it becomes the run by one rename, so that nobody ever sees a run without a config.json.
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_STAGING_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
        if file == "config.json":
            (staging / "checkpoints").mkdir()
        write_json_atomic(staging / file, config)
        for name, data in (files or {}).items():
            (staging / name).parent.mkdir(exist_ok=True)
            write_atomic(staging / name, [data])
        os.rename(staging, path)
        sync_folder(path.parent)
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        reason = error.__cause__ if isinstance(error, RunFolderError) else error
        if not isinstance(reason, OSError):
            raise
        if reason.errno in _TAKEN and os.path.lexists(path):
            return False
        raise folder_error(path, reason) from reason  # in the name of the run, not of the hidden folder
    return True


def _is_empty(path: Path) -> bool:
    try:
        return not path.is_symlink() and path.is_dir() and not any(path.iterdir())
    except OSError:
        return False
