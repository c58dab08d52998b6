"""Do step sizes that nobody selects stay together?

With a step size for every weight most of them are hardly selected, so what a rule does without selection is what they
do. This script follows one line of descent under the log-normal and under the mean-reverting rule, with their default
rates, and compares the spread within a layer with what is predicted: growth with the root of the generations, and
local / sqrt(2r - r^2).

Runs: none are needed.
Command: python analysis/step_size_drift.py [--size 4000] [--generations 10000] [--output docs/step_size_drift.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np

from galab.analysis.step_size import Drift, drift, with_rounding
from galab.cli.question_script import guarded
from galab.operators.step_size import LogNormal, MeanReverting, predicted_spread

matplotlib.use("Agg")
from matplotlib import pyplot as plt

DEFAULT = Path(__file__).resolve().parents[1] / "docs" / "step_size_drift.png"


def draw(free: Drift, bound: Drift, grows: np.ndarray, settles: float, size: int, output: Path) -> None:
    """Spread against generations, both rules with their predictions."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    axes.loglog(free.generations, free.spread, color="#c44e52", label="log-normal")
    axes.loglog(free.generations, grows, color="black", linestyle=":", label=r"predicted: local $\sqrt{G}$")
    axes.loglog(bound.generations, bound.spread, color="#4c72b0", label="mean-reverting")
    axes.axhline(settles, color="black", linestyle="--", label=r"predicted: local / $\sqrt{2r - r^2}$")
    axes.set_xlabel("generations without selection")
    axes.set_ylabel("spread of log2 step sizes in a layer (octaves)")
    axes.set_title(f"{size:,} step sizes of one layer, one line of descent", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=150)


def main() -> None:
    """Simulate, draw, answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4000, help="step sizes in the layer")
    parser.add_argument("--generations", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=DEFAULT)
    chosen = parser.parse_args()
    textbook, reverting = LogNormal(1), MeanReverting(1)
    free = drift(textbook, chosen.size, chosen.generations)
    bound = drift(reverting, chosen.size, chosen.generations)
    grows = textbook.local(chosen.size) * np.sqrt(free.generations)
    settles = predicted_spread(with_rounding(reverting.local(chosen.size)), reverting.reversion)
    draw(free, bound, grows, settles, chosen.size, chosen.output)
    late = bound.spread[len(bound.spread) // 2 :].mean()
    print(
        f"After {chosen.generations:,} generations without selection the spread is {free.spread[-1]:.1f} octaves under "
        f"log-normal (predicted {grows[-1]:.1f}) and {late:.3f} under mean-reverting (predicted {settles:.3f})."
    )


if __name__ == "__main__":
    guarded(main)
