"""``row`` moves one neuron, a row of a layer's matrix and the same entry of its bias; ``new-row`` draws it again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.random import Stream, Table, below, draw
from galab.genome.step_sizes import Steps, log_rms, sigma
from galab.genome.weights import Phenotype, step
from galab.operators.mutation.base import move


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
        parts = self.places(birth, steps)
        z = draw(self._law, self._run_key, birth.id, Stream.WEIGHTS, sum(part.stop - part.start for part in parts))
        return move(parent, birth, log_sigma, steps, parts, z, self._law.peak)

    def places(self, birth: Birth, steps: Steps) -> list[slice]:
        """The weights of the neuron that a birth moves."""
        # A neuron that no mutation may move is no choice.
        neurons = steps.neurons
        ends = np.cumsum([count for count, _ in neurons])
        chosen = int(below(int(ends[-1]), self._run_key, birth.id, Stream.CHOICE, 1)[0])
        layer = int(np.searchsorted(ends, chosen, side="right"))
        count, tensors = neurons[layer]
        row = chosen - (int(ends[layer]) - count)
        return [slice(start + row * width, start + (row + 1) * width) for start, width in tensors]


class NewRow:
    """Gives one neuron, each with equal odds, weights and a bias that owe nothing to its old ones.

    In each tensor they have the RMS of the parent's tensor, to the grid of step sizes: a vector like those that are
    there. The step size plays no part.

    Args:
        run_key: the run's key.
        law: the law of the new weights.
    """

    context_free = False

    def __init__(self, run_key: int, law: Table) -> None:
        self._run_key = run_key
        self._law = law
        self._row = Row(run_key, law)

    def apply(
        self, parent: Phenotype, birth: Birth, log_sigma: NDArray[np.int16], steps: Steps
    ) -> NDArray[np.int32]:
        """See :class:`galab.genome.develop.Mutation`."""
        layout = steps.layout
        parts = self._row.places(birth, steps)
        z = draw(self._law, self._run_key, birth.id, Stream.WEIGHTS, sum(part.stop - part.start for part in parts))
        weights, at = parent.weights.copy(), 0
        for part in parts:
            tensor = layout.tensor_at(part.start)
            start = layout.starts[tensor]
            scale = sigma(log_rms(parent.weights[start : start + layout.sizes[tensor]], layout.domain.bits))
            count = part.stop - part.start
            weights[part] = step(z[at : at + count], scale, self._law.peak, layout, birth.id)
            at += count
        return weights
