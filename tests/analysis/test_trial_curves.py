"""Curves of trials: best so far, first generations with censoring and ties, bands."""

from __future__ import annotations

import numpy as np
import pytest

from galab.stats.curves import at_generations, band_of, best_so_far, compare_first, first_reaching, reached, spread_out
from galab.stats.intervals import median_interval

INF, NAN = float("inf"), float("nan")


def test_best_so_far_by_hand() -> None:
    np.testing.assert_array_equal(best_so_far([3.0, 1.0, 4.0, 2.0]), [3, 3, 4, 4])
    np.testing.assert_array_equal(best_so_far([3.0, 1.0, 4.0, 2.0], lower_is_better=True), [3, 1, 1, 1])
    np.testing.assert_array_equal(best_so_far([NAN, 1.0, NAN, 0.0]), [NAN, 1, 1, 1])
    assert best_so_far([]).shape == (0,)


def test_first_reaching_takes_the_first_and_counts_equal_as_reached() -> None:
    generations = [1, 2, 5, 9]
    assert first_reaching(generations, [0.1, 0.5, 0.4, 0.6], 0.5) == 2
    assert first_reaching(generations, [0.1, 0.5, 0.4, 0.6], 0.7) == INF
    assert first_reaching(generations, [9.0, 7.0, 7.0, 8.0], 7.0, lower_is_better=True) == 2
    assert first_reaching(generations, [NAN, NAN, 1.0, 0.0], 0.0) == 5
    assert first_reaching([], [], 0.0) == INF


def test_never_is_later_than_every_generation() -> None:
    found = reached([10.0, 20.0, INF])
    assert (found.count, found.interval.count, found.interval.median) == (2, 3, 20)
    assert found.interval.low == 10
    assert found.interval.high == INF
    assert reached([10.0, INF, INF]).interval.median == INF
    assert reached([10.0, INF]).interval.median == INF, "half of them never: no generation has half of the trials"
    lost = reached([INF, INF, INF])
    assert (lost.count, lost.interval.median, lost.interval.low) == (0, INF, INF)


def test_without_censoring_the_interval_is_that_of_the_median() -> None:
    assert reached([5.0, 7.0, 7.0, 11.0]).interval == median_interval([5.0, 7.0, 7.0, 11.0])
    assert reached([5.0]).interval.median == 5
    assert reached([INF]).interval.median == INF
    assert np.isnan(reached([INF]).interval.low)


@pytest.mark.parametrize("first", [[], [NAN, 3.0]])
def test_no_generation_is_refused(first: list[float]) -> None:
    with pytest.raises(ValueError, match="expected at least one generation"):
        reached(first)


def test_comparing_first_generations_ranks_never_last_and_ties_count_half() -> None:
    found = compare_first([[30.0, INF, INF], [10.0, 20.0, 30.0]])
    assert found.best == 1
    # Pairs in which the best is later than the other: none of nine; one tie.
    assert found.against_best[0].superiority == pytest.approx(0.5 / 9)
    assert found.intervals[0].median == INF
    nobody = compare_first([[INF, INF], [INF, INF]])
    assert nobody.p == pytest.approx(1.0)
    assert [interval.median for interval in nobody.intervals] == [INF, INF]


def test_a_trial_keeps_what_it_measured_last() -> None:
    np.testing.assert_array_equal(at_generations([2, 4], [0.5, 0.7], [1, 2, 3, 4, 9]), [NAN, 0.5, 0.5, 0.7, 0.7])
    np.testing.assert_array_equal(at_generations([], [], [1, 2]), [NAN, NAN])


def test_places_of_curves_begin_at_the_first_and_end_at_the_last() -> None:
    assert spread_out(1).tolist() == [1]
    assert spread_out(5).tolist() == [1, 2, 3, 4, 5]
    many = spread_out(10_000)
    assert (many[0], many[-1]) == (1, 10_000)
    assert 80 <= len(many) <= 120
    assert np.diff(many)[0] == 1


def test_a_band_by_hand() -> None:
    found = band_of([[1.0, NAN, NAN], [3.0, 2.0, NAN], [2.0, NAN, NAN]])
    np.testing.assert_array_equal(found[:, 0], [2, 1, 3])
    np.testing.assert_array_equal(found[:, 1], [2, NAN, NAN])
    assert np.isnan(found[:, 2]).all()
