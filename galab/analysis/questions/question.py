"""A question as a value: conditions that differ in a few hyperparameters, and what is measured.

Below are the hyperparameters that the questions of the memorisation laboratory share, so that each script names only
what it varies.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from galab.errors import UsageError
from galab.storage.run_folder import check_name

#: Records must not be what a small run spends its time on: validation and checkpoints come rarely. What is followed
#: is in every line of the log, unless it is measured on validation or test data.
RARE = 1000
#: What a trial is judged by.
MEASURES = ("end", "best", "first")
#: Which condition each one is compared with, to say from where on it is ahead; no comparison when empty.
CROSSINGS = ("", "neighbour", "first")
#: What trials are compared along: equal generations, or an equal number of evaluations (children x examples).
AXES = ("generation", "evaluations")
#: Given by the question or the command line, for all conditions alike.
_NOT_OPTIONS = ("seed", "generations", "seconds")


@dataclass(frozen=True, slots=True)
class Condition:
    """One of the configurations that a question compares.

    Attributes:
        label: what figures and answers call it; its folder is made of it.
        options: fields of :class:`galab.config.RunConfig` that it has in addition to those that all have.
        length: generations of its trials, as a multiple of the question's.
        converges: whether its trials have nothing left to learn at their end, as a baseline by gradients; where others
            go on they stand for longer ones, and others are not cut to their length.
    """

    label: str
    options: Mapping[str, Any]
    length: float = 1.0
    converges: bool = False

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return re.sub(r"[^a-z0-9.=+]+", "_", self.label.lower()).strip("_.")

    def generations(self, asked: int) -> int:
        """Of its trials, where so many are asked of the question; at least one."""
        return max(1, round(asked * self.length))


@dataclass(frozen=True, slots=True)
class AnalysisNumber:
    """A number that an analysis finds in each finished trial.

    Attributes:
        label: what figures and answers call it.
        analysis: its name, as in ``galab analyze``.
        value: where it lies in the analysis' values, such as ``planted.after``.
    """

    label: str
    analysis: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and of which runs.

    Attributes:
        name: of the folder that holds everything, such as ``do_parents_help``.
        title: above the figure.
        conditions: what is compared.
        common: fields of :class:`galab.config.RunConfig` that all conditions have.
        generations: of each trial.
        seeds: of the trials, in words such as ``0-9``.
        follow: the field of the log that is compared.
        unit: what that field is in words, with its unit, such as "wrong answers (of 64)".
        factor: times the field is what is shown; -1 makes a number of errors of a fitness.
        lower_is_better: whether less of what is shown is better.
        ranked: whether the answer says which condition is best; of step sizes, say, none is.
        measure: what a trial is judged by: its value at the "end", the "best" it ever had, or the "first" generation
            that reaches ``level``.
        level: of what is shown; also counts who reached it.
        numbers: what analyses find in the trials of the first condition; the figure and the answer then compare these
            numbers instead of the conditions.
        axis: what trials are compared along.
        cost: what the evaluations of these runs are called, such as "environment steps".
        until: the generation, or number of evaluations as the axis is, at which trials are judged; conditions that do
            not go so far are left out. When absent, it is where the first trial ends that did not reach its target.
        crossings: which condition each one is compared with, the "neighbour" before it or the "first": the answer
            says from where on it is ahead for good. No comparison when empty.
        logarithmic: whether what is shown is drawn on a logarithmic scale.

    Raises:
        UsageError: the question cannot be asked.
    """

    name: str
    title: str
    conditions: tuple[Condition, ...]
    common: Mapping[str, Any] = field(default_factory=dict)
    generations: int = 500
    seeds: str = "0-9"
    follow: str = "fitness_best"
    unit: str = "best fitness of the generation"
    factor: float = 1.0
    lower_is_better: bool = False
    ranked: bool = True
    measure: str = "end"
    level: float | None = None
    numbers: tuple[AnalysisNumber, ...] = ()
    axis: str = "generation"
    cost: str = "evaluations"
    until: float | None = None
    crossings: str = ""
    logarithmic: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.conditions:
            raise UsageError(f"expected question '{self.name}' to have a condition, got none; name some")
        for what in ("label", "folder"):
            names = Counter(getattr(condition, what) for condition in self.conditions)
            for name, count in names.items():
                if count > 1 or not name:
                    raise UsageError(
                        f"expected conditions of '{self.name}' to have a {what} each, got '{name}' {count} times; "
                        "choose other labels"
                    )
        if self.measure not in MEASURES or (self.measure == "first" and self.level is None):
            raise UsageError(
                f"expected question '{self.name}' to have a measure among {', '.join(MEASURES)}, and a level for the "
                f"last, got {self.measure!r} and level {self.level}; correct them"
            )
        for what, value, known in (("axis", self.axis, AXES), ("crossings", self.crossings, CROSSINGS)):
            if value not in known:
                words = ", ".join(filter(None, known))
                raise UsageError(f"expected the {what} of '{self.name}' among {words}, got {value!r}; choose one")
        for condition in self.conditions:
            if not 0 < condition.length < float("inf"):
                raise UsageError(
                    f"expected '{condition.label}' of '{self.name}' to have a length above 0, got {condition.length}; "
                    "give a multiple of the question's generations"
                )
        for options in (self.common, *(condition.options for condition in self.conditions)):
            if wrong := [name for name in _NOT_OPTIONS if name in options]:
                raise UsageError(
                    f"expected the conditions of '{self.name}' to share their seeds and length, got {wrong[0]} among "
                    "the options; give it to the question"
                )

    def at(self, *levels: float) -> tuple[Question, ...]:
        """What it takes the same runs to reach other levels."""
        return tuple(replace(self, level=float(level)) for level in levels)

    def has_runs_of(self, other: Question) -> bool:
        """Whether another question is answered by the same runs."""
        return (self.name, self.conditions, self.common) == (other.name, other.conditions, other.common)

    def options(self, condition: Condition) -> dict[str, Any]:
        """All hyperparameters of a condition, but for seed and length."""
        rare = {"report_every": RARE, "save_every": RARE}
        return {**rare, **self.common, **condition.options}


