"""How much a coarser arithmetic of the fitness changes what a search does: whom it selects, and where it steps.

Rank correlation: Spearman, "The proof and measurement of association between two things", 1904.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from galab.breeding.ranking import rank

Fitness = NDArray[np.float64]


def spearman(one: Fitness, other: Fitness) -> float:
    """Rank correlation of two rows of scores, (P,) each; equal scores share their rank, failures are all last.

    Returns:
        -1 to 1; NaN where one of them gives all members the same score.
    """
    ranks = [stats.rankdata(np.where(np.isfinite(values), values, -np.inf)) for values in (one, other)]
    spreads = [float(np.std(row)) for row in ranks]
    if not all(spreads):
        return float("nan")
    return float(np.mean((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())) / (spreads[0] * spreads[1]))


def survivors(fitness: Fitness, count: int) -> NDArray[np.int64]:
    """Places of the best, best first, as truncation selects them: of equals the later one.

    Args:
        fitness: (P,) higher is better; anything that is not finite is a failure.
        count: how many.
    """
    return rank(fitness, np.arange(len(fitness)))[:count]


def run_off(coarse: Fitness, fine: Fitness, count: int, candidates: int) -> NDArray[np.int64]:
    """Places of those whom the fine score chooses among the best by the coarse one, best first.

    Args:
        coarse: (P,) scores of all.
        fine: (P,) scores, of which only those of the candidates are looked at.
        count: how many are chosen.
        candidates: how many run.
    """
    running = np.sort(survivors(coarse, candidates))
    return running[survivors(fine[running], count)]


def in_common(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Share of the chosen that two choices of equal size have in common."""
    return len(np.intersect1d(one, other)) / len(one)


def progress_kept(chosen: NDArray[np.int64], fitness: Fitness) -> float:
    """Selection differential of a choice as a share of the best that is possible.

    The differential is the mean fitness of the chosen over that of all (Falconer, "Introduction to Quantitative
    Genetics", 1960): what a generation gains is proportional to it.

    Args:
        chosen: places.
        fitness: (P,) finite scores that count.
    """
    best = survivors(fitness, len(chosen))
    possible = float(fitness[best].mean() - fitness.mean())
    return float(fitness[chosen].mean() - fitness.mean()) / possible if possible else float("nan")


def cosine(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Cosine of two vectors, (D,) each; NaN where one is zero."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / norms if norms else float("nan")
