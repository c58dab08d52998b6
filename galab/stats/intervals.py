"""Medians, means, shares and rank correlations with intervals, rank tests, and corrections for several tests.

Resampling has a stream of its own, so that the same values always have the same interval. Bootstrap: Efron and
Tibshirani, "An Introduction to the Bootstrap" (1993), the percentile interval. Rank tests: Mann and Whitney 1947;
Kruskal and Wallis 1952. Probability of superiority: Vargha and Delaney 2000. Correction: Holm 1979. Interval of a
share: Wilson 1927, "Probable inference, the law of succession, and statistical inference". Rank correlation: Spearman
1904, "The proof and measurement of association between two things"; its p value is that of Pitman's permutation test
(1937), as the t approximation gives 0 for three pairs in the same order, where the exact value is 1/3. Random
permutations: Phipson and Smyth 2010, "Permutation p-values should never be zero".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, kruskal, mannwhitneyu, rankdata

#: Key of the resampling, so that the same values always have the same interval.
_KEY = 0x6A1AB
#: How often medians and means are resampled.
RESAMPLES = 10_000
MEAN_RESAMPLES = 4_000
#: Up to so many splits into two groups, such as those of 10 and 8 values, the p value is that of all of them.
_MOST_SPLITS = 50_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A median, and how far it may be off.

    Attributes:
        count: number of values.
        median: their median.
        low: lower end of the bootstrap interval; NaN for a single value.
        high: its upper end.
    """

    count: int
    median: float
    low: float
    high: float


