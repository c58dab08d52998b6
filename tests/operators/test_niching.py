"""Distances between behaviours, and the scores that keep them apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from galab.errors import UsageError
from galab.operators.diversity import distances, diversity, local, shared

FITNESS = st.sampled_from([-1e308, -3.0, -1.0, 0.0, -0.0, 1e-300, 0.1, 0.3, 2.0, 1e308, math.nan, math.inf, -math.inf])
SCORES = {
    "sharing": lambda fitness, apart: shared(fitness, apart, 0.4),
    "local": lambda fitness, apart: local(fitness, apart, 3),
    "diversity": lambda fitness, apart: diversity(fitness, apart, 0.7),
}
BEHAVIOUR = arrays.arrays(
    st.sampled_from([np.uint8, np.int16, np.int64]),
    st.tuples(st.integers(0, 7), st.sampled_from([1, 7, 8, 63, 64, 65, 130])),
    elements=st.integers(0, 120),
    fill=st.integers(0, 3),
)


@st.composite
def populations(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Fitness and distances of up to ten members."""
    n = draw(st.integers(0, 10))
    answers = np.reshape([draw(st.integers(0, 2)) for _ in range(7 * n)], (n, 7)).astype(np.uint8)
    return np.array([draw(FITNESS) for _ in range(n)], dtype=np.float64), distances(answers)


@pytest.mark.slow
@given(BEHAVIOUR)
def test_a_distance_is_the_share_of_different_answers(behaviour):
    found = distances(behaviour)
    assert found.dtype == np.float64
    assert found.tolist() == [[np.count_nonzero(one != other) / len(one) for other in behaviour] for one in behaviour]


def test_the_largest_classes_differ_in_their_highest_bit_only():
    top = np.iinfo(np.int64).max
    assert distances(np.array([[top, 5], [top >> 1, 5]]))[0, 1] == 0.5
    assert distances(np.array([[255], [127]], dtype=np.uint8))[0, 1] == 1.0


@pytest.mark.parametrize("behaviour", [np.zeros(3, np.uint8), np.zeros((3, 0), np.uint8), np.zeros((2, 2))])
def test_what_is_no_table_of_classes_is_refused(behaviour):
    with pytest.raises(UsageError, match="expected classes of shape"):
        distances(behaviour)


def test_negative_classes_are_refused():
    with pytest.raises(UsageError, match="expected classes from 0, got -1"):
        distances(np.array([[0, -1]]))


