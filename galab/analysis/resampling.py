"""Means and rank correlations with intervals, by resampling; the same values always have the same interval.

Bootstrap: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), the percentile interval. Rank correlation:
Spearman 1904, "The proof and measurement of association between two things". Its p value is that of Pitman's
permutation test (1937): the t approximation says 0 of three runs in the same order, which is 1/3. Drawn permutations:
Phipson and Smyth 2010, "Permutation p-values should never be zero".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Key of the resampling.
_KEY = 0x5A3B1E
RESAMPLES = 4_000
#: Numbers picked at once, so that memory stays small.
_AT_ONCE = 1 << 22
#: Key of the permutations.
_ORDER_KEY = 0x0DE12
#: So many pairs have few enough orders, 40,320, to count them all.
_MOST_EXACT = 8
_ORDERS = 9_999
#: Correlations that differ by no more are the same but for rounding.
_SAME = 1e-9


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
        low: lower end of the bootstrap interval; NaN where every resample has the same correlation, as a complete order
            has: resampling finds nothing but that.
        high: its upper end, or NaN.
        p: two-sided p value of the permutation test, exact up to eight pairs.
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
    """Whether two things have the same order, with a percentile bootstrap interval over the pairs and a permutation p.

    Args:
        first: (n,) finite numbers.
        second: (n,) finite numbers.
        confidence: share of the resampled correlations inside the interval.
    """
    from scipy.stats import rankdata

    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    n = len(a)
    if n < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Correlation(np.nan, np.nan, np.nan, np.nan, n)
    whole = [_unit(rankdata(values)) for values in (a, b)]
    rho = float(np.clip(whole[0] @ whole[1], -1.0, 1.0))
    chosen = picks(n, RESAMPLES, 0)
    ranks = [rankdata(values[chosen], axis=1) for values in (a, b)]
    x, y = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    lengths = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    good = lengths > 0
    rhos = (x * y).sum(axis=1)[good] / lengths[good]
    low, high = np.quantile(rhos, [(1 - confidence) / 2, (1 + confidence) / 2])
    if np.ptp(rhos) < _SAME:
        low = high = np.nan
    return Correlation(rho, float(low), float(high), _permutation_p(*whole), n)


def _unit(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks of mean 0 and length 1, whose product is Spearman's correlation."""
    centred = ranks - ranks.mean()
    return np.asarray(centred / np.linalg.norm(centred))


def _permutation_p(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """How often chance orders correlate at least as much, in either direction."""
    n, least = len(first), abs(float(first @ second)) - _SAME
    if n <= _MOST_EXACT:
        return float((np.abs(first[_all_orders(n)] @ second) >= least).mean())
    rows, hits = max(1, _AT_ONCE // n), 0
    for start in range(0, _ORDERS, rows):
        count = min(rows, _ORDERS - start)
        bits = np.random.Philox(key=[_ORDER_KEY, n], counter=[0, start, 0, 0]).random_raw(count * n)
        orders = np.argsort(bits.reshape(count, n), axis=1, kind="stable")
        hits += int((np.abs(first[orders] @ second) >= least).sum())
    return (1 + hits) / (1 + _ORDERS)


@cache
def _all_orders(n: int) -> NDArray[np.intp]:
    """(n!, n) every order of n places."""
    return np.array(list(permutations(range(n))), dtype=np.intp)


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
