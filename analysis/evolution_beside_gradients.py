"""How many evaluations does an evolution strategy need for what gradients reach, on the same task and network?

For runs of evolution strategies it reads off the log when the test accuracy first passed some levels, in evaluations
and in seconds; beside them it trains the same network from the same weights by SGD and by Adam, and counts forwards.

Runs: galab run --preset mnist-eggroll --seeds 1-3 --name mnist-eggroll
Command: python analysis/evolution_beside_gradients.py runs/mnist-eggroll/seed_* [--epochs 20]
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from galab.config import RunConfig
from galab.lab.backprop import train
from galab.store import journal
from galab.store.run_folder import RunFolder

LEVELS = (0.95, 0.97, 0.973)
#: Optimiser, learning rate and batch that serve this network well; both end with a cosine.
GRADIENTS = (("sgd(momentum=0.9)", 0.05, 64), ("adam", 0.001, 64))


def first(level: float, rows: list[tuple[float, float, float]]) -> str:
    """Evaluations and seconds at the first (evaluations, seconds, accuracy) that reaches a level."""
    found = next((row for row in rows if row[2] >= level), None)
    if found is None:
        return "-"
    seconds = f" ({found[1]:,.0f} s)" if found[1] else ""
    return f"{found[0]:.3g}{seconds}"


def show(name: str, rows: list[tuple[float, float, float]]) -> None:
    """One line of the table."""
    levels = " | ".join(first(level, rows) for level in LEVELS)
    print(f"| {name} | {levels} | {rows[-1][0]:.3g} | {rows[-1][2]:.2%} |")


def main() -> None:
    """Read the runs, train beside them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--epochs", type=int, default=20, help="of the trainings by gradients")
    chosen = parser.parse_args()
    print("| | " + " | ".join(f"to {level:.1%}" for level in LEVELS) + " | evaluations | test |")
    print("|---" * (len(LEVELS) + 3) + "|")
    seeds, config = [], None
    for path in chosen.runs:
        folder = RunFolder.open(path)
        config = RunConfig.from_saved(folder.read_config()["hyperparameters"])
        lines = [line for line in journal.read(folder.log_path) if "test_accuracy" in line]
        rows = [(line["evaluations"], line["seconds"], line["test_accuracy"]) for line in lines]
        seeds.append(config.seed)
        show(f"{config.strategy}, seed {config.seed}", rows)
    assert config is not None
    for optimizer, rate, batch in GRADIENTS:
        finals = []
        for seed in seeds:
            own = dataclasses.replace(
                config, seed=seed, optimizer=optimizer, lr=rate, lr_schedule="constant", batch=batch, weight_decay=0.0
            )
            steps = chosen.epochs * 55_000 // batch
            annealed = dataclasses.replace(own, lr_schedule="cosine", generations=steps)
            points = train(annealed, steps, max(1, steps // 60))
            show(f"{optimizer}, seed {seed}", [(point.forwards, 0.0, point.test_accuracy) for point in points])
            finals.append(points[-1].test_accuracy)
        print(f"<!-- {optimizer}: mean {np.mean(finals):.2%} -->")


if __name__ == "__main__":
    main()
