"""The family tree: the living individuals, all their ancestors, and how far back the living are related.

For the most recent common ancestor, each living individual carries the set of its ancestors as the bits of one whole
number, counted from the last common ancestor. A generation costs a few operations on these numbers for each birth,
whereas a walk through the family tree is as long as the time to the common ancestor, which has no bound where islands
never meet.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_

from galab.genome.births import Birth

#: Births among which ancestors are looked for, unless said otherwise: 128 kB for each living individual at the most.
HORIZON = 1 << 20


class Pedigree:
    """Births by id, pruned as lines die out.

    Pruning counts children, so a generation costs what it adds and removes, never the length of the history.
    """

    def __init__(self, births: Iterable[Birth] = ()) -> None:
        self._births: dict[int, Birth] = {}
        self._children: dict[int, int] = {}
        self._tips: set[int] = set()
        for birth in births:
            self.add(birth)

    def __len__(self) -> int:
        return len(self._births)

    def __contains__(self, birth: int) -> bool:
        return birth in self._births

    def __getitem__(self, birth: int) -> Birth:
        return self._births[birth]

    def __iter__(self) -> Iterator[Birth]:
        return iter(self._births.values())

    def add(self, birth: Birth) -> None:
        """Record a birth, once; its parents, where they are known, must have been added before."""
        if birth.id in self._births:
            return
        self._births[birth.id] = birth
        self._tips.add(birth.id)
        for parent in birth.parents:
            self._children[parent] = self._children.get(parent, 0) + 1

    def keep(self, living: Iterable[int]) -> None:
        """Forget all individuals that are neither living nor ancestors of living ones."""
        alive = set(living)
        gone = [birth for birth in self._tips if birth not in alive]
        self._tips = alive
        while gone:
            birth = gone.pop()
            if birth in alive or self._children.get(birth) or birth not in self._births:
                continue
            for parent in self._births.pop(birth).parents:
                self._children[parent] -= 1
                if not self._children[parent]:
                    del self._children[parent]
                    gone.append(parent)

    def ancestors(self, ids: Iterable[int]) -> list[Birth]:
        """The named individuals and all their recorded ancestors, oldest first: their lineage."""
        found: dict[int, Birth] = {}
        stack = list(ids)
        while stack:
            birth = stack.pop()
            if birth in found or birth not in self._births:
                continue
            found[birth] = self._births[birth]
            stack.extend(found[birth].parents)
        return [found[birth] for birth in sorted(found)]

    def common_ancestor(self, ids: Iterable[int]) -> Birth | None:
        """The most recent individual from which all of ``ids`` descend (each counts as its own ancestor), or None.

        Individuals are visited from the youngest to the oldest, so all descendants of one are seen before it; each
        carries the set of those ``ids`` that descend from it as a bit mask.
        """
        wanted = list(dict.fromkeys(ids))
        complete = (1 << len(wanted)) - 1
        descendants = {birth: 1 << place for place, birth in enumerate(wanted)}
        heap = [-birth for birth in wanted]
        heapq.heapify(heap)
        while heap:
            birth = -heapq.heappop(heap)
            mask = descendants.pop(birth)
            if mask == complete:
                return self._births.get(birth)
            for parent in self._births[birth].parents if birth in self._births else ():
                if parent not in descendants:
                    heapq.heappush(heap, -parent)
                descendants[parent] = descendants.get(parent, 0) | mask
        return None


@dataclass(frozen=True, slots=True)
class Kinship:
    """How the living are related.

    Attributes:
        ancestor: the youngest individual from which all descend (each counts as its own ancestor), or None.
        younger: later births from which a living individual descends, the living included; where there is no common
            ancestor, all births but the founders.
    """

    ancestor: Birth | None
    younger: int


class Ancestry:
    """Keeps the ancestors of the living. What it answers depends on the family tree alone, not on when it was made.

    Args:
        pedigree: the living and all their ancestors.
        founders: how many individuals were not born; theirs are the first ids.
        horizon: newest births among which ancestors are looked for; a common ancestor before them counts as none.
    """

    def __init__(self, pedigree: Pedigree, founders: int, *, horizon: int = HORIZON) -> None:
        self._pedigree = pedigree
        self._founders = founders
        self._horizon = horizon
        self._base = 0
        self._ancestors: dict[int, int] = {}

    def of(self, living: Iterable[int], next_id: int) -> Kinship:
        """How the living are related; called in every generation, it is quick.

        Args:
            living: ids.
            next_id: the id after the youngest that was ever born.
        """
        ids = list(dict.fromkeys(living))
        floor = max(0, next_id - self._horizon)
        self._ancestors = self._known(ids) or self._from_scratch(ids, floor)
        shared = reduce(and_, self._ancestors.values())
        found = self._base + shared.bit_length() - 1
        ancestor = self._pedigree[found] if shared and found >= floor else None
        first = max(floor, self._founders, 0 if ancestor is None else ancestor.id + 1)
        younger = (reduce(or_, self._ancestors.values()) >> (first - self._base)).bit_count()
        self._rebase(max(self._base, floor if ancestor is None else ancestor.id))
        return Kinship(ancestor, younger)

    def _known(self, ids: list[int]) -> dict[int, int]:
        """The ancestors of each, from those of the last generation; empty where these do not suffice."""
        found: dict[int, int] = {}
        for birth in ids:
            parents = () if birth in self._ancestors else self._pedigree[birth].parents
            if birth not in self._ancestors and not (parents and all(parent in self._ancestors for parent in parents)):
                return {}
            found[birth] = self._ancestors.get(birth) or self._with(birth, parents, self._ancestors)
        return found

    def _from_scratch(self, ids: list[int], floor: int) -> dict[int, int]:
        """The ancestors of each, from the family tree."""
        common = self._pedigree.common_ancestor(ids)
        self._base = max(floor, 0 if common is None else common.id)
        rows: dict[int, Birth] = {}
        uses = Counter(ids)
        stack = list(ids)
        while stack:
            birth = stack.pop()
            if birth < self._base or birth in rows or birth not in self._pedigree:
                continue
            rows[birth] = self._pedigree[birth]
            uses.update(rows[birth].parents)
            stack.extend(rows[birth].parents)
        found: dict[int, int] = {}
        for birth in sorted(rows):
            found[birth] = self._with(birth, rows[birth].parents, found)
            for parent in rows[birth].parents:
                uses[parent] -= 1
                if not uses[parent]:
                    found.pop(parent, None)  # without this a long history would be held many times over
        return {birth: found.get(birth, 0) for birth in ids}

    def _with(self, birth: int, parents: Iterable[int], known: dict[int, int]) -> int:
        own = 1 << (birth - self._base) if birth >= self._base else 0
        return reduce(or_, (known.get(parent, 0) for parent in parents), own)

    def _rebase(self, base: int) -> None:
        """Forget all individuals born before ``base``: no younger common ancestor can be among them."""
        shift, self._base = base - self._base, base
        self._ancestors = {birth: ancestors >> shift for birth, ancestors in self._ancestors.items()}
