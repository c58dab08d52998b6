"""From fitness to weights of directions."""

from __future__ import annotations

import numpy as np
import pytest

from galab.strategies.evolution import (
    SHAPINGS,
    centred_ranks,
    pair_weights,
    raw,
    single_weights,
    without_failures,
    z_score,
)

FITNESS = np.array([3.0, -1.0, 4.0, 1.5, 5.0, -9.0, 2.0, 6.0])


def test_raw_is_the_fitness() -> None:
    assert raw(FITNESS, 2) is FITNESS


def test_z_scores_have_mean_zero_in_each_group_and_one_deviation_for_all() -> None:
    whole = z_score(FITNESS, 1)
    assert (whole.mean(), whole.std()) == (pytest.approx(0), pytest.approx(1))
    uneven = np.array([1.0, 3.0, 10.0, 110.0])
    two = z_score(uneven, 2)
    assert two.std() == pytest.approx(1)
    assert two == pytest.approx(np.array([-1, 1, -50, 50]) / np.sqrt((1 + 2500) / 2))
    assert z_score(uneven + np.array([7, 7, -80, -80]), 2) == pytest.approx(two), "a group's level does not matter"


def test_ranks_are_within_the_group_and_ties_share_their_mean() -> None:
    assert centred_ranks(np.array([10.0, -3.0, 4.0]), 1).tolist() == [0.5, -0.5, 0.0]
    assert centred_ranks(np.array([1.0, 2.0, 2.0, 2.0, 9.0]), 1).tolist() == [-0.5, 0.0, 0.0, 0.0, 0.5]
    assert centred_ranks(np.array([1.0, 2.0, 400.0, 300.0]), 2).tolist() == [-0.5, 0.5, 0.5, -0.5]
    assert centred_ranks(np.array([1.0, 2.0]), 2).tolist() == [-0.5, -0.5], "alone in its group"
    assert np.array_equal(centred_ranks(np.exp(FITNESS), 2), centred_ranks(FITNESS, 2)), "only the order counts"


@pytest.mark.parametrize("name", ["z-score", "centred-ranks"])
def test_equal_fitness_scores_zero(name: str) -> None:
    assert not SHAPINGS[name](np.full(6, 0.1), 2).any()


def test_pairs_weigh_half_their_difference_or_its_sign() -> None:
    scores = np.array([3.0, 1.0, 5.0, 5.0, -1.0, 2.0])
    assert pair_weights(scores).tolist() == [1.0, 0.0, -1.5]
    assert pair_weights(scores, sign=True).tolist() == [1.0, 0.0, -1.0]


def test_single_members_weigh_their_score_less_the_mean_of_their_group() -> None:
    assert single_weights(np.array([1.0, 3.0, 10.0, 30.0]), 2).tolist() == [-1.0, 1.0, -10.0, 10.0]


def test_failures_count_as_the_worst_that_did_not_fail() -> None:
    failed = np.array([1.0, np.nan, -2.0, np.inf, -np.inf])
    assert without_failures(failed).tolist() == [1.0, -2.0, -2.0, -2.0, -2.0]
    assert np.isnan(without_failures(np.full(2, np.nan))).all()
