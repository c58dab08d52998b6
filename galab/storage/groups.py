"""Groups of runs: a folder with ``group.json`` that holds run folders, or other groups."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galab.errors import RunFolderError, UsageError
from galab.storage.files import read_json, write_json_atomic
from galab.storage.leaves import Leaves
from galab.storage.run_folder import RunFolder, check_name, claim, free_name

#: What ``group.json`` may say that the folder holds: trials of one configuration, or the cells of a grid.
KINDS = ("trials", "sweep")
_DEPTH = 3
_MOST_SEEDS = 100_000


@dataclass(frozen=True, slots=True)
class GroupFolder:
    """The folder of a group.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def group_path(self) -> Path:
        """``group.json``: what the folder holds."""
        return self.path / "group.json"

    @classmethod
    def create(cls, runs: Path, name: str, content: dict[str, Any]) -> GroupFolder:
        """Make a group's folder, which appears at once with its ``group.json``.

        Args:
            runs: the folder of all runs, made when it is missing.
            name: the new folder's name.
            content: plain data, with a ``kind`` among :data:`KINDS`.

        Raises:
            UsageError: the name cannot be a folder's.
            RunFolderError: the name is taken, or the folder cannot be written.
        """
        check_name(name)
        path = Path(runs) / name
        if not claim(path, content, file="group.json"):
            raise RunFolderError(
                f"expected '{path}' to be free for new trials, got one that exists; continue it with "
                f"`galab resume {shlex.quote(str(path))}` or choose another --name"
            )
        return cls(path)

    @classmethod
    def create_free(cls, runs: Path, stem: str, content: dict[str, Any]) -> GroupFolder:
        """Make a group's folder called ``stem``, ``stem-2``, ...: the first name that is free.

        Raises:
            UsageError: the stem cannot be a folder's name.
            RunFolderError: the folder cannot be written.
        """
        check_name(stem)
        while True:
            path = Path(runs) / free_name(runs, stem)
            if claim(path, content, file="group.json"):
                return cls(path)

    def read(self, kind: str | None = None) -> dict[str, Any]:
        """The content of ``group.json``: ``cells``, names of folders in this one, or ``seeds`` and ``hyperparameters``.

        Args:
            kind: what the group must be, one of :data:`KINDS`.

        Raises:
            RunFolderError: the file is missing, damaged or of another kind, or a name leads out of the folder.
        """
        value = read_json(self.group_path)
        if not isinstance(value, dict) or value.get("kind") not in ([kind] if kind else KINDS):
            wanted = f"a group of kind {kind}" if kind else "a group of runs"
            raise RunFolderError(f"expected {wanted} in '{self.group_path}', got other data; restore the file")
        leaves = Leaves(self.group_path, RunFolderError, "restore the file")
        if value["kind"] == "sweep":
            for name in leaves.listing(value.get("cells"), "cells"):
                _check_cell(leaves, name)
            return value
        seeds = leaves.listing(value.get("seeds"), "seeds")
        for seed in seeds:
            leaves.whole(seed, "seeds")
        if not 1 <= len(seeds) <= _MOST_SEEDS or len(set(seeds)) < len(seeds):
            leaves.refuse("seeds", f"from 1 to {_MOST_SEEDS:,} different seeds", seeds)
        for name, item in leaves.mapping(value.get("hyperparameters"), "hyperparameters").items():
            leaves.scalar(item, f"hyperparameters.{name}")
        return value

    def write(self, content: dict[str, Any]) -> None:
        """Replace ``group.json``.

        Raises:
            RunFolderError: the file cannot be written.
        """
        write_json_atomic(self.group_path, content)


def _check_cell(leaves: Leaves, name: object) -> None:
    """Refuse a name that is not that of a folder in this one: writing there would change something else."""
    try:
        check_name(leaves.text(name, "cells"))
    except UsageError:
        leaves.refuse("cells", "names of folders in this one, without separators,", name)


def is_group(path: Path) -> bool:
    """Whether there is a group's folder at ``path``."""
    return (Path(path) / "group.json").is_file()


def group_of(path: Path) -> str | None:
    """The groups that a run lies in, outermost first, such as ``digits-sweep/children=6``; None where it is alone."""
    names: list[str] = []
    for home in Path(path).absolute().parents:
        if not is_group(home):
            break
        names.insert(0, home.name)
    return "/".join(names) or None


def runs_below(path: Path, depth: int = _DEPTH) -> list[RunFolder]:
    """Every run folder at a path or below it, in natural order: ``seed_2`` before ``seed_10``.

    Args:
        path: a run, a group, or a folder that holds such.
        depth: how many folders to go down.

    Raises:
        RunFolderError: a folder cannot be read.
    """
    path = Path(path)
    if (path / "config.json").is_file():
        return [RunFolder(path)]
    if depth == 0 or not path.is_dir():
        return []
    try:
        inside = [entry for entry in path.iterdir() if not entry.name.startswith(".") and entry.is_dir()]
    except OSError as error:
        raise RunFolderError(f"expected to read '{path}', got '{error.strerror or error}'") from error
    return [run for entry in sorted(inside, key=_natural) for run in runs_below(entry, depth - 1)]


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