@pytest.mark.slow
@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
@given(population=populations(), data=st.data())
def test_no_score_depends_on_the_order_of_the_members(score, population, data):
    fitness, apart = population
    new = np.array(data.draw(st.permutations(range(len(fitness)))), dtype=np.int64)
    expected = score(fitness, apart)[new]
    np.testing.assert_array_equal(score(fitness[new], apart[np.ix_(new, new)]), expected)


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_the_order_does_not_matter_to_the_last_bit_in_a_large_population(score):
    """Where sums of many distances would round otherwise in another order."""
    members = np.arange(60)
    apart, fitness = distances(members[:, None] * np.arange(1, 38) // 7 % 5), np.sin(members)
    for turn in (1, 7, 31):
        new = np.roll(members[::-1], turn)
        assert score(fitness[new], apart[np.ix_(new, new)]).tolist() == score(fitness, apart)[new].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
@given(population=populations())
def test_failures_stay_failures_and_count_for_nobody(score, population):
    fitness, apart = population
    found = score(fitness, apart)
    alive = np.isfinite(fitness)
    assert np.isnan(found).tolist() == (~alive).tolist()
    np.testing.assert_array_equal(found[alive], score(fitness[alive], apart[np.ix_(alive, alive)]))


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_arguments_are_left_alone_and_all_equal_members_score_the_same(score):
    fitness, apart = np.full(5, 0.1), np.zeros((5, 5))
    assert len(set(score(fitness, apart).tolist())) == 1
    assert not apart.any()


def test_sharing_divides_the_scaled_rank_by_the_crowd():
    apart = np.array([[0.0, 0.1, 0.5, 1.0], [0.1, 0.0, 0.5, 1.0], [0.5, 0.5, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]])
    fitness = np.array([-7.0, 100.0, 100.0, 3.0])
    ranks = np.array([1.0, 3.5, 3.5, 2.0]) / 4
    assert shared(fitness, apart, 0.2).tolist() == pytest.approx((ranks / [1.5, 1.5, 1, 1]).tolist())
    assert shared(fitness, apart, 1.0).tolist() == pytest.approx((ranks / [2.4, 2.4, 2, 1]).tolist())


@pytest.mark.slow
@given(population=populations(), radius=st.sampled_from([0.1, 0.5, 1.0]))
def test_sharing_lies_in_the_unit_interval_whatever_the_scale(population, radius):
    fitness, apart = population
    found = shared(fitness, apart, radius)
    alive = np.isfinite(fitness)
    assert ((found[alive] > 0) & (found[alive] <= 1)).all()
    np.testing.assert_array_equal(found, shared(fitness / 2, apart, radius))


def test_sharing_lets_a_lonely_member_pass_a_crowd():
    behaviour = np.array([[1, 1, 1, 1]] * 5 + [[2, 2, 2, 2]])
    fitness = np.array([0.9, 0.91, 0.92, 0.93, 0.94, 0.905])
    assert shared(fitness, distances(behaviour), 0.5).argmax() == 5


def test_local_competition_is_among_the_nearest():
    line = np.array([0.0, 0.1, 0.25, 0.8, 1.0])
    apart = np.abs(line[:, None] - line)
    fitness = np.array([5.0, 4.0, 3.0, 1.0, 2.0])
    assert local(fitness, apart, 1).tolist() == [1, 0, 0, 0, 1]
    assert local(fitness, apart, 2).tolist() == [2, 1, 0, 0, 1]
    assert local(fitness, apart, 4).tolist() == local(fitness, apart, 99).tolist() == [4, 3, 2, 0, 1]


def test_equally_far_neighbours_count_in_the_mean():
    """Member 0 has one neighbour for certain and three candidates, of whom it beats two, for one more place."""
    apart = np.full((5, 5), 0.5)
    apart[0, 1] = apart[1, 0] = 0.2
    np.fill_diagonal(apart, 0)
    fitness = np.array([3.0, 1.0, 2.0, 2.0, 9.0])
    assert local(fitness, apart, 2)[0] == pytest.approx(1 + 2 / 3)


@pytest.mark.slow
@given(population=populations(), neighbours=st.integers(1, 12))
def test_local_scores_are_the_mean_over_all_ways_to_break_ties(population, neighbours):
    fitness, apart = population
    found = local(fitness, apart, neighbours)
    for i in np.flatnonzero(np.isfinite(fitness)):
        others = [j for j in np.flatnonzero(np.isfinite(fitness)) if j != i]
        limit = sorted(apart[i, others])[: neighbours][-1] if others else 0
        nearer = [j for j in others if apart[i, j] < limit]
        edge = [j for j in others if apart[i, j] == limit]
        places = min(neighbours, len(others)) - len(nearer)
        beaten = sum(fitness[j] < fitness[i] for j in nearer)
        share = places * sum(fitness[j] < fitness[i] for j in edge) / len(edge) if edge else 0
        assert found[i] == pytest.approx(beaten + share)


def test_diversity_adds_standardised_distance_to_standardised_fitness():
    apart = np.array([[0.0, 0.2, 0.6], [0.2, 0.0, 0.4], [0.6, 0.4, 0.0]])
    fitness = np.array([10.0, 30.0, 20.0])
    mean = np.array([0.4, 0.3, 0.5])
    bonus = (mean - mean.mean()) / mean.std()
    worth = (fitness - 20) / fitness.std()
    for weight in (0.0, 1.0, -2.5):
        assert diversity(fitness, apart, weight).tolist() == pytest.approx((worth + weight * bonus).tolist())


@pytest.mark.slow
@given(population=populations())
def test_diversity_without_weight_is_standardised_fitness(population):
    found = diversity(*population, 0.0)
    alive = np.isfinite(population[0])
    values = population[0][alive]
    if len(set(values.tolist())) > 1:
        assert found[alive].mean() == pytest.approx(0, abs=1e-9)
        assert found[alive].std() == pytest.approx(1)
    else:
        assert not found[alive].any()


def test_one_member_and_none():
    alone = np.zeros((1, 1))
    assert shared(np.array([3.0]), alone, 0.5).tolist() == [1.0]
    assert local(np.array([3.0]), alone, 2).tolist() == [0.0]
    assert diversity(np.array([3.0]), alone, 1.0).tolist() == [0.0]
    for score in SCORES.values():
        assert np.isnan(score(np.array([np.nan]), alone)).all()
        assert score(np.empty(0), np.empty((0, 0))).shape == (0,)


def test_impossible_arguments_are_refused():
    fitness, apart = np.zeros(2), np.zeros((2, 2))
    for radius in (0.0, -0.1, 1.1, math.nan):
        with pytest.raises(UsageError, match="expected a niche radius"):
            shared(fitness, apart, radius)
    with pytest.raises(UsageError, match="expected 1 or more neighbours, got 0"):
        local(fitness, apart, 0)
    with pytest.raises(UsageError, match="expected a finite weight"):
        diversity(fitness, apart, math.inf)
    for score in SCORES.values():
        with pytest.raises(UsageError, match="expected distances between all"):
            score(fitness, np.zeros((3, 3)))
