"""Small runs of every kind, for analyses that have to answer of each of them."""

from typing import Any

SMALL: dict[str, Any] = {
    "task": "digits", "hidden": "4", "batch": 32, "parents": 3, "children": 6, "seed": 5, "threads": 1,
    "generations": 5, "save_every": 2, "report_every": 2, "precision": "float32",
}  # fmt: skip
_NOISE: dict[str, Any] = {"parents": 8, "children": 32, "population": 16, "sigma": 0.1}
KINDS: dict[str, dict[str, Any]] = {
    "ga": {},
    "one": {"generations": 1, "parents": 1, "children": 4, "crossover": "none"},
    "random": {"strategy": "random", "batch": 0, "fitness": "wrong"},
    "parameter": {"granularity": "parameter", "step_size": "mean-reverting"},
    "cosine": {"fitness": "gradient-cosine"},
    "openai-es": {"strategy": "openai-es", "optimizer": "adam", "lr": 0.02, **_NOISE},
    "eggroll": {"strategy": "eggroll", "lr": 0.1, **_NOISE},
    "memories": {
        "model": "memory(heads=6)", "hidden": None, "sigma": 0.5, "mutate": "memory-perturb,memory-target",
        "fitness": "wrong",
    },
    "fresh": {
        "strategy": "eggroll", "task": "linear-regression", "model": "linear", "hidden": None, "fitness": "loss",
        "optimizer": "nadam", "lr": 0.1, "population": 16, "lr_schedule": "cosine:0.1", "parents": 8, "children": 32,
    },
}  # fmt: skip

#: A task in a file of its own; MEASURED is to be replaced by what it makes of the measured sums.
CLOUDS = '''
import numpy as np
import torch
from galab.tasks import Classification


class Clouds(Classification):
    def measure(self, outputs, targets):
        sums = super().measure(outputs, targets)
        return MEASURED


def clouds():
    random = np.random.default_rng(0)
    side = random.integers(0, 2, 300)
    inputs = random.normal(0, 1, (300, 2)) + 3 * side[:, None]
    parts = [(inputs[a:b], side[a:b]) for a, b in ((0, 200), (200, 250), (250, 300))]
    return Clouds(name="clouds", train=parts[0], validation=parts[1], test=parts[2], classes=2)
'''
#: A task whose loss cannot be differentiated.
CLOUDS_WITHOUT_GRADIENT = CLOUDS.replace("MEASURED", "{name: value.detach() for name, value in sums.items()}")
#: A task whose members fail where they answer the first example with a large number.
CLOUDS_WITH_FAILURES = CLOUDS.replace(
    "MEASURED", "sums | {'loss': torch.where(outputs[:, 0].abs().amax(1) > 6, torch.nan, sums['loss'])}"
)
