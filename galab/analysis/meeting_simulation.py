"""Two mutations in populations bred by galab's own operators: how soon a child carries both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.meeting import Breeding
from galab.breeding.gene_laws import Aligned, GeneLaw, Independent, Union
from galab.breeding.mating import partners
from galab.genome.births import Birth
from galab.genome.noise import Stream, below, codes, permutation
from galab.genome.phenotype import Gene, Phenotype

_LAWS: dict[str, type[GeneLaw]] = {
    "genes-independent": Independent, "genes-union": Union, "genes-aligned": Aligned,
}  # fmt: skip
#: The two mutations' births, both in generation 1.
A, B = 1, 2
_NOTHING: Any = np.empty(0, dtype=np.int32)
_NO_STEPS: Any = np.empty(0, dtype=np.int16)
_GENES = {gene: Gene(Birth(gene, (0,), 1, 0, 0, 0, 1), _NO_STEPS) for gene in (A, B)}


def meetings(breeding: Breeding, generations: int, trials: int, key: int) -> Iterator[int]:
    """In which generation a child carries both, of populations that are bred one after the other.

    Args:
        breeding: how they breed.
        generations: G, how long each is bred.
        trials: how many populations.
        key: of all draws.

    Yields:
        The generation, from 1; 0 where none was born up to the last one.
    """
    law = None if breeding.law == "none" else _LAWS[breeding.law](key)
    for trial in range(trials):
        yield _trial(breeding, generations, trial, key, law)


def _trial(breeding: Breeding, generations: int, trial: int, key: int, law: GeneLaw | None) -> int:
    carried: list[frozenset[int]] = [frozenset()] * breeding.parents
    carried[0], carried[1] = frozenset({A}), frozenset({B})
    for generation in range(1, generations + 1):
        if not any(A in one for one in carried) or not any(B in one for one in carried):
            return 0
        moment = trial * generations + generation
        children = _children(breeding, carried, moment, key, law)
        if any(len(one) == 2 for one in children):
            return generation
        order = permutation(breeding.children, key, moment, Stream.TIES).tolist()
        if breeding.selection == "ranked":
            order.sort(key=lambda place: not children[place])
        carried = [children[place] for place in order[: breeding.parents]]
    return 0


def _children(
    breeding: Breeding, carried: list[frozenset[int]], moment: int, key: int, law: GeneLaw | None
) -> list[frozenset[int]]:
    count = breeding.children
    first = below(breeding.parents, key, moment, Stream.BREEDING, count)
    if law is None:
        return [carried[place] for place in first.tolist()]
    second = partners(first, breeding.parents, 2, run_key=key, generation=moment)[:, 0]
    births = moment * count + 3 + np.arange(count)
    found = []
    for place, mate, birth in zip(first.tolist(), second.tolist(), births.tolist(), strict=True):
        one, other = carried[place], carried[mate]
        if one == other or (breeding.rate < 1 and not _sexual(breeding.rate, key, birth)):
            found.append(one)
        else:
            found.append(frozenset(law.carried([_who(one), _who(other)], Birth(birth, (0, 1), 2, 0, 0, 1, 1))))
    return found


def _sexual(rate: float, key: int, birth: int) -> bool:
    return int(codes(key, birth, Stream.OPERATOR, 2)[1]) + 0.5 < rate * 65_536


def _who(genes: frozenset[int]) -> Phenotype:
    return Phenotype(_NOTHING, _NO_STEPS, {gene: _GENES[gene] for gene in sorted(genes)})


def descents(
    rows: NDArray[np.void], generations: int, pairs: int, key: int
) -> tuple[NDArray[np.int64], int]:
    """How soon a selected individual descends from both of two that were selected in one generation.

    Args:
        rows: the lineage file: selected births, oldest first.
        generations: G, how far to look.
        pairs: how many pairs to draw, each of two different individuals of one generation.
        key: of the draws.

    Returns:
        (pairs,) generations until then, 0 where there is none up to G; and how many pairs could be drawn.
    """
    when = rows["generation"].astype(np.int64)
    last = int(when.max(initial=0)) - generations
    order = np.argsort(when, kind="stable")
    edges = np.searchsorted(when[order], np.arange(1, max(last, 0) + 2))
    counts = np.diff(edges)
    possible = 1 + np.flatnonzero(counts > 1)
    if not len(possible):
        return np.empty(0, dtype=np.int64), 0
    ids, parents = rows["id"], rows["parents"]
    chosen = possible[below(len(possible), key, 0, Stream.CHOICE, pairs)]
    found = np.zeros(pairs, dtype=np.int64)
    for number, generation in enumerate(chosen.tolist()):
        start, size = int(edges[generation - 1]), int(counts[generation - 1])
        one, two = permutation(size, key, number, Stream.TIES)[:2]
        alive = {int(ids[order[start + one]]): 1, int(ids[order[start + two]]): 2}
        until = int(np.searchsorted(when[order], generation + generations, side="right"))
        for place in order[start + size : until].tolist():
            mark = 0
            for parent in parents[place].tolist():
                mark |= alive.get(parent, 0)
            if mark == 3:
                found[number] = int(when[place]) - generation
                break
            if mark:
                alive[int(ids[place])] = mark
    return found, pairs
