"""The family tree: every living individual and all its ancestors, and nobody else."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from galab.genome.births import Birth


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
        """Forget everyone who is neither living nor an ancestor of somebody living."""
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
        """The most recent individual from whom all of ``ids`` descend (each counts as its own ancestor), or None.

        Individuals are visited from the youngest to the oldest, so all descendants of one are seen before it; each
        carries the set of those ``ids`` that descend from it as a bit mask.
        """
        wanted = list(dict.fromkeys(ids))
        everyone = (1 << len(wanted)) - 1
        descendants = {birth: 1 << place for place, birth in enumerate(wanted)}
        heap = [-birth for birth in wanted]
        heapq.heapify(heap)
        while heap:
            birth = -heapq.heappop(heap)
            mask = descendants.pop(birth)
            if mask == everyone:
                return self._births.get(birth)
            for parent in self._births[birth].parents if birth in self._births else ():
                if parent not in descendants:
                    heapq.heappush(heap, -parent)
                descendants[parent] = descendants.get(parent, 0) | mask
        return None
