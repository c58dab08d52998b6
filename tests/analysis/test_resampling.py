"""Means and rank correlations against scipy's own bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from galab.stats.intervals import mean_interval, picks, spearman


def test_the_interval_of_a_mean_is_scipys() -> None:
    sample = np.random.default_rng(1).exponential(size=40)
    found = mean_interval(sample)
    other = stats.bootstrap((sample,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    assert found.value == pytest.approx(sample.mean())
    assert (found.low, found.high) == pytest.approx((other.low, other.high), rel=0.03)
    assert mean_interval(sample) == found


def test_spearman_and_its_interval_are_scipys() -> None:
    random = np.random.default_rng(3)
    a = random.normal(size=30)
    b = np.rint(2 * (a + random.normal(size=30)))  # with ties
    found, other = spearman(a, b), stats.spearmanr(a, b)
    assert (found.rho, found.pairs) == (pytest.approx(other.statistic), 30)
    assert found.p == pytest.approx(other.pvalue, abs=3e-4)
    interval = stats.bootstrap(
        (a, b), lambda x, y: stats.spearmanr(x, y).statistic,
        n_resamples=1000, paired=True, vectorized=False, method="percentile", rng=4,
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.05)


def test_p_values_of_few_runs_are_exact() -> None:
    assert spearman([1, 2, 3], [1, 2, 3]).p == pytest.approx(1 / 3)
    assert spearman([1, 2, 3, 4], [8, 6, 4, 2]).p == pytest.approx(1 / 12)
    random = np.random.default_rng(5)
    for n, ties in ((7, False), (6, True)):
        a, b = random.normal(size=n), random.normal(size=n)
        b = np.rint(b) if ties else b
        exact = stats.permutation_test(
            (a,), lambda x, b=b: stats.spearmanr(x, b).statistic, permutation_type="pairings", n_resamples=np.inf
        )
        as_far = np.abs(exact.null_distribution) >= abs(exact.statistic) - 1e-9
        assert spearman(a, b).p == pytest.approx(as_far.mean())
    assert spearman(range(8), range(8)).p == pytest.approx(2 / 40_320)


def test_p_values_of_many_runs_are_near_the_t_approximation() -> None:
    random = np.random.default_rng(6)
    for slope in (0.0, 0.1, 0.25):
        a = random.normal(size=100)
        b = slope * a + random.normal(size=100)
        found, p = spearman(a, b), stats.spearmanr(a, b).pvalue
        assert found.p == pytest.approx(p, abs=4 * np.sqrt(p / 9_999) + 2e-4)
        assert spearman(a, b) == found
    assert spearman(range(20), range(20)).p == pytest.approx(1e-4), "the fewest that 9,999 drawn orders can show"


def test_a_complete_order_has_no_interval() -> None:
    for n in (3, 5, 12):
        up, down = spearman(range(n), range(n)), spearman(range(n), range(n, 0, -1))
        assert (up.rho, down.rho) == (pytest.approx(1), pytest.approx(-1))
        assert np.isnan([up.low, up.high, down.low, down.high]).all()
    assert np.isfinite(spearman([1, 2, 3, 4], [1, 2, 4, 3]).low)


def test_what_has_no_answer_is_nan() -> None:
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]).rho)
    assert np.isnan(spearman([1, 2], [1, 2]).rho)
    assert np.isnan(mean_interval([]).value)
    assert (mean_interval([2.0]).value, np.isnan(mean_interval([2.0]).low)) == (2.0, True)


def test_rows_of_picks_do_not_hang_on_the_first() -> None:
    assert picks(5, 3, 0).max() <= 4
    assert not np.array_equal(picks(50, 3, 0), picks(50, 3, 3))
