"""The one function that ranks."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.operators.selection import rank

#: Few values, so that ties are common; failures of every kind among them.
SCORES = st.sampled_from([-1e308, -2.0, -1.0, 0.0, -0.0, 1.0, 1e308, math.nan, math.inf, -math.inf])
TIES = ("younger", "older", "random")


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    ids = draw(st.lists(st.integers(0, 10**12), unique=True, max_size=20))
    return np.array([draw(SCORES) for _ in ids], dtype=np.float64), np.array(ids, dtype=np.int64)


@given(cohorts(), st.sampled_from(["younger", "older"]))
def test_ranking_is_by_score_then_by_age_with_failures_last(cohort, ties):
    fitness, ids = cohort
    sign = 1 if ties == "older" else -1

    def key(index):
        failed = not math.isfinite(fitness[index])
        return (failed, 0 if failed else -fitness[index], sign * ids[index])

    assert rank(fitness, ids, ties=ties).tolist() == sorted(range(len(ids)), key=key)


@pytest.mark.slow
@given(cohorts(), st.sampled_from(TIES), st.data())
def test_the_order_of_the_arguments_does_not_matter(cohort, ties, data):
    fitness, ids = cohort
    shuffle = np.array(data.draw(st.permutations(range(len(ids)))), dtype=np.int64)
    expected = ids[rank(fitness, ids, ties=ties, run_key=3, generation=4)]
    got = ids[shuffle][rank(fitness[shuffle], ids[shuffle], ties=ties, run_key=3, generation=4)]
    assert got.tolist() == expected.tolist()


@given(cohorts(), st.sampled_from(TIES))
def test_every_index_comes_once_and_scores_never_rise(cohort, ties):
    fitness, ids = cohort
    order = rank(fitness, ids, ties=ties)
    assert sorted(order.tolist()) == list(range(len(ids)))
    ranked = np.where(np.isfinite(fitness), fitness, -np.inf)[order]
    assert all(first >= second for first, second in pairwise(ranked))


@given(cohorts())
def test_failures_are_alike_whatever_kind_they_are(cohort):
    fitness, ids = cohort
    plain = np.where(np.isfinite(fitness), fitness, np.nan)
    assert rank(fitness, ids).tolist() == rank(plain, ids).tolist()


def test_younger_is_the_default():
    assert rank(np.zeros(3), np.array([5, 9, 7])).tolist() == [1, 2, 0]


def test_random_ties_are_a_coin_of_key_and_generation():
    fitness, ids = np.zeros(6), np.arange(6)
    orders = {tuple(rank(fitness, ids, ties="random", run_key=key, generation=generation))
              for key in range(10) for generation in range(10)}
    assert len(orders) > 80
    assert orders == {tuple(rank(fitness, ids, ties="random", run_key=key, generation=generation))
                      for key in range(10) for generation in range(10)}


def test_random_ties_put_everybody_first_equally_often():
    firsts = [rank(np.zeros(4), np.arange(4), ties="random", generation=generation)[0] for generation in range(4000)]
    assert np.bincount(firsts, minlength=4) == pytest.approx([1000] * 4, abs=5 * 28)


def test_random_ties_never_move_a_better_score_back():
    for generation in range(20):
        order = rank(np.array([1.0, 2.0, 1.0, np.nan]), np.arange(4), ties="random", generation=generation)
        assert order[0] == 1
        assert order[3] == 3


def test_nobody_ranks_as_nobody():
    for ties in TIES:
        assert rank(np.empty(0), np.empty(0, np.int64), ties=ties).tolist() == []


@st.composite
def lexicographic(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    fitness, ids = draw(cohorts())
    width = draw(st.integers(0, 3))
    further = [[draw(SCORES) for _ in range(width)] for _ in ids]
    return fitness, ids, np.array(further, dtype=np.float64).reshape(len(ids), width)


@pytest.mark.slow
@given(lexicographic(), st.sampled_from(["younger", "older"]))
def test_further_keys_decide_in_their_order_as_tuples_do(cohort, ties):
    fitness, ids, further = cohort
    sign = 1 if ties == "older" else -1

    def key(index):
        if not math.isfinite(fitness[index]):
            return (True, 0, (), sign * ids[index])
        keys = tuple(-value if math.isfinite(value) else math.inf for value in further[index])
        return (False, -fitness[index], keys, sign * ids[index])

    assert rank(fitness, ids, further=further, ties=ties).tolist() == sorted(range(len(ids)), key=key)


@pytest.mark.slow
@given(lexicographic())
def test_random_ties_are_left_to_the_coin_after_all_keys(cohort):
    fitness, ids, further = cohort
    order = rank(fitness, ids, further=further, ties="random", run_key=3, generation=4)
    coin = rank(np.zeros(len(ids)), ids, ties="random", run_key=3, generation=4).tolist()

    def group(index):
        if not math.isfinite(fitness[index]):
            return (True,)
        return (False, -fitness[index], tuple(-value if math.isfinite(value) else math.inf for value in further[index]))

    assert order.tolist() == sorted(coin, key=group)
