"""Means and rank correlations with intervals, by resampling; the same values always have the same interval.

Bootstrap: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), the percentile interval. Rank correlation:
Spearman 1904, "The proof and measurement of association between two things".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Key of the resampling.
_KEY = 0x5A3B1E
RESAMPLES = 4_000
#: Numbers picked at once, so that memory stays small.
_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, and how far it may be off.

    Attributes:
        value: the number.
        low: lower end of the bootstrap interval; NaN where there is none.
        high: its upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rank correlation.

    Attributes:
        rho: from -1 to 1; NaN where one side is constant or there are fewer than three pairs.
        low: lower end of the bootstrap interval.
        high: its upper end.
        p: two-sided p value.
        pairs: how many there were.
    """

    rho: float
    low: float
    high: float
    p: float
    pairs: int


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """The mean with its percentile bootstrap interval.

    Args:
        values: (n,) finite numbers.
        confidence: share of the resampled means inside the interval.
    """
    sample = np.asarray(values, dtype=np.float64)
    if not sample.size:
        return Estimate(np.nan, np.nan, np.nan)
    if len(sample) == 1:
        return Estimate(float(sample[0]), np.nan, np.nan)
    rows = max(1, _AT_ONCE // len(sample))
    means = np.concatenate(
        [sample[picks(len(sample), rows, start)].mean(axis=1) for start in range(0, RESAMPLES, rows)]
    )[:RESAMPLES]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(sample.mean()), float(low), float(high))


def spearman(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Correlation:
    """Whether two things have the same order, with a percentile bootstrap interval over the pairs.

    Args:
        first: (n,) finite numbers.
        second: (n,) finite numbers.
        confidence: share of the resampled correlations inside the interval.
    """
    from scipy.stats import rankdata, spearmanr

    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    n = len(a)
    if n < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Correlation(np.nan, np.nan, np.nan, np.nan, n)
    found = spearmanr(a, b)
    chosen = picks(n, RESAMPLES, 0)
    ranks = [rankdata(values[chosen], axis=1) for values in (a, b)]
    x, y = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    lengths = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    good = lengths > 0
    rhos = (x * y).sum(axis=1)[good] / lengths[good]
    low, high = np.quantile(rhos, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Correlation(float(found.statistic), float(low), float(high), float(found.pvalue), n)


def picks(n: int, rows: int, start: int) -> NDArray[np.intp]:
    """(rows, n) places drawn with replacement, rows ``start`` and later of an endless table.

    Args:
        n: places run from 0 to n - 1.
        rows: how many rows.
        start: the first of them.
    """
    # Raw bits and a rule of our own: the methods of NumPy's Generator may change with its version.
    bits = np.random.Philox(key=[_KEY, n], counter=[0, start, 0, 0]).random_raw(rows * n) >> np.uint64(32)
    return ((bits * np.uint64(n)) >> np.uint64(32)).astype(np.intp).reshape(rows, n)
