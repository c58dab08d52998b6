"""Layer mutation: the weights of one layer, drawn anew for each child, move together with its bias."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.layout import Layout
from galab.genome.noise import Stream, Table, codes, draw
from galab.genome.phenotype import Phenotype
from galab.genome.steps import Steps
from galab.mutation.sparse import move


class Layer:
    """Adds noise to one layer, each with equal odds; tensors of one module are one layer.

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
        layout = steps.layout
        layers = self._groups(layout)
        # A layer that no mutation may move is no choice.
        free = sorted({layer for tensor, layer in enumerate(layers) if tensor not in steps.frozen})
        code = int(codes(self._run_key, birth.id, Stream.CHOICE, 1)[0])
        chosen = free[code * len(free) >> 16]
        tensors = zip(layers, layout.starts, layout.sizes, strict=True)
        parts = [slice(start, start + size) for layer, start, size in tensors if layer == chosen]
        count = sum(part.stop - part.start for part in parts)
        z = draw(self._law, self._run_key, birth.id, Stream.WEIGHTS, count)
        return move(parent, birth, log_sigma, steps, parts, z, self._law.peak)

    def _groups(self, layout: Layout) -> tuple[int, ...]:
        """For each tensor the number of what moves together with it."""
        return layout.layers
