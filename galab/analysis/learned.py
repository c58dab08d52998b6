"""What a lineage has learned for good, and how safe that is from mutations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from galab.analysis.resampling import Estimate, mean_interval


def learned_since(right: ArrayLike, generations: ArrayLike) -> NDArray[np.float64]:
    """Since when a lineage answers each example right without ever unlearning it again.

    Args:
        right: (K, B) whether each ancestor, oldest first, answers each example right; the last is the one in question.
        generations: (K,) the generation of each ancestor.

    Returns:
        (B,) generation of the first ancestor from which on all are right; NaN where the last one is wrong.
    """
    answers = np.asarray(right, dtype=bool)
    ages = np.asarray(generations, dtype=np.float64)
    # Ancestors from the end that are right without a break.
    streak = np.logical_and.accumulate(answers[::-1], axis=0).sum(axis=0)
    since = np.full(answers.shape[1], np.nan)
    since[streak > 0] = ages[len(ages) - streak[streak > 0]]
    return since


@dataclass(frozen=True, slots=True)
class Kept:
    """Examples learned at about the same time.

    Attributes:
        first: the first generation that they were learned in.
        last: the last.
        examples: how many there are.
        kept: the mean share of mutants that still answer one of them right, with its interval over the examples.
    """

    first: float
    last: float
    examples: int
    kept: Estimate


def kept_by_age(since: ArrayLike, kept: ArrayLike, groups: int = 4) -> list[Kept]:
    """How safe examples are by when they were learned, oldest knowledge first.

    Args:
        since: (B,) as :func:`learned_since` gives it.
        kept: (B,) share of the mutants that answer each example right.
        groups: about how many groups of about equal size; examples learned at the same time stay together.
    """
    times, shares = np.asarray(since, dtype=np.float64), np.asarray(kept, dtype=np.float64)
    known = np.isfinite(times) & np.isfinite(shares)
    times, shares = times[known], shares[known]
    return [
        Kept(float(times[part].min()), float(times[part].max()), int(part.sum()), mean_interval(shares[part]))
        for part in _groups(times, groups)
    ]


def _groups(times: NDArray[np.float64], groups: int) -> Sequence[NDArray[np.bool_]]:
    if not times.size:
        return []
    moments, counts = np.unique(times, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / len(times)
    which = np.minimum((middle * groups).astype(int), groups - 1)
    return [np.isin(times, moments[which == one]) for one in np.unique(which)]
