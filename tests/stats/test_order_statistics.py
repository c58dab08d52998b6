"""The expected best of n against enumeration, closed forms, exact integrals and Beyer's progress coefficients."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import integrate, stats

from galab.stats.order_statistics import (
    best_of,
    expected_best,
    gains_interval,
    gains_of_best,
    maximum_odds,
    normal_maximum,
    wins,
)


def test_large_samples_and_numbers_do_not_overflow() -> None:
    # Of 1..m the largest of n is n (m + 1) / (n + 1) in the mean.
    assert expected_best(np.arange(1.0, 20_001), 4096) == pytest.approx(4096 * 20_001 / 4097)
    for n in (0, 8):
        with pytest.raises(ValueError, match="from 1 to the number of values, 7"):
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


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_estimate_is_the_mean_over_all_subsets(count: int) -> None:
    sample = np.array([0.3, -1.0, 2.5, 2.5, 0.0, -7.0, 1.25])
    by_hand = np.mean([max(subset) for subset in combinations(sample, count)])
    assert expected_best(sample, count) == pytest.approx(by_hand)
    assert maximum_odds(len(sample), count).sum() == pytest.approx(1)


@pytest.mark.parametrize("count", [2, 16, 32, 256])
def test_of_a_large_normal_sample_it_is_the_exact_expectation(count: int) -> None:
    exact = integrate.quad(lambda x: x * count * stats.norm.pdf(x) * stats.norm.cdf(x) ** (count - 1), -12, 12)[0]
    quantiles = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    assert expected_best(quantiles, count) == pytest.approx(exact, abs=2e-4)


@pytest.mark.slow
def test_its_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    exact = integrate.quad(lambda x: x * 8 * stats.norm.pdf(x) * stats.norm.cdf(x) ** 7, -12, 12)[0]
    found = best_of(np.random.default_rng(1).standard_normal((200, 256)), 8)
    assert 0.88 <= np.mean((found.low <= exact) & (exact <= found.high)) <= 0.99


@pytest.mark.slow
def test_at_the_fewest_samples_the_interval_still_holds_the_truth() -> None:
    exact = integrate.quad(lambda x: x * 32 * stats.norm.pdf(x) * stats.norm.cdf(x) ** 31, -12, 12)[0]
    found = best_of(np.random.default_rng(2).standard_normal((200, 256)), 32)
    assert 0.85 <= np.mean((found.low <= exact) & (exact <= found.high)) <= 1


def test_too_few_samples_have_no_interval() -> None:
    sample = np.random.default_rng(3).standard_normal((3, 255))
    few, more = best_of(sample, 32), best_of(sample, 31)
    assert np.isfinite(few.expected).all()
    assert np.isnan([few.low, few.high]).all()
    assert (few.range, few.winners.size, np.isnan(wins(few, few))) == (None, 0, True)
    assert np.isfinite([more.low, more.high]).all()
    assert more.range is not None


def test_one_is_better_than_another_where_all_resamples_say_so() -> None:
    z = np.random.default_rng(4).standard_normal((2, 64))
    better, worse = best_of(z + 0.01, 8), best_of(z, 8)
    assert (wins(better, worse), wins(worse, better), wins(worse, worse)) == (1, 0, 0)
    failed = best_of(np.full((2, 64), np.nan), 8)
    assert (wins(worse, failed), wins(failed, worse)) == (1, 0)


def test_the_failed_are_worse_than_anything() -> None:
    sample = np.array([np.nan, 1.0, 3.0, np.nan])
    assert np.isnan(expected_best(sample, 2)), "both failed are a subset of two"
    assert expected_best(sample, 3) == pytest.approx((3 + 3 + 3 + 1) / 4)
    nothing = best_of(np.full((2, 5), np.nan), 2)
    assert nothing.winner == -1


def test_the_winner_is_known_where_the_noise_is_shared() -> None:
    z = np.random.default_rng(0).standard_normal(64)
    found = best_of(np.stack([0.1 * z, z, 0.5 * z]), 4)
    assert found.winner == 1
    assert (found.winners == 1).mean() > 0.99
