"""A run's checkpoints: ``checkpoints/gen_000120.pkl``, which ones are kept, and which is the newest that is whole."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from galab.errors import CheckpointError, UsageError
from galab.storage import pickle_format
from galab.storage.files import folder_error

_log = logging.getLogger("galab")
_NAME = re.compile(r"gen_([0-9]{6,})\.pkl")


def checkpoint_path(folder: Path, generation: int) -> Path:
    """Where the checkpoint of a generation lies; six digits, more when they are needed."""
    return folder / f"gen_{generation:06d}.pkl"


def generation_of(path: Path) -> int | None:
    """The generation in a checkpoint's name, or None for a file that is not named like one."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    generation = int(match[1])
    return generation if checkpoint_path(path.parent, generation).name == path.name else None


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(generation, path) of every checkpoint in a folder, oldest first; a missing folder has none."""
    if not folder.is_dir():
        return []
    found = ((generation_of(path), path) for path in folder.iterdir())
    return sorted((generation, path) for generation, path in found if generation is not None)


def save(folder: Path, generation: int, state: dict[str, Any]) -> Path:
    """Write the checkpoint of a generation, whole or not at all.

    Raises:
        CheckpointError: ``state`` is not plain data.
        RunFolderError: the file cannot be written.
    """
    try:
        folder.mkdir(exist_ok=True)  # never the run's folder, which may be somewhere else by now
    except OSError as error:
        raise folder_error(folder, error) from error
    path = checkpoint_path(folder, generation)
    pickle_format.dump(state, path)
    return path


def newest_good(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The newest checkpoint that is whole, and its content; damaged ones are skipped with a warning.

    Raises:
        CheckpointError: there is none.
    """
    problem = None
    for _, path in reversed(list_checkpoints(folder)):
        try:
            return path, pickle_format.load(path)
        except CheckpointError as error:
            problem = problem or error
            _log.warning("skipped a damaged checkpoint: %s", error)
    reason = f"only damaged ones, the newest being: {problem}" if problem else "none; start the run again"
    raise CheckpointError(f"expected a checkpoint in '{folder}', got {reason}")


def load_checked(path: Path) -> dict[str, Any]:
    """Read a checkpoint; when it is bad, the error also names the newest good one beside it.

    Raises:
        CheckpointError: the file is missing, damaged, hostile or of another format.
    """
    try:
        return pickle_format.load(path)
    except CheckpointError as error:
        for _, other in reversed(list_checkpoints(path.parent)):
            if other.name != path.name and _is_good(other):
                raise CheckpointError(
                    f"{error}; the newest good checkpoint beside it is '{other}': delete the bad file to go on with it"
                ) from error
        raise CheckpointError(f"{error}; no good checkpoint lies beside it") from error


def kept(generations: Iterable[int], keep: str) -> set[int]:
    """Which of a run's checkpoints stay.

    The choice depends on the generation numbers alone, and pruning after each save or once at the end leaves the same
    set: what "log" keeps is the first checkpoint of each of eight bins per factor of ten, which later ones cannot
    displace.

    Args:
        generations: those that have a checkpoint.
        keep: "all"; "log" (the newest two, generation 0, about eight per factor of ten); or a number N as text (the
            newest N, and generation 0, which holds the founders).

    Raises:
        UsageError: ``keep`` is neither.
    """
    ordered = sorted(set(generations))
    if keep == "all":
        return set(ordered)
    if keep == "log":
        first: dict[int, int] = {}
        for generation in ordered:
            first.setdefault(_bin(generation), generation)
        return {*first.values(), *ordered[-2:]}
    if keep.isascii() and keep.isdigit() and int(keep) >= 1:
        return {*ordered[-int(keep) :], *(generation for generation in ordered if generation == 0)}
    raise UsageError(f"expected --keep to be 'all', 'log' or a number of at least 1, got '{keep}'")


def prune(folder: Path, keep: str) -> list[Path]:
    """Delete the checkpoints that :func:`kept` does not keep.

    Returns:
        The paths that are gone.

    Raises:
        RunFolderError: a file cannot be deleted.
    """
    present = list_checkpoints(folder)
    staying = kept((generation for generation, _ in present), keep)
    return _delete([path for generation, path in present if generation not in staying])


def cut(folder: Path, generation: int) -> list[Path]:
    """Delete the checkpoints after ``generation``, which a resumed run writes again.

    Without this a damaged newer one would count as the newest and push good ones out.

    Returns:
        The paths that are gone.

    Raises:
        RunFolderError: a file cannot be deleted.
    """
    return _delete([path for other, path in list_checkpoints(folder) if other > generation])


def _bin(generation: int) -> int:
    """floor(8 log10 generation), in whole numbers so that it is the same everywhere; -1 for generation 0."""
    return len(str(generation**8)) - 1 if generation > 0 else -1


def _is_good(path: Path) -> bool:
    try:
        pickle_format.load(path)
    except CheckpointError:
        return False
    return True


def _delete(paths: list[Path]) -> list[Path]:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise folder_error(path, error) from error
    return paths