def median_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The median with its percentile bootstrap interval.

    Args:
        values: (n,) finite numbers, at least one.
        confidence: share of the bootstrap medians inside the interval.

    Raises:
        ValueError: there are no values, or some are not finite.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not sample.size or not np.isfinite(sample).all():
        raise ValueError(f"expected at least one finite value in one row, got {sample!r:.80}")
    n = len(sample)
    if n == 1:
        return Interval(1, float(sample[0]), float("nan"), float("nan"))
    low, high = np.quantile(resampled_medians(sample), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(n, float(np.median(sample)), float(low), float(high))


def resampled_medians(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """The medians of samples of the same size drawn from a sample with replacement, the same ones every time.

    Args:
        sample: (n,) numbers.

    Returns:
        (RESAMPLES,) medians.
    """
    medians: NDArray[np.float64] = np.median(sample[resampled(len(sample))], axis=1)
    return medians


def resampled(n: int, rows: int = RESAMPLES, *, start: int = 0, stream: int = 0) -> NDArray[np.intp]:
    """Places of samples drawn from n values with replacement, the same ones every time.

    Args:
        n: how many values there are, and are drawn.
        rows: how many samples.
        start: samples of different starts are independent, so that many can be drawn a few at a time.
        stream: samples of different streams are independent, as those of two groups have to be.

    Returns:
        (rows, n) places.
    """
    # Raw bits and integer arithmetic: the methods of NumPy's Generator may change with its version.
    bits = np.random.Philox(key=[_KEY, stream], counter=[0, start, 0, 0]).random_raw(rows * n) >> np.uint64(32)
    return ((bits * np.uint64(n)) >> np.uint64(32)).astype(np.intp).reshape(rows, n)


@dataclass(frozen=True, slots=True)
class RankTest:
    """A Mann-Whitney U test of two groups.

    Attributes:
        u: U of the first group.
        p: two-sided p value.
        superiority: probability that a run of the first group has the larger value; ties count half.
    """

    u: float
    p: float
    superiority: float


def mann_whitney(first: ArrayLike, second: ArrayLike) -> RankTest:
    """Whether values of one group tend to be larger than those of another; the p value of few runs is exact, ties too.

    Args:
        first: (n,) values.
        second: (m,) values.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    n, m = len(a), len(b)
    found = mannwhitneyu(a, b, alternative="two-sided")
    u, p = float(found.statistic), float(found.pvalue)
    # Where values are equal, scipy uses a normal distribution, whose p value is too small for few runs; its exact
    # permutation test takes ten times as long as this.
    if math.comb(n + m, n) <= _MOST_SPLITS:
        splits = np.array(list(combinations(range(n + m), n)), dtype=np.intp)
        all_u = rankdata(np.concatenate([a, b]))[splits].sum(axis=1) - n * (n + 1) / 2
        p = float((np.abs(all_u - n * m / 2) >= abs(u - n * m / 2) - 1e-9).mean())
    return RankTest(u, p, u / (n * m))


def kruskal_wallis(groups: Sequence[ArrayLike]) -> tuple[float, float]:
    """Whether any of several groups tends to have larger values: H and its p value.

    Args:
        groups: each (n,) values.
    """
    samples = [np.asarray(group, dtype=np.float64) for group in groups]
    if len(np.unique(np.concatenate(samples))) == 1:
        return 0.0, 1.0  # scipy has no answer where all values are one
    found = kruskal(*samples)
    return float(found.statistic), float(found.pvalue)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """The p values, corrected for having made several tests, in their own order.

    Args:
        p: (k,) p values.

    Returns:
        (k,) corrected ones: the i-th smallest of k times k - i, never falling, at most 1.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return corrected


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several groups at one budget.

    Attributes:
        intervals: one per group.
        best: index of the group with the best median.
        h: Kruskal and Wallis' H over the groups that can be tested; NaN for two or fewer.
        p: p value of the test of all groups: Kruskal-Wallis, or Mann-Whitney for two; NaN where none is possible.
        against_best: index of every other group that can be tested to its test, best group first, p corrected by Holm.
    """

    intervals: tuple[Interval, ...]
    best: int
    h: float
    p: float
    against_best: dict[int, RankTest]


def compare(groups: Sequence[ArrayLike], *, lower_is_better: bool = False) -> Comparison:
    """Compare groups of runs; a group of one run is shown and takes part in no test.

    Args:
        groups: each (n,) values, at least one value in each.
        lower_is_better: whether the best group has the smallest median.
    """
    samples = [np.asarray(group, dtype=np.float64) for group in groups]
    intervals = tuple(median_interval(sample) for sample in samples)
    medians = np.array([interval.median for interval in intervals])
    best = int(np.argmin(medians) if lower_is_better else np.argmax(medians))
    several = [index for index, sample in enumerate(samples) if len(sample) > 1]
    others = [index for index in several if index != best]
    if best not in several or not others:
        return Comparison(intervals, best, float("nan"), float("nan"), {})
    tests = [mann_whitney(samples[best], samples[index]) for index in others]
    corrected = holm([test.p for test in tests]).tolist()
    h, p = (float("nan"), tests[0].p) if len(several) == 2 else kruskal_wallis([samples[i] for i in several])
    pairs = zip(others, tests, corrected, strict=True)
    return Comparison(intervals, best, h, p, {index: RankTest(test.u, q, test.superiority) for index, test, q in pairs})


def share_interval(hits: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; from 0 to 1 where nothing was seen.

    Args:
        hits: how often it was so.
        of: in how many.
    """
    if not of:
        return 0.0, 1.0
    found = binomtest(int(hits), int(of)).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


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
        [sample[resampled(len(sample), rows, start=start)].mean(axis=1) for start in range(0, MEAN_RESAMPLES, rows)]
    )[:MEAN_RESAMPLES]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(sample.mean()), float(low), float(high))


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation, from -1 to 1; NaN where one side is constant. Equal values share their rank.

    Args:
        first: (n,) numbers, of which some may be infinite.
        second: (n,) numbers.
    """
    a, b = (rankdata(values) for values in (first, second))
    if not (np.ptp(a) and np.ptp(b)):
        return math.nan
    return float(np.clip(_unit(a) @ _unit(b), -1.0, 1.0))


def spearman(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Correlation:
    """Spearman's rank correlation, with a percentile bootstrap interval over the pairs and a permutation p.

    Args:
        first: (n,) finite numbers.
        second: (n,) finite numbers.
        confidence: share of the resampled correlations inside the interval.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    n = len(a)
    if n < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Correlation(np.nan, np.nan, np.nan, np.nan, n)
    chosen = resampled(n, MEAN_RESAMPLES)
    ranks = [rankdata(values[chosen], axis=1) for values in (a, b)]
    x, y = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    lengths = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    good = lengths > 0
    rhos = (x * y).sum(axis=1)[good] / lengths[good]
    low, high = np.quantile(rhos, [(1 - confidence) / 2, (1 + confidence) / 2])
    if np.ptp(rhos) < _SAME:
        low = high = np.nan
    p = _permutation_p(_unit(rankdata(a)), _unit(rankdata(b)))
    return Correlation(rank_correlation(a, b), float(low), float(high), p, n)


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


def p_text(p: float) -> str:
    """A p value with three decimals, or with two digits where that would be 0."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
