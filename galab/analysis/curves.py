"""Curves of runs that were measured at different times, brought to common places.

A place is what a run had spent when it was measured: evaluations, generations or seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from galab.analysis.statistics import median_interval

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
