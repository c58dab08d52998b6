"""Figures drawn without a screen: an empty figure, curves with intervals, and curves beside one dot per seed."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from galab.stats.intervals import Interval

#: Letters of a title's line per inch of a figure's width.
_LETTERS = 11.0


def sheet(width: float, height: float) -> Figure:
    """A figure that needs no screen, in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain(*several: Axes) -> None:
    """Axes with a faint grid, and without a frame on two sides."""
    for axes in several:
        axes.set_axisbelow(True)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path, title: str) -> None:
    """Give a figure its title and write it.

    Args:
        figure: with all that it shows.
        path: the image to write; its suffix decides the format.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    letters = int(_LETTERS * figure.get_figwidth())
    figure.suptitle("\n".join(textwrap.wrap(title, letters)), fontsize=10, x=0.01, ha="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


#: Colours that people who confuse red and green can distinguish: Okabe and Ito, "Color Universal Design" (2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_WIDE = 20.0
_DECADE = 10.0
#: Up to such a span, ticks at 1, 2 and 5 times the powers of ten have room.
_FEW_DECADES = 2e3


@dataclass(frozen=True, slots=True)
class Band:
    """A curve with its interval.

    Attributes:
        label: in the legend.
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
        # A line through a single place does not show.
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
    axes.set_yscale("log")
    plain = FuncFormatter(lambda value, place: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    low, high = axes.get_ylim()
    # Less than a power of ten may have no tick of its own.
    axes.yaxis.set_minor_formatter(plain if high < _DECADE * low else NullFormatter())


_STYLES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LABEL_LETTERS, _AXIS_LETTERS = 22, 40
#: Where a logarithmic axis spans no more than a factor, which multiples of powers of ten are marked.
_LOG_TICKS = ((5, (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)), (30, (1, 2, 3, 5)), (300, (1, 3)))
#: Rows are one apart; dots of a row lie within this of its middle.
_JITTER = 0.22


@dataclass(frozen=True, slots=True)
class Row:
    """One condition's seeds.

    Attributes:
        label: of the condition.
        values: (n,) one per seed; infinity is "never".
        interval: their median and its interval.
    """

    label: str
    values: NDArray[np.float64]
    interval: Interval


def draw_question(
    path: Path,
    bands: Sequence[Band],
    rows: Sequence[Row],
    *,
    labels: tuple[str, str, str],
    title: str,
    level: float | None = None,
    scaled: bool = False,
    until: float | None = None,
    logarithmic: tuple[bool, bool, bool] = (False, False, False),
) -> None:
    """Draw both panels; a condition has one colour, line style and marker in both.

    Args:
        path: the image to write; its suffix decides the format.
        bands: one per condition.
        rows: the same conditions' seeds.
        labels: of the left panel's x axis and y axis, and of the right panel's x axis, with their units.
        title: above the figure.
        level: a value marked in the left panel.
        scaled: whether the left x axis goes by ratio where the curves span much, and has short numbers; its values
            hold until the next ones.
        until: a place marked there: where the right panel is read off.
        logarithmic: which of the labelled axes are logarithmic.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(11.5, max(4.4, 3.0 + 0.5 * len(rows)))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_question_curves(left, bands, stepwise=scaled)
    if level is not None:
        left.axhline(level, color="black", linewidth=0.8, linestyle=(0, (1, 3)))
    if scaled:
        scale_places(left, bands)
    if until is not None:
        left.axvline(until, color="black", linewidth=0.8, linestyle=(0, (4, 3)))
    left.set(xlabel=labels[0], ylabel=textwrap.fill(labels[1], _AXIS_LETTERS))
    for scale, one in zip((left.set_xscale, left.set_yscale, right.set_xscale), logarithmic, strict=True):
        if one:
            scale("log")
    _draw_rows(right, rows)
    if logarithmic[1]:
        _mark_plainly(left.yaxis)
    right.set_xlabel(textwrap.fill(labels[2], _AXIS_LETTERS))
    plain(left, right)
    # Below the axes: inside them a legend hides data sooner or later.
    figure.legend(loc="outside lower left", ncols=_columns([band.label for band in bands]), frameon=False, fontsize=9)
    save(figure, path, title)


def _draw_question_curves(axes: Axes, bands: Sequence[Band], *, stepwise: bool) -> None:
    """Curves with their bands; step by step where a value holds until the next one is measured."""
    for number, band in enumerate(bands):
        look = _look(number)
        axes.plot(
            band.x, band.middle, color=look["color"], linestyle=look["linestyle"], label=band.label, lw=1.8,
            drawstyle="steps-post" if stepwise else "default",
        )  # fmt: skip
        axes.fill_between(
            band.x, band.low, band.high, color=look["color"], alpha=0.16, linewidth=0, step="post" if stepwise else None
        )


def _mark_plainly(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis: as many in a power of ten as there is room for."""
    low, high = axis.get_view_interval()
    room = next((many for factor, many in _LOG_TICKS if high <= factor * low), (1,))
    axis.set_major_locator(LogLocator(subs=room))
    axis.set_major_formatter(FuncFormatter(lambda value, place: _plain_number(value)))
    axis.set_minor_formatter(NullFormatter())


def _plain_number(value: float) -> str:
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"


def _draw_rows(axes: Axes, rows: Sequence[Row]) -> None:
    """One row per condition, the first at the top: a dot per seed, a bar for the median, a line for its interval."""
    finite = np.concatenate([row.values[np.isfinite(row.values)] for row in rows] or [np.empty(0)])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (1.0, 2.0)
    by_ratio = axes.get_xscale() == "log"
    if by_ratio:
        never = high * (high / low if high > low else 10.0) ** 0.15
    else:
        never = high + 0.15 * ((high - low) or abs(high) or 1.0)
    for number, row in enumerate(rows):
        look = _look(number)
        places = np.where(np.isfinite(row.values), row.values, never)
        height = number + np.linspace(-_JITTER, _JITTER, len(places)) if len(places) > 1 else np.array([number])
        axes.plot(places, height, look["marker"], color=look["color"], markersize=5, alpha=0.65, clip_on=False)
        median, first, last = (
            min(value, never) for value in (row.interval.median, row.interval.low, row.interval.high)
        )
        if not math.isnan(row.interval.low):
            axes.plot([first, last], [number, number], color="black", linewidth=1.4, zorder=3)
        axes.plot([median, median], [number - 0.34, number + 0.34], color="black", linewidth=2.4, zorder=3)
    wrapped = [textwrap.fill(row.label, _LABEL_LETTERS, break_on_hyphens=False) for row in rows]
    axes.set_yticks(range(len(rows)), wrapped, fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    if by_ratio:
        _mark_plainly(axes.xaxis)
    if any(not np.isfinite(row.values).all() for row in rows):
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        axes.set_xticks([*ticks, never], [*(_plain_number(tick) for tick in ticks), "never"])


def _look(number: int) -> dict[str, Any]:
    """Colour, line style and marker of a condition; no two of the first eight share a marker or a colour."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": _STYLES[(number + number // len(COLOURS)) % len(_STYLES)],
        "marker": _MARKERS[number % len(_MARKERS)],
    }


def _columns(labels: Sequence[str]) -> int:
    """As many columns of the legend as fit the figure's width."""
    return max(1, min(len(labels), 110 // (max((len(label) for label in labels), default=1) + 8)))
