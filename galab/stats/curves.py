"""Curves of several runs: at common places, their best so far, and when they first reach a level.

A place is what a run had spent when it was measured: evaluations, generations or seconds.

A run that never reaches a level is censored: all that is known is that it takes longer than the run lasted. Medians
and rank tests need no more than that; means would (Kaplan and Meier, "Nonparametric estimation from incomplete
observations", 1958). "Never" is later than every time only among runs that lasted no longer than the censored one, so
:func:`times_to` looks at all runs up to one horizon, and counts what came later as never.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from galab.stats.intervals import Comparison, Interval, compare, median_interval, resampled_medians

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


def stays_ahead_from(
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


#: Budgets lie at most this far below the largest one.
_SPAN = 100.0


def value_at(places: ArrayLike, values: ArrayLike, budget: float) -> float:
    """What a run had last measured when it had spent a budget; NaN where it had measured nothing yet.

    A run that ended before the budget has no value there either: its last one would be compared with runs that went on.

    Args:
        places: (n,) what was spent at each measurement, rising.
        values: (n,) what was measured.
        budget: as much as may be spent.
    """
    spent, measured = np.asarray(places, dtype=np.float64), np.asarray(values, dtype=np.float64)
    place = int(np.searchsorted(spent, budget, side="right")) - 1
    if place < 0 or budget > spent[-1]:
        return math.nan
    return float(measured[place])


def default_budgets(places: Sequence[ArrayLike], count: int = 4) -> list[float]:
    """A few budgets that every run has reached, evenly spaced by ratio; the last is the smallest final number.

    Each is a place at which a run was measured, so that no two say the same.

    Args:
        places: each run's (n,) places of its measurements, rising.
        count: how many at most.

    Raises:
        ValueError: there are no runs, or one was never measured.
    """
    if not places or any(not np.size(run) for run in places):
        raise ValueError("expected at least one run, and a measurement in each, got none")
    last = min(float(np.max(run)) for run in places)
    first = min(last, max(last / _SPAN, *(float(np.min(run)) for run in places)))
    measured = np.unique(np.concatenate([np.asarray(run, dtype=np.float64) for run in places]))
    chosen = np.searchsorted(measured, np.geomspace(first, last, count) * (1 + 1e-12), side="right") - 1
    return sorted({float(budget) for budget in measured[chosen] if first <= budget} | {last})


def band(
    spent: Sequence[ArrayLike], values: Sequence[ArrayLike], points: int = 100
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and interval of several runs along their common stretch, where one of them was measured.

    Args:
        spent: each run's (n,) places, rising.
        values: each run's (n,) values.
        points: how many places at most.

    Returns:
        (k,) places, and (3, k) medians with the ends of their bootstrap intervals (NaN for a single run).
    """
    first = max(float(np.min(run)) for run in spent)
    last = min(float(np.max(run)) for run in spent)
    if last < first:
        return np.empty(0), np.empty((3, 0))
    places = np.unique(np.concatenate([np.asarray(run, dtype=np.float64) for run in spent]))
    places = places[(places >= first) & (places <= last)]
    if len(places) > points:  # evenly by ratio, as budgets are compared
        chosen = np.searchsorted(places, np.geomspace(max(places[0], 1.0), places[-1], points) * (1 + 1e-12), "right")
        places = places[np.unique(chosen - 1).clip(0)]
    rows = []
    for place in places:
        found = [value_at(run, measured, place) for run, measured in zip(spent, values, strict=True)]
        interval = median_interval(found)
        rows.append((interval.median, interval.low, interval.high))
    return places, np.array(rows).T


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """When runs reached a level.

    Attributes:
        first: (n,) the first place of each run at that level; infinity where it was not reached up to the horizon.
        horizon: how far all runs were watched: the end of the shortest one that never reached the level; infinity
            where all reached it.
        shortest: the index of that run, None where all reached it.
        late: (n,) whether a run reached the level after the horizon.
    """

    first: NDArray[np.float64]
    horizon: float
    shortest: int | None
    late: NDArray[np.bool_]

    @property
    def beyond(self) -> int:
        """How many runs reached the level after the horizon."""
        return int(self.late.sum())


def times_to(
    places: Sequence[ArrayLike], values: Sequence[ArrayLike], level: float, *, lower_is_better: bool = False
) -> Times:
    """When each run reached a level, as far as all of them were watched.

    Args:
        places: each run's (n,) evaluations, generations or seconds at its measurements, rising.
        values: each run's (n,) values.
        level: to reach.
        lower_is_better: whether values have to go down to it.

    Raises:
        ValueError: there are no runs, or one was never measured.
    """
    if not places or any(not np.size(run) for run in places):
        raise ValueError("expected at least one run, and a measurement in each, got none")
    pairs = zip(places, values, strict=True)
    first = np.array([first_reaching(run, own, level, lower_is_better=lower_is_better) for run, own in pairs])
    ends = np.array([float(np.max(run)) for run in places])
    ends[np.isfinite(first)] = math.inf
    shortest = int(np.argmin(ends))
    horizon = float(ends[shortest])
    late = np.isfinite(first) & (first > horizon)
    limited = None if math.isinf(horizon) else shortest
    return Times(np.where(late, math.inf, first), horizon, limited, late)
