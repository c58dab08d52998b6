"""The figure of a bank of memories: use, lengths and margins of each memory, and who serves whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from galab.analysis.figures import COLOURS
from galab.analysis.sheet import save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREEN = COLOURS[:3]
#: Dots get smaller where there are more of them, down to something that can still be seen.
_DOTS = 3000.0


@dataclass(frozen=True, slots=True, eq=False)
class BankPicture:
    """What is drawn of a bank.

    Attributes:
        nearness: (B, H) closeness of inputs to memories; -inf to empty ones.
        use: (H,) inputs that each memory answers.
        norms: (H,) lengths; 0 is an empty memory.
        margins: (H,) smallest margins; NaN or infinite ones are not drawn.
        served: (B,) the memory that answers each input; -1 for none.
        right: (B,) whether the answer is right.
    """

    nearness: NDArray[np.floating]
    use: NDArray[np.int64]
    norms: NDArray[np.float64]
    margins: NDArray[np.float64]
    served: NDArray[np.int64]
    right: NDArray[np.bool_]


def draw_bank(path: Path, bank: BankPicture, *, title: str) -> None:
    """Draw four panels; memories stand in the same order in all of them, the most used first.

    Args:
        path: the image to write; its suffix decides the format.
        bank: what is drawn.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(12, 6.6)
    grid = figure.add_gridspec(3, 2, width_ratios=(1, 1))
    first = figure.add_subplot(grid[0, 0])
    use, norms, margins = first, *(figure.add_subplot(grid[row, 0], sharex=first) for row in (1, 2))
    pairs = figure.add_subplot(grid[:, 1])
    order = np.argsort(-bank.use, kind="stable")
    _draw_memories(use, norms, margins, bank, order)
    _draw_pairs(pairs, bank, order)
    for axes in (use, norms, margins, pairs):
        axes.set_axisbelow(True)
        if axes is not pairs:  # a grid would hide in the picture, or hide it
            axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (use, norms):
        axes.tick_params(labelbottom=False)
    figure.legend(loc="outside lower right", ncols=4, frameon=False, fontsize=9)
    save(figure, path, title)


def _draw_memories(use: Axes, norms: Axes, margins: Axes, bank: BankPicture, order: NDArray[np.int64]) -> None:
    from matplotlib.ticker import MaxNLocator

    places = np.arange(len(order))
    use.bar(places, bank.use[order], color=_BLUE, width=0.85)
    use.set_ylabel("inputs served")
    use.yaxis.set_major_locator(MaxNLocator(integer=True))
    lengths, serves = bank.norms[order], bank.use[order] > 0
    size = _size(len(order))
    for chosen, face, label in (
        (serves, _BLUE, "memory that serves"),
        (~serves & (lengths > 0), "none", "filled memory that serves nothing"),
    ):
        if chosen.any():
            norms.scatter(places[chosen], lengths[chosen], s=size, facecolors=face, edgecolors=_BLUE, label=label)
    norms.set_ylabel("length of the vector")
    norms.set_ylim(0, 1.1 * float(lengths.max(initial=0.0)) or 1.0)
    there = np.isfinite(bank.margins[order])
    margins.scatter(places[there], bank.margins[order][there], s=size, color=_BLUE)
    margins.set_ylim(0, 1.1 * float(bank.margins[order][there].max(initial=0.0)) or 1.0)
    margins.set_ylabel("smallest margin\n(closeness)")
    margins.set_xlabel("memory, in order of use")


def _draw_pairs(axes: Axes, bank: BankPicture, order: NDArray[np.int64]) -> None:
    """A dot for each input at the memory that answers it, over how near the others come; inputs by their memories."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    there = np.flatnonzero(bank.served >= 0)
    rows = place[bank.served[there]]
    along = np.argsort(rows, kind="stable")
    x, y, good = np.arange(len(there)), rows[along], bank.right[there][along]
    size = 0.7 * _size(len(there))
    if len(there):
        near = bank.nearness[there[along]][:, order].astype(np.float64)
        behind = near.max(axis=1, keepdims=True) - near
        far = np.quantile(behind[np.isfinite(behind)], 0.9) or 1.0
        image = axes.imshow(
            np.ma.masked_invalid(behind).T, cmap="Greys_r", vmin=0, vmax=far, aspect="auto", interpolation="nearest",
            alpha=0.55,
        )  # fmt: skip
        bar = axes.figure.colorbar(image, ax=axes, extend="max", pad=0.01, fraction=0.04)
        bar.set_label("closeness behind the winner's")
    axes.scatter(x[good], y[good], s=size, color=_GREEN, marker="o", label=f"right answer ({int(good.sum()):,})")
    wrong = f"wrong answer ({int((~good).sum()):,})"
    axes.scatter(x[~good], y[~good], s=1.6 * size, color=_ORANGE, marker="x", label=wrong)
    axes.set_xlim(-1, max(1, len(there)))
    axes.set_ylim(max(1.0, len(order) - 0.5), -1)
    axes.set_xlabel("input, in the order of the memories")
    axes.set_ylabel("memory that answers it, in order of use")


def _size(count: int) -> float:
    return float(np.clip(_DOTS / max(1, count), 4.0, 36.0))
