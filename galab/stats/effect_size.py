"""How large a difference between two groups of runs is, with its interval.

Probability of superiority: Vargha and Delaney, "A critique and improvement of the CL common language effect size
statistics of McGraw and Wong" (2000), equation 4; Cliff's delta (1993) is 2 A - 1. Intervals: the percentile bootstrap
of Efron and Tibshirani (1993), both groups resampled independently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from galab.stats.intervals import resampled

Array = NDArray[np.float64]
#: Most numbers that resampling keeps at once.
_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Effect:
    """How one group differs from another.

    Attributes:
        superiority: Vargha and Delaney's A, the probability that a run of the first group is better than one of the
            second; ties count half.
        superiority_low: lower end of its bootstrap interval; NaN where a group has a single run, and where every run
            of one group is better than all of the other, as resampling such groups finds nothing but that.
        superiority_high: its upper end, or NaN.
        difference: median of the first group minus that of the second; NaN where both are infinite.
        difference_low: lower end of its interval, or NaN.
        difference_high: its upper end, or NaN.
    """

    superiority: float
    superiority_low: float
    superiority_high: float
    difference: float
    difference_low: float
    difference_high: float

    @property
    def delta(self) -> float:
        """Cliff's delta, from -1 to 1."""
        return 2 * self.superiority - 1


def effect(first: ArrayLike, second: ArrayLike, *, lower_is_better: bool = False, confidence: float = 0.95) -> Effect:
    """How much better the first group is than the second.

    Args:
        first: (n,) values, one per run; infinity is a time that never came.
        second: (m,) values.
        lower_is_better: whether a run with less is better.
        confidence: share of the bootstrap inside the intervals.

    Raises:
        ValueError: a group has no values, or one is NaN.
    """
    a, b = (np.asarray(group, dtype=np.float64) for group in (first, second))
    if any(group.ndim != 1 or not group.size or np.isnan(group).any() for group in (a, b)):
        raise ValueError(f"expected values in both groups and no NaN, got {a!r:.60} and {b!r:.60}")
    wins = _wins(b, a) if lower_is_better else _wins(a, b)
    wins = wins.T if lower_is_better else wins
    superiority = float(wins.mean())
    with np.errstate(invalid="ignore"):  # never minus never is unknown
        difference = float(np.median(a) - np.median(b))
    if min(a.size, b.size) < 2:
        return Effect(superiority, math.nan, math.nan, difference, math.nan, math.nan)
    picks = resampled(a.size), resampled(b.size, stream=1)
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    around = (math.nan, math.nan)
    if 0 < superiority < 1:
        around = tuple(np.quantile(_means(wins, *picks), ends).tolist())
    return Effect(superiority, *around, difference, *_difference_ends(a[picks[0]], b[picks[1]], ends))


def _wins(larger: Array, smaller: Array) -> Array:
    """(n, m) 1 where a value of the first is larger than one of the second, a half where they are equal."""
    return (larger[:, None] > smaller) + 0.5 * (larger[:, None] == smaller)


def _means(wins: Array, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
    """(R,) the mean of ``wins`` over each resampling's rows and columns."""
    found = []
    step = max(1, _AT_ONCE // max(wins.shape))
    for at in range(0, len(rows), step):
        left, right = _counts(rows[at : at + step]), _counts(columns[at : at + step])
        found.append(np.einsum("ri,ri->r", left @ wins, right))
    return np.asarray(np.concatenate(found) / wins.size)


def _counts(picks: NDArray[np.intp]) -> Array:
    """(R, n) how often each place was drawn."""
    resamples, n = picks.shape
    flat = picks + n * np.arange(resamples)[:, None]
    return np.bincount(flat.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)


def _difference_ends(first: Array, second: Array, ends: list[float]) -> tuple[float, float]:
    with np.errstate(invalid="ignore"):
        differences = np.median(first, axis=1) - np.median(second, axis=1)
    if np.isnan(differences).any():
        return math.nan, math.nan
    # Between a number and infinity there is nothing to interpolate: each end is then one of the differences.
    method = "linear" if np.isfinite(differences).all() else "inverted_cdf"
    low, high = np.quantile(differences, ends, method=method)  # type: ignore[call-overload]
    return float(low), float(high)
