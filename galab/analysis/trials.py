"""Curves of several trials of one configuration: where they stand, their best so far, and when they reach a level.

A trial that never reaches a level is censored: all that is known is that it takes longer than was waited. Medians and
rank tests need no more than that, means would (Kaplan and Meier, "Nonparametric estimation from incomplete
observations", 1958, for the general case).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from galab.analysis.statistics import Comparison, Interval, compare, median_interval, resampled_medians

Array = NDArray[np.float64]


def best_so_far(values: ArrayLike, *, lower_is_better: bool = False) -> Array:
    """The best of each value and those before it.

    Args:
        values: (n,) in order of time; NaN is no value.
        lower_is_better: whether the smallest is the best.

    Returns:
        (n,), NaN until there is a value.
    """
    found = np.asarray(values, dtype=np.float64)
    best = np.fmin.accumulate(found) if lower_is_better else np.fmax.accumulate(found)
    return np.asarray(best, dtype=np.float64)


def first_reaching(generations: ArrayLike, values: ArrayLike, level: float, *, lower_is_better: bool = False) -> float:
    """The first generation whose value is at least as good as a level; infinity where there is none.

    Args:
        generations: (n,) rising.
        values: (n,) what was measured then; NaN reaches nothing.
        level: to reach.
        lower_is_better: whether values have to go down to it.
    """
    found = np.asarray(values, dtype=np.float64)
    there = np.flatnonzero(found <= level if lower_is_better else found >= level)
    return float(np.asarray(generations, dtype=np.float64)[there[0]]) if there.size else float("inf")


@dataclass(frozen=True, slots=True)
class Reached:
    """When the trials of a configuration reached a level.

    Attributes:
        count: how many of them did.
        interval: the median generation with its interval; infinity is "never", which is later than any generation.
    """

    count: int
    interval: Interval


def reached(first: ArrayLike, confidence: float = 0.95) -> Reached:
    """Count, median and bootstrap interval of first generations, of which some may be infinite.

    Args:
        first: (n,) first generations; infinity where a trial never reached the level.
        confidence: share of the bootstrap medians inside the interval.

    Raises:
        ValueError: there are no values, or one is NaN.
    """
    sample = np.asarray(first, dtype=np.float64)
    if sample.ndim != 1 or not sample.size or np.isnan(sample).any():
        raise ValueError(f"expected at least one generation in one row, got {sample!r:.80}")
    count = int(np.isfinite(sample).sum())
    if count == len(sample):
        return Reached(count, median_interval(sample, confidence))
    if len(sample) == 1:
        return Reached(0, Interval(1, float("inf"), float("nan"), float("nan")))
    # Between a generation and never there is nothing to interpolate: each end is one of the resampled medians.
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(resampled_medians(sample), ends, method="inverted_cdf")
    return Reached(count, Interval(len(sample), float(np.median(sample)), float(low), float(high)))


def compare_first(groups: Sequence[ArrayLike]) -> Comparison:
    """Compare configurations by when their trials reached a level; the earliest median is best.

    Args:
        groups: each (n,) first generations; infinity where a trial never reached the level.
    """
    samples = [np.asarray(group, dtype=np.float64) for group in groups]
    everything = np.concatenate(samples)
    finite = everything[np.isfinite(everything)]
    # Tests by rank ask only which is larger, so any number beyond all others stands for "never".
    never = float(finite.max()) + 1.0 if finite.size else 1.0
    found = compare([np.where(np.isfinite(sample), sample, never) for sample in samples], lower_is_better=True)
    intervals = tuple(reached(sample).interval for sample in samples)
    return Comparison(intervals, found.best, found.h, found.p, found.against_best)


def passing(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], *, lower_is_better: bool = False
) -> float:
    """From where on a second trial stays better than a first one to the end of what both have measured.

    Args:
        first: (n,) rising places and (n,) values of one trial.
        second: (m,) places and (m,) values of the other.
        lower_is_better: whether less is better.

    Returns:
        The first place of those where either was measured; infinity where the second is not ahead at the end, or
        where one has no value.
    """
    ends = [np.asarray(one[0], dtype=np.float64) for one in (first, second)]
    if not all(len(places) for places in ends):
        return float("inf")
    places = np.unique(np.concatenate(ends))
    places = places[places <= min(one[-1] for one in ends)]
    a, b = (at_generations(one[0], one[1], places) for one in (first, second))
    behind = np.flatnonzero(~(b < a if lower_is_better else b > a))
    start = behind[-1] + 1 if behind.size else 0
    return float(places[start]) if start < len(places) else float("inf")


def at_generations(generations: ArrayLike, values: ArrayLike, wanted: ArrayLike) -> Array:
    """What a trial had last measured at each of some generations.

    A trial that ended before keeps its last value: it had nothing left to do.

    Args:
        generations: (n,) of the measurements, rising.
        values: (n,) what was measured.
        wanted: (k,) generations.

    Returns:
        (k,), NaN before the first measurement.
    """
    found = np.asarray(values, dtype=np.float64)
    places = np.searchsorted(np.asarray(generations, dtype=np.float64), np.asarray(wanted), side="right") - 1
    if not found.size:
        return np.full(places.shape, np.nan)
    return np.where(places >= 0, found[places.clip(0)], np.nan)


def spread_out(last: int, points: int = 120, first: int = 1) -> NDArray[np.int64]:
    """Generations up to the last at which curves are drawn: close together at the start, where they are steep.

    Args:
        last: the last generation, at least the first.
        points: about how many.
        first: the first one, at least 1.
    """
    half = max(2, points // 2)
    both = np.concatenate([np.geomspace(first, last, half), np.linspace(first, last, half)])
    return np.unique(np.rint(both).astype(np.int64))


def band_of(curves: ArrayLike) -> Array:
    """Median and bootstrap interval over trials, at each place.

    Args:
        curves: (S, k) one row per trial; NaN is no value.

    Returns:
        (3, k) medians, lower and upper ends; NaN where no trial has a value, and as ends where only one has.
    """
    rows = np.asarray(curves, dtype=np.float64)
    found = np.full((3, rows.shape[1]), np.nan)
    for place, column in enumerate(rows.T):
        there = column[np.isfinite(column)]
        if there.size:
            interval = median_interval(there)
            found[:, place] = interval.median, interval.low, interval.high
    return found
