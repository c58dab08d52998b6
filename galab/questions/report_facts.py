"""What a run's folder says, read piece by piece: a damaged piece is told and does not hide the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from galab.errors import GalabError
from galab.lab.origins import read_state
from galab.options import complete
from galab.store import checkpoints, journal
from galab.store.groups import group_of
from galab.store.run_folder import RunFolder, locate

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Facts:
    """A run.

    Attributes:
        path: its folder, or the checkpoint file that was asked for.
        folder: its folder; None for a checkpoint that lies alone.
        name: its name.
        state: how it stands, such as ``finished`` or ``killed``; empty where nothing says so.
        message: why it ended.
        values: its hyperparameters, those of the newest checkpoint where one can be read.
        data: what its data is.
        log: one line a generation.
        result: the champion's metrics.
        totals: generation, evaluations and seconds done.
        versions: of what its result may depend on.
        profile: its numeric profile.
        saved: generations of which there are checkpoints.
        origin: where it was branched from, or {}.
        problems: what could not be read, in sentences.
    """

    path: Path
    folder: RunFolder | None
    name: str
    state: str
    message: str
    values: dict[str, Any]
    data: dict[str, Any]
    log: list[dict[str, Any]]
    result: dict[str, Any]
    totals: dict[str, Any]
    versions: dict[str, Any]
    profile: dict[str, Any]
    saved: list[int]
    origin: dict[str, Any]
    problems: list[str] = field(default_factory=list)

    @property
    def strategy(self) -> str:
        """The name of its strategy."""
        return str(self.values.get("strategy", "ga"))


def facts_of(path: Path) -> Facts:
    """Read a run folder or a checkpoint.

    Raises:
        RunFolderError: there is neither.
    """
    folder, file = locate(path)
    problems: list[str] = []

    def attempt(read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except GalabError as error:
            problems.append(str(error))
            return otherwise

    nothing: dict[str, Any] = {}
    log: list[dict[str, Any]] = []
    present: list[tuple[int, Path]] = []
    content = status = nothing
    if folder is not None:
        content = attempt(folder.read_config, nothing)
        status = attempt(lambda: folder.read_status() or nothing, nothing)
        log = attempt(lambda: journal.read(folder.log_path), log)
        present = attempt(lambda: checkpoints.list_checkpoints(folder.checkpoints), present)
    state = attempt(lambda: read_state(path), nothing)
    if file is not None and "generation" in state:
        log = [line for line in log if line.get("generation", 0) <= state["generation"]]
    values = _dict(state.get("hyperparameters")) or _dict(content.get("hyperparameters"))
    last = log[-1] if log else nothing
    report = next((line for line in reversed(log) if "champion" in line), nothing)
    champion = _dict(_dict(state.get("champion")).get("metrics"))
    measured = {name: value for name, value in report.items() if name.startswith(("validation_", "test_", "weights_"))}
    totals = _dict(state.get("totals")) | {name: last[name] for name in ("evaluations", "seconds") if name in last}
    return Facts(
        path=path,
        folder=folder,
        name=_name(folder, path) + (f", {path.name}" if folder and file else ""),
        state="" if file else _state(folder, status),
        message=str(status.get("message", "")),
        values=complete(values) if values else {},
        data=_dict(content.get("data")) or _dict(state.get("task")),
        log=log,
        result=champion if file else _dict(status.get("result")) or champion or measured,
        totals={"generation": last.get("generation", state.get("generation", 0)), **totals},
        versions=_dict(state.get("versions")),
        profile=_dict(state.get("numeric_profile")),
        saved=[generation for generation, _ in present],
        origin=_dict(content.get("branched_from")),
        problems=problems,
    )


def _name(folder: RunFolder | None, path: Path) -> str:
    """A run's name, after that of its groups."""
    if folder is None:
        return path.stem
    name, group = folder.path.resolve().name, group_of(folder.path.resolve())
    return f"{group}/{name}" if group else name


def _state(folder: RunFolder | None, status: dict[str, Any]) -> str:
    state = str(status.get("state", "new"))
    return "killed" if state == "running" and folder is not None and not folder.in_use() else state


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
