"""From fitness to the score that ranks: as it is, relative to the parents, or partly inherited."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: A finite score below every other.
WORST = -float(np.finfo(np.float64).max)


def parents_mean(families: NDArray[np.int64], known: dict[int, float]) -> NDArray[np.float64]:
    """(children,) mean of what is known of each child's parents; NaN where one of them is not known.

    Args:
        families: (children, ways) ids of parents, -1 where there are fewer.
        known: fitness or score by birth.
    """
    values = np.array([[known.get(parent, np.nan) for parent in family] for family in families.tolist()])
    present = families >= 0
    return np.asarray(np.where(present, values, 0.0).sum(axis=1) / np.maximum(present.sum(axis=1), 1))


def improvement(fitness: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fitness minus the parents' on the same examples: what luck with the minibatch adds to both cancels.

    A child of a failed parent has no such difference and ranks last among the finite.

    Args:
        fitness: (n,) higher is better; NaN is a failure and stays one.
        before: (n,) mean fitness of each one's parents; a surviving parent's own, so that it scores 0.
    """
    gain = fitness - before
    return np.where(np.isfinite(fitness) & ~np.isfinite(gain), WORST, gain)


def inherited(fitness: NDArray[np.float64], before: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """LEEA: own fitness plus a share of the parents' score, so that a score averages over many minibatches.

    Morse and Stanley 2016, "Simple evolutionary optimization can rival stochastic gradient descent in neural networks";
    their decay is 1 - share. Scaled by (1 - share), so that a score stays in the unit of fitness.

    Args:
        fitness: (n,) higher is better; NaN is a failure and stays one.
        before: (n,) mean score of each one's parents; unknown ones count as the fitness itself.
        share: of the parents' score.
    """
    return share * np.where(np.isfinite(before), before, fitness) + (1 - share) * fitness
