"""The common ancestor and what has been born since, against sets of ancestors by recursion."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.genome.births import Birth
from galab.genome.pedigree import Ancestry, Kinship, Pedigree

FOUNDERS = 3


class Population:
    """Three founders and random generations of five, of whom a few live on, perhaps with their parents."""

    def __init__(self, clones: bool) -> None:
        self.rows = [Birth(n, (0,) if clones and n else (), 0, 0, 0, 0, 0) for n in range(FOUNDERS)]
        self.pedigree = Pedigree(self.rows)
        self.living = list(range(FOUNDERS))

    def advance(self, draw: st.DrawFn, generation: int) -> None:
        known = len(self.rows)
        for number in range(known, known + 5):
            parents = draw(st.lists(st.sampled_from(self.living), min_size=1, max_size=2))
            self.rows.append(Birth(number, tuple(parents), generation, 0, 0, 0, 1))
            self.pedigree.add(self.rows[-1])
        competitors = [*range(known, known + 5), *(self.living if draw(st.booleans()) else ())]
        # One of them may live on two islands.
        self.living = draw(st.lists(st.sampled_from(competitors), min_size=1, max_size=3))
        self.pedigree.keep(self.living)

    def ancestors(self, number: int) -> set[int]:
        return {number}.union(*(self.ancestors(parent) for parent in self.rows[number].parents))

    def kinship(self, horizon: int) -> Kinship:
        """By the definition."""
        floor = max(0, len(self.rows) - horizon)
        sets = [self.ancestors(number) for number in self.living]
        shared = {number for number in set.intersection(*sets) if number >= floor}
        youngest = max(shared, default=-1)
        younger = {number for number in set.union(*sets) if number > youngest and number >= max(floor, FOUNDERS)}
        return Kinship(self.rows[youngest] if shared else None, len(younger))


@st.composite
def histories(draw: st.DrawFn) -> Iterator[Population]:
    """A population to be advanced step by step."""
    population = Population(draw(st.booleans()))

    def steps() -> Iterator[Population]:
        yield population
        for generation in range(1, draw(st.integers(1, 7)) + 1):
            population.advance(draw, generation)
            yield population

    return steps()


@pytest.mark.parametrize("horizon", [1 << 20, 12])
@given(history=histories())
def test_kinship_follows_the_definition_however_long_it_was_kept(horizon: int, history: Iterator[Population]) -> None:
    kept = None
    for population in history:
        if kept is None:
            kept = Ancestry(population.pedigree, FOUNDERS, horizon=horizon)
        expected = population.kinship(horizon)
        assert kept.of(population.living, len(population.rows)) == expected
        anew = Ancestry(population.pedigree, FOUNDERS, horizon=horizon)
        assert anew.of(population.living, len(population.rows)) == expected


def test_children_of_the_dead_in_a_warm_up() -> None:
    """All children descend from the founders themselves, so the common ancestor may be older than it was."""
    rows = [Birth(0, (), 0, 0, 0, 0, 0), Birth(1, (), 0, 0, 0, 0, 0)]
    pedigree = Pedigree(rows)
    ancestry = Ancestry(pedigree, 2)
    assert ancestry.of([0, 1], 2) == Kinship(None, 0)
    for number in (2, 3, 4):
        pedigree.add(Birth(number, (0,), 1, 0, 0, 0, 1))
    assert ancestry.of([2, 2], 5) == Kinship(pedigree[2], 0)
    assert ancestry.of([3, 4], 5) == Kinship(rows[0], 2)


def test_a_generation_costs_no_walk_through_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lines that never meet, as on islands without migrants: only the first look may go back to the founders."""
    pedigree = Pedigree([Birth(0, (), 0, 0, 0, 0, 0), Birth(1, (), 0, 0, 0, 0, 0)])
    ancestry = Ancestry(pedigree, 2)
    assert ancestry.of([0, 1], 2).ancestor is None
    monkeypatch.setattr(Pedigree, "common_ancestor", None)
    for number in range(2, 400):
        pedigree.add(Birth(number, (number - 2,), number // 2, 0, 0, 0, 1))
        pedigree.keep([number, number - 1])
        assert ancestry.of([number, number - 1], number + 1) == Kinship(None, number - 1)
