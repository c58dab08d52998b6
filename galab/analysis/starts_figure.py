"""The figure of run starts: the runs, their variance by generation, and how well early fitness tells final fitness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from galab.analysis.figures import COLOURS
from galab.analysis.sheet import plain, save, sheet
from galab.analysis.starts import Early

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
_BLUE, _ORANGE = COLOURS[:2]
_GREY = COLOURS[7]


def draw_starts(
    path: Path,
    generations: NDArray[np.int64],
    values: Floats,
    variance: Floats,
    early: Sequence[Early],
    *,
    metric: str,
    title: str,
) -> None:
    """Draw three panels; the runs that are best at the earliest moment of ``early`` stand out.

    Args:
        path: the image to write; its suffix decides the format.
        generations: (G,) rising.
        values: (n, G) one row a run.
        variance: (G,) over the runs.
        early: moments, earliest first.
        metric: what was measured.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(15, 4.9)
    left, middle, right = figure.subplots(1, 3)
    first = early[0].early
    best = np.zeros(len(values), dtype=bool)
    best[np.argsort(-np.nan_to_num(first, nan=-np.inf), kind="stable")[: max(1, len(values) // 3)]] = True
    for chosen, colour, label in (
        (~best, _GREY, "the others"), (best, _ORANGE, f"best third at generation {early[0].generation:,}"),
    ):  # fmt: skip
        for number, row in enumerate(values[chosen]):
            left.plot(generations, row, color=colour, linewidth=1.0, alpha=0.8, label=label if not number else None)
    for one in early:
        middle.axvline(one.generation, color=_GREY, linewidth=0.8, linestyle=":")
    middle.plot(generations, variance, color=_BLUE, linewidth=1.8, label="variance over the runs")
    if np.isfinite(variance).any() and np.nanmax(variance) > 20 * max(np.nanmin(variance), 1e-300) > 0:
        middle.set_yscale("log")
    _draw_early(right, early)
    for axes in (left, middle):
        axes.set_xscale("log")
        axes.set_xlabel("generation")
    left.set_ylabel(metric)
    middle.set_ylabel(f"variance of {metric}")
    left.set_title("The runs", fontsize=11)
    middle.set_title("How much they differ (dots: the moments on the right)", fontsize=11)
    right.set_title("What the start says of the end", fontsize=11)
    plain(left, middle, right)
    figure.legend(loc="outside lower left", ncols=5, frameon=False, fontsize=9)
    save(figure, path, title)


def _draw_early(right: Axes, early: Sequence[Early]) -> None:
    places = np.arange(len(early))
    rho = np.array([one.correlation.rho for one in early])
    low, high = (np.array([getattr(one.correlation, end) for one in early]) for end in ("low", "high"))
    right.axhline(0, color="black", linewidth=0.8)
    right.vlines(places, low, high, color=_BLUE, linewidth=1.4)
    right.plot(places, rho, "o", color=_BLUE, label="rank correlation with the end, bootstrap 95 %")
    right.plot(places, [one.explained for one in early], "s", color=_ORANGE, label="share of final variance explained")
    right.set_xticks(places, [f"{one.share:.0%}\n({one.generation:,})" for one in early])
    right.set(xlabel="share of the run that is over (generation)", ylabel="correlation, share", ylim=(-1.05, 1.05))
    right.set_xlim(-0.5, len(early) - 0.5)
