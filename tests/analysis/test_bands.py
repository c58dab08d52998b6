"""Curves at common numbers of evaluations, and the figure made of them."""

import math
from pathlib import Path

import numpy as np
import pytest

from galab.stats.curves import band, default_budgets, value_at
from galab.stats.intervals import median_interval
from galab.stats.plots import Band, draw_bands


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
    from matplotlib.image import imread

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
