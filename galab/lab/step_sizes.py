"""One number for an individual's step sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.genome.sigma import snap
from galab.genome.steps import Steps


def typical(steps: Steps, log_sigma: NDArray[np.int16]) -> float:
    """The mean log step size over the weights, as a grid point with a fraction.

    Args:
        steps: what each of them serves.
        log_sigma: (S,) an individual's.
    """
    if steps.granularity == "global":
        return float(log_sigma[0])
    sizes = steps.layout.sizes
    # A weight of a matrix has its row's and its column's, so both groups of a tensor count for all of its weights.
    parts = [(sizes[group.tensor], log_sigma[group.start : group.stop]) for group in steps.groups]
    return sum(size * float(part.mean()) for size, part in parts if size) / steps.layout.size


def reached(steps: Steps, start: float, log_sigma: NDArray[np.int16]) -> int:
    """The step size from which founders would start where an individual has come to, as a grid point.

    Args:
        steps: what each step size serves.
        start: the step size from which the individual's founders started.
        log_sigma: (S,) the individual's.
    """
    moved = typical(steps, log_sigma) - typical(steps, steps.founder(snap(start)))
    return round(snap(start) + moved)
