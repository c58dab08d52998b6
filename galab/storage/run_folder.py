"""A run's folder: where everything lies, who may write in it, and how the run is doing."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from galab.errors import RunFolderError, UsageError
from galab.storage.files import (
    TEMPORARY_SUFFIX,
    folder_error,
    read_json,
    sync_folder,
    write_atomic,
    write_json_atomic,
)
from galab.storage.leaves import Leaves
from galab.storage.streams import lost_output

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: What ``status.json`` may say of a run.
STATES = ("running", "finished", "stopped", "failed")
#: The births of a genetic algorithm, and the scores of a strategy that moves a centre.
LINEAGE, SCORES = "lineage.bin", "scores.bin"

_STAGING_SUFFIX = ".galab-new"
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}
_LOCK_SECONDS = 0.25  # `in_use` holds the lock for a moment; a writer must not mistake that for another writer


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.path.name

    @property
    def config_path(self) -> Path:
        """``config.json``, the hyperparameters."""
        return self.path / "config.json"

    @property
    def log_path(self) -> Path:
        """``log.jsonl``, see :mod:`galab.storage.log`."""
        return self.path / "log.jsonl"

    @property
    def lineage_path(self) -> Path:
        """``lineage.bin``, see :mod:`galab.storage.lineage`."""
        return self.path / LINEAGE

    @property
    def scores_path(self) -> Path:
        """``scores.bin``, the score log, in the same format."""
        return self.path / SCORES

    @property
    def founders_path(self) -> Path:
        """``founders.pkl``, in the checkpoint format."""
        return self.path / "founders.pkl"

    @property
    def checkpoints(self) -> Path:
        """``checkpoints/``, see :mod:`galab.storage.checkpoints`."""
        return self.path / "checkpoints"

    def table_path(self, sha256: str) -> Path:
        """``tables/<sha256>.f32``, the quantiles of a distribution that is not built in."""
        return self.path / "tables" / f"{sha256}.f32"

    @property
    def analysis(self) -> Path:
        """``analysis/``, figures and answers."""
        return self.path / "analysis"

    @property
    def status_path(self) -> Path:
        """``status.json``, how the run is doing."""
        return self.path / "status.json"

    @property
    def lock_path(self) -> Path:
        """``.lock``, which stays when no process holds it."""
        return self.path / ".lock"

    @classmethod
    def create(
        cls, runs: Path, name: str, config: dict[str, Any], *, files: Mapping[str, bytes] | None = None
    ) -> RunFolder:
        """Make a run's folder, which appears at once with ``config.json`` in it; of many who try, one succeeds.

        Args:
            runs: the folder of all runs, made when it is missing.
            name: the new folder's name.
            config: plain data for ``config.json``.
            files: content of further files by their path in the folder; they appear together with it.

        Raises:
            UsageError: the name cannot be a folder's.
            RunFolderError: the name is taken, or the folder cannot be written.
        """
        check_name(name)
        path = Path(runs) / name
        if not claim(path, config, files=files):
            raise RunFolderError(
                f"expected '{path}' to be free for a new run, got one that exists; continue it with "
                f"`galab resume {shlex.quote(str(path))}` or choose another --name"
            )
        return cls(path)

    @classmethod
    def create_free(
        cls, runs: Path, stem: str, config: dict[str, Any], *, files: Mapping[str, bytes] | None = None
    ) -> RunFolder:
        """Make a folder called ``stem``, ``stem-2``, ...: the first name that is free.

        Raises:
            UsageError: the stem cannot be a folder's name.
            RunFolderError: the folder cannot be written.
        """
        check_name(stem)
        while True:
            path = Path(runs) / free_name(runs, stem)
            if claim(path, config, files=files):  # else another process was quicker
                return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run folder at ``path``, which may also be a checkpoint inside one.

        Raises:
            RunFolderError: there is none.
        """
        folder, _ = locate(path)
        if folder is None:
            raise RunFolderError(
                f"expected a run folder at '{path}', got a checkpoint outside any run; copy it into its run's "
                "checkpoints folder"
            )
        return folder

    def read_config(self) -> dict[str, Any]:
        """The content of ``config.json``: each value is of its type, though not yet a hyperparameter that there is.

        Raises:
            RunFolderError: the file is missing or damaged.
        """
        content, leaves = _object(self.config_path), _leaves(self.config_path)
        values, data = content.get("hyperparameters", {}), content.get("data") or {}
        for key, part in (("hyperparameters", values), ("data", data), ("branched_from", content.get("branched_from"))):
            for name, value in leaves.mapping(part or {}, key).items():
                if name != "input_shape":
                    leaves.scalar(value, f"{key}.{name}")
        leaves.text(leaves.mapping(values, "hyperparameters").get("strategy", "ga"), "hyperparameters.strategy")
        for name in ("description", "fingerprint"):
            leaves.text(data.get(name, ""), f"data.{name}")
        for length in leaves.listing(data.get("input_shape", []), "data.input_shape"):
            leaves.whole(length, "data.input_shape")
        leaves.listing(content.get("tuned", []), "tuned")
        return content

    def change_config(self, hyperparameters: dict[str, Any]) -> None:
        """Let ``config.json`` say what holds from now on; ``started_with`` in it keeps what the run began with.

        Raises:
            RunFolderError: the file is damaged or cannot be written.
        """
        content = self.read_config()
        before = content.get("hyperparameters", {})
        changed = {name: value for name, value in before.items() if value != hyperparameters.get(name)}
        if changed:
            started = {**changed, **content.get("started_with", {})}
            started = {name: value for name, value in started.items() if value != hyperparameters.get(name)}
            content |= {"hyperparameters": hyperparameters, "started_with": started}
            write_json_atomic(self.config_path, content)

    def read_status(self) -> dict[str, Any] | None:
        """The content of ``status.json``, or None before the first was written.

        Raises:
            RunFolderError: the file is damaged.
        """
        if not self.status_path.exists():
            return None
        content, leaves = _object(self.status_path), _leaves(self.status_path)
        if content.get("state") not in STATES:
            leaves.refuse("state", f"one of {', '.join(STATES)}", content.get("state"))
        leaves.whole(content.get("generation"), "generation")
        for name in ("message", "updated"):
            leaves.text(content.get(name, ""), name)
        for name, value in leaves.mapping(content.get("result") or {}, "result").items():
            if value is not None:  # what was no number
                leaves.number(value, f"result.{name}")
        return content

    def write_status(
        self, state: str, *, generation: int, message: str = "", result: dict[str, float] | None = None
    ) -> None:
        """Say how the run is doing; the time, this process's number and what output it lost are added.

        Args:
            state: one of :data:`STATES`.
            generation: how far the run has come.
            message: one sentence, such as why it stopped.
            result: the champion's metrics, once the run has ended.

        Raises:
            ValueError: the state is unknown.
            RunFolderError: the file cannot be written.
        """
        if state not in STATES:
            raise ValueError(f"expected a state among {', '.join(STATES)}, got '{state}'")
        updated = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_json_atomic(
            self.status_path,
            {
                "state": state,
                "generation": generation,
                "updated": updated,
                "message": message,
                "pid": os.getpid(),
                "result": result or {},
                **({"output": "; ".join(map(str, lost))} if (lost := lost_output()) else {}),
            },
        )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only writer; the operating system gives the lock back even when this process is killed.

        Raises:
            RunFolderError: another process writes here, or the folder is read-only.
        """
        lock = _acquire(self.lock_path)
        if lock is None:
            raise RunFolderError(
                f"expected to be the only writer of '{self.path}', got a run folder in use by another process; "
                "wait until it ends or stop it"
            )
        try:
            _sweep(self.path)
            _sweep(self.checkpoints)
            yield
        finally:
            lock.release()

    def in_use(self) -> bool:
        """Whether another process writes here now: a run that is "running" and not in use was killed."""
        if not self.lock_path.exists():
            return False
        try:
            lock = _acquire(self.lock_path)
        except RunFolderError:  # a folder that we may not write says nothing
            return False
        if lock is None:
            return True
        lock.release()
        return False


def locate(path: Path) -> tuple[RunFolder | None, Path | None]:
    """What a path on the command line means.

    Returns:
        (folder, None) for a run folder; (folder, file) for a ``.pkl`` inside one; (None, file) for any other ``.pkl``.

    Raises:
        RunFolderError: it is none of these.
    """
    path = Path(path)
    if path.suffix == ".pkl" and path.is_file():
        home = path.absolute().parent
        if home.name == "checkpoints":
            home = home.parent
        return (RunFolder(home) if (home / "config.json").is_file() else None), path
    if (path / "config.json").is_file():
        return RunFolder(path), None
    if (path / "group.json").is_file():
        raise RunFolderError(f"expected one run or checkpoint, got the group '{path}'; name one, such as {path}/seed_0")
    got = "a folder without config.json" if path.is_dir() else "another file" if path.exists() else "nothing"
    raise RunFolderError(f"expected a run folder or a checkpoint at '{path}', got {got}; `galab list` shows the runs")


def list_runs(runs: Path) -> list[RunFolder]:
    """Every run folder in a folder, by name; none when it is missing.

    Raises:
        RunFolderError: the folder cannot be read.
    """
    runs = Path(runs)
    if not runs.is_dir():
        return []
    try:
        names = sorted(entry.name for entry in runs.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise RunFolderError(f"expected to read '{runs}', got '{error.strerror or error}'") from error
    return [RunFolder(runs / name) for name in names if (runs / name / "config.json").is_file()]


def free_name(runs: Path, stem: str) -> str:
    """``stem``, or the first of ``stem-2``, ``stem-3``, ... that is free.

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
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise UsageError(
            f"expected a run's name in letters of this locale ({sys.getfilesystemencoding()}), got {name!r:.80}; set "
            "LC_ALL to one with UTF-8, such as C.UTF-8, or use plain letters"
        )
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
    # A hidden folder beside it becomes the run by one rename, so that no reader sees a run without a config.json.
    staging, held = path, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_abandoned(path.parent)
        staging, held = _begin(path)
        if file == "config.json":
            (staging / "checkpoints").mkdir()
        write_json_atomic(staging / file, config)
        for name, data in (files or {}).items():
            (staging / name).parent.mkdir(exist_ok=True)
            write_atomic(staging / name, [data])
        os.rename(staging, path)
        sync_folder(path.parent)
    except BaseException as error:
        if staging != path:
            shutil.rmtree(staging, ignore_errors=True)
        reason = error.__cause__ if isinstance(error, RunFolderError) else error
        if not isinstance(reason, OSError):
            raise
        if reason.errno in _TAKEN and os.path.lexists(path):
            return False
        raise folder_error(path, reason) from reason  # in the name of the run, not of the hidden folder
    finally:
        if held is not None:
            os.close(held)
    return True