#: 64 random points of 128 numbers with random labels out of ten, all of them in every generation.
POINTS: dict[str, Any] = {"task": "memorize", "batch": 0, "crossover": "none", "step_size": "fixed"}
#: A small dense network whose fitness is the number of errors alone.
NO_GRADIENT: dict[str, Any] = POINTS | {"model": "mlp", "hidden": "64", "fitness": "wrong"}
#: 64 memories, at first empty, one of which changes in each child: 8 parents, 32 children.
BANK: dict[str, Any] = POINTS | {
    "model": "memory", "parents": 8, "children": 32, "fitness": "wrong", "sigma": 1.0, "mutate": "memory-perturb",
}  # fmt: skip
#: Moves a memory or changes its class, never both at once.
MOVE_OR_TARGET = "memory-perturb:0.8,memory-target:0.2"
#: How errors are shown, out of the fitness ``wrong``.
ERRORS: dict[str, Any] = {
    "follow": "fitness_best", "factor": -1.0, "lower_is_better": True, "unit": "wrong answers of 64",
}  # fmt: skip
#: How the share of right answers of the best child is shown.
RIGHT: dict[str, Any] = {"follow": "train_accuracy", "factor": 64.0, "unit": "right answers of 64"}
#: How many are right before the first error.
BEFORE_DEATH: dict[str, Any] = {"follow": "train_tilldeath", "unit": "right answers before the first error, of 64"}
#: 1,257 small pictures of digits, all of them in every generation, so that nothing but the search is random:
#: 64-16-10 (1,210 weights), 8 parents, 32 children of one parent each.
DIGITS: dict[str, Any] = {
    "task": "digits", "model": "mlp", "hidden": "16", "batch": 0, "crossover": "none", "parents": 8, "children": 32,
    "threads": 1,
}  # fmt: skip
#: MNIST in a network that is small enough for many trials: 784-16-10 (12,730 weights).
MNIST: dict[str, Any] = DIGITS | {"task": "mnist", "data": "full"}
#: How the loss of the champion, chosen on validation images, is shown on test images that nothing was chosen by.
TEST: dict[str, Any] = {
    "follow": "test_loss", "lower_is_better": True, "unit": "test cross-entropy of the champion (nats)",
}  # fmt: skip
#: How the loss of the best child is shown.
LOSS: dict[str, Any] = {
    "follow": "train_loss", "lower_is_better": True, "unit": "training cross-entropy of the best child (nats)",
}  # fmt: skip
#: A pole that has to stay upright on a cart, in a network of 4-16-2 (114 weights), one episode a member: 8 parents,
#: 64 children. A trial is done when its champion's mean return in 20 episodes of validation is 475 of 500.
CARTPOLE: dict[str, Any] = {
    "task": "cartpole", "hidden": "16", "activation": "tanh", "episodes": 1, "parents": 8, "children": 64, "elites": 1,
    "sigma": 0.3, "crossover": "none", "target": 475.0, "report_every": 1, "threads": 1,
}  # fmt: skip
#: How many environment steps it takes until the pole stays upright.
SOLVED: dict[str, Any] = {
    "follow": "validation_return", "unit": "validation return", "measure": "first", "level": 475.0,
    "axis": "evaluations", "cost": "environment steps",
}  # fmt: skip
#: How good the champion is in 100 episodes that nothing was chosen by.
TEST_RETURN: dict[str, Any] = {
    "follow": "test_return", "unit": "test return", "measure": "end", "level": None,
}  # fmt: skip
