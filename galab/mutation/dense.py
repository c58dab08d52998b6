"""Dense mutation: every weight moves by the step size times noise of unit variance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.noise import Stream, draw, draw_all, table
from galab.genome.phenotype import Layout, add, add_all, step, step_all
from galab.genome.scratch import scratch
from galab.genome.sigma import sigma


class Dense:
    """Adds ``rint(sigma * z * 2^24)`` to every weight (Rechenberg 1973; Such et al. 2017 for deep networks).

    Args:
        run_key: the run's key.
        distribution: the law of z.
    """

    def __init__(self, run_key: int, distribution: str = "normal") -> None:
        self._run_key = run_key
        self._table = table(distribution)

    def apply(self, weights: NDArray[np.int32], birth: Birth, layout: Layout) -> NDArray[np.int32]:
        """See :class:`galab.genome.decode.Mutation`."""
        n = len(weights)
        z = draw(self._table, self._run_key, birth.id, Stream.WEIGHTS, n, out=scratch("z", n, np.float32))
        out = scratch("change", n, np.int32)
        change = step(z, sigma(birth.log_sigma), self._table.peak, layout, birth.id, out=out)
        return add(weights, change, layout, birth.id)

    def apply_all(
        self, weights: NDArray[np.int32], births: Sequence[Birth], layout: Layout
    ) -> NDArray[np.int32] | None:
        """:meth:`apply` for several births at once, to the same bits; None where one of them is lethal.

        Args:
            weights: (P, D) the parent of each.
            births: P births with a global step size.
            layout: where each parameter lies.

        Returns:
            (P, D) the children.
        """
        n = weights.shape[1]
        z = draw_all(self._table, self._run_key, [birth.id for birth in births], Stream.WEIGHTS, n)
        return add_all(weights, step_all(z, [sigma(birth.log_sigma) for birth in births], self._table.peak))
