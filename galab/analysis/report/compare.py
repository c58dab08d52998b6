"""What ``galab compare`` reports and writes: groups of runs at equal budgets, and when they reach a level.

The files are a figure, and event files in which TensorBoard shows the same groups and bands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.summary import custom_scalars, hparams

from galab.analysis.base import lower_is_better, or_none
from galab.errors import RunFolderError, UsageError
from galab.stats.curves import band, compare_first, default_budgets, reached, times_to, value_at
from galab.stats.effect_size import Effect, effect
from galab.stats.intervals import Comparison, compare, median_interval
from galab.stats.plots import Band, Row, draw_question
from galab.storage.files import folder_error, read_json, write_json_atomic
from galab.training.tensorboard import EventFile
from galab.training.trials.curves import Curves

Values = dict[str, NDArray[np.float64]]


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
    """A row per group; infinity, which is "never", becomes None, as JSON has no infinity."""
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


def number(value: float) -> str:
    """A place of an axis in words: whole numbers whole, others with four digits."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1e4 else f"{value:,.4g}"


def _reach(found: Curves) -> str:
    last = max(float(curve.places[-1]) for curve in found.curves)
    first = min(float(curve.places[0]) for curve in found.curves)
    return f"they have values from {number(first)} to {number(last)}"


#: Says that a folder of event files was made here, and which folders are in it.
_MARK = "compare.json"
_EVENTS = "events.out.tfevents.*"
#: TensorBoard's steps are whole numbers: seconds are written as thousandths.
_STEPS = {"evaluations": ("evaluations", 1), "generations": ("generations", 1), "seconds": ("milliseconds", 1000)}


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A group's curve.

    Attributes:
        name: of the group.
        fields: the hyperparameters that make it.
        runs: how many there are.
        places: (k,) along the axis, the stretch that all its runs have in common.
        rows: (3, k) medians, lower and upper ends.
    """

    name: str
    fields: Mapping[str, Any]
    runs: int
    places: NDArray[np.float64]
    rows: NDArray[np.float64]


def groups_of(found: Curves) -> list[Group]:
    """The curve of each group."""
    groups = []
    for name in found.groups:
        own = found.of(name)
        places, rows = band([curve.places for curve in own], [curve.values for curve in own])
        groups.append(Group(name, own[0].fields, len(own), places, rows))
    return groups


def draw(found: Curves, groups: Sequence[Group], image: Path, *, budget: float, level: float | None = None) -> None:
    """Draw the curves, and beside them a dot per run: its value at a place, or when it reached a level.

    Args:
        found: the runs.
        groups: their curves.
        image: the file.
        budget: the place of the dots.
        level: when given, the dots are the places at which it was reached.

    Raises:
        OSError: the file cannot be written.
        UsageError: the suffix of the image names no known format.
    """
    bands = [Band(f"{one.name} ({_runs(one.runs)})", one.places, *one.rows) for one in groups]
    name = label_of(found.metric)
    if level is None:
        rows = [Row(key, own, median_interval(own)) for key, own in values_at(found, budget).items()]
        dots = f"{name} at {number(budget)} {found.axis}"
    else:
        rows = [Row(key, own, reached(own).interval) for key, own in times_of(found, level).items()]
        dots = f"{found.axis} to {found.metric.replace('_', ' ')} {level:g}"
    try:
        draw_question(
            image,
            bands,
            rows,
            labels=(found.axis_label, name, dots),
            title=f"Medians over runs, bands and lines: bootstrap 95 % intervals; a dot is a run; {found.data}",
            level=level,
            scaled=True,
        )
    except ValueError as error:
        raise UsageError(f"expected --figure as the name of an image such as compare.png, got: {error}") from None


def _runs(count: int) -> str:
    return f"{count} run{'s' if count > 1 else ''}"


def label_of(metric: str) -> str:
    """A metric in words, with the data that it is of."""
    name, data = metric.replace("_", " "), measured_on(metric)
    return name if name.startswith(data.split()[0]) else f"{name} ({data})"


def write_tensorboard(found: Curves, groups: Sequence[Group], folder: Path) -> list[Path]:
    """Write a folder of events per group: median, low and high along the axis, and its row in the hparams tab.

    The folder itself has the layout of the Custom Scalars tab, which draws the three as one band per group. Called
    again, it replaces what it wrote before.

    Args:
        found: the runs.
        groups: their curves.
        folder: to make.

    Returns:
        The folder of each group.

    Raises:
        UsageError: there is a folder that was not made here.
        RunFolderError: it cannot be written.
    """
    names = _folders([group.name for group in groups])
    _make_room(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise folder_error(folder, error) from error
    write_json_atomic(folder / _MARK, {"metric": found.metric, "axis": found.axis, "groups": names})
    unit, factor = _STEPS[found.axis]
    tag = f"{found.metric}_by_{unit}"
    layout = EventFile(folder, purge_step=0)
    layout.add(_layout(found, tag, unit), 0)
    layout.close()
    for group, name in zip(groups, names, strict=True):
        events = EventFile(folder / name, purge_step=0)
        for place, row in zip(group.places.tolist(), group.rows.T.tolist(), strict=True):
            events.add(_band(tag, row), round(place * factor))
        for summary in _hparams(group, tag):
            events.add(summary, 0)
        events.close()
    return [folder / name for name in names]


def _make_room(folder: Path) -> None:
    """Remove the events of an earlier comparison, and nothing else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / _MARK).is_file():
        raise UsageError(
            f"expected --tensorboard to name a new folder or one of an earlier comparison, got '{folder}', which holds "
            "other things; choose another name"
        )
    mark = read_json(folder / _MARK)
    names = mark.get("groups") if isinstance(mark, dict) else None
    if not isinstance(names, list):
        raise RunFolderError(f"expected groups in '{folder / _MARK}', got other data; remove the folder")
    try:
        for home in (folder, *(folder / str(name) for name in names if ".." not in Path(str(name)).parts)):
            for old in home.glob(_EVENTS):
                old.unlink()
    except OSError as error:
        raise folder_error(folder, error) from error


