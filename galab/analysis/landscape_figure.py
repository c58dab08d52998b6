"""The figure of a landscape: loss along lines, a slice through the population, the way from one network to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from numpy.typing import NDArray

from galab.stats.plots import COLOURS, plain, save, sheet

Floats = NDArray[np.float64]
_BLUE, _ORANGE, _GREEN, _PINK = COLOURS[:4]
_STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Loss along directions of one kind.

    Attributes:
        label: in the legend.
        steps: (k,) lengths in weight units, symmetric about 0.
        losses: (n, k) along n directions; NaN where there is none.
        colour: number among the colours: one for each kind of direction.
        style: number among the line styles: one for each run.
    """

    label: str
    steps: Floats
    losses: Floats
    colour: int
    style: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Loss in a plane.

    Attributes:
        x: (n,) coordinates in weight units.
        y: (m,) likewise.
        losses: (m, n).
        way: (k, 2) the way to the champion, oldest first.
        parents: (P, 2) the population.
        champion: (2,) the champion.
        shares: (2,) share of the points' variance along both axes.
    """

    x: Floats
    y: Floats
    losses: Floats
    way: Floats
    parents: Floats
    champion: Floats
    shares: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """Loss from one network to another.

    Attributes:
        label: in the legend.
        losses: (k,) at equal steps.
    """

    label: str
    losses: Floats


def draw_landscape(
    path: Path,
    lines: Sequence[Lines],
    plane: Slice | None,
    ways: Sequence[Way],
    *,
    own_step: float,
    loss: str,
    title: str,
) -> None:
    """Draw the lines, and the other two panels where they are given.

    Args:
        path: the image to write; its suffix decides the format.
        lines: loss along directions.
        plane: a slice, or None.
        ways: from one network to another; may be none.
        own_step: length of the run's own mutations, in weight units.
        loss: what the loss is, with its unit.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    panels = 1 + (plane is not None) + bool(ways)
    figure = sheet(5.4 * panels + 0.6, 5.4)
    all_axes = np.atleast_1d(figure.subplots(1, panels))
    _draw_lines(all_axes[0], lines, own_step, loss)
    if plane is not None:
        _draw_slice(all_axes[1], plane, loss)
    if ways:
        _draw_ways(all_axes[-1], ways, loss)
    save(figure, path, title)


def _draw_lines(axes: Axes, lines: Sequence[Lines], own_step: float, loss: str) -> None:
    for one in lines:
        colour, style = COLOURS[one.colour], _STYLES[one.style % len(_STYLES)]
        losses = np.ma.masked_invalid(one.losses)  # where one failed the others are drawn
        middle = losses.mean(axis=0).filled(np.nan)
        axes.plot(one.steps, middle, color=colour, linestyle=style, label=one.label, linewidth=1.8)
        if len(one.losses) > 1:
            low, high = losses.min(axis=0).filled(np.nan), losses.max(axis=0).filled(np.nan)
            axes.fill_between(one.steps, low, high, color=colour, alpha=0.16, linewidth=0)
    if np.isfinite(own_step) and own_step > 0:
        # Inside the frame whatever its height, and named in the legend: a label there would hide a curve.
        axes.axvspan(-own_step, own_step, color="black", alpha=0.12, linewidth=0, label="the run's own mutations")
    values = np.concatenate([one.losses[np.isfinite(one.losses)] for one in lines])
    if values.size and values.min() > 0 and values.max() > 20 * values.min():
        axes.set_yscale("log")
    axes.set(xlabel="step from the champion (weight units)", ylabel=f"loss ({loss})", title="Along lines; bands: range")
    _below(axes)


def _draw_slice(axes: Axes, plane: Slice, loss: str) -> None:
    values = np.ma.masked_invalid(plane.losses)
    low, high = float(values.min()), float(values.max())
    log = low > 0 and high > 10 * low
    levels = np.geomspace(low, high, 18) if log else np.linspace(low, max(high, low + 1e-12), 18)
    norm = LogNorm(low, high) if log else Normalize(low, max(high, low + 1e-12))
    filled = axes.contourf(plane.x, plane.y, values, levels=levels, norm=norm, cmap="Greys")
    bar = axes.figure.colorbar(filled, ax=axes, pad=0.02, fraction=0.05)
    bar.set_label(f"loss ({loss})")
    ticks = levels[[0, 4, 8, 13, 17]]
    bar.set_ticks(ticks.tolist(), labels=[f"{tick:.3g}" for tick in ticks])
    bar.minorticks_off()
    if len(plane.way) > 1:
        axes.plot(*plane.way.T, color=_BLUE, linewidth=1.4, marker=".", markersize=4, label="way to the champion")
        axes.plot(*plane.way[0], "s", color=_GREEN, markersize=7, label="its oldest ancestor", linestyle="none")
    axes.plot(*plane.champion, "*", color=_ORANGE, markersize=15, label="champion", linestyle="none")
    if len(plane.parents):  # on top, as they are often all within the champion's star
        axes.plot(
            *plane.parents.T, "o", color=_PINK, markersize=4.5, label="parents", linestyle="none",
            markeredgecolor="white", markeredgewidth=0.5,
        )  # fmt: skip
    axes.set_aspect("equal", adjustable="box")
    axes.set(
        xlabel=f"first principal component, {plane.shares[0]:.0%} (weight units)",
        ylabel=f"second, {plane.shares[1]:.0%} (weight units)",
        title="In the plane of its history (way projected)",
        xlim=(plane.x[0], plane.x[-1]),
        ylim=(plane.y[0], plane.y[-1]),
    )
    _below(axes)


def _draw_ways(axes: Axes, ways: Sequence[Way], loss: str) -> None:
    for number, one in enumerate(ways):
        places = np.linspace(0, 1, len(one.losses))
        axes.plot(places, one.losses, color=COLOURS[number], linestyle=_STYLES[number], label=one.label, linewidth=1.8)
        axes.plot([0, 1], one.losses[[0, -1]], color=COLOURS[number], linewidth=0.8, alpha=0.6)
    axes.set(xlabel="share of the way to the other champion", ylabel=f"loss ({loss})", title="Between two champions")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    plain(axes)
    _legend(axes)


def _below(axes: Axes) -> None:
    if axes.collections and axes.get_aspect() == 1.0:
        axes.spines[["top", "right"]].set_visible(False)
    else:
        plain(axes)
    _legend(axes)


def _legend(axes: Axes) -> None:
    # Below the axes: inside them a legend hides data sooner or later.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=9)
