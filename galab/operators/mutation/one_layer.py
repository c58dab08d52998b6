"""``layer`` moves the weights and the bias of one layer, ``net`` those of one network of an ensemble."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.random import Stream, Table, codes, draw
from galab.genome.step_sizes import Steps
from galab.genome.weights import Layout, Phenotype
from galab.operators.mutation.base import move


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


#: Networks lie in a list of this name (:class:`galab.models.ensemble.Ensemble`).
_LIST = "nets"


class Net(Layer):
    """Adds noise to one network of an ensemble, each with equal odds; to everything where there is but one."""

    def _groups(self, layout: Layout) -> tuple[int, ...]:
        return _nets(layout)


@lru_cache(maxsize=64)
def _nets(layout: Layout) -> tuple[int, ...]:
    """For each tensor the number of its network; what lies in none is a group of its own."""
    found = []
    for name in layout.names:
        parts = name.split(".")
        at = parts.index(_LIST) + 2 if _LIST in parts else 0
        found.append(".".join(parts[:at]))
    numbers = {net: number for number, net in enumerate(dict.fromkeys(found))}
    return tuple(numbers[net] for net in found)
