"""The figure of meetings: how soon two mutations meet, and how that hangs on the number of parents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galab.analysis.figures import COLOURS
from galab.analysis.sheet import plain, save, sheet

Floats = NDArray[np.float64]
_STYLES = {"neutral": "-", "ranked": "--"}


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A probability by generation.

    Attributes:
        label: what the legend says.
        odds: (G,) of generations 1 to G; of a simulation or an observation a share.
        low: (G,) lower end of its interval; NaN where it is calculated.
        high: (G,) its upper end.
        colour: number among the colours.
        selection: ``neutral`` or ``ranked``; empty for what was observed.
    """

    label: str
    odds: Floats
    low: Floats
    high: Floats
    colour: int
    selection: str

    @property
    def counted(self) -> bool:
        """Whether it was simulated or observed, and not calculated."""
        return bool(np.isfinite(self.low).any())


@dataclass(frozen=True, slots=True, eq=False)
class BySize:
    """A probability by the number of parents.

    Attributes:
        label: what the legend says.
        parents: (k,) how many.
        odds: (k,) the probability.
        colour: number among the colours.
        selection: ``neutral`` or ``ranked``.
    """

    label: str
    parents: Sequence[int]
    odds: Sequence[float]
    colour: int
    selection: str


def draw_meetings(
    path: Path, curves: Sequence[Curve], sizes: Sequence[BySize], *, parents: int, generations: int, title: str
) -> None:
    """Draw both panels: lines are calculated, points with bars are counted.

    Args:
        path: the image to write; its suffix decides the format.
        curves: by generation.
        sizes: by number of parents.
        parents: the run's own, marked on the right.
        generations: after which the right panel looks.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    from matplotlib.ticker import MaxNLocator

    figure = sheet(12.5, 5.6)
    left, right = figure.subplots(1, 2)
    for one in curves:
        x, colour = np.arange(1, len(one.odds) + 1), COLOURS[one.colour]
        if one.counted:
            marker = {"neutral": "o", "ranked": "s"}.get(one.selection, "D")
            left.errorbar(
                x, one.odds, yerr=np.abs(np.stack([one.odds - one.low, one.high - one.odds])), color=colour,
                marker=marker, markersize=4.5, linestyle="none", linewidth=1.0, label=one.label, alpha=0.85,
            )  # fmt: skip
        else:
            left.plot(x, one.odds, color=colour, linestyle=_STYLES[one.selection], linewidth=1.8, label=one.label)
    for size in sizes:
        right.plot(
            size.parents, size.odds, color=COLOURS[size.colour], linestyle=_STYLES[size.selection], marker=".",
            linewidth=1.6,
        )  # fmt: skip
    right.axvline(parents, color="black", linewidth=0.9, linestyle=":")
    right.set_xscale("log", base=2)
    right.set_xticks([2**power for power in range(1, 7)], [str(2**power) for power in range(1, 7)])
    left.set(xlabel="generations since both arose", ylabel="probability that a child has carried both")
    right.set(
        xlabel="parents (dotted: this run), with as many children for each",
        ylabel=f"the same after {generations} generations",
    )
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (left, right):
        axes.set_ylim(-0.03, 1.03)
    plain(left, right)
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    save(figure, path, title)
