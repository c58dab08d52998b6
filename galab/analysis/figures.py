"""Figures, drawn without a screen."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: Told apart by people who confuse red and green: Okabe and Ito, "Color Universal Design" (2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_WIDE = 20.0
_TITLE_LETTERS = 120


@dataclass(frozen=True, slots=True)
class Band:
    """A curve with its interval.

    Attributes:
        label: what the legend says.
        x: (k,) places.
        middle: (k,) the curve.
        low: (k,) lower end of the interval, or NaN.
        high: (k,) upper end, or NaN.
    """

    label: str
    x: NDArray[np.float64]
    middle: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def draw_bands(
    path: Path, bands: Sequence[Band], *, x_label: str, y_label: str, title: str, log_y: bool = False
) -> None:
    """Draw curves with their intervals; the x axis is logarithmic where it spans more than a factor of 20.

    Args:
        path: the image to write; its suffix decides the format.
        bands: one per group.
        x_label: of the x axis, with its unit.
        y_label: of the y axis.
        title: above the figure.
        log_y: whether the y axis is logarithmic.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, one in enumerate(bands):
        colour = COLOURS[number % len(COLOURS)]
        style = ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
        axes.plot(one.x, one.middle, color=colour, linestyle=style, label=one.label, linewidth=1.8)
        axes.fill_between(one.x, one.low, one.high, color=colour, alpha=0.18, linewidth=0)
    places = np.concatenate([one.x for one in bands]) if bands else np.empty(0)
    if places.size and places.min() > 0 and places.max() > _WIDE * places.min():
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter())
    if log_y:
        axes.set_yscale("log")
    axes.set(xlabel=x_label, ylabel=y_label)
    figure.suptitle("\n".join(textwrap.wrap(title, _TITLE_LETTERS)), fontsize=10, x=0.01, ha="left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    # Beside the axes: inside them a legend hides data sooner or later.
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
