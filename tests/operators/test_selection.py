"""What every selection rule promises; truncation and tournaments."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from fields import assert_drawn_by, exact_sets, field, fields, frequencies, shuffled
from hypothesis import given
from hypothesis import strategies as st

from galab.config.registry import SELECTIONS
from galab.errors import UsageError
from galab.operators.selection import Tournament, Truncation, make

NAMES = SELECTIONS.names()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@given(competitors=fields(), count=st.integers(0, 15))
def test_survivors_are_different_competitors_best_first(name, competitors, count):
    found = make(name)(competitors, count)
    assert found.dtype == np.int64
    assert len(found) == min(count, len(competitors.order))
    ranks = [competitors.order.tolist().index(index) for index in found.tolist()]
    assert ranks == sorted(set(ranks))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@given(competitors=fields(), count=st.integers(0, 12), data=st.data())
def test_the_order_in_which_competitors_are_listed_does_not_matter(name, competitors, count, data):
    other = shuffled(competitors, data.draw(st.permutations(range(len(competitors.ids)))))
    expected = competitors.ids[make(name)(competitors, count)]
    assert other.ids[make(name)(other, count)].tolist() == expected.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_with_room_for_everybody_all_but_the_failures_survive(name):
    fitness = [1.0, np.nan, 3.0, -np.inf, 2.0]
    competitors = field(fitness, cases=np.eye(5))
    assert make(name)(competitors, 3).tolist() == make(name)(competitors, 99).tolist() == [2, 4, 0]


@pytest.mark.parametrize("name", NAMES)
def test_one_competitor_and_none(name):
    assert make(name)(field([7.0], cases=[[1.0]]), 1).tolist() == [0]
    assert make(name)(field([np.nan], cases=[[1.0]]), 1).tolist() == []
    assert make(name)(field([1.0, 2.0], cases=[[1.0], [2.0]]), 0).tolist() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("truncation", "nsga2")])
def test_equals_survive_equally_often(name):
    counts = frequencies(make(name, pressure=1.0, size=1), 2, 3000, np.zeros(4), np.zeros((4, 3)))
    assert_drawn_by(counts, dict.fromkeys(itertools.combinations(range(4), 2), Fraction(1, 6)))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("truncation", "nsga2")])
def test_key_generation_and_island_draw_anew_and_the_same_ones_draw_the_same(name):
    def survivors(**draw):
        fitness = np.arange(20) / 100 + 1
        return tuple(make(name)(field(fitness, cases=np.eye(20), **draw), 6).tolist())

    draws = [{"run_key": 5}, {"generation": 5}, {"island": 5}, {"run_key": 5, "island": 5}, {}]
    found = [survivors(**draw) for draw in draws]
    assert len(set(found)) == len(draws)
    assert found == [survivors(**draw) for draw in draws]


def test_golden_survivors_never_change():
    cases = (np.arange(100).reshape(10, 10) * 7 % 11 > 4).astype(np.float32)
    competitors = field(np.arange(10) / 8, cases=cases, run_key=42, generation=7, island=2)
    assert {name: make(name)(competitors, 4).tolist() for name in NAMES} == GOLDEN


def test_truncation_takes_the_best():
    competitors = field([0.5, np.nan, 2.0, 1.0, 1.0])
    found = Truncation()(competitors, 3)
    assert found.tolist() == [2, 4, 3]
    found[0] = 99
    assert competitors.order[0] == 2, "survivors must not be a window on the field"


@pytest.mark.parametrize(("size", "count"), [(1, 2), (2, 1), (2, 3), (3, 2), (4, 2)])
def test_a_tournament_is_won_by_the_best_of_different_entrants(size, count):
    def chances(left):
        entries = list(itertools.combinations(left, min(size, len(left))))
        return {winner: Fraction(sum(max(entry) == winner for entry in entries), len(entries)) for winner in left}

    counts = frequencies(Tournament(size), count, 3000, np.arange(5.0))
    assert_drawn_by(counts, exact_sets(range(5), count, chances))


def test_a_tournament_of_all_is_truncation():
    competitors = field(np.sin(np.arange(30)))
    for size in (30, 31, 10**12):
        assert Tournament(size)(competitors, 10).tolist() == Truncation()(competitors, 10).tolist()


def test_make_passes_the_options_that_a_rule_has():
    assert make("tournament", size=5) == Tournament(5)
    assert make("truncation", size=-1, pressure=-1.0) == Truncation()
    assert make("rank", pressure=2.0).pressure == 2.0


@pytest.mark.parametrize("name", ["shutil:rmtree", "collections:OrderedDict", "math:pi"])
def test_make_calls_nothing_that_is_no_rule(name):
    with pytest.raises(UsageError, match="expected a class whose objects can be called"):
        make(name)


def test_impossible_requests_are_refused():
    with pytest.raises(UsageError, match="tournament of 1 or more competitors, got 0"):
        make("tournament", size=0)
    with pytest.raises(UsageError, match="0 or more survivors, got -1"):
        make("truncation")(field([1.0]), -1)
    with pytest.raises(UsageError, match="Did you mean 'tournament'"):
        make("turnament")


GOLDEN = {
    "nsga2": [9, 8, 7, 6],
    "truncation": [9, 8, 7, 6],
    "tournament": [9, 8, 7, 4],
    "rank": [9, 6, 5, 4],
    "proportional": [9, 7, 6, 5],
    "lexicase": [7, 6, 4, 2],
}
