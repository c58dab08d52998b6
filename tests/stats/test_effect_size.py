"""Effect sizes: against scipy, hand-computed examples, the other way round, and censored times."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from galab.stats.effect_size import effect
from galab.stats.intervals import resampled

INF = math.inf


def test_superiority_is_scipys_u_over_the_pairs() -> None:
    rows = np.random.default_rng(3).normal(size=(40, 12)).round(1)  # with ties
    for row in rows:
        a, b = row[:5], row[5:]
        u = mannwhitneyu(a, b).statistic
        found = effect(a, b)
        assert found.superiority == pytest.approx(u / 35)
        assert found.delta == pytest.approx(2 * u / 35 - 1)
        assert found.difference == np.median(a) - np.median(b)


def test_by_hand() -> None:
    found = effect([1.0, 2.0, 3.0], [2.0, 2.0])
    # Pairs: 1 loses twice, 2 ties twice, 3 wins twice.
    assert found.superiority == 0.5
    assert effect([1.0, 4.0], [2.0, 3.0, 4.0]).superiority == pytest.approx(2.5 / 6)
    assert effect([1.0, 4.0], [2.0, 3.0, 4.0], lower_is_better=True).superiority == pytest.approx(3.5 / 6)


@pytest.mark.slow
def test_the_interval_of_a_is_that_of_resampling_both_groups_by_a_plain_loop() -> None:
    a, b = np.array([0.1, 0.5, 0.4, 0.9]), np.array([0.2, 0.3, 0.6])
    left, right = resampled(4), resampled(3, stream=1)
    shares, gaps = [], []
    for one, other in zip(left[:10_000], right, strict=True):
        x, y = a[one], b[other]
        shares.append(mannwhitneyu_by_loop(x, y))
        gaps.append(np.median(x) - np.median(y))
    found = effect(a, b)
    assert (found.superiority_low, found.superiority_high) == pytest.approx(np.quantile(shares, [0.025, 0.975]))
    assert (found.difference_low, found.difference_high) == pytest.approx(np.quantile(gaps, [0.025, 0.975]))


def mannwhitneyu_by_loop(x: np.ndarray, y: np.ndarray) -> float:
    return sum((p > q) + 0.5 * (p == q) for p in x.tolist() for q in y.tolist()) / (len(x) * len(y))


def test_the_streams_of_resampling_are_independent_and_uniform() -> None:
    first, second = resampled(5), resampled(5, stream=1)
    assert (first == second).mean() == pytest.approx(0.2, abs=0.01)
    assert np.bincount(first.ravel()) / first.size == pytest.approx(np.full(5, 0.2), abs=0.01)


@pytest.mark.slow
def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draws = np.random.default_rng(8).normal(size=(60, 40))
    truth = 0.7602499  # P(X + 1 > Y) of two standard normals: Phi(1 / sqrt(2))
    ends = [effect(row[:20] + 1, row[20:]) for row in draws]
    inside = np.mean([one.superiority_low <= truth <= one.superiority_high for one in ends])
    assert 0.85 <= inside <= 1.0
    inside = np.mean([one.difference_low <= 1 <= one.difference_high for one in ends])
    assert 0.85 <= inside <= 1.0


def test_separated_groups_have_no_interval_of_a_and_single_runs_have_none() -> None:
    found = effect([5.0, 6.0, 7.0], [1.0, 2.0, 3.0])
    assert found.superiority == 1
    assert math.isnan(found.superiority_low)
    assert found.difference_low > 0
    single = effect([1.0], [0.0, 2.0])
    assert single.superiority == 0.5
    assert math.isnan(single.superiority_low)
    assert math.isnan(single.difference_high)


def test_never_is_worse_than_any_time() -> None:
    found = effect([10.0, 20.0, INF], [30.0, INF, INF], lower_is_better=True)
    # 10 and 20 win all six, the infinite one loses one and ties two.
    assert found.superiority == pytest.approx(7 / 9)
    assert found.difference == -INF
    assert math.isnan(effect([INF, INF], [INF, INF], lower_is_better=True).difference)
    ends = effect([10.0, 12.0, 14.0], [20.0, 22.0, INF], lower_is_better=True)
    assert ends.difference_low == -INF
    assert ends.difference_high == pytest.approx(14 - 20)


@pytest.mark.parametrize("group", [[], [1.0, math.nan]])
def test_no_values_are_refused(group: list[float]) -> None:
    with pytest.raises(ValueError, match="expected values"):
        effect(group, [1.0])
