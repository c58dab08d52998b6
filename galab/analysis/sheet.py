"""An empty figure and its end: what every figure of an analysis begins and ends with."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Letters of a title's line per inch of a figure's width.
_LETTERS = 11.0


def sheet(width: float, height: float) -> Figure:
    """A figure that needs no screen, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain(*several: Axes) -> None:
    """Axes with a faint grid, and without a frame on two sides."""
    for axes in several:
        axes.set_axisbelow(True)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path, title: str) -> None:
    """Give a figure its title and write it.

    Args:
        figure: with all that it shows.
        path: the image to write; its suffix decides the format.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    letters = int(_LETTERS * figure.get_figwidth())
    figure.suptitle("\n".join(textwrap.wrap(title, letters)), fontsize=10, x=0.01, ha="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
