"""Medians, means, shares, rank tests and corrections against scipy and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from galab.stats.intervals import (
    compare,
    holm,
    kruskal_wallis,
    mann_whitney,
    mean_interval,
    median_interval,
    resampled,
    share_interval,
    spearman,
)


def test_the_interval_is_the_same_each_time_and_near_scipys_bootstrap() -> None:
    values = np.random.default_rng(3).normal(0.6, 0.05, 12)
    found = median_interval(values)
    assert found == median_interval(values)
    assert found.median == np.median(values)
    assert found.count == 12
    theirs = stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=10_000, rng=np.random.default_rng(0)
    ).confidence_interval
    assert found.low == pytest.approx(theirs.low, abs=0.01)
    assert found.high == pytest.approx(theirs.high, abs=0.01)


@pytest.mark.slow
def test_the_interval_covers_the_true_median_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    found = [median_interval(random.normal(0, 1, 15)) for _ in range(200)]
    covered = np.mean([one.low <= 0 <= one.high for one in found])
    assert 0.88 <= covered <= 0.995


def test_two_values_resample_to_three_medians() -> None:
    found = median_interval([1.0, 3.0])
    assert (found.median, found.low, found.high) == (2.0, 1.0, 3.0)


def test_one_value_has_no_interval_and_none_is_refused() -> None:
    found = median_interval([0.5])
    assert found.median == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    for bad in ([], [1.0, math.nan], [[1.0]]):
        with pytest.raises(ValueError, match="expected at least one finite value"):
            median_interval(bad)


def test_mann_whitney_counts_pairs() -> None:
    # Of 3 x 3 pairs the first group wins 7 and ties one, so U = 7.5.
    found = mann_whitney([3, 5, 6], [1, 2, 5])
    assert found.u == 7.5
    assert found.superiority == pytest.approx(7.5 / 9)
    # Of the 20 ways to choose three of the ranks 1, 2, 3, 4.5, 4.5, 6, six have a sum at least 3 away from 10.5.
    assert found.p == pytest.approx(6 / 20)
    assert mann_whitney([1, 2, 5], [3, 5, 6]).superiority == pytest.approx(1.5 / 9)


def test_the_exact_p_of_separate_groups_is_two_in_the_number_of_choices() -> None:
    assert mann_whitney([4, 5, 6], [1, 2, 3]).p == pytest.approx(2 / math.comb(6, 3))


def test_kruskal_wallis_is_scipys_and_says_something_about_equal_values() -> None:
    groups = [[1.0, 2.0, 3.0], [2.5, 3.5, 4.5], [5.0, 6.0, 7.0]]
    theirs = stats.kruskal(*groups)
    assert kruskal_wallis(groups) == (theirs.statistic, theirs.pvalue)
    assert kruskal_wallis([[1.0, 1.0], [1.0]]) == (0.0, 1.0)


def test_holm_by_hand() -> None:
    # 0.01 x 3, 0.02 x 2 (raised to nothing), 0.5 x 1, in the order given; never falling, at most 1.
    assert holm([0.5, 0.01, 0.02]) == pytest.approx([0.5, 0.03, 0.04])
    assert holm([0.03, 0.031]) == pytest.approx([0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]).size == 0


def test_two_groups_are_compared_by_mann_whitney_alone() -> None:
    low, high = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    found = compare([low, high])
    assert found.best == 1
    assert found.p == mann_whitney(low, high).p
    assert math.isnan(found.h)
    assert found.against_best[0].superiority == 1.0
    assert [interval.median for interval in found.intervals] == [0.2, 0.5]


def test_more_groups_are_compared_together_and_with_the_best() -> None:
    random = np.random.default_rng(1)
    groups = [random.normal(mean, 0.1, 8) for mean in (0.0, 0.5, 0.45)]
    found = compare(groups)
    assert (found.h, found.p) == kruskal_wallis(groups)
    assert sorted(found.against_best) == [0, 2]
    raw = [mann_whitney(groups[found.best], groups[index]).p for index in (0, 2)]
    assert [found.against_best[index].p for index in (0, 2)] == holm(raw).tolist()


def test_where_less_is_better_the_best_is_the_least() -> None:
    assert compare([[1, 2], [3, 4]], lower_is_better=True).best == 0


def test_a_group_of_one_is_shown_and_not_tested() -> None:
    alone = compare([[0.9], [0.1, 0.2]])
    assert alone.intervals[0].median == 0.9
    assert not alone.against_best
    assert math.isnan(alone.p)
    three = compare([[0.2], [0.1, 0.3], [0.5, 0.6]])
    assert list(three.against_best) == [1]
    assert three.p == mann_whitney([0.5, 0.6], [0.1, 0.3]).p


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        ([1, 1, 1], [2, 2, 2], 0.1),
        ([25, 25, 25, 25], [np.inf, np.inf, np.inf, np.inf], 2 / 70),
        ([0, 0], [1, 1], 1 / 3),
        ([3, 3, 3], [3, 3, 3], 1.0),
    ],
)
def test_equal_values_make_no_run_more_certain(first: list[float], second: list[float], p: float) -> None:
    """2 / C(n + m, n) is the least p of a complete separation, with ties as without."""
    assert mann_whitney(first, second).p == pytest.approx(p)


def test_exact_p_values_are_scipys() -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        a, b = rng.normal(size=6), rng.normal(0.5, size=7)
        assert mann_whitney(a, b).p == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue)
    ranks = stats.rankdata(np.round(np.concatenate([a, b])))
    permuted = stats.permutation_test(
        (ranks[:6], ranks[6:]), lambda x, y, axis: np.abs(x.sum(axis=axis) - 42), vectorized=True,
        n_resamples=np.inf, alternative="greater",
    )  # fmt: skip
    assert mann_whitney(np.round(a), np.round(b)).p == pytest.approx(permuted.pvalue)


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


def test_resamples_of_other_starts_and_streams_differ() -> None:
    first = resampled(50, 3)
    assert (first.min() >= 0, first.max() <= 49, first.shape) == (True, True, (3, 50))
    assert np.array_equal(first, resampled(50, 3))
    for other in (resampled(50, 3, start=3), resampled(50, 3, stream=1)):
        assert not np.array_equal(first, other)


def test_shares_have_wilsons_interval() -> None:
    square = stats.norm.ppf(0.975) ** 2
    assert share_interval(0, 10) == (0.0, pytest.approx(square / (10 + square)))
    assert share_interval(10, 10) == (pytest.approx(10 / (10 + square)), 1.0)
    # The two roots p of (p - 37 / 256)^2 = z^2 p (1 - p) / 256.
    roots = np.roots([1 + square / 256, -2 * 37 / 256 - square / 256, (37 / 256) ** 2])
    assert share_interval(37, 256) == pytest.approx(sorted(roots))
    assert share_interval(0, 0) == (0.0, 1.0)
