"""The figure of a run's step sizes beside the oracle's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galab.analysis.figures import COLOURS
from galab.analysis.oracle import COLLAPSED, Moment
from galab.analysis.sheet import save, sheet


def draw_oracle(
    path: Path, moments: Sequence[Moment], generations: NDArray[np.int64], actual: NDArray[np.float64], *, title: str
) -> None:
    """Draw step sizes over generations, and what each step size would have given at the oracle's moments.

    Args:
        path: the image to write; its suffix decides the format.
        moments: what the oracle says.
        generations: (n,) of the log.
        actual: (n,) step sizes of the log.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    figure = sheet(12, 5)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    left.plot(generations, actual, color=COLOURS[0], linewidth=1.5, label="the run")
    known = [one for one in moments if np.isfinite(one.sigma)]
    if known:
        x = np.array([one.generation for one in known])
        low, middle, high = (np.array([getattr(one, name) for one in known]) for name in ("low", "sigma", "high"))
        left.plot(x, middle, "o-", color=COLOURS[1], markersize=4, label="oracle")
        left.fill_between(x, low, high, color=COLOURS[1], alpha=0.18, linewidth=0)
        left.plot(x, COLLAPSED * middle, ":", color=COLOURS[7], label="a tenth of it")
    left.set_yscale("log")
    if len(generations) and generations[-1] > 20:
        left.set_xscale("log")
    left.set(xlabel="generation", ylabel="step size sigma")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False)
    span = [float(max(1, one.generation)) for one in moments]
    norm = LogNorm(min(span), max(*span, min(span) + 1))
    mapped = ScalarMappable(norm, "viridis")
    colours = mapped.to_rgba(np.array(span))
    for colour, one in zip(colours, moments, strict=True):
        # Each moment on its own scale: what can be gained falls by orders of magnitude along a run.
        top = np.nanmax(one.values) if np.isfinite(one.values).any() else np.nan
        share = one.values / top if top > 0 else np.full(len(one.values), np.nan)
        right.plot(one.sigmas, share, "o-", markersize=3, color=tuple(colour))
    right.axhline(0, color="0.4", linewidth=0.8)
    right.set_ylim(-0.25, 1.08)
    right.set_xscale("log")
    right.set(xlabel="step size sigma", ylabel="worth, as a share of the best one's")
    figure.colorbar(mapped, ax=right, label="generation", pad=0.02)
    for axes in (left, right):
        axes.set_axisbelow(True)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path, title)
