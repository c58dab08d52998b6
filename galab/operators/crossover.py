"""Crossover of weights (masks and means) and of mutations (gene laws), all exact.

A mask decides for each weight which parent it comes from; it may be one coin per weight (uniform crossover, Syswerda
1989), per neuron or per layer. Means are the intermediate recombination of evolution strategies (Beyer and Schwefel
2002).

A gene law says which of the parents' mutations a child carries. Mutations that all parents carry are inherited. For a
private one, which some parent lacks, the laws differ; for two parents with one private mutation each, A and B, the odds
that the child carries both are 1/4 (independent), 1 (union), and under ``aligned`` 0 when A and B happened in the same
generation and 1/4 otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.random import Stream, codes, words
from galab.genome.weights import Layout, Phenotype, picked


class Recombined(NamedTuple):
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
        genetic: whether it recombines sets of mutations and not weights.
    """

    genetic = False

    def __init__(self, run_key: int) -> None:
        self._run_key = run_key

    def combine(self, parents: Sequence[Phenotype], birth: Birth, layout: Layout) -> Recombined:
        """The child's weights before mutation, a new array, and where they come from."""
        raise NotImplementedError


class _MaskCrossover(Crossover):
    """Each weight comes from one parent."""

    def combine(self, parents: Sequence[Phenotype], birth: Birth, layout: Layout) -> Recombined:
        """See :class:`Crossover`."""
        sources = self._sources(len(parents), birth.id, layout)
        return Recombined(picked([parent.weights for parent in parents], sources), sources)

    def _sources(self, ways: int, birth: int, layout: Layout) -> NDArray[np.uint8]:
        raise NotImplementedError

    def coins(self, ways: int, birth: int, n: int) -> NDArray[np.uint8]:
        """(n,) the number of the parent that each of what is chosen at once comes from, with equal odds."""
        if ways == 2:
            bits = words(self._run_key, birth, Stream.MASK, -(-n // 64)).astype("<u8", copy=False)
            return np.unpackbits(bits.view(np.uint8), count=n)
        return (codes(self._run_key, birth, Stream.MASK, n).astype(np.uint32) * ways >> 16).astype(np.uint8)


class PerParameter(_MaskCrossover):
    """A coin for every weight."""

    def _sources(self, ways: int, birth: int, layout: Layout) -> NDArray[np.uint8]:
        return self.coins(ways, birth, layout.size)


class PerRow(_MaskCrossover):
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


class PerLayer(_MaskCrossover):
    """A coin for every layer, its weights and its bias together."""

    def _sources(self, ways: int, birth: int, layout: Layout) -> NDArray[np.uint8]:
        coins = self.coins(ways, birth, max(layout.layers, default=-1) + 1)
        return np.repeat(coins[list(layout.layers)], layout.sizes)


class Mean(Crossover):
    """The mean of all parents of the child, to the nearest unit, halves to even."""

    def combine(self, parents: Sequence[Phenotype], birth: Birth, layout: Layout) -> Recombined:
        """See :class:`Crossover`."""
        total = np.zeros(layout.size, dtype=np.int64)
        for parent in parents:
            total += parent.weights
        # Sums below 2^53 are exact in float64 and the quotient is rounded once, so the bits agree everywhere.
        return Recombined(np.rint(total / len(parents)).astype(np.int32), None)


class GeneLaw(Crossover):
    """Chooses genes; the decoder sums them (:func:`galab.genome.develop.recombined`)."""

    genetic = True

    def carried(self, parents: Sequence[Phenotype], birth: Birth) -> set[int]:
        """Ids of the parents' genes that the child carries."""
        sets = [set(parent.genes or {}) for parent in parents]
        shared = set.intersection(*sets)
        return shared | self._chosen(parents, sets, sorted(set.union(*sets) - shared), birth)

    def _chosen(
        self, parents: Sequence[Phenotype], sets: list[set[int]], private: list[int], birth: Birth
    ) -> set[int]:
        raise NotImplementedError


class Union(GeneLaw):
    """Every mutation of every parent."""

    def _chosen(
        self, parents: Sequence[Phenotype], sets: list[set[int]], private: list[int], birth: Birth
    ) -> set[int]:
        return set(private)


class Independent(GeneLaw):
    """A coin for every private mutation; among more than two parents the odds are the share of them that carry it."""

    def _chosen(
        self, parents: Sequence[Phenotype], sets: list[set[int]], private: list[int], birth: Birth
    ) -> set[int]:
        drawn = codes(self._run_key, birth.id, Stream.MASK, len(private)).astype(np.int64) * len(sets) >> 16
        carriers = [sum(gene in carried for carried in sets) for gene in private]
        return {gene for gene, code, count in zip(private, drawn.tolist(), carriers, strict=True) if code < count}


class Aligned(GeneLaw):
    """A coin for every generation: it names the parent whose mutations of that generation are inherited.

    The notes' image is a chain of mutations, one per generation, that is crossed over position by position.
    """

    def _chosen(
        self, parents: Sequence[Phenotype], sets: list[set[int]], private: list[int], birth: Birth
    ) -> set[int]:
        born = {gene: what.birth.generation for parent in parents for gene, what in (parent.genes or {}).items()}
        generations = sorted({born[gene] for gene in private})
        drawn = codes(self._run_key, birth.id, Stream.MASK, len(generations)).astype(np.int64) * len(sets) >> 16
        source = dict(zip(generations, drawn.tolist(), strict=True))
        return {gene for gene in private if gene in sets[source[born[gene]]]}
