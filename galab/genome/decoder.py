"""Decoding: from births to weights, with cached reconstruction.

A child costs one mutation, whatever its generation, because its parents are in the cache; a cold rebuild folds the
lineage from the founders and gives the same bits.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from galab.errors import LethalMutationError
from galab.genome.births import Birth
from galab.genome.cache import ByteLimitedCache
from galab.genome.deltas import Change, DeltaChain, Deltas, scattered, unchanged
from galab.genome.develop import Developer, fixed, folded
from galab.genome.pedigree import Pedigree
from galab.genome.weights import Phenotype

#: Weights that are made together; more would leave the processor's cache.
_TOGETHER = 65_536
#: Where an operator touches a few weights of each child, so many are copied at once.
_MOST_TOGETHER = 1 << 22


class Decoder:
    """Turns births into phenotypes.

    Args:
        developer: carries out births.
        pedigree: the family tree; shared with the strategy.
        cache_bytes: memory for decoded individuals; pinned ones are kept beyond it.

    Attributes:
        hits: parents that a decoding found in the cache.
        misses: parents that it had to reconstruct.
        fixations: under a gene law, mutations that every living parent came to carry.
    """

    def __init__(self, developer: Developer, pedigree: Pedigree, *, cache_bytes: int = 2**28) -> None:
        self.developer = developer
        self.layout = developer.layout
        self.hits = 0
        self.misses = 0
        self.fixations = 0
        self._pedigree = pedigree
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
        decoded = self._develop(birth, use_cache=not self.developer.genetic or self._near(birth))
        self.insert(birth, decoded)
        return decoded

    def _near(self, birth: int) -> bool:
        """Whether an individual's genes are relative to the base that the genes of the pinned are relative to.

        Under a gene law, pinned individuals have a younger base than their dead relatives. Therefore the lineage of
        every individual that is no child of pinned ones is followed to the founders.
        """
        return self._cache.pinned(birth) or all(self._cache.pinned(parent) for parent in self._pedigree[birth].parents)

    def _develop(self, birth: int, use_cache: bool) -> Phenotype:
        rows, uses, decoded = self._missing(birth, use_cache)
        # Ids count up in order of birth, so parents come before their children.
        for row in sorted(rows.values()):
            decoded[row.id] = self.developer.develop(row, [decoded[parent] for parent in row.parents])
            for parent in row.parents:
                uses[parent] -= 1
                if not uses[parent]:
                    # A chain needs its last link only; without this a cold rebuild would hold every ancestor at once.
                    del decoded[parent]
        return decoded[birth]

    def decode_all(self, births: Sequence[int]) -> list[Phenotype | LethalMutationError]:
        """The phenotypes of several individuals, or why one cannot live; the same bits as :meth:`decode`."""
        self.develop_together(births)
        found: list[Phenotype | LethalMutationError] = []
        for birth in births:
            try:
                found.append(self.decode(birth))
            except LethalMutationError as error:
                found.append(error)
        return found

    def deltas(self, births: Sequence[int], generation: int, rank: int) -> Deltas:
        """A generation's children as changes to their parents, and others as changes of nothing to themselves.

        Only the bases are decoded.

        Args:
            births: P individuals; all mutations are :class:`galab.genome.deltas.Factoring`.
            generation: the generation whose births are expressed as changes to their parents.
            rank: of the changes.
        """
        rows = [self._pedigree[birth] for birth in births]
        mutants = [place for place, row in enumerate(rows) if row.mutation and row.generation == generation]
        bases = list(births)
        for place in mutants:
            (bases[place],) = rows[place].parents
        phenotypes = {base: self.decode(base) for base in dict.fromkeys(bases)}
        changes = unchanged(self.layout, rank, len(rows))
        if mutants:
            parents = [phenotypes[bases[place]] for place in mutants]
            found = self.developer.factors([rows[place] for place in mutants], parents)
            changes = found if len(mutants) == len(rows) else scattered(found, mutants, changes)
        return Deltas(bases, phenotypes, changes)

    def chain(self, birth: int, births: int) -> DeltaChain:
        """An individual as an ancestor and what was added since; see :meth:`deltas` for what it takes.

        The ancestor is found backwards, which is exact: with whole numbers, a mutation is taken back by subtraction.

        Args:
            birth: the individual.
            births: how many births to go back.
        """
        own = self.decode(birth)
        weights, changes = own.weights, list[list[Change]]()
        for _ in range(births):
            row = self._pedigree[birth]
            if row.mutation:
                changes.append(self.developer.factors([row], [own]))
                weights = weights - self.developer.change(row)
            (birth,) = row.parents
        return DeltaChain(Phenotype(weights, own.log_sigma, bits=own.bits), changes[::-1])

    def develop_together(self, births: Sequence[int]) -> None:
        """Put those of the births into the cache that are one mutation away from a cached parent.

        Children of small networks are made together, because there a call costs more than its arithmetic.
        """
        if self.developer.genetic:
            return
        alike: dict[int, list[tuple[Birth, Phenotype]]] = {}
        for birth in births:
            if self._lookup(birth) is not None:
                continue  # a cached individual may have left the pedigree
            row = self._pedigree[birth]
            parent = self._lookup(row.parents[0]) if len(row.parents) == 1 and row.mutation else None
            if parent is not None:
                alike.setdefault(row.mutation, []).append((row, parent))
        for pairs in alike.values():
            size = min(_TOGETHER // self.developer.touches(pairs[0][0]), _MOST_TOGETHER // self.layout.size)
            if size < 2 or len(pairs) < 2:
                continue
            for at in range(0, len(pairs), size):
                some = pairs[at : at + size]
                children = self.developer.develop_together([row for row, _ in some], [own for _, own in some])
                if children is None:
                    continue
                self.hits += len(some)
                for (row, _), child in zip(some, children, strict=True):
                    self.insert(row.id, child)

    def _missing(
        self, birth: int, use_cache: bool
    ) -> tuple[dict[int, Birth], Counter[int], dict[int, Phenotype]]:
        """What decoding a birth takes: the births to develop, how many of them need each, and the cached ancestors.

        An explicit stack instead of recursion, because lineages are tens of thousands of births long; and each is
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
            stack.extend(
                parent
                for parent in row.parents
                if parent not in rows and not (use_cache and self._peek(parent, decoded))
            )
        return rows, uses, decoded

    def insert(self, birth: int, phenotype: Phenotype) -> None:
        """Put a phenotype that is known into the cache, as long as there is room."""
        with self._lock:
            self._cache.put(birth, phenotype)

    def discard(self, births: Iterable[int]) -> None:
        """Remove these from the cache unless they are pinned, so that they are decoded again when asked for."""
        with self._lock:
            for birth in births:
                self._cache.discard(birth)

    def pin(self, births: Iterable[int]) -> None:
        """Keep exactly these, the living parents, in the cache whatever its size; decode those that are missing."""
        births = list(dict.fromkeys(births))
        if self.developer.genetic and not all(self._near(birth) for birth in births):
            # One base for all: one of them may be older, and genes that a later base holds are not known one by one.
            phenotypes = [self._develop(birth, use_cache=False) for birth in births]
        else:
            self.develop_together(births)
            phenotypes = [self.decode(birth) for birth in births]
        if self.developer.genetic:
            # All later individuals descend from the pinned ones, so what these all carry is base from now on.
            common = fixed(phenotypes)
            phenotypes = [folded(phenotype, common) for phenotype in phenotypes]
            self.fixations += len(common)
        self.adopt(dict(zip(births, phenotypes, strict=True)))

    def adopt(self, living: Mapping[int, Phenotype]) -> None:
        """Pin the living parents as they were saved, under a gene law with genes relative to one base."""
        with self._lock:
            self._cache.pin(dict(living))
            if self.developer.genetic:
                self._cache.drop()  # the others' genes are relative to an older base

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
    """Recently used phenotypes, bounded in bytes; pinned ones do not count and never leave."""

    def __init__(self, capacity: int) -> None:
        self._recent: ByteLimitedCache[Phenotype] = ByteLimitedCache(capacity)
        self._pinned: dict[int, Phenotype] = {}

    def get(self, birth: int) -> Phenotype | None:
        """An individual's phenotype, if it is here."""
        return self._pinned[birth] if birth in self._pinned else self._recent.get(birth)

    def pinned(self, birth: int) -> bool:
        """Whether an individual never leaves."""
        return birth in self._pinned

    def drop(self) -> None:
        """Forget all but the pinned."""
        self._recent.clear()

    def discard(self, birth: int) -> None:
        """Forget an individual that is not pinned."""
        self._recent.discard(birth)

    def put(self, birth: int, phenotype: Phenotype) -> None:
        """Keep an individual as long as there is room."""
        if birth not in self._pinned:
            self._recent.put(birth, phenotype, phenotype.nbytes)

    def pin(self, phenotypes: dict[int, Phenotype]) -> None:
        """Keep exactly these for good; those that were pinned before stay as long as there is room."""
        released = {birth: item for birth, item in self._pinned.items() if birth not in phenotypes}
        self._pinned = phenotypes
        for birth in phenotypes:
            self._recent.discard(birth)
        for birth, item in released.items():
            self.put(birth, item)
