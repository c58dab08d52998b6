"""Dense mutation: every weight moves by its step size times noise of unit variance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.noise import Stream, Table, draw
from galab.genome.phenotype import Phenotype, add, to_change
from galab.genome.scratch import scratch
from galab.genome.steps import Steps


class Dense:
    """Adds ``rint(sigma * z * 2^24)`` to every weight (Rechenberg 1973; Such et al. 2017 for deep networks).

    A birth's ``argument`` says how many births ago its noise was first drawn: 0 but for probes of a step size, which
    try the same noise at several step sizes.

    Args:
        run_key: the run's key.
        law: the law of z.
    """

    context_free = True

    def __init__(self, run_key: int, law: Table) -> None:
        self._run_key = run_key
        self._law = law

    def apply(
        self, parent: Phenotype, birth: Birth, log_sigma: NDArray[np.int16], steps: Steps
    ) -> NDArray[np.int32]:
        """See :class:`galab.genome.develop.Mutation`."""
        n = len(parent.weights)
        z = draw(
            self._law, self._run_key, birth.id - birth.argument, Stream.WEIGHTS, n, out=scratch("z", n, np.float32)
        )
        factor = steps.multiply(z, log_sigma)
        out = scratch("change", n, np.int32)
        change = to_change(z, factor * self._law.peak, steps.layout, birth.id, out)
        return add(parent.weights, change, steps.layout, birth.id)
