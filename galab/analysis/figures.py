"""Figures, drawn without a screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from galab.analysis.sheet import plain, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Told apart by people who confuse red and green: Okabe and Ito, "Color Universal Design" (2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_WIDE = 20.0
_DECADE = 10.0
#: Up to such a span, ticks at 1, 2 and 5 times the powers of ten have room.
_FEW_DECADES = 2e3


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
    path: Path, bands: Sequence[Band], *, x_label: str, y_label: str, title: str, by_ratio: bool = False,
    even: bool = False, size: tuple[float, float] = (9, 5),
) -> None:  # fmt: skip
    """Draw curves with their intervals; the x axis is logarithmic where it spans more than a factor of 20.

    Args:
        path: the image to write; its suffix decides the format.
        bands: one per group.
        x_label: of the x axis, with its unit.
        y_label: of the y axis.
        title: above the figure.
        by_ratio: whether the y axis is logarithmic.
        even: whether the x axis is linear whatever it spans.
        size: width and height in inches.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(*size)
    axes = figure.add_subplot()
    for number, one in enumerate(bands):
        colour = COLOURS[number % len(COLOURS)]
        style = ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
        # A line through a single place is none.
        mark = "o" if one.x.size == 1 else None
        axes.plot(one.x, one.middle, color=colour, linestyle=style, label=one.label, linewidth=1.8, marker=mark)
        axes.fill_between(one.x, one.low, one.high, color=colour, alpha=0.18, linewidth=0)
    if not even:
        scale_places(axes, bands)
    if by_ratio:
        _scale_by_ratio(axes)
    axes.set(xlabel=x_label, ylabel=y_label)
    plain(axes)
    # Beside the axes: inside them a legend hides data sooner or later.
    if len(bands) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    save(figure, path, title)


def scale_places(axes: Axes, bands: Sequence[Band]) -> None:
    """Scale the x axis of curves: by ratio where they span more than a factor of 20; ticks in words such as 10 k."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

    places = np.concatenate([one.x for one in bands]) if bands else np.empty(0)
    if places.size and places.min() > 0 and places.max() > _WIDE * places.min():
        axes.set_xscale("log")
        few = places.max() < _FEW_DECADES * places.min()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    short = EngFormatter()
    # Not "50 m": beside seconds that reads as minutes.
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}" if value < 1 else short(value)))


def _scale_by_ratio(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_yscale("log")
    plain = FuncFormatter(lambda value, place: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    low, high = axes.get_ylim()
    # Less than a power of ten may have no tick of its own.
    axes.yaxis.set_minor_formatter(plain if high < _DECADE * low else NullFormatter())
