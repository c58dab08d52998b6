"""Dense mutation: every weight moves by its step size times noise of unit variance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.random import Stream, Table, draw, draw_all
from galab.genome.step_sizes import Steps, sigma
from galab.genome.weights import Layout, Phenotype, add, add_all, scratch, step_all, to_change


class Dense:
    """Adds ``rint(sigma * z * 2^bits)`` to every weight (Rechenberg 1973; Such et al. 2017 for deep networks).

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

    def apply_all(
        self, weights: NDArray[np.int32], births: Sequence[Birth], layout: Layout
    ) -> NDArray[np.int32] | None:
        """:meth:`apply` for several births at once, to the same bits; None where one of them is lethal.

        Args:
            weights: (P, D) the parent of each.
            births: P births with one step size for all weights each.
            layout: where the weights lie.

        Returns:
            (P, D) the children.
        """
        noises = [birth.id - birth.argument for birth in births]
        z = draw_all(self._law, self._run_key, noises, Stream.WEIGHTS, weights.shape[1])
        sigmas = [sigma(birth.log_sigma) for birth in births]
        return add_all(weights, step_all(z, sigmas, self._law.peak, layout.scale))
