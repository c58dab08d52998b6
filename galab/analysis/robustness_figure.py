"""The figure of mutational robustness: fitness lost and answers kept by the size of a mutation, and by their age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.figures import COLOURS
from galab.analysis.learned import Kept
from galab.analysis.sheet import plain, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
_MARKERS = ("o", "s")


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """The champions of one run or group.

    Attributes:
        label: what the legend says.
        lost: (n, S) fitness lost by a mutant in the mean, by champion and size of mutation.
        kept: (n, S) share of right answers that a mutant keeps.
        by_age: answers by when they were learned, oldest first, at one size; empty where nobody knows.
    """

    label: str
    lost: Floats
    kept: Floats
    by_age: Sequence[Kept]


def draw_robustness(
    path: Path, sizes: Sequence[float], sides: Sequence[Side], *, base: str, size: float, title: str
) -> None:
    """Draw three panels; each side has one colour and marker in all of them.

    Args:
        path: the image to write; its suffix decides the format.
        sizes: (S,) of mutations, as shares of the length of the weights.
        sides: one or two.
        base: what fitness is.
        size: at which answers are looked at by age.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    aged = any(side.by_age for side in sides)
    figure = sheet(15 if aged else 10.2, 4.9)
    panels = figure.subplots(1, 3 if aged else 2)
    for number, side in enumerate(sides):
        _draw_side(panels[0], sizes, side.lost, number, side.label)
        _draw_side(panels[1], sizes, side.kept, number, None)
    panels[0].set(xlabel="length of the mutation / length of the weights", ylabel=f"fitness lost, mean ({base})")
    panels[1].set(xlabel="length of the mutation / length of the weights", ylabel="share of right answers kept")
    panels[0].set_title("What a mutation costs", fontsize=11)
    panels[1].set_title("What stays right", fontsize=11)
    values = np.concatenate([side.lost.ravel() for side in sides])
    if np.isfinite(values).any() and np.nanmin(values) > 0 and np.nanmax(values) > 20 * np.nanmin(values):
        panels[0].set_yscale("log")
    if aged:
        _draw_ages(panels[2], sides)
        panels[2].set_title(f"By age, mutations of {size:g} of the weights' length", fontsize=11)
    plain(*panels)
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    save(figure, path, title)


def _draw_side(axes: Axes, sizes: Sequence[float], values: Floats, number: int, label: str | None) -> None:
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "no task with right answers", transform=axes.transAxes, ha="center")
        return
    look: dict[str, Any] = {"color": COLOURS[number], "marker": _MARKERS[number % 2]}
    if len(values) > 1:
        axes.plot(sizes, values.T, color=COLOURS[number], linewidth=0.7, alpha=0.45)
        label = label and f"{label}: median of {len(values)} champions, thin: each one"
    # A size at which every mutant failed is left open.
    middle = [float(np.median(known)) if (known := one[np.isfinite(one)]).size else np.nan for one in values.T]
    axes.plot(sizes, middle, linewidth=1.9, label=label, **look)
    axes.set_xscale("log")


def _draw_ages(axes: Axes, sides: Sequence[Side]) -> None:
    """A level bar for each group of answers, as wide as the time in which they were learned, with its interval."""
    for number, side in enumerate(sides):
        for one in side.by_age:
            middle = np.sqrt((one.first + 1) * (one.last + 1)) - 1
            axes.plot([one.first, one.last], [one.kept.value] * 2, color=COLOURS[number], linewidth=2.5)
            axes.plot(
                [middle], [one.kept.value], color=COLOURS[number], marker=_MARKERS[number % 2], linestyle="none"
            )
            if np.isfinite(one.kept.low):
                axes.plot([middle, middle], [one.kept.low, one.kept.high], color=COLOURS[number], linewidth=1.2)
    axes.set_xscale("symlog", linthresh=1)  # founders know some answers, at generation 0
    axes.set_xlim(left=-0.1)
    axes.set(xlabel="generation in which the answer was learned for good", ylabel="share of mutants that keep it")
