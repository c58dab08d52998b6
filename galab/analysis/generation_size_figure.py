"""The figure of generation sizes: what the best of n children is worth, and what that is for each child."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galab.analysis.figures import COLOURS
from galab.analysis.sheet import plain, save, sheet

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One champion's children.

    Attributes:
        label: what the legend says.
        gains: (k,) what the best of n is worth.
        low: (k,) lower end of its interval.
        high: (k,) its upper end.
        linear: (k,) what it would be worth if fitness were linear; NaN where there is no gradient.
    """

    label: str
    gains: Floats
    low: Floats
    high: Floats
    linear: Floats


def draw_generation_sizes(
    path: Path, numbers: Sequence[int], moments: Sequence[Moment], *, base: str, title: str
) -> None:
    """Draw the gain of a generation on the left, and by child on the right; a moment has one colour in both.

    Args:
        path: the image to write; its suffix decides the format.
        numbers: (k,) children n.
        moments: one per champion.
        base: what fitness is.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(11.5, 5.2)
    left, right = figure.subplots(1, 2)
    n = np.asarray(numbers, dtype=np.float64)
    scale = max(
        (float(np.max(np.abs(one.gains[np.isfinite(one.gains)]), initial=0.0)) for one in moments), default=0.0
    )
    for place, one in enumerate(moments):
        colour = COLOURS[place % len(COLOURS)]
        left.plot(n, one.gains, color=colour, marker="o", markersize=4, label=one.label)
        left.fill_between(n, one.low, one.high, color=colour, alpha=0.18, linewidth=0)
        left.plot(n, one.linear, color=colour, linestyle="--", linewidth=1.1)
        each = one.gains / n
        good = each > 0
        right.plot(n[good], each[good], color=colour, marker="o", markersize=4)
        right.plot(n[1:], (one.linear / n)[1:], color=colour, linestyle="--", linewidth=1.1)
        if good.any():
            best = int(np.argmax(np.where(good, each, -np.inf)))
            right.plot(n[best], each[best], "*", color=colour, markersize=14)
    left.plot([], [], color="black", linestyle="--", linewidth=1.1, label="if fitness were linear")
    right.plot([], [], "*", color="black", markersize=11, linestyle="none", label="most gained per child")
    left.axhline(0, color="black", linewidth=0.8)
    if scale > 0:
        smallest = min(
            (float(np.min(np.abs(one.gains[np.isfinite(one.gains) & (one.gains != 0)]), initial=scale))
             for one in moments), default=scale,
        )  # fmt: skip
        if scale > 30 * smallest:
            left.set_yscale("symlog", linthresh=max(smallest, scale * 1e-4))
        if any((one.gains > 0).any() or (one.linear[1:] > 0).any() for one in moments):
            right.set_yscale("log")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("children in a generation")
    left.set_ylabel(f"fitness gained by the best of them ({base})")
    right.set_ylabel("the same per child; only gains above 0")
    left.set_title("A generation", fontsize=11)
    right.set_title("A child", fontsize=11)
    plain(left, right)
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    save(figure, path, title)
