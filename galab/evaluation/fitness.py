"""From what was measured to one number per member and base, higher is better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Examples, Task
from galab.errors import UsageError
from galab.evaluation.blocks import CLOSENESS, HEADS
from galab.evaluation.evaluator import Measurements
from galab.evaluation.example_scores import COMPUTED
from galab.genome.phenotype import SCALE, Phenotype
from galab.specs import FitnessSpec, terms
from galab.tasks.checks import check_classes

Means = dict[str, NDArray[np.float64]]


def loss(means: Means, examples: int) -> NDArray[np.float64]:
    """The negated mean of what the task calls loss, of a classification the cross-entropy in nats: (P,)."""
    return -means["loss"]


def accuracy(means: Means, examples: int) -> NDArray[np.float64]:
    """The share of examples answered right: (P,)."""
    return means["correct"]


def wrong(means: Means, examples: int) -> NDArray[np.float64]:
    """Minus the number of examples answered wrong, a whole number and so full of ties: (P,)."""
    return np.rint((means["correct"] - 1) * examples)


def expected_accuracy(means: Means, examples: int) -> NDArray[np.float64]:
    """The share right that answers drawn from the softmax have on average; no answer is drawn: (P,)."""
    return means["expected_accuracy"]


def sampled_accuracy(means: Means, examples: int) -> NDArray[np.float64]:
    """The share right of answers drawn from the softmax, one per example: (P,)."""
    return means["sampled_accuracy"]


def tilldeath(means: Means, examples: int) -> NDArray[np.float64]:
    """The number right before the first error, in the order of the examples, a whole number and full of ties: (P,)."""
    return means["tilldeath"]


def closeness(means: Means, examples: int) -> NDArray[np.float64]:
    """How near the nearest memory is, averaged over the examples, whatever it answers: (P,)."""
    return means["closeness"]


def used(means: Means, examples: int) -> NDArray[np.float64]:
    """The number of memories that answer an example, a whole number and full of ties: (P,)."""
    return means["used"]


def unused(means: Means, examples: int) -> NDArray[np.float64]:
    """Minus the number of memories that answer an example: the fewer, the more are free: (P,)."""
    return -means["used"]


#: What a task must measure for a base; the others are computed from outputs and class numbers.
NEEDS = {"cross-entropy": "loss", "accuracy": "correct", "wrong": "correct", "loss": "loss"}

#: By the names that ``--fitness`` takes; each is told the means and over how many examples they were taken.
FITNESS: dict[str, Callable[[Means, int], NDArray[np.float64]]] = {
    "cross-entropy": loss,
    "accuracy": accuracy,
    "wrong": wrong,
    "expected-accuracy": expected_accuracy,
    "sampled-accuracy": sampled_accuracy,
    "tilldeath": tilldeath,
    "loss": loss,
    "closeness": closeness,
    "used": used,
    "unused": unused,
}

#: What is measured in place of a base where chance has no place, as in choosing the champion.
STEADY = {"sampled-accuracy": "expected-accuracy"}


def score(base: str, means: Means, examples: int, *, steady: bool = False) -> NDArray[np.float64]:
    """A base of a fitness, or a weighted sum of several: (P,).

    Args:
        base: as :func:`galab.specs.terms` reads it.
        means: name to (P,).
        examples: over how many they were taken.
        steady: whether chance has no place, see :data:`STEADY`.
    """
    names = STEADY if steady else {}
    (weight, first), *others = ((weight, FITNESS[names.get(name, name)]) for weight, name in terms(base))
    total = first(means, examples)
    total = total if weight == 1 else weight * total
    for weight, of in others:
        total = total + weight * of(means, examples)
    return total


def means_of(measured: Measurements) -> Means:
    """The task's means, and those of the bases that are computed per example: name to (P,)."""
    told = _of_memories(measured.examples[CLOSENESS], measured.examples[HEADS]) if HEADS in measured.examples else {}
    computed = {
        base.replace("-", "_"): _before_first_error(rows) if base == "tilldeath" else rows.mean(1, dtype=np.float64)
        for base, rows in measured.examples.items()
        if base in COMPUTED
    }
    return measured.means | computed | told


def _of_memories(closeness: NDArray[np.float32], heads: NDArray[np.int32]) -> Means:
    """What (P, B) nearness and numbers of the nearest memories come to; NaN for failed members."""
    mean = closeness.mean(1, dtype=np.float64)
    ordered = np.sort(heads, axis=1)
    different = (ordered[:, :1] >= 0).sum(1) + (ordered[:, 1:] != ordered[:, :-1]).sum(1)
    return {"closeness": mean, "used": np.where(np.isfinite(mean), different, np.nan)}


def use_of(heads: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """How many examples each of ``count`` memories answers: (P, count).

    Args:
        heads: (P, B) the number of the memory that answers; -1 where all are empty.
        count: how many memories there are.
    """
    members = len(heads)
    # One place more for each member, for what nobody answers.
    places = heads + 1 + (count + 1) * np.arange(members)[:, None]
    counts = np.bincount(places.ravel(), minlength=members * (count + 1)).reshape(members, count + 1)
    return counts[:, 1:].astype(np.int32)


def _before_first_error(right: NDArray[np.float32]) -> NDArray[np.float64]:
    """(P,) how many of each (P, B) row's numbers come before the first 0; NaN where one is NaN."""
    return np.asarray(np.cumprod(right, axis=1, dtype=np.float64).sum(axis=1))


def repeats(spec: FitnessSpec) -> bool:
    """Whether a member scores the same whenever it sees the same examples."""
    return not any(name in STEADY for name in spec.names)


def mean_squares(members: list[Phenotype]) -> NDArray[np.float64]:
    """Mean square of each member's weights, in squared weight units: (P,)."""
    squares = [np.square(member.weights, dtype=np.float64).mean() for member in members]
    return np.array(squares, dtype=np.float64) / SCALE**2


def class_means(scores: NDArray[np.float32], targets: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Mean score per class: (P, classes); zero for everybody, a tie, where no example is of the class.

    Args:
        scores: (P, B) one per example.
        targets: (B,) class numbers.
        classes: how many there are.
    """
    means = np.zeros((len(scores), classes), dtype=np.float32)
    for number in np.unique(targets):
        means[:, number] = scores[:, targets == number].mean(1, dtype=np.float64)
    return means


def require_classes(task: Task, option: str) -> None:
    """Refuse a task whose targets are not class numbers, for an option that compares outputs with classes.

    Args:
        task: what is learned.
        option: the option and its value, as it was typed.

    Raises:
        UsageError: a split's targets are something else.
    """
    for split in ("train", "validation", "test"):
        examples: Examples = getattr(task, split)
        try:
            check_classes(task.name, split, examples.targets, task.outputs)
        except UsageError as error:
            raise UsageError(f"{option} needs class numbers: {error}") from error
