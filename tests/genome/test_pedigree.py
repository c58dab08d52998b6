"""The family tree against brute force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.genome.births import Birth, from_rows, to_rows
from galab.genome.pedigree import Pedigree


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


@given(trees(), st.data())
def test_ancestors_are_the_lineage_oldest_first(births, data):
    asked = data.draw(st.lists(st.sampled_from(range(len(births))), max_size=4))
    found = Pedigree(births).ancestors(asked)
    assert [each.id for each in found] == sorted(set().union(*(ancestry(births, number) for number in asked)))
    assert all(each == births[each.id] for each in found)


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
