"""SNES, the separable natural evolution strategy: a natural gradient for the centre and for each weight's step size.

Source: Wierstra, Schaul, Glasmachers, Sun, Peters and Schmidhuber, "Natural Evolution Strategies", JMLR 15 (2014),
949-980: Algorithm 6, the utilities of section 3.1 and the learning rates of its table of defaults.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.strategies.gaussian import SeparableGaussian, checked


class SNES(SeparableGaussian):
    """See :class:`galab.strategies.gaussian.SeparableGaussian` for ask, tell and the state.

    With utilities u_k and noise z_k, one generation does ``centre += lr_centre * sigma * sum_k u_k z_k`` and
    ``sigma *= exp(lr_sigma / 2 * sum_k u_k (z_k^2 - 1))``.

    Args:
        start: (D,) where the search begins.
        run_key: the run's key, 64 bits.
        population: P, members of a generation; the paper's default is 4 + floor(3 ln D).
        sigma: the first step size of every weight, in weight units.
        lr_centre: learning rate of the centre, eta_mu in the paper, which takes 1.
        lr_sigma: learning rate of the step sizes, eta_sigma in the paper; None takes its (3 + ln D) / (5 sqrt(D)).
        mirrored: whether members come in pairs, centre plus and minus the same step; the paper's do not.

    Raises:
        UsageError: an argument is out of bounds.
    """

    name = "snes"

    def __init__(
        self,
        start: NDArray[np.floating[Any]],
        *,
        run_key: int,
        population: int,
        sigma: float,
        lr_centre: float = 1.0,
        lr_sigma: float | None = None,
        mirrored: bool = False,
    ) -> None:
        default = (3 + math.log(max(start.size, 1))) / (5 * math.sqrt(max(start.size, 1)))
        self._lr_centre = checked("lr_centre", lr_centre)
        self._lr_sigma = checked("lr_sigma", default if lr_sigma is None else lr_sigma)
        options = {"lr_centre": self._lr_centre, "lr_sigma": self._lr_sigma}
        super().__init__(
            start, run_key=run_key, population=population, sigma=sigma, mirrored=mirrored, options=options
        )
        self._utilities = utilities(population)

    def _weights(self, fitness: NDArray[np.float64]) -> NDArray[np.float64]:
        return by_rank(self._utilities, fitness)

    def _update(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
        centre, sigma = self._vectors["centre"], self._vectors["sigma"]
        centre += self._lr_centre * sigma * first
        sigma *= np.exp(self._lr_sigma / 2 * second)


def utilities(population: int) -> NDArray[np.float64]:
    """(P,) utilities from the best rank to the worst, with sum 0: the worse half share the lowest, -1 / P.

    u_k is max(0, ln(P / 2 + 1) - ln k) over the sum of these, minus 1 / P (section 3.1 of the paper).
    """
    raw = np.maximum(0.0, math.log(population / 2 + 1) - np.log(np.arange(1, population + 1)))
    return np.asarray(raw / raw.sum() - 1 / population, dtype=np.float64)


def by_rank(values: NDArray[np.float64], fitness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each member's value by its rank; equal fitness shares the mean, so no member's number gives it an advantage.

    Args:
        values: (P,) from the best rank to the worst.
        fitness: (P,) higher is better, without NaN.
    """
    _, place, count = np.unique(-fitness, return_inverse=True, return_counts=True)
    sums = np.add.reduceat(values, np.cumsum(count) - count)
    return np.asarray((sums / count)[place], dtype=np.float64)
