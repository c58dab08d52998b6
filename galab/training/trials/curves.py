"""Curves of runs for a comparison: one curve a run, grouped by hyperparameters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig, complete
from galab.config.option import default_of
from galab.config.registry import TASKS, is_environment
from galab.config.strategy_kinds import kind_of, label_of
from galab.errors import RunFolderError, UsageError, closest, printable
from galab.storage.groups import runs_below
from galab.storage.log import last_line, read_log
from galab.storage.run_folder import RunFolder
from galab.training.saved_state import read_state

#: What runs may be compared by: the field of the log, and its name on an axis.
AXES = {
    "evaluations": ("evaluations", "evaluations"),
    "generations": ("generation", "generations"),
    "episodes": ("episodes", "episodes"),
    "frames": ("frames", "frames of the environment"),
    "seconds": ("seconds", "seconds (wall time of each run on its own machine)"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One run.

    Attributes:
        group: what it is compared by, in words.
        path: its folder.
        places: (n,) evaluations, generations or seconds at each measurement, rising.
        values: (n,) what was measured.
        fields: the hyperparameters that make its group.
    """

    group: str
    path: Path
    places: NDArray[np.float64]
    values: NDArray[np.float64]
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Curves:
    """Runs that can be compared.

    Attributes:
        curves: one per run.
        data: the data set that all of them were made with, in words.
        left_out: folders of runs that never measured the metric.
        metric: what was measured, a field of the log.
        axis: what their places are, a key of :data:`AXES`.
        gradients: whether some of them used gradients.
        episodes: whether they were scored by episodes.
    """

    curves: tuple[Curve, ...]
    data: str
    left_out: tuple[Path, ...]
    metric: str = "validation_accuracy"
    axis: str = "evaluations"
    gradients: bool = False
    episodes: bool = False

    @property
    def unit(self) -> str:
        """What their evaluations are, in words."""
        if self.episodes:
            return "steps of the environment"
        return f"members x examples{', of gradients backwards too' if self.gradients else ''}"

    @property
    def axis_label(self) -> str:
        """What a figure calls the axis, with its unit."""
        label = AXES[self.axis][1]
        return f"{label} ({self.unit})" if self.axis == "evaluations" else label

    @property
    def groups(self) -> list[str]:
        """Names of the groups, in the order in which they came."""
        return list(dict.fromkeys(curve.group for curve in self.curves))

    def of(self, group: str) -> list[Curve]:
        """The runs of a group."""
        return [curve for curve in self.curves if curve.group == group]


def read_curves(
    paths: Sequence[Path],
    *,
    by: Sequence[str] = (),
    metric: str = "validation_accuracy",
    axis: str = "evaluations",
) -> Curves:
    """Read runs, groups, sweeps and folders that hold such.

    Args:
        paths: where they are.
        by: hyperparameters whose values make the groups; without any, each path is a group.
        metric: a field of the log.
        axis: what the runs are compared by, a key of :data:`AXES`.

    Raises:
        UsageError: an unknown hyperparameter, metric or axis, or runs on different data.
        RunFolderError: a path holds no runs, or a run is damaged.
    """
    if axis not in AXES:
        raise UsageError(f"expected an axis among {', '.join(AXES)}, got '{axis}'.{closest(axis, list(AXES))}")
    known = [item.name for item in dataclasses.fields(RunConfig)]
    by = [name.strip().removeprefix("--").replace("-", "_") for name in by]
    for name in by:
        if name not in known:
            raise UsageError(f"no hyperparameter is called '{name}'.{closest(name, known)} `galab options` lists them.")
    found: dict[Path, tuple[RunFolder, str]] = {}
    for path in map(Path, paths):
        runs = runs_below(path)
        if not runs:
            raise RunFolderError(f"expected runs at '{path}', found none; `galab list` shows the runs")
        for run in runs:
            found.setdefault(run.path.resolve(), (run, str(path)))
    contents = {run.path: run.read_config() for run, _ in found.values()}
    data = _same_data(contents)
    values = {path: _values(content, by) for path, content in contents.items()}
    labels = _labels(values, by)
    curves, left_out = [], []
    for run, argument in found.values():
        group = labels[run.path] if by else argument
        places, measured = _measured(run, metric, AXES[axis][0])
        if len(places):
            fields = dict(zip(by, values[run.path], strict=True))
            curves.append(Curve(group, run.path, places, measured, fields))
        else:
            left_out.append(run.path)
    if not curves:
        raise UsageError(_no_metric(metric, [run for run, _ in found.values()]))
    strategies = {contents[curve.path]["hyperparameters"].get("strategy", "ga") for curve in curves}
    gradients = any(kind_of(strategy).gradients for strategy in strategies)
    episodes = any(is_environment(contents[curve.path]["hyperparameters"].get("task", "")) for curve in curves)
    return Curves(tuple(curves), data, tuple(left_out), metric, axis, gradients, episodes)


