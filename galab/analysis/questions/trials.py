"""Running the trials of a question, and reading what they measured.

Everything lies in ``<runs>/questions/<name>/<condition>/seed_<k>``, like a sweep: ``galab compare``, ``show`` and
``resume`` understand it. Asked again, finished trials are only read; more seeds or more generations add to what is
there; fewer read a part of it, which is exactly what a shorter run would have measured. Other hyperparameters are
refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from galab.analysis.questions.question import Condition, Question
from galab.config import RunConfig
from galab.config.traits import target_metric
from galab.errors import UsageError, closest
from galab.storage.log import read_log
from galab.storage.run_folder import RunFolder
from galab.training.compose import compose
from galab.training.trials.processes import ProgressCallback
from galab.training.trials.sweep import Words, run_cells
from galab.training.trials.trials import Trials, checked_seeds


@dataclass(frozen=True, slots=True, eq=False)
class TrialCurve:
    """What one trial measured.

    Attributes:
        condition: index of its condition.
        seed: its key.
        path: its run folder.
        state: how it stands, such as ``finished`` or ``failed``.
        message: why it stopped or failed.
        generations: (n,) where the followed field was logged, rising.
        evaluations: (n,) evaluations (children x examples) spent by then.
        values: (n,) the field times the question's factor.
        at_target: whether it ended early, because its ``--target`` was reached.
    """

    condition: int
    seed: int
    path: Path
    state: str
    message: str
    generations: NDArray[np.float64]
    evaluations: NDArray[np.float64]
    values: NDArray[np.float64]
    at_target: bool = False

    def along(self, axis: str) -> NDArray[np.float64]:
        """(n,) where its values lie on an axis of :data:`galab.analysis.questions.question.AXES`."""
        return self.evaluations if axis == "evaluations" else self.generations


def home(question: Question, runs: Path) -> Path:
    """The folder of a question in the folder of all runs."""
    return Path(runs) / "questions" / question.name


def run_question(
    question: Question,
    *,
    seeds: Sequence[int],
    generations: int,
    runs: Path = Path("runs"),
    jobs: int | None = None,
    progress: ProgressCallback | None = None,
) -> Trials:
    """Run what is missing of a question's trials.

    Args:
        question: what is asked.
        seeds: of the trials of each condition.
        generations: of each trial, but for its condition's length.
        runs: the folder of all runs.
        jobs: processes; as many as cores when absent.
        progress: called with the state of the trials.

    Raises:
        UsageError: conditions that cannot be carried out, or that differ from what is there.
        RunFolderError: the folder holds something else.
    """
    path = home(question, runs)
    cells = {one.folder: partial(_config, question, one, generations) for one in question.conditions}
    words = Words(
        "question's folder", "condition", "correct their options",
        f"delete '{path}' to ask anew, or give another --runs",
    )  # fmt: skip
    workers = max(int(question.options(one).get("workers", 0)) for one in question.conditions)
    return run_cells(
        path,
        cells,
        checked_seeds(seeds),
        jobs=jobs,
        workers=workers,
        progress=progress,
        longer_counts=True,
        words=words,
    )


def read_question(question: Question, trials: Trials, generations: int) -> list[TrialCurve]:
    """What each trial has measured up to a generation, in the order of conditions and seeds.

    Args:
        question: what is asked.
        trials: its trials.
        generations: of each trial, but for its condition's length.

    Raises:
        UsageError: the followed field is in no log.
        RunFolderError: a log is damaged.
    """
    places = {one.folder: number for number, one in enumerate(question.conditions)}
    found = []
    for one in trials.trials:
        where = places[one.path.parent.name]
        last = question.conditions[where].generations(generations)
        log = read_log(RunFolder(one.path).log_path)
        points = [
            (line["generation"], line.get("evaluations", math.nan), line[question.follow])
            for line in log
            if line["generation"] <= last and _is_number(line.get(question.follow))
        ]
        if log and not any(question.follow in line for line in log):
            raise UsageError(
                f"expected a field that runs log to follow, got '{question.follow}'."
                f"{closest(question.follow, list(log[-1]))} The last line of '{one.path}' has: {', '.join(log[-1])}."
            )
        rows = np.array(points, dtype=np.float64).reshape(-1, 3)
        shown = rows[:, 2] * question.factor + 0.0  # -0.0 becomes 0.0, which reads better
        early = one.state == "finished" and bool(log) and log[-1]["generation"] < last
        config = _config(question, question.conditions[where], generations)
        found.append(
            TrialCurve(
                where, one.seed, one.path, one.state, one.message, rows[:, 0], rows[:, 1], shown,
                at_target=early and _reached_target(config, log[-1]),
            )
        )  # fmt: skip
    return found


def _config(question: Question, condition: Condition, generations: int) -> RunConfig:
    return compose({**question.options(condition), "generations": condition.generations(generations)})


def _reached_target(config: RunConfig, line: Mapping[str, Any]) -> bool:
    """Whether a run stopped after this line of its log because its ``--target`` was reached."""
    value = line.get(target_metric(config))
    return config.target is not None and _is_number(value) and value >= config.target


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
