"""Finds a file of a data set: in ``$GALAB_DATA``, else in the user's cache, else by a download into that cache."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import platformdirs

from galab.data.download import UnavailableError, fetch
from galab.data.idx import read_payload
from galab.data.sources import IdxFile, Source, digest_of, short
from galab.errors import DataError

logger = logging.getLogger("galab")


def cache_folder() -> Path:
    """Where downloads are kept: galab's folder in the user's cache."""
    return Path(platformdirs.user_cache_dir("galab"))


def data_folder() -> Path | None:
    """The folder that the environment variable ``GALAB_DATA`` names; None when it is not set.

    Raises:
        DataError: it names something that is not a folder.
    """
    text = os.environ.get("GALAB_DATA", "")
    if not text:
        return None
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise DataError(f"expected a folder at '{folder}' (GALAB_DATA), found none; create it or unset GALAB_DATA")
    return folder


def whereabouts(source: Source) -> str | None:
    """The folder where a data set's files lie now, without reading them; None when one is missing."""
    for root in filter(None, (data_folder(), cache_folder())):
        folder = root / source.name
        if all((folder / file.name).is_file() or (folder / f"{file.name}.gz").is_file() for file in source.files):
            return str(folder)
    return None


def payload(source: Source, file: IdxFile) -> bytes:
    """The decompressed, verified content of one file.

    Raises:
        DataError: ``GALAB_DATA`` names no folder, or a file that was found is not the one its checksum names.
        UnavailableError: the file is neither here nor to be downloaded.
    """
    chosen = data_folder()
    for root in filter(None, (chosen, cache_folder())):
        for path in (root / source.name / file.name, root / source.name / f"{file.name}.gz"):
            if path.is_file():
                return _verified(path, source, file)
    try:
        content = fetch(source, file)
    except UnavailableError as error:
        hint = f"'{chosen / source.name}'" if chosen else f"the folder {source.name}/ of a folder that GALAB_DATA names"
        raise UnavailableError(f"{error}; connect to the network or put the four files into {hint}") from error
    _store(content, cache_folder() / source.name / file.name)
    return content


def _verified(path: Path, source: Source, file: IdxFile) -> bytes:
    content = read_payload(path)
    got = digest_of(content, file.digest)
    if got != file.digest:
        raise DataError(
            f"expected '{path}' to hold {file.name} of {source.name} ({short(file.digest)}), got {short(got)}; "
            "delete or replace that file"
        )
    return content


def _store(content: bytes, path: Path) -> None:
    """Write beside and rename, so that no other process ever reads half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as handle:
            try:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
                os.replace(handle.name, path)
            except BaseException:
                Path(handle.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        # A read-only home must not stop a run: the data is in memory, only the next start will be slower.
        logger.warning("could not keep %s in the cache '%s': %s", path.name, path.parent, error.strerror or error)
