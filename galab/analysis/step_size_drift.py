"""What step sizes do without selection: how far those of one layer drift apart along a line of descent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galab.genome.step_sizes import PER_OCTAVE, Steps
from galab.genome.weights import Layout
from galab.operators.step_size import StepSizeRule


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """One line of descent without selection and without bounds.

    Attributes:
        generations: (n,) when it was measured.
        spread: (n,) standard deviation of the layer's log step sizes, in octaves.
        mean: (n,) mean of the layer's log step sizes, in octaves from the founder's.
    """

    generations: NDArray[np.int64]
    spread: NDArray[np.float64]
    mean: NDArray[np.float64]


def drift(rule: StepSizeRule, size: int, generations: int, *, every: int = 1) -> Drift:
    """Let a founder have one child, it one child, and so on; the founder's step sizes are all the same.

    Args:
        rule: how step sizes mutate.
        size: S, the number of step sizes, one per weight of one layer.
        generations: how many births.
        every: how many births lie between two measurements.
    """
    steps = Steps(Layout(("layer",), ((size,),)), "parameter")
    log_sigma = np.zeros(size, dtype=np.int16)
    looks = []
    for birth in range(1, generations + 1):
        # Within +-128 octaves of the founder, which int16 holds; no bound stops them before.
        log_sigma = rule.mutate([log_sigma], birth, steps).astype(np.int16)
        if birth % every == 0:
            looks.append((birth, log_sigma.std(dtype=np.float64), log_sigma.mean(dtype=np.float64)))
    seen = np.array(looks, dtype=np.float64).reshape(-1, 3)
    return Drift(seen[:, 0].astype(np.int64), seen[:, 1] / PER_OCTAVE, seen[:, 2] / PER_OCTAVE)


def with_rounding(local: float) -> float:
    """Octaves per birth by which a step size really moves, where a rule moves it by ``local`` and rounds to the grid.

    Rounding to 1/256 octave adds a uniform error of variance (1/256)^2 / 12 at each birth, as long as ``local`` is not
    much smaller than a grid step.
    """
    return float(np.hypot(local, 1 / (PER_OCTAVE * np.sqrt(12))))
