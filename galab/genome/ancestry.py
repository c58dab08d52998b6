"""How far back the living are related: their most recent common ancestor, generation after generation.

Each living individual carries the set of its ancestors as the bits of one whole number, counted from the last common
ancestor. A generation costs a few operations on these numbers for each birth, whereas a walk through the family tree is
as long as the time to the common ancestor, which has no bound where islands never meet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_

from galab.genome.births import Birth
from galab.genome.pedigree import Pedigree

#: Births among which ancestors are looked for, unless said otherwise: 128 kB for each living individual at the most.
HORIZON = 1 << 20


@dataclass(frozen=True, slots=True)
class Kinship:
    """How the living are related.

    Attributes:
        ancestor: the youngest individual from whom all descend (each counts as its own ancestor), or None.
        younger: births since then from which somebody living descends, the living among them; where there is no common
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
        """Forget everybody born before ``base``: no younger common ancestor can be among them."""
        shift, self._base = base - self._base, base
        self._ancestors = {birth: ancestors >> shift for birth, ancestors in self._ancestors.items()}
