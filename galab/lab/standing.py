"""How the trials of a group stand, as their folders say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from galab.store import journal
from galab.store.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Ended:
    """How one trial stands.

    Attributes:
        path: its run folder.
        seed: its key.
        state: ``finished``, ``stopped``, ``failed``, ``killed``, ``running`` or ``waiting`` (not begun).
        generation: generations done.
        evaluations: (member, example) pairs, over all sittings.
        seconds: its own time, over all sittings.
        message: why it stopped or failed, in words.
        metrics: the champion's ``validation_...``, ``test_...`` and ``weights_...`` metrics.
    """

    path: Path
    seed: int
    state: str
    generation: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    message: str = ""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)


def stand(path: Path, seed: int) -> Ended:
    """How a trial stands, as its folder says."""
    folder = RunFolder(path)
    if not folder.config_path.is_file():
        return Ended(path, seed, "waiting")
    status = folder.read_status() or {"state": "killed"}
    state = "killed" if status["state"] == "running" and not folder.in_use() else status["state"]
    line = journal.last(folder.log_path) or {}
    metrics = status.get("result") or {}
    if not metrics:
        report = journal.last(folder.log_path, having="champion") or {}
        names = [name for name in report if name.startswith(("validation_", "test_", "weights_"))]
        metrics = {name: report[name] for name in names}
    return Ended(
        path,
        seed,
        state,
        line.get("generation", 0),
        line.get("evaluations", 0),
        line.get("seconds", 0.0),
        status.get("message", ""),
        metrics,
    )


def data_in(trials: Sequence[Ended]) -> str:
    """The data of trials in words, from the first that was begun."""
    for trial in trials:
        if trial.state != "waiting":
            return str((RunFolder(trial.path).read_config().get("data") or {}).get("description", ""))
    return ""
