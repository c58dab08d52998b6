"""Who mates with whom."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from galab.errors import UsageError
from galab.operators.islands import MATING_RULES, partners

LINE = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0)))


def mates(first, parents, ways, *, rule="random", choices=1, distances=None, groups=None, run_key=1, generation=1):
    return partners(np.asarray(first, dtype=np.int64), parents, ways, rule=rule, choices=choices, distances=distances,
                    groups=None if groups is None else np.asarray(groups), run_key=run_key, generation=generation)


@st.composite
def requests(draw: st.DrawFn) -> dict:
    """Any request that can be met."""
    parents = draw(st.integers(1, 9))
    groups = draw(st.none() | st.lists(st.integers(0, 3), min_size=parents, max_size=parents))
    values = [draw(st.sampled_from([0.0, 0.25, 1.0])) for _ in range(parents**2)]
    return {
        "first": draw(st.lists(st.integers(0, parents - 1), max_size=8)),
        "parents": parents,
        "ways": draw(st.integers(1, 6)),
        "rule": draw(st.sampled_from(MATING_RULES)),
        "choices": draw(st.integers(1, 5)),
        "distances": np.reshape(values, (parents, parents)),
        "groups": groups,
        "run_key": draw(st.integers(0, 2**63 - 1)),
        "generation": draw(st.integers(0, 10**6)),
    }


@pytest.mark.slow
@given(requests())
def test_partners_are_different_and_of_the_same_island_as_far_as_it_goes(request_):
    found = mates(**request_)
    further = request_["ways"] - 1
    assert found.dtype == np.int64
    assert found.shape == (len(request_["first"]), further)
    groups = request_["groups"] or [0] * request_["parents"]
    for first, row in zip(request_["first"], found.tolist(), strict=True):
        others = [place for place, group in enumerate(groups) if group == groups[first] and place != first]
        if not others:
            assert row == [first] * further
            continue
        once = row[: len(others)]
        assert set(once) <= set(others)
        assert len(set(once)) == len(once)
        assert row == list(itertools.islice(itertools.cycle(once), further)), "repeats come in the same order"


@pytest.mark.slow
@given(requests(), st.data())
def test_a_child_has_the_same_partners_whoever_its_siblings_are(request_, data):
    found = mates(**request_)
    kept = data.draw(st.integers(0, len(request_["first"])))
    others = [data.draw(st.integers(0, request_["parents"] - 1)) for _ in range(3)]
    again = mates(**{**request_, "first": [*request_["first"][:kept], *others]})
    assert again[:kept].tolist() == found[:kept].tolist()


@pytest.mark.parametrize(("parents", "ways"), [(5, 2), (4, 3), (3, 3)])
def test_random_partners_come_in_every_order_equally_often(parents, ways):
    for first in range(parents):
        found = Counter(map(tuple, mates([first] * 3000, parents, ways, generation=first).tolist()))
        possible = list(itertools.permutations([place for place in range(parents) if place != first], ways - 1))
        assert set(found) == set(possible)
        assert stats.chisquare([found[row] for row in possible]).pvalue > 1e-3


@pytest.mark.parametrize("rule", ["similar", "dissimilar"])
@pytest.mark.parametrize("choices", [1, 2, 3])
def test_the_best_of_the_candidates_is_taken(rule, choices):
    """Parent 1 on a line of six; 0 and 2 are equally near, and the lower place goes first."""
    ranked = [0, 2, 3, 4, 5] if rule == "similar" else [5, 4, 3, 0, 2]
    drawn = list(itertools.combinations(range(5), choices))
    chances = [sum(min(entry) == place for entry in drawn) / len(drawn) for place in range(5)]
    found = Counter(mates([1] * 4000, 6, 2, rule=rule, choices=choices, distances=LINE).ravel().tolist())
    observed = [found[place] for place in ranked]
    for count, chance in zip(observed, chances, strict=True):
        assert count == pytest.approx(4000 * chance, abs=5 * (4000 * chance * (1 - chance)) ** 0.5)


def test_with_all_as_candidates_partners_are_sorted_by_distance():
    assert mates([1], 6, 6, rule="similar", choices=5, distances=LINE).tolist() == [[0, 2, 3, 4, 5]]
    assert mates([1], 6, 4, rule="dissimilar", choices=99, distances=LINE).tolist() == [[5, 4, 3]]
    assert mates([1], 6, 3, rule="similar", choices=9, distances=np.zeros((6, 6))).tolist() == [[0, 2]]


def test_distance_is_measured_from_the_first_parent():
    one_way = np.triu(np.ones((4, 4)))
    one_way[0] = [0, 3, 1, 2]
    assert mates([0], 4, 4, rule="similar", choices=3, distances=one_way).tolist() == [[2, 3, 1]]


def test_mates_come_from_the_same_island():
    groups = [0, 1, 0, 1, 2]
    found = mates([0, 1, 2, 3, 4] * 20, 5, 2, groups=groups).ravel().reshape(20, 5)
    assert (found == [2, 3, 0, 1, 4]).all()


def test_a_small_group_repeats_its_members_in_the_order_drawn():
    rows = {tuple(row) for row in mates([0] * 40, 3, 6).tolist()}
    assert rows == {(1, 2, 1, 2, 1), (2, 1, 2, 1, 2)}


def test_key_and_generation_draw_anew():
    rows = [mates([0] * 30, 9, 2, run_key=key, generation=generation).tolist()
            for key, generation in ((1, 1), (1, 2), (2, 1))]
    assert rows[0] != rows[1] != rows[2] != rows[0]


def test_golden_partners_never_change():
    first = np.arange(6)
    assert mates(first, 6, 3, run_key=42, generation=7).tolist() == GOLDEN_RANDOM
    assert mates(first, 6, 3, rule="dissimilar", choices=2, distances=LINE, run_key=42).tolist() == GOLDEN_DISSIMILAR


def test_impossible_requests_are_refused():
    with pytest.raises(UsageError, match="Did you mean 'similar'"):
        mates([0], 2, 2, rule="simlar")
    for ways, choices in ((0, 1), (2, 0)):
        with pytest.raises(UsageError, match="1 or more parents per child and 1 or more choices"):
            mates([0], 2, ways, choices=choices)
    for first in (-1, 2):
        with pytest.raises(UsageError, match="expected first parents from 0 to 1"):
            mates([first], 2, 2)
    with pytest.raises(UsageError, match="expected the island of each of 2 parents"):
        mates([0], 2, 2, groups=[0])
    for distances in (None, np.zeros((3, 3))):
        with pytest.raises(UsageError, match=r"expected distances of shape \(2, 2\) for similar mating"):
            mates([0], 2, 2, rule="similar", distances=distances)


GOLDEN_RANDOM = [[4, 3], [0, 2], [4, 1], [4, 2], [2, 3], [3, 1]]
GOLDEN_DISSIMILAR = [[5, 3], [0, 3], [5, 0], [0, 5], [0, 1], [0, 3]]
