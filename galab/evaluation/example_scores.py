"""What each member makes of each example: scores and answers, from its outputs and the class numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from galab.tasks.classification import loss_and_correct


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


#: What a base makes of outputs (P, B, C), class numbers (B,) and coins (B,): (P, B). A task's own loss is known as a
#: sum over the examples alone.
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
