"""Every generation of a run in Weights & Biases, by a callback; without a network into a folder beside the run.

The callback alone, for any run:

    galab run --task digits --generations 200 --callback examples/weights_and_biases.py:WeightsAndBiases

Or this script, which makes a run with it:

    python examples/weights_and_biases.py --generations 100

It needs `pip install wandb`. WANDB_MODE=offline sends nothing; `wandb sync FOLDER` does so later.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from typing import Any

import numpy as np

import galab


class WeightsAndBiases:
    """Logs what ``log.jsonl`` has, on the axis of evaluations, and the generation's scores as a histogram."""

    def on_start(self, view: Any) -> None:
        """Open a run with the same name and hyperparameters; a resumed run goes on in the same one."""
        import wandb

        # A name of its own for each folder: trials of a group are all called seed_0, seed_1, ...
        number = hashlib.sha256(str(view.folder.resolve()).encode()).hexdigest()[:16]
        self._run = wandb.init(
            project="galab", name=view.folder.name, id=number, resume="allow", dir=view.folder.parent,
            config={name: value for name, value in view.config.to_dict().items() if value is not None},
        )  # fmt: skip
        self._histogram = wandb.Histogram
        self._run.define_metric("evaluations")
        self._run.define_metric("*", step_metric="evaluations")

    def on_generation(self, view: Any) -> None:
        """Log one generation."""
        numbers = {name: value for name, value in view.line.items() if isinstance(value, int | float)}
        finite = view.fitness[np.isfinite(view.fitness)]
        self._run.log(numbers | {"fitness": self._histogram(finite)}, step=view.generation)

    def on_end(self, view: Any) -> None:
        """Close it with the reason."""
        self._run.summary["reason"] = view.reason
        self._run.finish()


def main() -> None:
    """Evolve a small network and log it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--runs", default="runs", help="Folder of run folders.")
    chosen = parser.parse_args()
    try:
        import wandb  # noqa: F401
    except ImportError:
        sys.exit("expected the package wandb, found none; pip install wandb")
    result = galab.run(
        task="digits", hidden="16", parents=4, children=16, generations=chosen.generations, seed=1, runs=chosen.runs,
        name="weights-and-biases", callbacks=[WeightsAndBiases()],
    )  # fmt: skip
    print(result)


if __name__ == "__main__":
    main()
