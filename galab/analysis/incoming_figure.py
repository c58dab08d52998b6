"""The figure of weights into neurons: pictures of them, and their histogram against founders and drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from galab.analysis.figures import COLOURS
from galab.analysis.sheet import plain, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.floating]
_COLUMNS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Neuron:
    """One neuron.

    Attributes:
        number: in its layer.
        strength: length of its outgoing weights, or of those into it.
        weights: (n,) into it.
        picture: (height, width), NaN between channels; None where they are no image.
    """

    number: int
    strength: float
    weights: Floats
    picture: Floats | None


def draw_incoming(
    path: Path,
    neurons: Sequence[Neuron],
    references: dict[str, Floats],
    *,
    word: str,
    title: str,
) -> None:
    """Draw up to eight neurons on the left and the histogram of all their weights on the right.

    Args:
        path: the image to write; its suffix decides the format.
        neurons: the strongest first.
        references: label to weights that they are compared with.
        word: for one of them, such as ``neuron`` or ``memory``.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    columns = min(_COLUMNS, len(neurons))
    rows = -(-len(neurons) // columns)
    wide = max(2.5 * columns, 4.5)
    figure = sheet(wide + 6.0, max(4.6, 2.5 * rows + 0.9))
    left, right = figure.subfigures(1, 2, width_ratios=(wide, 5.6), squeeze=False)[0]
    panels = np.atleast_1d(left.subplots(rows, columns, squeeze=False)).ravel()
    top = max(float(np.abs(one.weights).max(initial=0.0)) for one in neurons) or 1.0
    image = None
    for axes, one in zip(panels, neurons, strict=False):
        axes.set_title(f"{word} {one.number}, strength {one.strength:.3g}", fontsize=9)
        if one.picture is None:
            axes.bar(np.arange(len(one.weights)), one.weights, width=1.0, color=COLOURS[0])
            axes.set_ylim(-1.05 * top, 1.05 * top)
            axes.tick_params(labelsize=7)
        else:
            image = axes.imshow(np.ma.masked_invalid(one.picture), cmap="RdBu_r", vmin=-top, vmax=top)
            axes.set_xticks([])
            axes.set_yticks([])
    for axes in panels[len(neurons) :]:
        axes.set_axis_off()
    if image is not None:
        bar = left.colorbar(image, ax=panels.tolist(), location="bottom", fraction=0.05, pad=0.03, shrink=0.6)
        bar.set_label("weight")
    else:
        left.supxlabel("number of the input", fontsize=9)
        left.supylabel("weight", fontsize=9)
    _draw_histograms(right.subplots(), neurons, references, word)
    save(figure, path, title)


def _draw_histograms(axes: Axes, neurons: Sequence[Neuron], references: dict[str, Floats], word: str) -> None:
    own = np.concatenate([one.weights.ravel() for one in neurons])
    who = f"these {len(neurons)}" if len(neurons) > 1 else f"{word} {neurons[0].number}"
    known = {f"{who}, root mean square {_rms(own):.3g}": own}
    known |= {f"{label}, {_rms(values):.3g}": values for label, values in references.items()}
    # Wide enough for nearly all of everybody; the rest counts in the outermost bins.
    reach = max(float(np.quantile(np.abs(values), 0.995)) for values in known.values()) or 1.0
    edges = np.linspace(-reach, reach, 51 if own.size > 300 else 25)
    for number, (label, values) in enumerate(known.items()):
        inside = np.clip(values, edges[0], edges[-1])
        axes.hist(
            inside, bins=edges.tolist(), density=True, histtype="stepfilled" if not number else "step", linewidth=1.6,
            color=COLOURS[number], alpha=0.45 if not number else 1.0, label=label,
        )  # fmt: skip
    axes.set(xlabel=f"weight into a {word}", ylabel="probability density")
    plain(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), frameon=False, fontsize=9)


def _rms(values: Floats) -> float:
    return float(np.sqrt((values.astype(np.float64) ** 2).mean()))
