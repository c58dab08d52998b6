"""Almost all single mutations harm: how can one of sixteen children improve?

The notes: of single mutations of a trained network almost all lower its fitness, and yet a run of one parent and 16
children goes on, so that one of 16 must improve. Asked of the champion of such a run, late in it, with the same
mutations at every step size.

Runs: made by this script in runs/questions/must_one_of_sixteen_improve.
Command: python analysis/must_one_of_sixteen_improve.py [--generations 1000] [--samples 1024] [--examples 2000]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from galab.analysis.mutation_fitness import mutation_fitness
from galab.cli.question_script import guarded
from galab.config import RunConfig
from galab.saved_runs.saved_run import open_saved
from galab.training.start_or_resume import start

ROOT = Path(__file__).resolve().parents[1]
SIGMAS = "0.0001,0.0003,0.0006,0.001,0.002,0.003,0.006,0.01,0.02,0.03"


def main() -> None:
    """Make the run once, ask, draw, answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generations", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "observations" / "one_of_sixteen.png")
    chosen = parser.parse_args()
    runs = chosen.runs / "questions" / "must_one_of_sixteen_improve"
    name = f"generations_{chosen.generations}"
    if not (runs / name).exists():
        config = RunConfig(
            task="mnist", parents=1, children=16, elites=1, batch=512, sigma=0.02, crossover="none", seed=1,
            precision="float32", generations=chosen.generations, threads=1,
        )  # fmt: skip
        start(config, name=name, runs=runs)
    found = mutation_fitness(
        open_saved(runs / name), lambda what, share: None, sigmas=SIGMAS, distributions="normal,laplace",
        samples=chosen.samples, layer_samples=128, examples=chosen.examples,
    )  # fmt: skip
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    found.draw(chosen.output)
    for row in found.rows:
        if row["mutated"] == "all":
            print(
                f"{row['distribution']} sigma {row['sigma']:g}: {row['improving']:.1%} improve "
                f"({row['improving_low']:.1%} to {row['improving_high']:.1%}), the best of 16 does in "
                f"{row['best_improves']:.0%}"
            )
    print(found.sentence)


if __name__ == "__main__":
    guarded(main)
