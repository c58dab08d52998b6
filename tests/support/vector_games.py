"""Functions that strategies over vectors of weights are to climb; the best value is 0, at the origin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = 20
#: From the flattest to the steepest direction, 10,000 times as steep.
CURVATURE = np.logspace(0, 4, SIZE)


def sphere(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """(P,) of (P, D)."""
    return -np.square(weights, dtype=np.float64).sum(axis=1)


def ellipsoid(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """(P,) of (P, D): each weight with a curvature of its own."""
    return -(CURVATURE * np.square(weights, dtype=np.float64)).sum(axis=1)


def climbed(strategy: Any, function: Callable[[NDArray[np.float32]], NDArray[np.float64]], generations: int) -> float:
    """What the centre is worth after some generations."""
    for _ in range(generations):
        strategy.tell(function(strategy.ask()))
    return float(function(strategy.centre[None])[0])
