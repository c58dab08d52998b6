"""Means and rank correlations against scipy's own bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from galab.analysis.resampling import mean_interval, picks, spearman


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
    assert (found.rho, found.p, found.pairs) == (pytest.approx(other.statistic), pytest.approx(other.pvalue), 30)
    interval = stats.bootstrap(
        (a, b), lambda x, y: stats.spearmanr(x, y).statistic,
        n_resamples=1000, paired=True, vectorized=False, method="percentile", rng=4,
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.05)


def test_what_has_no_answer_is_nan() -> None:
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]).rho)
    assert np.isnan(spearman([1, 2], [1, 2]).rho)
    assert np.isnan(mean_interval([]).value)
    assert (mean_interval([2.0]).value, np.isnan(mean_interval([2.0]).low)) == (2.0, True)


def test_rows_of_picks_do_not_hang_on_the_first() -> None:
    assert picks(5, 3, 0).max() <= 4
    assert not np.array_equal(picks(50, 3, 0), picks(50, 3, 3))
