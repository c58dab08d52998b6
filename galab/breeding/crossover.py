"""Crossover of weights: masks and means, all exact.

A mask decides for each weight which parent it comes from; it may be one coin per weight (uniform crossover, Syswerda
1989), per neuron or per layer. Means are the intermediate recombination of evolution strategies (Beyer and Schwefel
2002). The gene laws, which recombine mutations instead of weights, are in ``gene_laws.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.layout import Layout
from galab.genome.noise import Stream, codes, words
from galab.genome.phenotype import Phenotype, picked


class Mixed(NamedTuple):
    """What a crossover makes of several parents.

    Attributes:
        weights: (D,) int32.
        sources: (D,) uint8 number of the parent that each weight comes from; None where all parents contribute.
    """

    weights: NDArray[np.int32]
    sources: NDArray[np.uint8] | None


class Crossover:
    """Constructed as ``Operator(run_key)``.

    Attributes:
        genetic: whether it recombines sets of mutations (``gene_laws.py``) and not weights.
    """

    genetic = False

    def __init__(self, run_key: int) -> None:
        self._run_key = run_key

    def combine(self, parents: Sequence[Phenotype], birth: Birth, layout: Layout) -> Mixed:
        """The child's weights before mutation, a new array, and where they come from."""
        raise NotImplementedError


class _Mask(Crossover):
    """Each weight comes from one parent."""

    def combine(self, parents: Sequence[Phenotype], birth: Birth, layout: Layout) -> Mixed:
        """See :class:`Crossover`."""
        sources = self._sources(len(parents), birth.id, layout)
        return Mixed(picked([parent.weights for parent in parents], sources), sources)

    def _sources(self, ways: int, birth: int, layout: Layout) -> NDArray[np.uint8]:
        raise NotImplementedError

    def coins(self, ways: int, birth: int, n: int) -> NDArray[np.uint8]:
        """(n,) the number of the parent that each of what is chosen at once comes from, with equal odds."""
        if ways == 2:
            bits = words(self._run_key, birth, Stream.MASK, -(-n // 64)).astype("<u8", copy=False)
            return np.unpackbits(bits.view(np.uint8), count=n)
        return (codes(self._run_key, birth, Stream.MASK, n).astype(np.uint32) * ways >> 16).astype(np.uint8)


class PerParameter(_Mask):
    """A coin for every weight."""

    def _sources(self, ways: int, birth: int, layout: Layout) -> NDArray[np.uint8]:
        return self.coins(ways, birth, layout.size)


class PerRow(_Mask):
    """A coin for every neuron: all weights into it and its bias come from one parent."""

    def _sources(self, ways: int, birth: int, layout: Layout) -> NDArray[np.uint8]:
        neurons = layout.neurons
        coins = self.coins(ways, birth, sum(count for count, _ in neurons))
        sources = np.empty(layout.size, dtype=np.uint8)
        at = 0
        for count, tensors in neurons:
            for start, width in tensors:
                sources[start : start + count * width].reshape(count, width)[:] = coins[at : at + count, None]
            at += count
        return sources


class PerLayer(_Mask):
    """A coin for every layer, its weights and its bias together."""

    def _sources(self, ways: int, birth: int, layout: Layout) -> NDArray[np.uint8]:
        coins = self.coins(ways, birth, max(layout.layers, default=-1) + 1)
        return np.repeat(coins[list(layout.layers)], layout.sizes)


class Mean(Crossover):
    """The mean of all parents of the child, to the nearest unit, halves to even."""

    def combine(self, parents: Sequence[Phenotype], birth: Birth, layout: Layout) -> Mixed:
        """See :class:`Crossover`."""
        total = np.zeros(layout.size, dtype=np.int64)
        for parent in parents:
            total += parent.weights
        # Sums below 2^53 are exact in float64 and the quotient is rounded once, so the bits agree everywhere.
        return Mixed(np.rint(total / len(parents)).astype(np.int32), None)
