"""Dense mutation: every weight moves by the step size times noise of unit variance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.noise import Stream, Table, draw
from galab.genome.phenotype import Layout, add, step
from galab.genome.scratch import scratch
from galab.genome.sigma import sigma


class Dense:
    """Adds ``rint(sigma * z * 2^24)`` to every weight (Rechenberg 1973; Such et al. 2017 for deep networks).

    Args:
        run_key: the run's key.
        law: the distribution of z.
    """

    def __init__(self, run_key: int, law: Table) -> None:
        self._run_key = run_key
        self._table = law

    def apply(self, weights: NDArray[np.int32], birth: Birth, layout: Layout) -> NDArray[np.int32]:
        """See :class:`galab.genome.decode.Mutation`."""
        n = len(weights)
        z = draw(self._table, self._run_key, birth.id, Stream.WEIGHTS, n, out=scratch("z", n, np.float32))
        out = scratch("change", n, np.int32)
        change = step(z, sigma(birth.log_sigma), self._table.peak, layout, birth.id, out=out)
        return add(weights, change, layout, birth.id)
