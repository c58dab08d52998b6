"""The expected best of n against enumeration, closed forms and Beyer's progress coefficients."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from galab.stats.order_statistics import expected_best, gains_interval, gains_of_best, normal_maximum


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_the_mean_over_all_subsets(n: int) -> None:
    sample = [3.0, -1.0, 4.0, 4.0, 1.5, -9.0, 2.0]
    assert expected_best(np.array(sample), n) == pytest.approx(np.mean([max(part) for part in combinations(sample, n)]))


def test_large_samples_and_numbers_do_not_overflow() -> None:
    # Of 1..m the largest of n is n (m + 1) / (n + 1) in the mean.
    assert expected_best(np.arange(1.0, 20_001), 4096) == pytest.approx(4096 * 20_001 / 4097)
    for n in (0, 8):
        with pytest.raises(ValueError, match="n from 1"):
            expected_best(np.zeros(7), n)


def test_coefficients_of_the_normal_law() -> None:
    known = {1: 0.0, 2: 1 / np.sqrt(np.pi), 3: 1.5 / np.sqrt(np.pi), 10: 1.538753, 100: 2.507594, 1000: 3.241436}
    for n, value in known.items():
        assert normal_maximum(n) == pytest.approx(value, abs=2e-6)
    assert 3.6 < normal_maximum(4096) < 3.8


def test_the_best_by_a_noisy_score() -> None:
    scores, gains = [0.3, 2.0, 1.0, -1.0], [5.0, -2.0, 1.0, 0.0]
    for n in (1, 2, 3, 4):
        best = [max(part, key=lambda place: scores[place]) for part in combinations(range(4), n)]
        assert gains_of_best(scores, gains, [n])[0] == pytest.approx(np.mean([gains[place] for place in best]))
        assert gains_of_best(gains, gains, [n])[0] == pytest.approx(expected_best(np.array(gains), n))


def test_a_linear_fitness_gains_sigma_times_slope_times_the_coefficient() -> None:
    # f(w) = g w with |g| = 3, children w + sigma z with sigma = 0.1: the gain is sigma |g| c_n.
    slope = np.random.default_rng(1).normal(size=50)
    slope *= 3 / np.linalg.norm(slope)
    gains = 0.1 * np.random.default_rng(2).normal(size=(20_000, 50)) @ slope
    numbers = [1, 2, 8, 64, 512]
    found = gains_of_best(gains, gains, numbers)
    low, high = gains_interval(gains, gains, numbers, resamples=200)
    for n, one, below, above in zip(numbers, found, low, high, strict=True):
        assert one == pytest.approx(0.3 * normal_maximum(n), abs=0.008)
        assert below < one < above


def test_too_few_children_have_no_interval() -> None:
    gains = np.random.default_rng(3).normal(size=128)
    low, high = gains_interval(gains, gains, [1, 16, 17, 128], resamples=50)
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [False, False, True, True]


def test_failed_children_are_never_chosen_before_others() -> None:
    scores = np.array([-np.inf, 1.0, 2.0])
    assert gains_of_best(scores, scores, [2, 3]).tolist() == pytest.approx([5 / 3, 2])
    assert gains_of_best(scores, scores, [1]).tolist() == [-np.inf]
