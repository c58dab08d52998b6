"""Functions to minimise, for arrays of any library: points (..., D) to values (...)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Function(NamedTuple):
    """A function and where searches begin.

    Attributes:
        of: takes points and the library's cosine.
        high: starts are drawn evenly from -high to high, in every dimension; 0.3 of that width is the first step size.
    """

    of: Callable[[Any, Callable[[Any], Any]], Any]
    high: float


def rastrigin(points: Any, cos: Callable[[Any], Any]) -> Any:
    """10 D + sum of x^2 - 10 cos(2 pi x): one minimum of 0 at zero, among about 11^D others."""
    return (points**2 - 10 * cos(2 * math.pi * points) + 10).sum(-1)


def rosenbrock(points: Any, cos: Callable[[Any], Any]) -> Any:
    """Sum of 100 (x_(i+1) - x_i^2)^2 + (1 - x_i)^2: a curved valley to the minimum of 0 at one."""
    del cos
    left, right = points[..., :-1], points[..., 1:]
    return (100 * (right - left**2) ** 2 + (1 - left) ** 2).sum(-1)


FUNCTIONS = {"Rastrigin": Function(rastrigin, 5.12), "Rosenbrock": Function(rosenbrock, 2.048)}
