"""The figure of a replay: each step's change over the generations, what they add up to, and whole generations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from galab.analysis.effects_figure import linear_reach
from galab.analysis.figures import COLOURS
from galab.analysis.sheet import save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KIND_COLOURS = (COLOURS[2], COLOURS[7], COLOURS[1], COLOURS[6])


@dataclass(frozen=True, slots=True, eq=False)
class BroodPicture:
    """What is drawn of one generation.

    Attributes:
        generation: its number.
        change: (C,) of each child against its parents; NaN is not drawn.
        selected: (C,) which became parents.
    """

    generation: int
    change: NDArray[np.float64]
    selected: NDArray[np.bool_]


def draw_replay(
    path: Path,
    generations: NDArray[np.int64],
    fitness: NDArray[np.float64],
    change: NDArray[np.float64],
    kind: Sequence[str],
    broods: Sequence[BroodPicture],
    *,
    kinds: Sequence[str],
    texts: tuple[str, str],
) -> None:
    """Draw changes, sums, and the children of the generations that were made again.

    Args:
        path: the image to write; its suffix decides the format.
        generations: (n,) when each step was made.
        fitness: (n,) after it.
        change: (n,) by it; NaN is not drawn.
        kind: n names of kinds.
        broods: generations with all their children; may be none.
        kinds: the names, best first.
        texts: what the fitness is called, and the title.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(12, 8.5 if broods else 6.2)
    panels = list(figure.subplots(3 if broods else 2, 1, height_ratios=(1.3, 1, 1.2)[: 3 if broods else 2]))
    word, title = texts
    top, sums = panels[:2]
    _draw_changes(top, generations, change, np.array(kind), kinds)
    top.set_ylabel(f"change of fitness ({word})\nby each step")
    _draw_sums(sums, generations, change)
    sums.set_ylabel(f"sum of changes\nof {word}")
    if broods:
        _draw_broods(panels[2], broods)
        panels[2].set_ylabel(f"change of fitness ({word}),\nchild against its parents")
    for axes in panels[:2]:
        axes.set_xlabel("generation")
        axes.set_xlim(left=0)
    for axes in panels:
        axes.set_axisbelow(True)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    save(figure, path, title)


def _draw_changes(
    top: Axes,
    generations: NDArray[np.int64],
    change: NDArray[np.float64],
    which: NDArray[np.str_],
    kinds: Sequence[str],
) -> None:
    for name, colour in zip(kinds, _KIND_COLOURS, strict=False):
        own = (which == name) & np.isfinite(change)
        if own.any():
            size = float(np.clip(6000 / len(change), 2, 14))
            label = f"{name} ({int((which == name).sum()):,})"
            top.scatter(generations[own], change[own], s=size, color=colour, label=label, linewidths=0, alpha=0.7)
    top.set_yscale("symlog", linthresh=linear_reach([change]))
    top.axhline(0, color="0.4", linewidth=0.8)


def _draw_sums(axes: Axes, generations: NDArray[np.int64], change: NDArray[np.float64]) -> None:
    known = np.nan_to_num(change)
    order = np.argsort(generations, kind="stable")
    parts = ((np.maximum(known, 0), "gains", COLOURS[2]), (np.minimum(known, 0), "losses", COLOURS[1]))
    for part, label, colour in (*parts, (known, "both", COLOURS[6])):
        width = 1.2 if label == "both" else 2.8  # where nothing is lost, it lies on the gains
        axes.plot(generations[order], np.cumsum(part[order]), label=label, color=colour, linewidth=width)


def _draw_broods(axes: Axes, broods: Sequence[BroodPicture]) -> None:
    axes.set_yscale("symlog", linthresh=linear_reach([one.change for one in broods]))
    axes.axhline(0, color="0.4", linewidth=0.8)
    for place, one in enumerate(broods):
        known = np.isfinite(one.change)
        # Side by side in order of their change, so that many children can be told apart.
        across = np.empty(len(one.change))
        across[np.argsort(one.change, kind="stable")] = np.linspace(-0.36, 0.36, len(one.change))
        for chosen, face, label in ((~one.selected, "none", "not selected"), (one.selected, COLOURS[0], "selected")):
            own = known & chosen
            axes.scatter(
                place + across[own], one.change[own], s=14, facecolors=face, edgecolors=COLOURS[0], linewidths=0.7,
                label=None if place else label,
            )  # fmt: skip
    axes.set_xticks(range(len(broods)), [f"{one.generation:,}" for one in broods])
    axes.set_xlabel("generation made again")