def _values(content: dict[str, Any], by: Sequence[str]) -> tuple[Any, ...]:
    """A run's hyperparameters that make its group; what an older run does not name has its default."""
    fields = RunConfig.__dataclass_fields__
    own = complete(content["hyperparameters"])
    return tuple(own.get(name, default_of(fields[name], "")) for name in by)


def _labels(values: Mapping[Path, tuple[Any, ...]], by: Sequence[str]) -> dict[Path, str]:
    """The group of each run: the values of its hyperparameters in words, short where that keeps them apart."""
    for digits in (2, 4, 17):
        words = {key: _words(by, key, digits) for key in set(values.values())}
        if len(set(words.values())) == len(words):
            break
    return {path: words[key] for path, key in values.items()}


def _words(by: Sequence[str], values: Sequence[Any], digits: int) -> str:
    parts = [f"{value:.{digits}g}" if isinstance(value, float) else printable(label_of(str(value))) for value in values]
    return ", ".join(f"{name} {part}" for name, part in zip(by, parts, strict=True))


def _same_data(contents: dict[Path, dict[str, Any]]) -> str:
    """The description of the data that all runs were made with.

    Data that is made from a run's key differs from seed to seed. It counts as the same where the task, its arguments
    and its description are the same, and runs with the same key have the same bytes.
    """
    first: tuple[Path, dict[str, Any]] | None = None
    known: dict[Any, Any] = {}
    for path, content in contents.items():
        if not isinstance(content.get("hyperparameters"), dict):
            raise RunFolderError(f"expected hyperparameters in '{path}/config.json', found none; restore the file")
        data = content.get("data") or read_state(path)["task"]  # a branched run names its data in checkpoints alone
        if first is None:
            first = path, data
        same = _made_like(data, content) == _made_like(first[1], contents[first[0]])
        if not same or known.setdefault(data.get("run_key"), data.get("fingerprint")) != data.get("fingerprint"):
            raise UsageError(
                f"expected runs on the same data, got '{first[0]}' on {first[1].get('description', 'unknown data')} "
                f"and '{path}' on {data.get('description', 'unknown data')}; compare those of one data set"
            )
    return printable(str(first[1].get("description", ""))) if first else ""


def _made_like(data: dict[str, Any], content: dict[str, Any]) -> Any:
    """What is the same for all runs on the same data."""
    if "run_key" not in data:
        return data.get("fingerprint")
    call = TASKS.parse(content["hyperparameters"].get("task", ""))
    return call.short, call.arguments, data.get("description"), data.get("input_shape"), data.get("outputs")


def _measured(run: RunFolder, metric: str, place: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A run's places and values where the metric was logged, the champion's last measurement included."""
    log = [line for line in read_log(run.log_path) if _is_number(line.get(place))]
    points = [(line[place], line[metric]) for line in log if _is_number(line.get(metric))]
    status = run.read_status() or {}
    final = (status.get("result") or {}).get(metric)
    if log and _is_number(final) and status.get("generation") == log[-1]["generation"]:
        last = log[-1][place]
        if not points or points[-1][0] < last:  # a run may end between two reports
            points.append((last, final))
    rows = np.array(points, dtype=np.float64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _no_metric(metric: str, runs: Sequence[RunFolder]) -> str:
    measured = dict.fromkeys(
        name
        for run in runs
        for line in (last_line(run.log_path, having="champion"), last_line(run.log_path))
        for name, value in (line or {}).items()
        if _is_number(value)
    )
    return (
        f"expected a metric that the runs have measured, got '{metric}'.{closest(metric, list(measured))} "
        f"They have measured: {', '.join(measured) or 'nothing yet'}."
    )
