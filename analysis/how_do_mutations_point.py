"""How do mutations, the best of them and minibatch gradients point, and does the best by a minibatch help on all data?

The notes found that the cosine of a random mutation with the gradient is about N(0, 1/N), that the best of 256 by a
minibatch is worse on the full data about a quarter of the time, and that averaging the best two does not help. Both
depend on the step size, the minibatch and the moment, so they are looked at along a run, at its own step size.

Runs: galab run --task digits --hidden 32 --batch 512 --generations 2000 --seed 1 --name points
Command: python analysis/how_do_mutations_point.py runs/points [--generations 20,200] [--batch 0] [--repeats 40] [-o F]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from galab.analysis.cosines import BEST, ESTIMATES, mean_of_best
from galab.analysis.gradient_cosine import MINIBATCH, gradient_cosine
from galab.cli.question_script import look
from galab.saved_runs.saved_run import SavedRun
from galab.stats.plots import Band, draw_bands

DEFAULT = Path(__file__).resolve().parents[1] / "docs" / "observations" / "how_do_mutations_point.png"
STEPS = (BEST, mean_of_best(2), mean_of_best(64), ESTIMATES[2], MINIBATCH)


def shown(share: dict[str, float]) -> str:
    """A share with its interval."""
    return f"{share['share']:.0%} [{share['low']:.0%}, {share['high']:.0%}]"


def show(values: dict[str, Any], rows: dict[str, dict[str, Any]]) -> None:
    """One line of the table."""
    worse = values["worse_on_full_data"]
    cells = [f"{rows[step]['median']:.3f}" for step in STEPS]
    cells += [shown(worse[BEST]), shown(worse[mean_of_best(2)]), shown(values["best_two_better"])]
    times = values["single"]["deviation_times_root_dimensions"]
    print(f"| {values['generation']:,} | {values['sigma']:.2g} | {times:.3f} | " + " | ".join(cells) + " |", flush=True)


def band(step: str, generations: list[int], tables: list[dict[str, dict[str, Any]]]) -> Band:
    """The cosine of a kind of step along the run."""
    middle, low, high = (np.array([table[step][name] for table in tables]) for name in ("median", "low", "high"))
    return Band(step, np.array(generations, dtype=np.float64), middle, low, high)


def along(saved: SavedRun, generations: list[int], output: Path, batch: int, repeats: int) -> None:
    """How mutations, the best of them and minibatch gradients point along a saved run."""
    tables, seen = [], []
    names = " | ".join(STEPS)
    print(f"| generation | sigma | deviation x sqrt(D) | {names} | best worse | two worse | two better |")
    print("|---" * (len(STEPS) + 6) + "|")
    for generation in generations:
        found = gradient_cosine(
            saved, lambda what, share: None, generation=generation, batch=batch, repeats=repeats, steps=0
        )
        tables.append({row["step"]: row for row in found.rows if row["gradient"] == "full"})
        seen.append(found.values)
        show(found.values, tables[-1])
    title = (
        f"Cosine with the gradient on {seen[0]['examples']:,} training examples, of what is made of "
        f"{seen[0]['samples']} mutations on minibatches of {seen[0]['batch']:,}; D = {seen[0]['dimensions']:,}, "
        f"medians of {repeats} with bootstrap 95 % intervals; {seen[0]['data']}"
    )
    bands = [band(step, generations, tables) for step in STEPS]
    draw_bands(output, bands, x_label="generation", y_label="cosine with the full gradient", title=title)


if __name__ == "__main__":
    look(
        along,
        shares=(0.01, 0.03, 0.1, 0.3, 1.0),
        output=DEFAULT,
        options=[
            click.Option(["--batch"], type=int, default=0, help="Training examples of a minibatch; the run's when 0."),
            click.Option(["--repeats"], type=click.IntRange(min=2), default=40, help="Samples of each cosine; 40."),
        ],
    )