def _folders(names: Sequence[str]) -> list[str]:
    """A folder for each group, called as the group is, but for what a folder cannot be called."""
    taken: dict[str, None] = {}
    for name in names:
        parts = [re.sub(r"[^\w.,=+ -]+", "_", part).strip(" .") for part in re.split(r"[/\\]+", name)]
        stem = free = "/".join(part for part in parts if part) or "group"
        count = 1
        while free.lower() in (other.lower() for other in taken):
            count += 1
            free = f"{stem}-{count}"
        taken[free] = None
    return list(taken)


def _band(tag: str, row: list[float]) -> Summary:
    median, low, high = row
    # A single run has no interval: its band has no width, so that TensorBoard still draws the line.
    ends = {"median": median, "low": low if low == low else median, "high": high if high == high else median}
    return Summary(value=[Summary.Value(tag=f"{tag}/{name}", simple_value=value) for name, value in ends.items()])


def _layout(found: Curves, tag: str, unit: str) -> Summary:
    """The Custom Scalars tab: one chart with a band per group."""
    # TensorBoard's own function for this asks for TensorFlow.
    chart = ["Margin", [f"{tag}/{name}" for name in ("median", "low", "high")]]
    layout: Summary = custom_scalars({f"galab compare: {found.data}": {f"{label_of(found.metric)} by {unit}": chart}})
    return layout


def _hparams(group: Group, tag: str) -> list[Summary]:
    """A group's row in the hparams tab: what makes it, and where its curves end."""
    known = {name: value for name, value in group.fields.items() if value is not None}
    # TensorBoard takes the values from the curves of these tags.
    metrics = dict.fromkeys((f"{tag}/{word}" for word in ("median", "low", "high")), 0.0)
    return list(hparams({"group": group.name, "runs": group.runs, **known}, metrics))
