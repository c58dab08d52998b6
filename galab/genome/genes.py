"""Genomes as sets of mutations: a base that all share, and for each individual the births whose change it carries.

A gene is one mutation apart from its carriers (the lab's "seed"). As integer addition is exact, weights are base plus
the sum of the carried genes in any order, so a child is one of its parents plus the genes that it gains and minus
those that it loses. Genes that everybody carries belong to the base and need not be listed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from galab.genome.layout import Layout
from galab.genome.phenotype import Gene, Phenotype, narrowed

#: What a gene law decides: ids of the genes that a child carries, of those that its parents carry.
Chosen = set[int]


class GeneCache:
    """Changes of weights by gene, least recently used ones dropped, bounded in bytes; threads may share it.

    Args:
        develop: the (D,) int32 change of a gene.
        capacity: bytes.
    """

    def __init__(self, develop: Callable[[Gene], NDArray[np.int32]], capacity: int) -> None:
        self._develop = develop
        self._capacity = capacity
        self._bytes = 0
        self._items: OrderedDict[int, tuple[NDArray[np.int32], int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, gene: Gene) -> tuple[NDArray[np.int32], int]:
        """A gene's change, and its largest magnitude."""
        with self._lock:
            found = self._items.get(gene.birth.id)
            if found is not None:
                self._items.move_to_end(gene.birth.id)
                return found
        change = self._develop(gene)
        peak = max(int(change.max(initial=0)), -int(change.min(initial=0)))
        with self._lock:
            # Another thread may have developed it meanwhile, and its bytes count once.
            if gene.birth.id not in self._items:
                self._items[gene.birth.id] = change, peak
                self._bytes += change.nbytes
            while self._bytes > self._capacity and len(self._items) > 1:
                _, (evicted, _) = self._items.popitem(last=False)
                self._bytes -= evicted.nbytes
        return change, peak


def recombined(
    parents: Sequence[Phenotype], carried: Chosen, cache: GeneCache, layout: Layout, birth: int
) -> tuple[NDArray[np.int32], dict[int, Gene]]:
    """Weights and genes of a child that carries the given genes of its parents.

    It starts from the parent to which it is nearest.

    Args:
        parents: the parents, with their genes relative to one base.
        carried: ids among the parents' genes.
        cache: changes of genes.
        layout: to name the tensor of a weight that leaves the range.
        birth: the child, for the message.

    Raises:
        LethalMutationError: a weight leaves +-128.
    """
    known: dict[int, Gene] = {}
    for parent in parents:
        known.update(parent.genes or {})
    nearest = min(parents, key=lambda parent: len(carried ^ (parent.genes or {}).keys()))
    own = (nearest.genes or {}).keys()
    gained = [cache.get(known[gene]) for gene in sorted(carried - own)]
    lost = [cache.get(known[gene]) for gene in sorted(own - carried)]
    weights = nearest.weights
    reach = sum(peak for _, peak in (*gained, *lost))
    most = max(int(weights.max(initial=0)), -int(weights.min(initial=0))) if reach else 0
    if most + reach < 1 << 31:
        total = weights.copy()  # no sum on the way can overflow
        for change, _ in gained:
            total += change
        for change, _ in lost:
            total -= change
    else:
        total = narrowed(_widely(weights, gained, lost), layout, birth)
    return total, {gene: known[gene] for gene in sorted(carried)}


def _widely(
    weights: NDArray[np.int32],
    gained: Iterable[tuple[NDArray[np.int32], int]],
    lost: Iterable[tuple[NDArray[np.int32], int]],
) -> NDArray[np.int64]:
    """The sum in 64 bits, where 32 might overflow on the way."""
    total = weights.astype(np.int64)
    for change, _ in gained:
        total += change
    for change, _ in lost:
        total -= change
    return total


def fixed(members: Iterable[Phenotype]) -> set[int]:
    """Ids of the genes that all members carry."""
    sets = [(member.genes or {}).keys() for member in members]
    return set.intersection(*map(set, sets)) if sets else set()


def folded(member: Phenotype, common: set[int]) -> Phenotype:
    """The same individual relative to a base that holds the ``common`` genes, which it carries."""
    genes: Mapping[int, Gene] = {gene: what for gene, what in (member.genes or {}).items() if gene not in common}
    return Phenotype(member.weights, member.log_sigma, genes, member.velocity)
