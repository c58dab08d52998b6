"""How many evaluations does an evolution strategy need for what gradients reach, on the same task and network?

Reads off the logs when the test accuracy first passed some levels, in evaluations and in seconds. Evaluations are
members x examples forwards; of sgd and adam each of them runs backwards too.

Runs: galab run --preset mnist-eggroll --seeds 1-3 --name mnist-eggroll
      galab run --strategy sgd --lr-schedule cosine --generations 17180 --seeds 1-3 --name mnist-sgd-gradients
      galab run --strategy adam --lr-schedule cosine --generations 17180 --seeds 1-3 --name mnist-adam-gradients
Command: python analysis/evolution_beside_gradients.py runs/mnist-eggroll runs/mnist-*-gradients
"""

from __future__ import annotations

import argparse
from pathlib import Path

from galab.cli.question_script import guarded
from galab.config import RunConfig
from galab.config.strategy_kinds import label_of
from galab.storage.groups import runs_below
from galab.storage.log import read_log

LEVELS = (0.95, 0.97, 0.973)


def first(level: float, rows: list[tuple[float, float, float]]) -> str:
    """Evaluations and seconds at the first (evaluations, seconds, accuracy) that reaches a level."""
    found = next((row for row in rows if row[2] >= level), None)
    return "-" if found is None else f"{found[0]:.3g} ({found[1]:,.0f} s)"


def main() -> None:
    """Read the runs, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    chosen = parser.parse_args()
    print("| | " + " | ".join(f"to {level:.1%}" for level in LEVELS) + " | evaluations | test |")
    print("|---" * (len(LEVELS) + 3) + "|")
    for folder in (run for path in chosen.runs for run in runs_below(path)):
        config = RunConfig.from_saved(folder.read_config()["hyperparameters"])
        lines = [line for line in read_log(folder.log_path) if "test_accuracy" in line]
        rows = [(line["evaluations"], line["seconds"], line["test_accuracy"]) for line in lines]
        levels = " | ".join(first(level, rows) for level in LEVELS)
        name = f"{label_of(config.strategy)}, seed {config.seed}"
        print(f"| {name} | {levels} | {rows[-1][0]:.3g} | {rows[-1][2]:.2%} |" if rows else f"| {name} | no report |")


if __name__ == "__main__":
    guarded(main)
