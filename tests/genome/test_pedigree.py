"""The family tree against brute force."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.genome.births import Birth, from_rows, to_rows
from galab.genome.pedigree import Ancestry, Kinship, Pedigree

FOUNDERS = 3


def birth(number: int, *parents: int) -> Birth:
    return Birth(number, parents, 0, 0, 0, 0, 1)


@st.composite
def trees(draw: st.DrawFn) -> list[Birth]:
    """Random trees whose births have no, one or two parents among the earlier ones (or the same one twice)."""
    births: list[Birth] = []
    for number in range(draw(st.integers(1, 25))):
        count = draw(st.integers(0 if number < 3 else 1, 2)) if number else 0
        births.append(birth(number, *(draw(st.integers(0, number - 1)) for _ in range(count))))
    return births


def ancestry(births: list[Birth], number: int) -> set[int]:
    """By recursion: an individual and all its ancestors."""
    return {number}.union(*(ancestry(births, parent) for parent in set(births[number].parents)))


@pytest.mark.slow
@given(trees(), st.data())
def test_pruning_keeps_exactly_the_living_and_their_ancestors(births, data):
    pedigree = Pedigree(births)
    people = st.sets(st.sampled_from(range(len(births))), max_size=5)
    living = data.draw(people)
    pedigree.keep(living)
    assert {each.id for each in pedigree} == set().union(*(ancestry(births, number) for number in living))
    assert len(pedigree) == len(list(pedigree))
    # Once more, of those who are left: what the first pruning counted must still be right.
    survivors = data.draw(st.sets(st.sampled_from(sorted(living)), max_size=3)) if living else set()
    pedigree.keep(survivors)
    assert {each.id for each in pedigree} == set().union(*(ancestry(births, number) for number in survivors))


@pytest.mark.slow
@given(trees(), st.data())
def test_pruning_generation_by_generation_equals_pruning_once(births, data):
    pedigree, living = Pedigree(), set()
    for each in births:
        if not all(parent in pedigree for parent in each.parents):
            continue
        pedigree.add(each)
        living.add(each.id)
        if data.draw(st.booleans()):
            living = data.draw(st.sets(st.sampled_from(sorted(living)), min_size=1))
            pedigree.keep(living)
    pedigree.keep(living)
    assert {each.id for each in pedigree} == set().union(*(ancestry(births, number) for number in living))


@pytest.mark.slow
@given(trees(), st.data())
def test_ancestors_are_the_lineage_oldest_first(births, data):
    asked = data.draw(st.lists(st.sampled_from(range(len(births))), max_size=4))
    found = Pedigree(births).ancestors(asked)
    assert [each.id for each in found] == sorted(set().union(*(ancestry(births, number) for number in asked)))
    assert all(each == births[each.id] for each in found)


@pytest.mark.slow
@given(trees(), st.data())
def test_the_common_ancestor_is_the_youngest_whom_all_have(births, data):
    asked = data.draw(st.lists(st.sampled_from(range(len(births))), min_size=1, max_size=5))
    shared = set.intersection(*(ancestry(births, number) for number in asked))
    found = Pedigree(births).common_ancestor(asked)
    assert found == (births[max(shared)] if shared else None)


@given(trees(), st.data())
def test_a_lineage_survives_being_rows(births, data):
    pedigree = Pedigree(births)
    tip = data.draw(st.sampled_from(range(len(births))))
    again = Pedigree(from_rows(to_rows(pedigree.ancestors([tip]))))
    assert again.ancestors([tip]) == pedigree.ancestors([tip])


def test_a_birth_is_recorded_once():
    pedigree = Pedigree([birth(0), birth(1, 0)])
    pedigree.add(birth(1, 0))
    pedigree.keep([0])
    assert [each.id for each in pedigree] == [0]
    pedigree.add(birth(2, 0))
    pedigree.keep([])
    assert len(pedigree) == 0
    assert 2 not in pedigree


def test_nobody_has_no_common_ancestor():
    assert Pedigree([birth(0)]).common_ancestor([]) is None


@pytest.mark.parametrize("length", [10, 20_000])
def test_pruning_costs_what_changed_and_not_the_length_of_the_history(length):
    chain = [birth(0)] + [birth(number, number - 1) for number in range(1, length)]
    pedigree = Pedigree(chain)
    pedigree.keep([length - 1])

    class Counting(dict):
        touched = 0

        def __contains__(self, key):
            Counting.touched += 1
            return super().__contains__(key)

        def get(self, *args):
            Counting.touched += 1
            return super().get(*args)

    pedigree._births, pedigree._children = Counting(pedigree._births), Counting(pedigree._children)
    for child in range(length, length + 20):
        pedigree.add(birth(child, length - 1))
    pedigree.keep([length + 3, length + 7])
    assert len(pedigree) == length + 2
    assert Counting.touched <= 200


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
