"""Islands, populations that breed apart and send their best to a neighbour; and mating within one.

Whitley, Rana and Heckendorn 1999, "The island model genetic algorithm: on separability, population size and
convergence", Journal of Computing and Information Technology 7(1).

A mating rule says with whom each child's first parent breeds. Choosing a mate by likeness among a few candidates:
Fernandes and Rosa 2001, "A study on non-random mating and varying population size in genetic algorithms using a royal
road function". ``similar`` breeds within a niche (positive assortative mating), ``dissimilar`` across niches (negative
assortative mating).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError, closest
from galab.genome.random import Stream, scaled, words


def island_of(place: NDArray[np.int64], total: int, islands: int) -> NDArray[np.int64]:
    """The island that each place lies on: neighbouring places together, sizes differing by at most one.

    Args:
        place: (n,) places from 0 to ``total - 1``.
        total: places on all islands together.
        islands: how many islands there are.

    Returns:
        (n,) islands from 0 to ``islands - 1``; never falling along rising places.

    Raises:
        UsageError: there are fewer places than islands, or no islands, or a place that does not exist.
    """
    if not 1 <= islands <= total:
        raise UsageError(f"expected from 1 to {total} islands for {total} places, got {islands}; leave none empty")
    places = np.asarray(place, dtype=np.int64)
    if places.size and (places.min() < 0 or places.max() >= total):
        raise UsageError(
            f"expected places from 0 to {total - 1}, got {places.min()} to {places.max()}; count the places of all "
            "islands together"
        )
    return places * islands // total


@dataclass(frozen=True, slots=True)
class Migration:
    """Who moves between islands, and when.

    Attributes:
        every: generations from one migration to the next.
        migrants: how many leave each island.

    Raises:
        UsageError: ``every`` is below 1 or ``migrants`` below 0.
    """

    every: int
    migrants: int

    def __post_init__(self) -> None:
        if self.every < 1 or self.migrants < 0:
            raise UsageError(
                f"expected a migration every 1 or more generations of 0 or more migrants, got every {self.every} of "
                f"{self.migrants}; use 0 migrants for islands that never meet"
            )

    def migrate(self, parents_by_island: Sequence[NDArray[np.int64]], generation: int) -> list[NDArray[np.int64]]:
        """The parents of each island after this generation's migration, if there is one.

        The best of island i replace the worst of island (i + 1) mod K. All leave at once, as copies: emigrants also
        stay at home. A migrant who lives at the goal already stays there and replaces no one. No island changes its
        size, except that an empty one is settled; migrants for whom there is no place stay away.

        Args:
            parents_by_island: the births (or other names) of each island's parents, best first, each once.
            generation: from 1; generation 0 has no migration.

        Returns:
            New arrays: first those who stayed, best first, then those who came, best first.
        """
        if generation < 1 or generation % self.every:
            return [residents.copy() for residents in parents_by_island]
        sources = [parents_by_island[island - 1] for island in range(len(parents_by_island))]
        return [
            self._land(residents, source[: self.migrants])
            for residents, source in zip(parents_by_island, sources, strict=True)
        ]

    def _land(self, residents: NDArray[np.int64], migrants: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(residents) == 0:
            return migrants.copy()
        newcomers = migrants[~np.isin(migrants, residents)]
        replaceable = np.flatnonzero(~np.isin(residents, migrants))
        newcomers = newcomers[: len(replaceable)]
        leaving = replaceable[len(replaceable) - len(newcomers) :]
        return np.concatenate([np.delete(residents, leaving), newcomers])


MATING_RULES = ("random", "similar", "dissimilar")


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
    # Every child has words of its own, so the number of children changes no child's partners.
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
    if rule not in MATING_RULES:
        raise UsageError(
            f"no mating rule is called '{rule}'.{closest(rule, list(MATING_RULES))} Known: {', '.join(MATING_RULES)}."
        )
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
