"""Which step size would have been best at several moments of a run, and how far the run was from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galab.analysis.best_of import best_of
from galab.analysis.statistics import median_interval

Floats = NDArray[np.float64]

#: Estimates whose cosine comes so near to the best count as good.
_AS_GOOD = 0.95
#: A step size below this share of the oracle's has collapsed.
COLLAPSED = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What the oracle says at one generation.

    Attributes:
        generation: which.
        sigma: the best step size; NaN where none is better than another.
        low: lower end of its interval: the best of resamples, or the smallest that is about as good; NaN where
            there are too few samples for one.
        high: upper end, or NaN.
        worth: (scalar) what it gives: the expected best change, or the cosine.
        sigmas: (S,) the step sizes that were tried.
        values: (S,) what each gives.
    """

    generation: int
    sigma: float
    low: float
    high: float
    worth: float
    sigmas: Floats
    values: Floats


def moment_of_mutations(generation: int, sigmas: Sequence[float], change: Floats, count: int) -> Moment:
    """The step size with the largest expected best of ``count``, and those that win in 95 % of resamples, if known.

    Args:
        generation: which.
        sigmas: S step sizes.
        change: (S, N) of the fitness, the same noise at each step size.
        count: of how many children.
    """
    steps, best = np.array(sigmas), best_of(change, count)
    if best.winner < 0 or np.nanmax(best.expected) == np.nanmin(best.expected):
        return Moment(generation, np.nan, np.nan, np.nan, np.nan, steps, best.expected)
    low, high = (np.nan, np.nan) if best.range is None else (float(steps[at]) for at in best.range)
    worth = float(best.expected[best.winner])
    return Moment(generation, float(steps[best.winner]), low, high, worth, steps, best.expected)


def moment_of_estimates(generation: int, sigmas: Sequence[float], estimates: Floats, gradient: Floats) -> Moment:
    """The largest step size whose estimate of the gradient is about as near to it as the best, and the range of these.

    On a smooth fitness the cosine falls with the step size, and hardly at all at first, so which is the best among
    small ones is chance; the largest of the good ones is not, and it is the least troubled by rounding.

    Args:
        generation: which.
        sigmas: S step sizes.
        estimates: (S, D) of the gradient, of any length.
        gradient: (D,) the true one.
    """
    steps = np.array(sigmas)
    lengths = np.linalg.norm(estimates, axis=1) * np.linalg.norm(gradient)
    cosines = np.where(lengths > 0, estimates @ gradient / np.where(lengths > 0, lengths, 1), np.nan)
    if np.isnan(cosines).all() or np.nanmax(cosines) <= 0:
        return Moment(generation, np.nan, np.nan, np.nan, np.nan, steps, cosines)
    winner = int(np.nanargmax(cosines))
    good = steps[np.nan_to_num(cosines, nan=-1) >= _AS_GOOD * cosines[winner]]
    worth = float(cosines[winner])
    return Moment(generation, float(good.max()), float(good.min()), float(good.max()), worth, steps, cosines)


@dataclass(frozen=True, slots=True)
class Collapse:
    """How far a run's step size was from the oracle's.

    Attributes:
        ratio: median of actual over oracle's at the oracle's moments; NaN without an oracle.
        low: lower end of its bootstrap interval.
        high: upper end.
        collapsed: share of the generations with less than a tenth of the oracle's.
        longest: generations on end of these, at the most.
        at_floor: mean share of the step sizes at their floor; NaN where that is not known.
    """

    ratio: float
    low: float
    high: float
    collapsed: float
    longest: int
    at_floor: float


def collapse(
    generations: NDArray[np.int64], actual: Floats, moments: Sequence[Moment], *, floor_share: Floats
) -> Collapse:
    """Compare the step sizes of a log with the oracle's, which is interpolated between its moments in logarithms.

    Args:
        generations: (n,) rising.
        actual: (n,) step sizes.
        moments: what the oracle says.
        floor_share: (n,) share of the step sizes at their floor, or NaN.
    """
    floor = float(np.nanmean(floor_share)) if np.isfinite(floor_share).any() else float("nan")
    known = [one for one in moments if np.isfinite(one.sigma)]
    if not known:
        return Collapse(np.nan, np.nan, np.nan, np.nan, 0, floor)
    when = [one.generation for one in known]
    oracle = np.array([one.sigma for one in known])
    found = median_interval(interpolated(generations, actual, when) / oracle)
    few = actual < COLLAPSED * interpolated(when, oracle, generations)
    return Collapse(found.median, found.low, found.high, float(few.mean()), _longest(generations, few), floor)


def interpolated(x: Sequence[int] | NDArray[np.int64], y: Floats, at: Sequence[int] | NDArray[np.int64]) -> Floats:
    """Positive values between known ones, straight in logarithms; the first and last go on beyond the ends.

    Args:
        x: (n,) rising places.
        y: (n,) positive values.
        at: (m,) where they are wanted.
    """
    return np.asarray(np.exp(np.interp(at, x, np.log(y))))


def _longest(generations: NDArray[np.int64], marked: NDArray[np.bool_]) -> int:
    """Generations from the first to the last of the longest row of marks."""
    longest, start = 0, -1
    for generation, mark in zip(generations.tolist(), marked.tolist(), strict=True):
        start = (generation if start < 0 else start) if mark else -1
        longest = max(longest, generation - start + 1 if mark else 0)
    return longest
