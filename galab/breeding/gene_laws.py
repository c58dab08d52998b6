"""Crossover of mutations: which of the parents' mutations a child carries.

Mutations that all parents carry are inherited. For a private one, which some parent lacks, the laws differ; for two
parents with one private mutation each, A and B, the odds that the child carries both are 1/4 (independent), 1 (union),
and under ``aligned`` 0 when A and B happened in the same generation and 1/4 otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from galab.breeding.crossover import Crossover
from galab.genome.births import Birth
from galab.genome.noise import Stream, codes
from galab.genome.phenotype import Phenotype


class GeneLaw(Crossover):
    """Chooses genes; the decoder sums them (:func:`galab.genome.genes.recombined`)."""

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
