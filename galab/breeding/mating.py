"""Mating: with whom each child's first parent breeds.

Choosing a mate by likeness among a few candidates: Fernandes and Rosa 2001, "A study on non-random mating and varying
population size in genetic algorithms using a royal road function". ``similar`` breeds within a niche (positive
assortative mating), ``dissimilar`` across niches (negative assortative mating).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError, closest
from galab.genome.noise import Stream, scaled, words

RULES = ("random", "similar", "dissimilar")


def partners(
    first: NDArray[np.int64],
    parents: int,
    ways: int,
    *,
    rule: str = "random",
    choices: int = 1,
    distances: NDArray[np.float64] | None = None,
    groups: NDArray[np.int64] | None = None,
    run_key: int,
    generation: int,
) -> NDArray[np.int64]:
    """The further parents of each child.

    They are different from the first and from each other. A group smaller than ``ways`` cannot do that: all others
    come once, and then again in the same order until the places are full; who is alone is its own partner.

    Args:
        first: (children,) place of each child's first parent.
        parents: how many parents there are; places run from 0 to ``parents - 1``.
        ways: parents per child, the first included.
        rule: ``random`` draws uniformly. ``similar`` and ``dissimilar`` draw ``choices`` candidates for each partner
            and take the one nearest to, or furthest from, the first parent; of equals the one at the lower place.
        choices: candidates per partner; ``random`` does not look at it.
        distances: (parents, parents), larger is more different; ``random`` does not look at it.
        groups: (parents,) the island of each parent, whose mates come from there; None is one island.
        run_key: the key of all draws.
        generation: likewise.

    Returns:
        (children, ways - 1) places of parents.

    Raises:
        UsageError: the rule is unknown, a number is impossible, or a shape does not fit.
    """
    _check(first, parents, ways, rule, choices, distances, groups)
    candidates = 1 if rule == "random" else choices
    children, further = len(first), ways - 1
    # Every child has words of its own, so the number of children changes nobody's partners.
    raw = words(run_key, generation, Stream.MATING, children * further * candidates)
    raw = raw.reshape(children, further, candidates)
    cost = None if rule == "random" or distances is None else (distances if rule == "similar" else -distances)
    islands = np.zeros(parents, dtype=np.int64) if groups is None else groups
    found = np.empty((children, further), dtype=np.int64)
    for island in np.unique(islands[first]):
        mine = np.flatnonzero(islands[first] == island)
        found[mine] = _within(np.flatnonzero(islands == island), first[mine], raw[mine], cost)
    return found


def _within(
    members: NDArray[np.int64], first: NDArray[np.int64], raw: NDArray[np.uint64], cost: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """The (children, ways - 1) partners out of one group, of whom the cheapest candidates are taken."""
    children, further, candidates = raw.shape
    size = len(members)
    rows = np.arange(children)
    pool = np.tile(members, (children, 1))
    # Each row is a Fisher-Yates shuffle under way: the chosen stand in front, and the first parent is chosen already.
    _swap(pool, rows, np.zeros_like(rows), np.searchsorted(members, first))
    for column in range(1, min(size, further + 1)):
        reach = min(candidates, size - column)
        for i in range(reach):
            _swap(pool, rows, column + i, column + i + scaled(raw[:, column - 1, i], size - column - i))
        if cost is not None:
            drawn = pool[:, column : column + reach]
            by_place = np.argsort(drawn, axis=1)
            costs = np.take_along_axis(cost[first[:, None], drawn], by_place, axis=1)
            _swap(pool, rows, column, column + by_place[rows, costs.argmin(axis=1)])
    others = max(size - 1, 1)
    return pool[:, (np.arange(further) % others) + (size > 1)]


def _swap(
    pool: NDArray[np.int64], rows: NDArray[np.int64], one: int | NDArray[np.int64], other: NDArray[np.int64]
) -> None:
    """Exchange two columns, which may be others in every row."""
    pool[rows, one], pool[rows, other] = pool[rows, other], pool[rows, one]


def _check(
    first: NDArray[np.int64],
    parents: int,
    ways: int,
    rule: str,
    choices: int,
    distances: NDArray[np.float64] | None,
    groups: NDArray[np.int64] | None,
) -> None:
    if rule not in RULES:
        raise UsageError(f"no mating rule is called '{rule}'.{closest(rule, list(RULES))} Known: {', '.join(RULES)}.")
    if ways < 1 or choices < 1:
        raise UsageError(
            f"expected 1 or more parents per child and 1 or more choices, got {ways} and {choices}; use 2 of each"
        )
    if len(first) and (first.min() < 0 or first.max() >= parents):
        raise UsageError(
            f"expected first parents from 0 to {parents - 1}, got {first.min()} to {first.max()}; give their places"
        )
    if groups is not None and groups.shape != (parents,):
        raise UsageError(f"expected the island of each of {parents} parents, got shape {groups.shape}; give one each")
    if rule != "random" and (distances is None or distances.shape != (parents, parents)):
        shape = None if distances is None else distances.shape
        raise UsageError(
            f"expected distances of shape ({parents}, {parents}) for {rule} mating, got {shape}; measure the parents' "
            "behaviour, or use random mating"
        )
