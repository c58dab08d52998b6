"""Row mutation: one neuron moves, that is a row of a layer's matrix and the same entry of its bias."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.noise import Stream, Table, below, draw
from galab.genome.phenotype import Phenotype
from galab.genome.steps import Steps
from galab.mutation.sparse import move


class Row:
    """Adds noise to all weights into one neuron, each neuron of the network with equal odds.

    Args:
        run_key: the run's key.
        law: the law of the noise.
    """

    context_free = True

    def __init__(self, run_key: int, law: Table) -> None:
        self._run_key = run_key
        self._law = law

    def apply(
        self, parent: Phenotype, birth: Birth, log_sigma: NDArray[np.int16], steps: Steps
    ) -> NDArray[np.int32]:
        """See :class:`galab.genome.develop.Mutation`."""
        # A neuron that no mutation may move is no choice.
        neurons = steps.neurons
        ends = np.cumsum([count for count, _ in neurons])
        chosen = int(below(int(ends[-1]), self._run_key, birth.id, Stream.CHOICE, 1)[0])
        layer = int(np.searchsorted(ends, chosen, side="right"))
        count, tensors = neurons[layer]
        row = chosen - (int(ends[layer]) - count)
        parts = [slice(start + row * width, start + (row + 1) * width) for start, width in tensors]
        z = draw(self._law, self._run_key, birth.id, Stream.WEIGHTS, sum(width for _, width in tensors))
        return move(parent, birth, log_sigma, steps, parts, z, self._law.peak)
