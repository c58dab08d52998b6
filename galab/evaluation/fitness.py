"""Fitness: from measurements to one number per member and base, higher is better.

A base is computed from sums that the task measures, or example by example from outputs and class numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galab.config.parsing import FitnessSpec, terms
from galab.contracts import Examples, Task
from galab.errors import UsageError
from galab.evaluation.blocks import CLOSENESS, HEADS
from galab.evaluation.dense_evaluator import Measurements
from galab.genome.weights import Phenotype
from galab.tasks.classification import check_classes, loss_and_correct


def log_likelihood(outputs: Tensor, targets: Tensor, coins: Tensor | None) -> Tensor:
    """The negated cross-entropy: (P, B) float32 in nats."""
    return -loss_and_correct(outputs, targets)[0]


def right(outputs: Tensor, targets: Tensor, coins: Tensor | None) -> Tensor:
    """1 where the largest output is the class's, else 0: (P, B) float32."""
    return loss_and_correct(outputs, targets)[1].float()


def right_probability(outputs: Tensor, targets: Tensor, coins: Tensor | None) -> Tensor:
    """The probability that the softmax of the outputs gives to the class: (P, B) float32."""
    return loss_and_correct(outputs, targets)[0].neg_().exp_()


def right_by_coin(outputs: Tensor, targets: Tensor, coins: Tensor | None) -> Tensor:
    """1 where an answer drawn from the softmax of the outputs is the class, else 0: (P, B) float32.

    The cumulative distribution, in class order, is inverted: the answer is the first class at which it exceeds the
    coin.
    """
    assert coins is not None
    # Classes on the middle axis, as in loss_and_correct.
    cumulative = outputs.transpose(1, 2).softmax(1).cumsum(1)  # (P, C, B)
    # The last class takes what rounding leaves below one.
    answers = (cumulative[:, :-1] <= coins).sum(1)  # (P, B)
    # A NaN exceeds nothing, and would otherwise read as the answer 0.
    return torch.where(cumulative[:, -1].isnan(), torch.nan, (answers == targets).float())


#: A base's scores (P, B) from outputs (P, B, C), class numbers (B,) and coins (B,). A task's own loss is known only
#: as a sum over the examples.
EXAMPLE_SCORES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "cross-entropy": log_likelihood,
    "accuracy": right,
    "wrong": right,
    "expected-accuracy": right_probability,
    "sampled-accuracy": right_by_coin,
    "tilldeath": right,
}
#: The bases that no task measures.
COMPUTED = ("expected-accuracy", "sampled-accuracy", "tilldeath")
#: The name of the answers among the results.
ANSWERS = "answers"


class ExampleScores:
    """Computes scores and answers example by example.

    Args:
        bases: the bases whose scores are wanted.
        answers: whether to give the class that each example is answered with, too.
        coins: (B,) numbers between 0 and 1 for all examples of the generation, which ``sampled-accuracy`` needs.
    """

    def __init__(self, bases: Sequence[str], *, answers: bool = False, coins: Tensor | None = None) -> None:
        self._bases = tuple(dict.fromkeys(bases))
        self._answers = answers
        self._coins = coins

    def __call__(self, outputs: Tensor, targets: Tensor, start: int) -> dict[str, Tensor]:
        """One block of examples.

        Args:
            outputs: (P, b, C) float32.
            targets: (b,) class numbers; never looked at where only answers are wanted.
            start: place of the block's first example.

        Returns:
            base to (P, b) float32 scores, and ``answers`` to (P, b) int32 classes.
        """
        coins = None if self._coins is None else self._coins[start : start + outputs.shape[1]]
        found = {base: EXAMPLE_SCORES[base](outputs, targets, coins) for base in self._bases}
        if self._answers:
            found[ANSWERS] = outputs.argmax(2).int()
        return found


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


def gradient_cosine(means: Means, examples: int) -> NDArray[np.float64]:
    """The cosine of a child's step with minus the gradient at its parents: (P,).

    See :class:`galab.evaluation.sources.GradientCosineSource`.
    """
    return means["gradient_cosine"]


def returns(means: Means, examples: int) -> NDArray[np.float64]:
    """The mean return of a member's episodes: (P,)."""
    return means["return"]


def reward(means: Means, examples: int) -> NDArray[np.float64]:
    """The mean reward of a member's answers: (P,)."""
    return means["reward"]


def kl(means: Means, examples: int) -> NDArray[np.float64]:
    """Minus the divergence of a member from its base model, KL(base || member) in nats a token: (P,)."""
    return -means["kl"]


