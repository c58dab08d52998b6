"""What ``galab compare`` says: groups of runs at equal budgets, and when they reach a level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.curves import default_budgets, value_at
from galab.analysis.effects import Effect, effect
from galab.analysis.statistics import Comparison, compare
from galab.analysis.targets import times_to
from galab.analysis.trials import compare_first, reached
from galab.errors import UsageError
from galab.lab.curves import Curves
from galab.questions.analysis import or_none

Values = dict[str, NDArray[np.float64]]
#: Words in metrics of which less is better.
_TO_BE_SMALL = ("loss", "error", "weights_distance")


def compared(found: Curves, *, at: Sequence[float] | None = None, to: Sequence[float] = ()) -> dict[str, Any]:
    """Everything about groups of runs, as plain data.

    Args:
        found: the runs.
        at: places of the axis at which to compare; None takes a few that all runs have reached.
        to: levels of the metric; each is compared by when it was first reached.

    Raises:
        UsageError: no run has a value at one of the places.
    """
    budgets = default_budgets([curve.places for curve in found.curves]) if at is None else at
    return {
        "metric": found.metric,
        "measured_on": measured_on(found.metric),
        "data": found.data,
        "axis": found.axis,
        "unit": found.unit,
        "budgets": [_at(found, budget) for budget in budgets],
        "targets": [_to(found, level) for level in to],
    }


def values_at(found: Curves, budget: float) -> Values:
    """(n,) the values of each group's runs at a place, without those that have none there."""
    values = {
        name: np.array([value_at(one.places, one.values, budget) for one in found.of(name)]) for name in found.groups
    }
    return {name: own[np.isfinite(own)] for name, own in values.items() if np.isfinite(own).any()}


def times_of(found: Curves, level: float) -> Values:
    """(n,) when each group's runs first reached a level; infinity is never, as far as all runs were watched."""
    times = _times(found, level)
    groups = np.array([curve.group for curve in found.curves])
    return {name: times.first[groups == name] for name in found.groups}


def _times(found: Curves, level: float) -> Any:
    places, values = [curve.places for curve in found.curves], [curve.values for curve in found.curves]
    return times_to(places, values, level, lower_is_better=lower_is_better(found.metric))


def _at(found: Curves, budget: float) -> dict[str, Any]:
    """Everything about one place of the axis."""
    there = values_at(found, budget)
    if not there:
        raise UsageError(f"expected runs with a value at {number(budget)} {found.axis}, got none; {_reach(found)}")
    lower = lower_is_better(found.metric)
    result = compare(list(there.values()), lower_is_better=lower)
    rows = [{found.axis: budget, **row} for row in _rows(there, result, lower=lower)]
    missing = {name: len(found.of(name)) - len(there.get(name, ())) for name in found.groups}
    return {
        found.axis: budget,
        "groups": rows,
        "test": _test(result, there),
        "without_value": {name: count for name, count in missing.items() if count},
    }


def _to(found: Curves, level: float) -> dict[str, Any]:
    """Everything about when a level was reached."""
    times, first = _times(found, level), times_of(found, level)
    result = compare_first(list(first.values()))
    counts = [reached(own).count for own in first.values()]
    groups = np.array([curve.group for curve in found.curves])
    later = [int(times.late[groups == name].sum()) for name in first]
    rows = _rows(first, result, lower=True)
    shortest = None if times.shortest is None else found.curves[times.shortest].path.as_posix()
    return {
        "level": level,
        "watched": or_none(times.horizon),
        "shortest": shortest,
        "beyond": times.beyond,
        "groups": [
            {"to": level, **row, "reached": count, "later": late}
            for row, count, late in zip(rows, counts, later, strict=True)
        ],
        "test": _test(result, first),
    }


def _rows(values: Values, result: Comparison, *, lower: bool) -> list[dict[str, Any]]:
    """A row per group; infinity, which is "never", becomes None, as JSON knows no infinity."""
    best = list(values.values())[result.best]
    rows = []
    for place, (name, own) in enumerate(values.items()):
        interval, versus = result.intervals[place], result.against_best.get(place)
        rows.append(
            {
                "group": name,
                "seeds": interval.count,
                "median": or_none(interval.median),
                "low": or_none(interval.low),
                "high": or_none(interval.high),
                "best": place == result.best,
                "p": versus.p if versus else None,
                **_effect(effect(best, own, lower_is_better=lower) if versus else None),
            }
        )
    return rows


def _effect(found: Effect | None) -> dict[str, Any]:
    """How much better the best group is than one of the others."""
    if found is None:
        names = ("best_is_better", "best_is_better_low", "best_is_better_high", "cliffs_delta")
        return dict.fromkeys((*names, "difference", "difference_low", "difference_high"))
    return {
        "best_is_better": found.superiority,
        "best_is_better_low": or_none(found.superiority_low),
        "best_is_better_high": or_none(found.superiority_high),
        "cliffs_delta": found.delta,
        "difference": or_none(found.difference),
        "difference_low": or_none(found.difference_low),
        "difference_high": or_none(found.difference_high),
    }


def _test(result: Comparison, values: Values) -> dict[str, Any]:
    """The test of all groups."""
    names = list(values)
    if not result.against_best:
        alone = [name for name, own in values.items() if len(own) == 1]
        reason = f"one run only in {', '.join(alone)}" if alone else "there is one group"
        return {"name": None, "reason": f"no test is possible: {reason}"}
    if math.isnan(result.h):
        ((other, versus),) = result.against_best.items()
        pair = {"first": names[result.best], "second": names[other]}
        return {"name": "Mann-Whitney", **pair, "u": versus.u, "p": result.p}
    return {"name": "Kruskal-Wallis", "h": result.h, "p": result.p}


def measured_on(metric: str) -> str:
    """The data behind a field of the log, in words."""
    for split in ("validation", "test"):
        if metric.startswith(split):
            return f"{split} data"
    return "training data"


def lower_is_better(metric: str) -> bool:
    """Whether a metric is to be small."""
    return any(word in metric for word in _TO_BE_SMALL)


def number(value: float) -> str:
    """A place of an axis in words: whole numbers whole, others with four digits."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1e4 else f"{value:,.4g}"


def _reach(found: Curves) -> str:
    last = max(float(curve.places[-1]) for curve in found.curves)
    first = min(float(curve.places[0]) for curve in found.curves)
    return f"they have values from {number(first)} to {number(last)}"
