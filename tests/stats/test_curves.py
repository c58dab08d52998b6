"""Curves of runs at common places, their best so far, when they reach a level, and the figure made of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from galab.stats.curves import (
    at_generations,
    band,
    band_of,
    best_so_far,
    compare_first,
    default_budgets,
    first_reaching,
    reached,
    spread_out,
    times_to,
    value_at,
)
from galab.stats.intervals import median_interval
from galab.stats.plots import Band, draw_bands

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


@pytest.mark.parametrize(
    ("budget", "value"), [(9, math.nan), (10, 0.1), (15, 0.1), (20, 0.2), (40, 0.4), (41, math.nan)]
)
def test_a_run_counts_with_what_it_had_measured_last(budget: float, value: float) -> None:
    assert value_at([10, 20, 40], [0.1, 0.2, 0.4], budget) == pytest.approx(value, nan_ok=True)


def test_budgets_are_measurements_that_every_run_has_reached() -> None:
    runs = [np.arange(100, 10_100, 100), np.arange(100, 6_100, 100)]
    found = default_budgets(runs)
    assert found[0] == 100
    assert found[-1] == 6000
    assert len(found) == 4
    assert all(budget in runs[1] for budget in found)
    ratios = np.diff(np.log(found))
    assert ratios == pytest.approx(ratios.mean(), rel=0.2)


def test_budgets_begin_where_every_run_has_a_value_and_name_nothing_twice() -> None:
    assert default_budgets([[10, 20, 30], [25, 60]]) == [25, 30]
    assert default_budgets([[5]]) == [5]
    assert default_budgets([[5, 6], [1, 2]]) == [2]
    for bad in ([], [[1], []]):
        with pytest.raises(ValueError, match="expected at least one run"):
            default_budgets(bad)


def test_a_band_is_the_median_and_its_interval_at_each_measurement() -> None:
    spent = [[1, 2, 4], [1, 2, 3], [1, 2, 4]]
    values = [[0.1, 0.2, 0.9], [0.3, 0.4, 0.5], [0.5, 0.9, 0.8]]
    places, rows = band(spent, values)
    assert places.tolist() == [1, 2, 3]
    assert rows[0].tolist() == [0.3, 0.4, 0.5]
    one = median_interval([0.2, 0.4, 0.9])
    assert rows[:, 1].tolist() == [one.median, one.low, one.high]


def test_a_long_band_is_thinned_and_a_common_stretch_may_be_missing() -> None:
    long = np.arange(1, 5001)
    places, rows = band([long], [long / 5000], points=50)
    assert 20 < len(places) <= 50
    assert places[0] == 1
    assert places[-1] == 5000
    assert np.isnan(rows[1:]).all()
    places, rows = band([[1, 2], [5, 6]], [[0, 0], [0, 0]])
    assert places.size == 0
    assert rows.shape == (3, 0)


def test_the_figure_is_an_image_with_every_group(tmp_path: Path) -> None:
    x = np.geomspace(1, 1000, 9)
    bands = [Band(f"group {n}", x, x / 1000, x / 2000, x / 500) for n in range(9)]
    image = tmp_path / "deep" / "a.png"
    draw_bands(image, bands, x_label="evaluations", y_label="accuracy", title="a title " * 40)
    pixels = imread(image)[..., :3]
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        assert (np.abs(pixels * 255 - colour).max(axis=-1) < 2).any()
    with pytest.raises(ValueError, match="nonsense"):
        draw_bands(tmp_path / "a.nonsense", bands, x_label="", y_label="", title="")


def test_a_figure_without_a_common_stretch_is_empty_and_not_an_error(tmp_path: Path) -> None:
    empty = np.empty(0)
    draw_bands(tmp_path / "a.svg", [Band("a", empty, empty, empty, empty)], x_label="x", y_label="y", title="t")
    assert "<svg" in (tmp_path / "a.svg").read_text()


INF = math.inf


def test_all_that_reach_a_level_are_known_however_long_they_ran() -> None:
    found = times_to([[1, 2, 3], [10, 20]], [[0.1, 0.5, 0.6], [0.4, 0.5]], 0.5)
    assert found.first.tolist() == [2, 20]
    assert (found.horizon, found.shortest, found.beyond) == (INF, None, 0)


def test_nobody_is_later_than_a_run_that_was_watched_longer() -> None:
    places = [[10, 20, 30], [10, 20], [10, 20, 90]]
    values = [[0.1, 0.5, 0.6], [0.1, 0.2], [0.1, 0.2, 0.7]]
    found = times_to(places, values, 0.5)
    # The second ended at 20 without it: that the third came at 90 does not say that it was later than the second.
    assert found.first.tolist() == [20, INF, INF]
    assert (found.horizon, found.shortest, found.beyond) == (20, 1, 1)
    assert times_to(places, values, 0.55).first.tolist() == [INF, INF, INF]


def test_losses_have_to_go_down_and_the_shortest_is_the_one_that_never_did() -> None:
    found = times_to([[1, 2], [1, 5], [1, 9]], [[3.0, 1.0], [3.0, 2.5], [3.0, 2.0]], 1.0, lower_is_better=True)
    assert found.first.tolist() == [2, INF, INF]
    assert (found.horizon, found.shortest) == (5, 1)


@pytest.mark.parametrize("places", [[], [[1], []]])
def test_runs_without_measurements_are_refused(places: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="expected at least one run"):
        times_to(places, places, 0.5)
