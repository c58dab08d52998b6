"""From what a task measured to one number per member, higher is better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Means = dict[str, NDArray[np.float64]]


def cross_entropy(means: Means) -> NDArray[np.float64]:
    """The negated mean cross-entropy, in nats per example: (P,)."""
    return -means["loss"]


def accuracy(means: Means) -> NDArray[np.float64]:
    """The share of examples answered right: (P,)."""
    return means["correct"]


#: What a task must measure for a fitness.
NEEDS = {"cross-entropy": "loss", "accuracy": "correct"}

#: By the name that ``--fitness`` takes.
FITNESS: dict[str, Callable[[Means], NDArray[np.float64]]] = {
    "cross-entropy": cross_entropy,
    "accuracy": accuracy,
}
