"""The figure of what mutations do to the fitness, by their step size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from galab.stats.plots import COLOURS, Band, plain, save, sheet

#: Of a step between two sigmas, what all violins at one of them take together.
_ROOM = 0.84

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Violins:
    """What is drawn of one distribution.

    Attributes:
        label: its name.
        change: (S, N) changes of the fitness; NaN is not drawn.
    """

    label: str
    change: Floats


def draw_effects(
    path: Path,
    sigmas: Sequence[float],
    violins: Sequence[Violins],
    shares: Sequence[Band],
    best: Sequence[Band],
    layers: Sequence[Band],
    *,
    texts: tuple[str, str, str, str],
) -> None:
    """Draw violins above, and below shares, the expected best, and the expected best of single tensors.

    Args:
        path: the image to write; its suffix decides the format.
        sigmas: S step sizes.
        violins: one per distribution.
        shares: the share that improves, one per distribution.
        best: the expected best, one per distribution.
        layers: the expected best of mutations of one tensor; may be none.
        texts: what the fitness is called, what the best is of, the same of single tensors, and the title.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(13, 9)
    grid = figure.add_gridspec(2, 6, height_ratios=(1.15, 1))
    above = figure.add_subplot(grid[0, :])
    width = 2 if layers else 3
    below = [figure.add_subplot(grid[1, width * at : width * (at + 1)]) for at in range(6 // width)]
    fitness, what, alone, title = texts
    unit = linear_reach([one.change for one in violins])
    _draw_violins(above, sigmas, violins, unit)
    above.set_ylabel(f"change of fitness ({fitness})\n(logarithmic beyond ±{unit:.0e})")
    _draw_curves(below, (shares, best, layers), ("", what, alone))
    for axes in (above, *below):
        plain(axes)
    save(figure, path, title)


def _draw_curves(below: Sequence[Axes], groups: Sequence[Sequence[Band]], labels: Sequence[str]) -> None:
    """The shares, the expected best, and that of single tensors."""
    for axes, bands, label in zip(below, groups, labels, strict=False):
        for number, one in enumerate(bands):
            colour = COLOURS[number % len(COLOURS)]
            style = ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
            named = one.label if axes is not below[0] else None
            axes.plot(one.x, one.middle, color=colour, linestyle=style, marker="o", markersize=3, label=named)
            axes.fill_between(one.x, one.low, one.high, color=colour, alpha=0.18, linewidth=0)
        axes.set_xscale("log")
        axes.set(xlabel="step size sigma", ylabel=label)
    below[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    below[0].set(ylabel="mutations that improve", ylim=(0, None))
    below[0].axhline(0.5, color="0.6", linewidth=0.8)
    for axes, bands, head in zip(below[1:], groups[1:], ("all weights", "one tensor alone"), strict=False):
        axes.set_yscale("symlog", linthresh=linear_reach([one.middle for one in bands]))
        axes.axhline(0.0, color="0.4", linewidth=0.8)
        axes.set_title(head, fontsize=9, loc="left")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=8)


def linear_reach(parts: Sequence[Floats]) -> float:
    """Up to which magnitude a scale is linear: a power of ten near the small values, so that most look different."""
    sizes = np.concatenate([np.abs(part[np.isfinite(part)]).ravel() for part in parts])
    sizes = sizes[sizes > 0]
    if not sizes.size:
        return 1.0
    return float(10.0 ** np.floor(np.log10(np.quantile(sizes, 0.1))))


def _draw_violins(axes: Axes, sigmas: Sequence[float], violins: Sequence[Violins], unit: float) -> None:
    width = _ROOM / max(1, len(violins))
    for number, one in enumerate(violins):
        colour = COLOURS[number % len(COLOURS)]
        for place, row in enumerate(one.change):
            known = row[np.isfinite(row)]
            if not known.size:
                continue
            at = place - _ROOM / 2 + (number + 0.5) * width
            shown = scaled(known, unit)
            if np.ptp(shown) > 1e-6 and len(shown) > 2:
                drawn = axes.violinplot([shown], [at], widths=0.95 * width, showextrema=False, points=80)
                for body in drawn["bodies"]:  # type: ignore[attr-defined]  # a list, whatever the stubs say
                    body.set(facecolor=colour, edgecolor="none", alpha=0.55)
            low, middle, high = np.quantile(shown, [0.05, 0.5, 0.95])
            axes.plot([at, at], [low, high], color=colour, linewidth=1)
            axes.plot([at], [middle], marker="_", color="black", markersize=5)
            axes.plot([at], [shown.max()], marker=".", color=colour, markersize=4)
    axes.axhline(0.0, color="0.3", linewidth=0.8)
    axes.set_xticks(range(len(sigmas)), [f"{sigma:g}" for sigma in sigmas])
    axes.set_xlim(-0.55, len(sigmas) - 0.45)
    axes.set_xlabel("step size sigma")
    farthest = max((np.nanmax(np.abs(one.change), initial=0.0) for one in violins), default=0.0)
    decades = max(0, round(np.floor(np.log10(max(farthest, unit) / unit))))
    skip = 1 + decades // 5
    sizes = [unit * 10.0**power for power in range(0, decades + 1, skip)]
    values = np.array([*(-size for size in reversed(sizes)), 0.0, *sizes])
    axes.set_yticks(scaled(values, unit), [f"{value:.0e}" if value else "0" for value in values])
    if farthest:
        every = scaled(np.concatenate([one.change.ravel() for one in violins]), unit)
        axes.set_ylim(min(-1.0, float(np.nanmin(every))) - 0.5, max(1.0, float(np.nanmax(every))) + 0.5)
    handles = [Patch(color=COLOURS[at % len(COLOURS)], label=one.label, alpha=0.7) for at, one in enumerate(violins)]
    axes.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False,
        title="bar: 5 to 95 %\ndash: median\ndot: largest", title_fontsize=8,
    )  # fmt: skip


def scaled(values: Floats, unit: float) -> Floats:
    """Values on a scale that is linear up to ``unit`` and counts decades beyond it, the same for both signs."""
    size = np.abs(values) / unit
    return np.asarray(np.sign(values) * np.where(size <= 1, size, 1 + np.log10(np.maximum(size, 1))))
