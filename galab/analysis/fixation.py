"""How births spread among the parents of later generations, or are lost: from who descends from whom.

A birth is fixed once all parents descend from it, and lost once none does. Time to fixation of a neutral mutation:
Kimura and Ohta 1969, "The average number of generations until fixation of a mutant gene in a finite population".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Fates:
    """What became of N births that were selected.

    Attributes:
        fixed: (N,) generations from birth until all parents descended from it; NaN where that never came.
        lost: (N,) generations from birth until none did; NaN where that never came.
        first: (N,) share of the parents that it was at its birth: one of them.
        second: (N,) share of the parents that descend from it a generation later; NaN in the last generation.
        kinship: generation to how many generations ago the youngest ancestor lived of whom all parents descend; NaN
            where there is none.
    """

    fixed: Floats
    lost: Floats
    first: Floats
    second: Floats
    kinship: dict[int, float]


def fates(
    births: Sequence[int], parents: Sequence[Sequence[int]], generations: Sequence[int], living: Sequence[int]
) -> Fates:
    """Follow births through the generations.

    A birth of an earlier generation counts among the parents as long as children of it are still selected: of parents
    that survive (elites) no more is written down.

    Args:
        births: N ids of those that became parents, in order of generation.
        parents: N times the ids of its parents.
        generations: N times when it was born.
        living: ids of the parents of the last generation.
    """
    size = len(births)
    place = {birth: at for at, birth in enumerate(births)}
    above = [[place[parent] for parent in several if parent in place] for several in parents]
    last_child = np.full(size, -1, dtype=np.int64)
    for at, several in enumerate(above):
        last_child[several] = np.maximum(last_child[several], generations[at])
    born: dict[int, list[int]] = {}
    for at, generation in enumerate(generations):
        born.setdefault(generation, []).append(at)
    last_child[[place[birth] for birth in living if birth in place]] = np.iinfo(np.int64).max
    fixed, lost, first, second = (np.full(size, np.nan) for _ in range(4))
    kinship: dict[int, float] = {}
    alive: list[int] = []
    carried: dict[int, int] = {}  # of each living one, its ancestors and itself as bits counted from `base`
    base, open_bits, common = 0, 0, -1
    for generation in sorted(born):
        new = born[generation]
        alive = [at for at in alive if last_child[at] > generation]
        own = {at: reduce(or_, (carried.get(one, 0) for one in above[at]), 1 << (at - base)) for at in new}
        carried = {at: carried[at] for at in alive} | own
        alive = list(carried)
        open_bits |= sum(1 << (at - base) for at in new)
        everyone, anyone = reduce(and_, carried.values()), reduce(or_, carried.values())
        first[new] = 1 / len(alive)
        for at in born.get(generation - 1, ()):
            if at >= base:
                second[at] = sum(bits >> (at - base) & 1 for bits in carried.values()) / len(alive)
        for at in _places(open_bits & everyone, base):
            fixed[at] = generation - generations[at]
            common = max(common, at)
        for at in _places(open_bits & ~anyone, base):
            lost[at] = generation - generations[at]
        open_bits &= anyone & ~everyone
        kinship[generation] = generation - generations[common] if common >= 0 else np.nan
        # Bits of births that are decided, and of which nobody asks next generation, are let go.
        oldest = min([*_places(open_bits & -open_bits, base), *new[:1]])
        carried = {at: bits >> (oldest - base) for at, bits in carried.items()}
        open_bits >>= oldest - base
        base = oldest
    return Fates(fixed, lost, first, second, kinship)


def _places(bits: int, base: int) -> list[int]:
    """The births behind the bits that are set."""
    found = []
    while bits:
        lowest = bits & -bits
        found.append(base + lowest.bit_length() - 1)
        bits ^= lowest
    return found


def growth(first: Floats, second: Floats) -> float:
    """The selection coefficient of a kind of births, per generation: log of the ratio of their mean shares.

    Args:
        first: (n,) shares at birth.
        second: (n,) shares a generation later; those of whom it is not known (NaN) do not count.

    Returns:
        NaN without any of whom it is known; minus infinity where all were lost at once.
    """
    known = ~np.isnan(second)
    if not known.any():
        return float("nan")
    after = float(second[known].mean())
    return float(np.log(after / first[known].mean())) if after > 0 else float("-inf")
