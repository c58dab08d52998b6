"""Which operator a child gets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from galab.genome.random import Stream, codes
from galab.operators.mutation.base import OperatorMixture


def test_fixed_shares_are_the_odds():
    shares = OperatorMixture(3, [0.5, 0.2, 0.3], inherited=False)
    found = [shares.choose(birth, (0,)) for birth in range(6000)]
    counts = np.bincount(found)[1:]
    assert stats.chisquare(counts, np.array([0.5, 0.2, 0.3]) * 6000).pvalue > 1e-3
    drawn = [(int(codes(3, birth, Stream.OPERATOR, 1)[0]) + 0.5) / 65_536 for birth in range(200)]
    assert found[:200] == [1 + (u >= 0.5) + (u >= 0.7) for u in drawn]
    assert shares.of([1, 2]) == []


def test_one_operator_needs_no_draw():
    assert {OperatorMixture(3, [1.0], inherited=False).choose(birth, (0,)) for birth in range(20)} == {1}


def test_inherited_shares_start_from_the_founders_and_change_by_a_fifth_of_an_octave():
    shares = OperatorMixture(3, [0.5, 0.25, 0.25], inherited=True)
    np.testing.assert_allclose(shares.shares_of([77]), [[0.5, 0.25, 0.25]])
    for birth in range(1000):
        shares.choose(birth, (10**6,))
    moved = np.array(shares.of(list(range(1000)))) / 65_536 - [-1, -2, -2]
    assert moved.std() == pytest.approx(0.2, rel=0.05)
    assert abs(moved.mean()) < 5 * 0.2 / np.sqrt(moved.size)
    portions = shares.shares_of(range(1000))
    np.testing.assert_allclose(portions.sum(axis=1), 1)
    logs = moved + np.array([-1, -2, -2])
    np.testing.assert_allclose(portions, 2**logs / (2**logs).sum(axis=1, keepdims=True))


def test_a_child_uses_its_own_shares_and_inherits_the_mean_of_its_parents():
    shares = OperatorMixture(3, [0.5, 0.5], inherited=True)
    shares.restore([1, 2], [[0, -65_536 * 30], [-65_536 * 30, 0]])
    # Children of either use nearly always its operator; those of both have no preference on average.
    assert {shares.choose(birth, (1,)) for birth in range(100, 150)} == {1}
    assert {shares.choose(birth, (2,)) for birth in range(150, 200)} == {2}
    assert len({shares.choose(birth, (1, 2)) for birth in range(200, 250)}) == 2
    mean = np.array(shares.of(list(range(200, 250)))).mean(axis=0) / 65_536
    np.testing.assert_allclose(mean, -15, atol=5 * 0.2 / np.sqrt(50))


def test_shares_continue_from_a_checkpoint_and_forget_the_dead():
    def line(shares, first, last):
        return [shares.choose(birth, (birth - 1, birth - 2)) for birth in range(first, last)]

    whole, half = (OperatorMixture(3, [0.4, 0.6], inherited=True) for _ in range(2))
    expected = line(whole, 10, 60)
    assert line(half, 10, 40) == expected[:30]
    half.keep([38, 39])
    saved = half.of([38, 39])
    assert all(type(value) is int for row in saved for value in row)
    resumed = OperatorMixture(3, [0.4, 0.6], inherited=True)
    resumed.restore([38, 39], saved)
    assert line(resumed, 40, 60) == expected[30:]
    np.testing.assert_allclose(half.shares_of([12]), [[0.4, 0.6]], atol=1e-5)
