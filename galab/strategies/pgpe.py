"""PGPE, parameter-exploring policy gradients, with mirrored members, ranks, and ClipUp for the centre.

Sources: Sehnke, Osendorfer, Rueckstiess, Graves, Peters and Schmidhuber, "Parameter-exploring Policy Gradients", Neural
Networks 23 (2010), 551-559: symmetric sampling, one step size for each weight. Toklu, Liskowski and Srivastava,
"ClipUp: A Simple and Powerful Optimizer for Distribution-based Policy Evolution", PPSN 2020, arXiv 2008.02387.

Where the papers leave room, it does as EvoTorch's PGPE does by default: fitness becomes centred ranks from -1/2 to 1/2
(Salimans et al., arXiv 1703.03864) in place of the 2010 paper's normalised rewards, gradients are means over pairs, and
a step size changes by at most a fifth of itself in a generation (Ha, "Evolving Stable Strategies", 2017).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.strategies.evolution import centred_ranks
from galab.strategies.gaussian import SeparableGaussian, checked

#: Length of the vector of first step sizes over ClipUp's maximum speed, as the authors of ClipUp advise.
RADIUS_PER_SPEED = 15.0
#: How far the centre can travel in a planned number of generations, in lengths of the vector of first step sizes; with
#: it and the learning rate of the step sizes that goes with it, measured for docs/minimize.md.
TRAVEL = 6.4
_PLANNED_LR_SIGMA = 0.3


class PGPE(SeparableGaussian):
    """See :class:`galab.strategies.gaussian.SeparableGaussian` for ask, tell and the state.

    With ranks r_p, noise z_p and P members, the gradients are ``sigma / P * sum_p r_p z_p`` and
    ``sigma / P * sum_p r_p (z_p^2 - 1)``. The step sizes follow theirs. The centre follows a velocity: the old one
    times the momentum plus a step of length ``lr_centre`` along the gradient, shortened to ``max_speed``.

    Args:
        start: (D,) where the search begins.
        run_key: the run's key, 64 bits.
        population: P, members of a generation, an even number.
        sigma: the first step size of every weight, in weight units.
        lr_centre: length of a step along the gradient, in weight units; None takes half of ``max_speed`` (ClipUp).
        max_speed: longest change of the centre in a generation, in weight units; None takes twice ``lr_centre``, or,
            where that is None too, ``sigma * sqrt(D) / 15`` (see :data:`RADIUS_PER_SPEED`).
        momentum: share of the velocity that stays; 0.9 in ClipUp's paper, EvoTorch and evosax.
        lr_sigma: learning rate of the step sizes; None is 0.1, evosax's default (EvoTorch has none).
        max_change: largest relative change of a step size in a generation; 0.2 in EvoTorch and evosax.
        generations: how many there will be, if that is known. Then ``lr_centre`` and ``max_speed`` fall linearly to
            zero, because a centre of constant speed comes no nearer to an optimum than it moves in a generation;
            ``max_speed`` begins at ``2 * TRAVEL * sigma * sqrt(D) / generations``, and ``lr_sigma`` is 0.3, unless they
            are said.

    Raises:
        UsageError: an argument is out of bounds.
    """

    name = "pgpe"

    def __init__(
        self,
        start: NDArray[np.floating[Any]],
        *,
        run_key: int,
        population: int,
        sigma: float,
        lr_centre: float | None = None,
        max_speed: float | None = None,
        momentum: float = 0.9,
        lr_sigma: float | None = None,
        max_change: float = 0.2,
        generations: int | None = None,
    ) -> None:
        self._planned = None if generations is None else math.ceil(checked("generations", generations))
        if max_speed is None:
            radius = checked("sigma", sigma) * math.sqrt(max(start.size, 1))
            default = radius / RADIUS_PER_SPEED if self._planned is None else 2 * TRAVEL * radius / self._planned
            max_speed = default if lr_centre is None else 2 * checked("lr_centre", lr_centre)
        if lr_sigma is None:
            lr_sigma = 0.1 if self._planned is None else _PLANNED_LR_SIGMA
        self._max_speed = checked("max_speed", max_speed)
        self._lr_centre = checked("lr_centre", self._max_speed / 2 if lr_centre is None else lr_centre)
        self._momentum = checked("momentum", momentum, zero=True, below=1)
        self._lr_sigma = checked("lr_sigma", lr_sigma, zero=True)
        self._max_change = checked("max_change", max_change, below=1)
        options = {
            "lr_centre": self._lr_centre,
            "max_speed": self._max_speed,
            "momentum": self._momentum,
            "lr_sigma": self._lr_sigma,
            "max_change": self._max_change,
            **({} if self._planned is None else {"generations": self._planned}),
        }
        super().__init__(start, run_key=run_key, population=population, sigma=sigma, mirrored=True, options=options)
        self._vectors["velocity"] = np.zeros(start.size)

    def _weights(self, fitness: NDArray[np.float64]) -> NDArray[np.float64]:
        return centred_ranks(fitness, 1)

    def _update(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
        sigma, velocity = self._vectors["sigma"], self._vectors["velocity"]
        scale = sigma / self._population
        gradient = scale * first
        length = _length(gradient)
        share = 1.0 if self._planned is None else max(0.0, 1 - self.generation / self._planned)
        velocity *= self._momentum
        if length > 0:  # equal fitness of all members gives no direction
            velocity += share * self._lr_centre / length * gradient
        speed = _length(velocity)
        if speed > share * self._max_speed:
            velocity *= share * self._max_speed / speed
        self._vectors["centre"] += velocity
        most = self._max_change * sigma
        sigma += np.clip(self._lr_sigma * scale * second, -most, most)


def _length(vector: NDArray[np.float64]) -> float:
    """Euclidean norm, without BLAS, whose sums may depend on the number of threads."""
    return math.sqrt(np.square(vector).sum())
