"""Decoding: from births to weights, with cached reconstruction.

A child costs one mutation, whatever its generation, because its parents are in the cache; a cold rebuild folds the
lineage from the founders and gives the same bits.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from galab.errors import LethalMutationError
from galab.genome.births import Birth
from galab.genome.founders import Founders
from galab.genome.pedigree import Pedigree
from galab.genome.phenotype import Layout, Phenotype

#: Weights that are made together; more would leave the processor's cache.
_TOGETHER = 65_536


class Mutation(Protocol):
    """Changes weights; one operator per file in ``galab.mutation``.

    It may also have ``apply_all``, see :class:`galab.mutation.dense.Dense`, for several births at once.
    """

    def apply(self, weights: NDArray[np.int32], birth: Birth, layout: Layout) -> NDArray[np.int32]:
        """The child's weights, a new (D,) int32 array; the parent's are not touched.

        Raises:
            LethalMutationError: a weight leaves +-128.
        """
        ...


class Decoder:
    """Turns births into phenotypes.

    Args:
        founders: the recipe for individuals without parents.
        pedigree: who descends from whom; shared with the strategy.
        mutations: the run's operators; a birth's ``mutation`` counts from 1.
        cache_bytes: memory for decoded individuals; pinned ones are kept beyond it.

    Attributes:
        hits: parents that a decoding found in the cache.
        misses: parents that it had to reconstruct.
    """

    def __init__(
        self, founders: Founders, pedigree: Pedigree, mutations: Sequence[Mutation], *, cache_bytes: int = 2**28
    ) -> None:
        self.founders = founders
        self.layout = founders.layout
        self.hits = 0
        self.misses = 0
        self._pedigree = pedigree
        self._mutations = tuple(mutations)
        self._cache = _Cache(cache_bytes)
        self._lock = threading.Lock()

    def decode(self, birth: int) -> Phenotype:
        """The phenotype of an individual; threads may decode different births at the same time.

        Raises:
            LethalMutationError: it, or an ancestor, cannot live.
        """
        known = self._lookup(birth)
        if known is not None:
            return known
        rows, uses, decoded = self._missing(birth)
        # Ids count up in order of birth, so parents come before their children.
        for row in sorted(rows.values()):
            decoded[row.id] = self.develop(row, [decoded[parent] for parent in row.parents])
            for parent in row.parents:
                uses[parent] -= 1
                if not uses[parent]:
                    # A chain needs its last link only; without this a cold rebuild would hold every ancestor at once.
                    del decoded[parent]
        self.insert(birth, decoded[birth])
        return decoded[birth]

    def decode_all(self, births: Sequence[int]) -> list[Phenotype | LethalMutationError]:
        """The phenotypes of several individuals, or why one cannot live; the same bits as :meth:`decode`.

        Children of small networks are made together, because there a call costs more than its arithmetic.
        """
        self._develop_together(births)
        found: list[Phenotype | LethalMutationError] = []
        for birth in births:
            try:
                found.append(self.decode(birth))
            except LethalMutationError as error:
                found.append(error)
        return found

    def _develop_together(self, births: Sequence[int]) -> None:
        """Put those of the births into the cache that are one mutation away from a cached parent."""
        size = _TOGETHER // self.layout.size
        if size < 2:
            return
        rows, parents = [], []
        for birth in births:
            row = self._pedigree[birth]
            if len(row.parents) != 1 or row.crossover or not row.mutation or self._lookup(birth) is not None:
                continue
            parent = self._lookup(row.parents[0])
            if parent is not None:
                rows.append(row)
                parents.append(parent.weights)
        if len(rows) < 2 or len({row.mutation for row in rows}) > 1:
            return
        apply_all = getattr(self._mutations[rows[0].mutation - 1], "apply_all", None)
        if apply_all is None:
            return
        for at in range(0, len(rows), size):
            some = rows[at : at + size]
            children = apply_all(np.stack(parents[at : at + size]), some, self.layout)
            if children is None:  # one of them is lethal, which `decode` tells
                continue
            for row, weights in zip(some, children, strict=True):
                # A copy, or one child in the cache would keep the whole array alive.
                self.insert(row.id, Phenotype(weights.copy(), row.log_sigma))
            self.hits += len(some)

    def _missing(self, birth: int) -> tuple[dict[int, Birth], Counter[int], dict[int, Phenotype]]:
        """What decoding a birth takes: the births to develop, how many of them need each, and the cached ancestors.

        An explicit stack instead of recursion, because lineages are tens of thousands of births long; and everybody is
        visited once, because with two parents there are exponentially many paths to an early ancestor.
        """
        rows, uses, decoded = dict[int, Birth](), Counter[int](), dict[int, Phenotype]()
        stack = [birth]
        while stack:
            row = self._pedigree[stack.pop()]
            if row.id in rows:
                continue
            rows[row.id] = row
            uses.update(row.parents)
            stack.extend(parent for parent in row.parents if parent not in rows and not self._peek(parent, decoded))
        return rows, uses, decoded

    def develop(self, birth: Birth, parents: Sequence[Phenotype]) -> Phenotype:
        """One birth: the child of decoded parents, or a founder; nothing is cached."""
        if not birth.parents:
            return self.founders.decode(birth)
        if not birth.mutation:
            return Phenotype(parents[0].weights, birth.log_sigma)
        mutation = self._mutations[birth.mutation - 1]
        return Phenotype(mutation.apply(parents[0].weights, birth, self.layout), birth.log_sigma)

    def insert(self, birth: int, phenotype: Phenotype) -> None:
        """Put a phenotype known from elsewhere, such as a checkpoint, into the cache."""
        with self._lock:
            self._cache.put(birth, phenotype)

    def pin(self, births: Iterable[int]) -> None:
        """Keep exactly these, the living parents, in the cache whatever its size; decode those that are missing."""
        births = list(births)
        phenotypes = [self.decode(birth) for birth in births]
        with self._lock:
            self._cache.pin(dict(zip(births, phenotypes, strict=True)))

    def _lookup(self, birth: int) -> Phenotype | None:
        with self._lock:
            return self._cache.get(birth)

    def _peek(self, birth: int, decoded: dict[int, Phenotype]) -> bool:
        """Whether an ancestor is cached; if so it joins ``decoded``."""
        if birth in decoded:
            return True
        with self._lock:
            found = self._cache.get(birth)
            self.hits, self.misses = (self.hits, self.misses + 1) if found is None else (self.hits + 1, self.misses)
        if found is not None:
            decoded[birth] = found
        return found is not None


class _Cache:
    """Least recently used phenotypes, bounded in bytes; pinned ones do not count and never leave."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._bytes = 0
        self._items: OrderedDict[int, Phenotype] = OrderedDict()
        self._pinned: dict[int, Phenotype] = {}

    def get(self, birth: int) -> Phenotype | None:
        if birth in self._pinned:
            return self._pinned[birth]
        if birth in self._items:
            self._items.move_to_end(birth)
            return self._items[birth]
        return None

    def put(self, birth: int, phenotype: Phenotype) -> None:
        if birth in self._items or birth in self._pinned:
            return
        self._items[birth] = phenotype
        self._bytes += phenotype.nbytes
        while self._bytes > self._capacity and self._items:
            _, evicted = self._items.popitem(last=False)
            self._bytes -= evicted.nbytes

    def pin(self, phenotypes: dict[int, Phenotype]) -> None:
        released = {birth: item for birth, item in self._pinned.items() if birth not in phenotypes}
        self._pinned = phenotypes
        for birth in phenotypes:
            if birth in self._items:
                self._bytes -= self._items.pop(birth).nbytes
        for birth, item in released.items():
            self.put(birth, item)

