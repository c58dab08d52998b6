"""The figure of an optimiser's updates: their law on a minibatch and on the full data, and their size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from galab.analysis.figures import COLOURS
from galab.analysis.sheet import save, sheet
from galab.analysis.update_laws import LAWS, Shape, density

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OF_LAW = dict(zip(LAWS, COLOURS[:3], strict=True))
_STYLES = dict(zip(LAWS, ("--", "-.", "-"), strict=True))
#: How far out a histogram goes, in root mean squares.
_REACH = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class UpdatePicture:
    """What is drawn.

    Attributes:
        values: kind (update, full gradient) to (n,) numbers that are not 0, of all layers at one step.
        shapes: how they are distributed; None where nobody could tell.
        distances: kind to layer to law to the distances of Kolmogorov and Smirnov, one for each look.
        steps: (k,) numbers of the steps.
        sizes: layer to (k,) root mean square of its updates.
        sigma: step size of the run's mutations.
        title: above the figure.
    """

    values: Mapping[str, NDArray[np.float64]]
    shapes: Mapping[str, Shape | None]
    distances: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
    steps: NDArray[np.int64]
    sizes: Mapping[str, NDArray[np.float64]]
    sigma: float
    title: str


def draw_updates(path: Path, *, picture: UpdatePicture) -> None:
    """Draw four panels.

    Args:
        path: the image to write; its suffix decides the format.
        picture: what is drawn.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(13, 9)
    axes = figure.subplots(2, 2)
    for one, (kind, values) in zip(axes[0], picture.values.items(), strict=True):
        _histogram(one, kind, values, picture.shapes[kind])
    _distances(axes[1, 0], picture)
    _sizes(axes[1, 1], picture)
    for one in axes.flat:
        one.grid(alpha=0.25)
        one.spines[["top", "right"]].set_visible(False)
        if one.get_legend_handles_labels()[1]:
            # Below the axes: inside them a legend hides data sooner or later.
            one.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=9)
    save(figure, path, picture.title)


def _histogram(axes: Axes, kind: str, values: NDArray[np.float64], shape: Shape | None) -> None:
    axes.set_title(f"{kind.capitalize()}, all layers, last step looked at")
    if shape is None:
        axes.text(0.5, 0.5, "too few numbers", ha="center", transform=axes.transAxes)
        return
    size = shape.deviation
    reach = min(_REACH, float(np.abs(values).max()) / size)
    heights, edges = np.histogram(values / size, bins=101, range=(-reach, reach), density=True)
    axes.stairs(heights, edges, fill=True, color="#999999", alpha=0.5, label=f"{len(values):,} numbers")
    places = np.linspace(-reach, reach, 1201)
    for fit in shape.fits:
        freedom = f", {fit.parameters['freedom']:.2g} degrees" if "freedom" in fit.parameters else ""
        axes.plot(
            places, density(fit, places * size) * size, color=_OF_LAW[fit.law], ls=_STYLES[fit.law], lw=1.6,
            label=f"{fit.law}{freedom}: KS {fit.distance:.3f}",
        )  # fmt: skip
    lowest = 1 / (len(values) * float(edges[1] - edges[0]))
    axes.set(yscale="log", xlabel="value / root mean square", ylabel="density")
    axes.set_ylim(lowest / 3, max(float(heights.max()) * 3, 1.0))


def _distances(axes: Axes, picture: UpdatePicture) -> None:
    """A row for each layer, the first at the top; updates are filled, the full gradient is hollow."""
    names = list(dict.fromkeys(name for own in picture.distances.values() for name in own))
    for filled, (kind, layers) in enumerate(picture.distances.items()):
        for row, name in enumerate(names):
            for place, law in enumerate(LAWS):
                found = layers.get(name, {}).get(law, [])
                height = row + 0.22 * (place - 1) + (0.06 if filled else -0.06)
                face = "none" if filled else _OF_LAW[law]
                axes.plot(
                    found, np.full(len(found), height), "o", ms=5, alpha=0.8, mfc=face, mec=_OF_LAW[law], ls="none"
                )  # fmt: skip
        axes.plot([], [], "o", color="black", mfc="none" if filled else "black", label=kind)
    for law in LAWS:
        axes.plot([], [], "s", color=_OF_LAW[law], label=law)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set(xlabel="Kolmogorov-Smirnov distance, a dot for each look", title="How far each law is off")


def _sizes(axes: Axes, picture: UpdatePicture) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, (name, sizes) in enumerate(picture.sizes.items()):
        known = np.where(sizes > 0, sizes, np.nan)
        style = ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
        marker = "o" if len(sizes) == 1 else None
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(picture.steps, known, color=colour, ls=style, marker=marker, lw=1.5, label=name)
    axes.axhline(picture.sigma, color="black", lw=1, ls=(0, (1, 3)), label="the run's step size")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(yscale="log", xlabel="step", ylabel="root mean square of an update", title="Size of the updates")
