"""Momentum along a line of descent: a child moves on in the direction in which its parent has moved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.random import Table
from galab.genome.step_sizes import Steps
from galab.genome.weights import Phenotype, add
from galab.operators.mutation.dense import Dense


class Momentum:
    """Adds beta times the parent's last step, and dense noise: v' = beta v + sigma z, w' = w + v' (after Polyak 1964).

    Args:
        run_key: the run's key.
        law: the law of the noise.
        beta: share of the parent's step that is repeated, to the nearest 1/65536.
    """

    context_free = False
    #: The decoder keeps the step of a birth as its ``velocity``.
    remembers = True

    def __init__(self, run_key: int, law: Table, beta: float = 0.9) -> None:
        self._dense = Dense(run_key, law)
        self._share = round(beta * 65_536)

    def apply(
        self, parent: Phenotype, birth: Birth, log_sigma: NDArray[np.int16], steps: Steps
    ) -> NDArray[np.int32]:
        """See :class:`galab.genome.develop.Mutation`."""
        moved = self._dense.apply(parent, birth, log_sigma, steps)
        if parent.velocity is None:
            return moved
        again = (parent.velocity.astype(np.int64) * self._share + 32_768) >> 16
        return add(moved, again.astype(np.int32), steps.layout, birth.id)
