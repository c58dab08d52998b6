"""How well random directions, and what selection makes of them, point along a gradient.

The cosine c between a direction drawn evenly from all directions of D dimensions and any fixed one has the density
(1 - c^2)^((D - 3) / 2) / B(1/2, (D - 1) / 2): (c + 1) / 2 is Beta((D - 1) / 2, (D - 1) / 2). Mean 0, variance exactly
1 / D; N(0, 1 / D) is its limit, good near 0 and too generous far out. A step of independent normal numbers has such a
direction; one of other numbers of mean 0 has the same variance, and nearly the same law when D is large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from galab.analysis.statistics import share_interval
from galab.strategies.shaping import centred_ranks, pair_weights, raw, single_weights, without_failures

Floats = NDArray[np.float64]

#: Below this the logarithm of a probability is taken of a series.
_LOG_SMALL = -600.0
_MOST_TERMS = 10_000_000


def cosines(rows: NDArray[np.floating], direction: NDArray[np.floating]) -> Floats:
    """Cosine of each of several vectors with one; NaN where one of the two has no length, or an infinite one.

    Args:
        rows: (n, D).
        direction: (D,).

    Returns:
        (n,) from -1 to 1.
    """
    wanted = direction.astype(np.float64)
    # Row by row, so that no copy of all of them is made in float64.
    found = [_cosine(row.astype(np.float64), wanted) for row in rows]
    return np.array(found, dtype=np.float64)


def _cosine(one: Floats, other: Floats) -> float:
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.clip(one @ other / norms, -1, 1)) if norms > 0 and math.isfinite(norms) else math.nan


def density(cosine: ArrayLike, dimensions: int) -> Floats:
    """The exact density of a random direction's cosine.

    Args:
        cosine: where, from -1 to 1.
        dimensions: D, at least 2.
    """
    shape = (dimensions - 1) / 2
    return np.asarray(stats.beta.pdf((np.asarray(cosine, dtype=np.float64) + 1) / 2, shape, shape) / 2)


def log_tail(cosine: float, dimensions: int) -> float:
    """Natural logarithm of the probability that a random direction has at least this cosine; exact.

    For c > 0 it is half of the regularised incomplete beta function I_{1 - c^2}((D - 1) / 2, 1/2), which far out is
    smaller than any float: there its series in x = 1 - c^2 is taken, x^a (1 - x)^b / (a B(a, b)) 2F1(a + b, 1; a + 1;
    x) (DLMF 8.17.8).

    Args:
        cosine: from -1 to 1.
        dimensions: D, at least 2.
    """
    if cosine <= 0:
        return math.log1p(-math.exp(log_tail(-cosine, dimensions))) if cosine < 0 else math.log(0.5)
    if cosine >= 1:
        return -math.inf
    a, b, x = (dimensions - 1) / 2, 0.5, (1 - cosine) * (1 + cosine)
    leading = a * math.log(x) + b * math.log1p(-x) - math.log(a) - float(special.betaln(a, b)) - math.log(2)
    if leading > _LOG_SMALL:
        return math.log(0.5 * float(special.betainc(a, b, x)))
    # Ratios of neighbouring terms fall towards x, so 40 / (1 - x) terms leave nothing that float64 could see.
    places = np.arange(min(math.ceil(40 / (1 - x)), _MOST_TERMS))
    return leading + math.log1p(float(np.cumprod((a + b + places) / (a + 1 + places) * x).sum()))


def log10_mutations_for(cosine: float, dimensions: int, *, normal: bool = False) -> float:
    """Decimal logarithm of how many random directions it takes, on average, until one has at least this cosine.

    Args:
        cosine: from -1 to 1.
        dimensions: D.
        normal: by the limit N(0, 1 / D) in place of the exact law.
    """
    log = float(stats.norm.logsf(cosine * math.sqrt(dimensions))) if normal else log_tail(cosine, dimensions)
    return -log / math.log(10)


def expected_best(count: int, dimensions: int) -> float:
    """Mean of the largest cosine among n random directions: the integral of the quantile at u^(1/n) over u.

    Args:
        count: n.
        dimensions: D.
    """
    shape, places = (dimensions - 1) / 2, (np.arange(4096) + 0.5) / 4096
    return float(np.mean(2 * stats.beta.ppf(places ** (1 / count), shape, shape) - 1))


def batch_cosine(size: ArrayLike, spread: float, whole: int) -> Floats:
    """Cosine of a minibatch gradient with the full one, of B out of N examples without replacement.

    1 / sqrt(1 + v (N - B) / ((N - 1) B)), where v is the trace of the covariance of the examples' gradients over |g|^2.

    Args:
        size: B.
        spread: v.
        whole: N.
    """
    sizes = np.asarray(size, dtype=np.float64)
    return np.asarray(1 / np.sqrt(1 + spread * (whole - sizes) / (max(whole - 1, 1) * sizes)))


def gradient_spread(squares: ArrayLike, full: float, size: int, whole: int) -> float:
    """The v of :func:`batch_cosine`, from squared lengths of minibatch gradients.

    E |g_B|^2 = |g|^2 (1 + v (N - B) / ((N - 1) B)).

    Args:
        squares: (R,) of minibatches of one size.
        full: squared length of the full gradient.
        size: B, below N.
        whole: N.
    """
    if not full > 0 or size >= whole:
        return math.nan
    return (float(np.mean(np.asarray(squares, dtype=np.float64))) / full - 1) * (whole - 1) * size / (whole - size)


@dataclass(frozen=True, slots=True)
class Share:
    """How often something happened.

    Attributes:
        count: so often.
        total: out of so many.
        share: their ratio; NaN out of none.
        low: lower end of Wilson's 95 % interval.
        high: its upper end.
    """

    count: int
    total: int
    share: float
    low: float
    high: float


def share_of(happened: NDArray[np.bool_]) -> Share:
    """A share with its interval, see :func:`galab.analysis.statistics.share_interval`.

    Args:
        happened: (R,) whether it did.
    """
    count, total = int(np.count_nonzero(happened)), len(happened)
    if not total:
        return Share(0, 0, math.nan, math.nan, math.nan)
    return Share(count, total, count / total, *share_interval(count, total))


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """What n mutations of one network gained, all of the same step size.

    Attributes:
        noise: (n, D) float32, the mutations in units of the step size.
        gains: (n,) fitness minus the parent's on a minibatch; NaN is a failure.
        mirrored: (n // 2,) the same of the first mutations with the opposite sign.
        full: (n,) fitness minus the parent's on the full data.
    """

    noise: NDArray[np.float32]
    gains: Floats
    mirrored: Floats
    full: Floats


BEST, BEST_FULL = "best of n by the minibatch", "best of n by the full data"
ESTIMATES = ("ES one-sided", "ES one-sided, ranks", "ES antithetic", "ES antithetic, ranks")


def mean_of_best(count: int) -> str:
    """What the mean of the best k is called."""
    return f"mean of the best {count:,} of n"


def best_places(gains: Floats, count: int) -> NDArray[np.int64]:
    """Places of the k largest gains, best first; failures last, of equals the earlier one."""
    return np.argsort(-np.where(np.isfinite(gains), gains, -np.inf), kind="stable")[:count]


def directions(tried: Tried, top: Sequence[int]) -> dict[str, NDArray[np.float32]]:
    """The steps that selection and evolution strategies make of the same mutations, up to their lengths.

    One-sided estimates use all n mutations, antithetic ones the first n / 2 with both signs: n evaluations each.
    Salimans et al., "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", 2017.

    Args:
        tried: the mutations.
        top: means of how many of the best by the minibatch.

    Returns:
        Name to (D,).
    """
    noise = tried.noise
    found = {BEST: noise[best_places(tried.gains, 1)[0]], BEST_FULL: noise[best_places(tried.full, 1)[0]]}
    found |= {mean_of_best(k): noise[best_places(tried.gains, k)].mean(axis=0) for k in top}
    pairs = len(tried.mirrored)
    both = np.empty(2 * pairs)
    both[0::2], both[1::2] = tried.gains[:pairs], tried.mirrored
    for place, shaping in enumerate((raw, centred_ranks)):
        single = single_weights(shaping(without_failures(tried.gains), 1), 1)
        odd = pair_weights(shaping(without_failures(both), 1))
        found[ESTIMATES[place]] = single.astype(np.float32) @ noise
        found[ESTIMATES[2 + place]] = odd.astype(np.float32) @ noise[:pairs]
    return found


def even_to_odd(tried: Tried) -> float:
    """Variance of the even part of the gains, which a pair cancels, over that of the odd part; NaN for none."""
    pairs = len(tried.mirrored)
    plus, minus = tried.gains[:pairs], tried.mirrored
    known = np.isfinite(plus) & np.isfinite(minus)
    odd, even = (plus - minus)[known] / 2, (plus + minus)[known] / 2
    energy = float(np.mean(odd**2)) if known.any() else 0.0
    return float(even.var()) / energy if energy > 0 else math.nan