def clear_abandoned(runs: Path) -> None:
    """Remove hidden folders that were to become runs or groups and whose makers were killed.

    What another process is making now stays, and so does everything on a system that cannot tell.
    """
    for staging in Path(runs).glob(f".*{_STAGING_SUFFIX}"):
        held = _hold(staging, wait=False)
        if held is not None:
            if _is_held_at(held, staging):  # else it became a run meanwhile
                shutil.rmtree(staging, ignore_errors=True)
            os.close(held)


def _begin(path: Path) -> tuple[Path, int | None]:
    """A hidden folder beside a path, and the descriptor by which this process holds it, where that is possible."""
    while True:
        staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_STAGING_SUFFIX}")
        staging.mkdir()
        held = _hold(staging, wait=True)
        if _is_held_at(held, staging) if held is not None else staging.exists():
            return staging, held
        if held is not None:  # another process took it for abandoned before it was held
            os.close(held)


def _hold(folder: Path, *, wait: bool) -> int | None:
    """A descriptor of a folder that no other process holds; None where that cannot be had.

    The operating system lets go of it when the process ends, however it ends.
    """
    if fcntl is None:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _is_held_at(descriptor: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(folder))
    except OSError:
        return False


def _is_empty(path: Path) -> bool:
    try:
        return not path.is_symlink() and path.is_dir() and not any(path.iterdir())
    except OSError:
        return False


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise RunFolderError(f"expected a JSON object in '{path}', got a {type(value).__name__}; restore the file")
    return value


def _leaves(path: Path) -> Leaves:
    return Leaves(path, RunFolderError, "restore the file")


def _acquire(path: Path) -> filelock.BaseFileLock | None:
    """The lock, or None when another process has it."""
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=_LOCK_SECONDS, poll_interval=0.05)
    except filelock.Timeout:
        return None
    except (OSError, NotImplementedError) as error:
        raise folder_error(path, error if isinstance(error, OSError) else OSError(errno.ENOTSUP, str(error))) from error
    return lock


def _sweep(folder: Path) -> None:
    """Remove temporary files of writers that were killed."""
    for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            path.unlink()
