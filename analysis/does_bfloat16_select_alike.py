"""Does a fitness in bfloat16 select the same members, and step the same way, as one in float32?

From checkpoints early and late in training, the cohorts of the generations that follow are scored in both precisions.
For a genetic algorithm: rank correlation, survivors in common, and the progress that bfloat16's choice keeps; the same
for a run-off in float32 among the best 2 x parents by bfloat16; and, to hold them against, for float32 on other
examples. For an evolution strategy: cosines of its two estimates, and of each with the true gradient. Where a processor
has no units for bfloat16 it is emulated, slowly: the same products of the same rounded numbers, added up in float32,
in another order.

Runs: galab run --task mnist --parents 8 --children 32 --generations 3000 --seed 1 --threads 1 --precision float32
          --save-every 50 --keep all --name ga
      galab run --preset mnist-eggroll --generations 600 --seed 1 --threads 1 --precision float32
          --save-every 50 --keep all --name eggroll
Command: python analysis/does_bfloat16_select_alike.py runs/ga runs/eggroll --cohorts 8
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np

from galab.analysis.precision import (
    ScorePair,
    cohorts_in_both_precisions,
    in_common,
    progress_kept,
    run_off,
    spearman,
    survivors,
)
from galab.cli.question_script import guarded
from galab.config import RunConfig
from galab.config.strategy_kinds import kind_of
from galab.stats.intervals import Interval, median_interval
from galab.stats.vectors import cosine
from galab.storage.checkpoints import list_checkpoints
from galab.storage.run_folder import RunFolder

matplotlib.use("Agg")
from matplotlib import pyplot as plt

DEFAULT = Path(__file__).resolve().parents[1] / "docs" / "bfloat16.png"
GENERATIONS = (50, 150, 300, 600, 1500, 3000)

Figures = dict[str, Callable[[ScorePair], float]]
Table = dict[int, dict[str, Interval]]


def of_selection(parents: int) -> Figures:
    """What is asked of a genetic algorithm's cohort."""

    def chosen(one: ScorePair) -> dict[str, np.ndarray]:
        assert one.elsewhere is not None
        return {
            "bfloat16": survivors(one.coarse, parents),
            "run-off": run_off(one.coarse, one.fine, parents, 2 * parents),
            "other examples": survivors(one.elsewhere, parents),
        }

    figures: Figures = {"rank correlation, bfloat16": lambda one: spearman(one.coarse, one.fine)}
    for how in ("bfloat16", "run-off", "other examples"):
        figures[f"survivors in common, {how}"] = lambda one, how=how: in_common(
            chosen(one)[how], survivors(one.fine, parents)
        )
        figures[f"progress kept, {how}"] = lambda one, how=how: progress_kept(chosen(one)[how], one.fine)
    figures["rank correlation, other examples"] = lambda one: spearman(one.elsewhere, one.fine)
    return figures


def of_steps() -> Figures:
    """What is asked of an evolution strategy's cohort."""
    return {
        "rank correlation": lambda one: spearman(one.coarse, one.fine),
        "cosine of both estimates": lambda one: cosine(one.coarse_step, one.fine_step),
        "float32 with the gradient": lambda one: cosine(one.fine_step, one.gradient),
        "bfloat16 with the gradient": lambda one: cosine(one.coarse_step, one.gradient),
    }


def measured(folder: RunFolder, figures: Figures, cohorts: int) -> Table:
    """Medians with intervals by generation and figure."""
    found: Table = {}
    present = list_checkpoints(folder.checkpoints)
    for generation, path in present:
        if generation in (*GENERATIONS, present[-1][0]):
            seen = list(cohorts_in_both_precisions(path, cohorts))
            found[generation] = {name: median_interval([ask(one) for one in seen]) for name, ask in figures.items()}
            show(found[generation], generation)
    return found


def show(row: dict[str, Interval], generation: int) -> None:
    """A line of the table for each figure."""
    for name, value in row.items():
        print(f"| {generation:,} | {name} | {value.median:.4f} | {value.low:.4f} to {value.high:.4f} | {value.count} |")


def draw(tables: dict[str, Table], output: Path) -> None:
    """Everything against the generation, a panel for each run."""
    figure, every = plt.subplots(1, len(tables), figsize=(7 * len(tables), 4.4), layout="constrained", squeeze=False)
    for axes, (title, table) in zip(every[0], tables.items(), strict=True):
        names = [name for name in next(iter(table.values())) if not name.startswith("progress")]
        for name in names:
            values = [row[name] for row in table.values()]
            axes.plot(list(table), [value.median for value in values], marker="o", label=name)
            axes.fill_between(list(table), [v.low for v in values], [v.high for v in values], alpha=0.15)
        axes.set(xscale="log", xlabel="generation", ylim=(0, 1.03), title=title)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=130)


def main() -> None:
    """Score, tell, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--cohorts", type=int, default=8, help="generations after each checkpoint")
    parser.add_argument("--output", type=Path, default=DEFAULT)
    chosen = parser.parse_args()
    tables = {}
    for path in chosen.runs:
        folder = RunFolder.open(path)
        config = RunConfig.from_saved(folder.read_config()["hyperparameters"])
        print(f"\n{path}\n\n| generation | | median | 95 % | cohorts |\n|---|---|---|---|---|")
        figures = of_steps() if kind_of(config.strategy).estimates else of_selection(config.parents)
        tables[f"{config.strategy} on {config.task}"] = measured(folder, figures, chosen.cohorts)
    draw(tables, chosen.output)
    for name, table in tables.items():
        worst = {figure: min(row[figure].median for row in table.values()) for figure in next(iter(table.values()))}
        print(f"{name}, least of all stages: " + ", ".join(f"{figure} {value:.3f}" for figure, value in worst.items()))


if __name__ == "__main__":
    guarded(main)
