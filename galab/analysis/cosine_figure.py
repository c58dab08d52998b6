"""The figure of cosines with gradients: random ones with their law, chosen ones, minibatches, and a run's own steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from galab.analysis.cosines import batch_cosine, density
from galab.analysis.figures import COLOURS
from galab.analysis.sheet import save, sheet
from galab.analysis.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREEN, _PINK = COLOURS[:4]
_LOOKS = {"full": (_BLUE, "o", "with the full gradient"), "minibatch": (_ORANGE, "s", "with the minibatch gradient")}


@dataclass(frozen=True, slots=True, eq=False)
class CosinePicture:
    """What is drawn.

    Attributes:
        single: (n,) cosines of single mutations with the full gradient.
        dimensions: D.
        kinds: kind of step to target (``full``, ``minibatch``) to its median with interval.
        theory: kind of step to what a linear fitness would give it.
        batches: size of minibatches to the median cosine of their gradients with the full one.
        spread: v of :func:`galab.analysis.cosines.batch_cosine`, NaN if unknown.
        examples: N, what the full gradient is taken over.
        taken: (k, 3) generation, cosine with the full and with the minibatch gradient, of steps of the run.
        title: above the figure.
    """

    single: NDArray[np.float64]
    dimensions: int
    kinds: Mapping[str, Mapping[str, Interval]]
    theory: Mapping[str, float]
    batches: Mapping[int, Interval]
    spread: float
    examples: int
    taken: NDArray[np.float64]
    title: str


def draw_cosines(path: Path, *, picture: CosinePicture) -> None:
    """Draw four panels.

    Args:
        path: the image to write; its suffix decides the format.
        picture: what is drawn.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(13, 8.6)
    axes = figure.subplots(2, 2)
    _random(axes[0, 0], picture)
    _kinds(axes[0, 1], picture)
    _batches(axes[1, 0], picture)
    _taken(axes[1, 1], picture)
    for one in axes.flat:
        one.grid(alpha=0.25)
        one.spines[["top", "right"]].set_visible(False)
        if one.get_legend_handles_labels()[1]:
            # Below the axes: inside them a legend hides data sooner or later.
            one.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=9)
    save(figure, path, picture.title)


def _random(axes: Axes, picture: CosinePicture) -> None:
    size, values = picture.dimensions, picture.single[np.isfinite(picture.single)]
    axes.hist(values, bins=60, density=True, color=_BLUE, alpha=0.35, label=f"{len(values):,} mutations")
    reach = min(1.0, max(5 / math.sqrt(size), float(np.abs(values).max(initial=0.0))))
    places = np.linspace(-reach, reach, 600)
    if size > 1:
        with np.errstate(divide="ignore"):
            axes.plot(places, density(places, size), color="black", lw=1.6, label="exact law (Beta)")
    normal = stats.norm.pdf(places, scale=size**-0.5)
    axes.plot(places, normal, color=_ORANGE, lw=1.6, ls="--", label=f"N(0, 1/D), D = {size:,}")
    axes.set(xlabel="cosine with the full gradient", ylabel="density", title="One random mutation")


def _kinds(axes: Axes, picture: CosinePicture) -> None:
    """A row for each kind of step, the first at the top."""
    names = [name for name, own in picture.kinds.items() if own]
    for row, name in enumerate(names):
        for target, interval in picture.kinds[name].items():
            colour, marker, _ = _LOOKS[target]
            height = row - 0.13 if target == "full" else row + 0.13
            ends = [interval.low, interval.high]
            if not math.isnan(interval.low):
                axes.plot(ends, [height, height], color=colour, lw=2)
            axes.plot(interval.median, height, marker, color=colour, ms=6)
        if name in picture.theory:
            axes.plot([picture.theory[name]] * 2, [row - 0.36, row + 0.36], color="black", lw=1.5)
    for colour, marker, label in _LOOKS.values():
        axes.plot([], [], marker, color=colour, label=label)
    axes.plot([], [], "|", color="black", ms=11, mew=1.5, label="law, linear fitness (minibatch)")
    axes.axvline(0, color="black", lw=0.8)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.set(xlabel="cosine (median, bootstrap 95 %)", title="What is made of n mutations")


def _batches(axes: Axes, picture: CosinePicture) -> None:
    if not picture.batches:
        axes.text(0.5, 0.5, "every minibatch holds all examples", ha="center", transform=axes.transAxes)
        return
    sizes = np.array(list(picture.batches), dtype=np.float64)
    own = list(picture.batches.values())
    middle = np.array([one.median for one in own])
    bars = np.abs(np.array([[one.median - one.low, one.high - one.median] for one in own])).T
    axes.errorbar(sizes, middle, np.nan_to_num(bars), fmt="o", color=_BLUE, capsize=3, label="median, bootstrap 95 %")
    if math.isfinite(picture.spread):
        along = np.geomspace(sizes.min(), picture.examples, 200)
        law = batch_cosine(along, max(picture.spread, 0.0), picture.examples)
        axes.plot(along, law, color="black", lw=1.4, label=f"law from the smallest size, v = {picture.spread:.3g}")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{int(size):,}" for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(min(0.0, float(middle.min()) - 0.05), 1.03)
    axes.set(xlabel="training examples in the minibatch", ylabel="cosine", title="Minibatch against full gradient")


def _taken(axes: Axes, picture: CosinePicture) -> None:
    axes.set_title("Steps that the run took (champion's line, or centre)")
    if not len(picture.taken):
        axes.text(0.5, 0.5, "no step is known", ha="center", transform=axes.transAxes)
        return
    for column, target in enumerate(_LOOKS, 1):
        colour, marker, label = _LOOKS[target]
        axes.plot(picture.taken[:, 0], picture.taken[:, column], marker, color=colour, ms=4.5, alpha=0.8, label=label)
    band = 2 * picture.dimensions**-0.5
    axes.axhspan(-band, band, color="black", alpha=0.08, lw=0, label="95 % of random directions")
    axes.axhline(0, color="black", lw=0.8)
    axes.set(xlabel="generation", ylabel="cosine of the step")
