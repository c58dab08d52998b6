"""The curves of a report: one figure for what belongs together."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galab.analysis.report.facts import Facts, series
from galab.stats.curves import band
from galab.stats.plots import Band, draw_bands


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn in one figure.

    Attributes:
        title: what it shows, and on what data.
        y_label: of the y axis.
        fields: label to field of the log.
        ends: fields of the lower and upper end of a band around the first curve, if there is one.
        by_ratio: whether the y axis is logarithmic.
        idle: whether it says nothing where it never changes.
    """

    title: str
    y_label: str
    fields: dict[str, str]
    ends: tuple[str, str] | None = None
    by_ratio: bool = False
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that was drawn.

    Attributes:
        title: what it shows.
        image: as PNG.
    """

    title: str
    image: bytes


CHARTS = (
    Chart("Fitness, on the training data", "fitness (higher is better)",
          {"best member": "fitness_best", "mean of the cohort": "fitness_mean"}),
    Chart("Accuracy on each data set; on training data that of the generation's best member", "accuracy",
          {"validation": "validation_accuracy", "test (not used)": "test_accuracy",
           "training, best member": "train_accuracy"}),
    Chart("Loss on each data set; on training data that of the generation's best member", "loss",
          {"validation": "validation_loss", "test (not used)": "test_loss",
           "training, best member": "train_loss"}),
    Chart("Step size: mean of the parents, and from the smallest to the largest", "step size",
          {"mean": "step_size"}, ("step_size_min", "step_size_max"), by_ratio=True,
          idle=True),
    Chart("Success rate: children better than their parents, on the training data", "share of children",
          {"success rate": "selection_success_rate"}),
    Chart("Diversity: root mean square distance between parents", "distance", {"parents": "diversity_distance"}),
    Chart("Age of the parents' last common ancestor", "generations", {"age": "diversity_common_ancestor"}),
    Chart("Cosine of the estimate with the true gradient, on the training data", "cosine",
          {"measured": "estimate_cosine", "predicted": "estimate_cosine_predicted"}),
    Chart("Learning rate", "learning rate", {"learning rate": "learning_rate"}, idle=True),
    Chart("Length of the weights", "Euclidean norm", {"centre": "weights_norm"}),
    Chart("Members without a finite fitness, in each generation", "members", {"failures": "failures"}, idle=True),
)  # fmt: skip
#: What is drawn of a group: median and interval over its runs.
POOLED = ("fitness_best", "validation_accuracy", "test_accuracy", "validation_loss", "step_size", "estimate_cosine")


def curves_of(facts: Facts) -> list[Figure]:
    """The figures of a run; those of which it has logged nothing are left out."""
    figures = []
    for chart in CHARTS:
        bands = [one for label, name in chart.fields.items() if (one := _band(facts, label, name, chart)) is not None]
        flat = all(one.x.size > 1 and np.ptp(one.middle) == 0 for one in bands)
        if bands and not (chart.idle and flat):
            figures.append(_draw(chart.title, chart.y_label, bands, by_ratio=chart.by_ratio))
    return figures


def _band(facts: Facts, label: str, name: str, chart: Chart) -> Band | None:
    points = np.array(series(facts.log, name), dtype=np.float64).reshape(-1, 2)
    if not len(points):
        return None
    low = high = np.full(len(points), np.nan)
    if chart.ends is not None:
        low, high = (_along(facts, end, points[:, 0]) for end in chart.ends)
    return Band(label, points[:, 0], points[:, 1], low, high)


def _along(facts: Facts, name: str, generations: np.ndarray) -> np.ndarray:
    found = dict(series(facts.log, name))
    return np.array([found.get(int(generation), np.nan) for generation in generations])


def pooled_curves(groups: dict[str, Sequence[Facts]]) -> list[Figure]:
    """The figures of several groups: medians over runs with bootstrap intervals, as far as all runs of one came.

    Args:
        groups: name to its runs.
    """
    figures = []
    for name in POOLED:
        bands = []
        for label, runs in groups.items():
            found = [np.array(one) for run in runs if (one := series(run.log, name))]
            if found:
                places, rows = band([one[:, 0] for one in found], [one[:, 1] for one in found])
                bands.append(Band(f"{label} ({len(found)})", places, *rows))
        if any(one.x.size for one in bands):
            words = name.replace("_", " ")
            title = f"{words}: medians over runs (in brackets their number), bands: bootstrap 95 % intervals"
            if len(bands) == 1:
                title = f"{words}: median of {bands[0].label} runs, band: bootstrap 95 % interval"
            figures.append(_draw(title, words, bands, by_ratio=name == "step_size"))
    return figures


def _draw(title: str, y_label: str, bands: Sequence[Band], *, by_ratio: bool) -> Figure:
    by_ratio = by_ratio and all((one.middle > 0).all() for one in bands)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "figure.png"
        draw_bands(
            image, bands, x_label="generation", y_label=y_label, title=title, by_ratio=by_ratio,
            even=True,
            size=(6.6, 3.8),
        )  # fmt: skip
        return Figure(title, image.read_bytes())