def standardised_by_prompt(rewards: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The mean over prompts of rewards of mean 0 and deviation 1 over the members, so that each prompt counts alike.

    Args:
        rewards: (P, B) of P members and B prompts; NaN where a member failed, which stays so. A prompt whose rewards
            are all equal counts nothing.

    Returns:
        (P,) float64.
    """
    values = rewards.astype(np.float64)
    whole = values[np.isfinite(values).all(axis=1)]
    if not len(whole):
        return np.full(len(values), np.nan)
    mean, deviation = whole.mean(axis=0), whole.std(axis=0)
    found: NDArray[np.float64] = ((values - mean) / np.where(deviation > 0, deviation, np.inf)).mean(axis=1)
    return found


#: What a task must measure for a base; the others are computed from outputs and class numbers.
NEEDS = {
    "cross-entropy": "loss", "accuracy": "correct", "wrong": "correct", "loss": "loss", "gradient-cosine": "loss",
    "return": "return", "reward": "reward", "kl": "kl",
}  # fmt: skip
#: By the names of ``--fitness``; each takes the means and the number of examples.
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
    "gradient-cosine": gradient_cosine,
    "return": returns,
    "reward": reward,
    "kl": kl,
}
#: Measured in place of bases that are random or exist only for a child in its own generation.
DETERMINISTIC = {"sampled-accuracy": "expected-accuracy", "gradient-cosine": "loss"}


def deterministic_scores(base: str) -> ExampleScores | None:
    """What has to be measured of each example for a base in its deterministic form, see :data:`DETERMINISTIC`.

    Args:
        base: what a fitness is made of, such as ``sampled-accuracy``.

    Returns:
        None where sums over the examples are enough.
    """
    names = [DETERMINISTIC.get(name, name) for _, name in terms(base)]
    computed = [name for name in names if name in COMPUTED]
    return ExampleScores(computed) if computed else None


def score(base: str, means: Means, examples: int, *, deterministic: bool = False) -> NDArray[np.float64]:
    """A base of a fitness, or a weighted sum of several: (P,).

    Args:
        base: as :func:`galab.config.parsing.terms` reads it.
        means: name to (P,).
        examples: their number.
        deterministic: whether to use the replacements in :data:`DETERMINISTIC`.
    """
    names = DETERMINISTIC if deterministic else {}
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
    """Means from (P, B) nearness and numbers of the nearest memories; NaN for failed members."""
    mean = closeness.mean(1, dtype=np.float64)
    ordered = np.sort(heads, axis=1)
    different = (ordered[:, :1] >= 0).sum(1) + (ordered[:, 1:] != ordered[:, :-1]).sum(1)
    return {"closeness": mean, "used": np.where(np.isfinite(mean), different, np.nan)}


def memory_use(heads: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """How many examples each of ``count`` memories answers: (P, count).

    Args:
        heads: (P, B) the number of the memory that answers; -1 where all are empty.
        count: how many memories there are.
    """
    members = len(heads)
    # One more place for each member, for examples without an answer.
    places = heads + 1 + (count + 1) * np.arange(members)[:, None]
    counts = np.bincount(places.ravel(), minlength=members * (count + 1)).reshape(members, count + 1)
    return counts[:, 1:].astype(np.int32)


def _before_first_error(right: NDArray[np.float32]) -> NDArray[np.float64]:
    """(P,) how many of each (P, B) row's numbers come before the first 0; NaN where one is NaN."""
    return np.asarray(np.cumprod(right, axis=1, dtype=np.float64).sum(axis=1))


def repeats(spec: FitnessSpec) -> bool:
    """Whether the same member on the same examples always has the same score."""
    return not any(name in DETERMINISTIC for name in spec.names)


def mean_squares(members: list[Phenotype]) -> NDArray[np.float64]:
    """Mean square of each member's weights, in squared weight units: (P,)."""
    squares = [np.square(one.weights, dtype=np.float64).mean() * 4.0**-one.bits for one in members]
    return np.array(squares, dtype=np.float64)


def class_means(scores: NDArray[np.float32], targets: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Mean score per class: (P, classes); zero for all members, a tie, where no example is of the class.

    Args:
        scores: (P, B) one per example.
        targets: (B,) class numbers.
        classes: how many there are.
    """
    means = np.zeros((len(scores), classes), dtype=np.float32)
    for number in np.unique(targets):
        means[:, number] = scores[:, targets == number].mean(1, dtype=np.float64)
    return means


def has_classes(task: Task) -> bool:
    """Whether the targets of a task are class numbers."""
    try:
        require_classes(task, "")
    except UsageError:
        return False
    return True


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
