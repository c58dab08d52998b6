"""Since when examples are known for good, and what the starts of runs say of their ends."""

from __future__ import annotations

import numpy as np
import pytest

from galab.analysis.robustness_report import kept_by_age, learned_since
from galab.analysis.variance import explained, foretold, spread


def test_an_example_is_learned_when_it_is_right_for_good() -> None:
    right = [
        [0, 1, 1, 0],
        [1, 1, 0, 0],
        [0, 1, 1, 0],
        [1, 1, 1, 0],
    ]
    since = learned_since(np.array(right), [0, 10, 20, 40])
    assert since[:3].tolist() == [40, 0, 20]
    assert np.isnan(since[3])


def test_groups_keep_examples_of_one_time_together() -> None:
    since = np.array([0.0] * 6 + [5, 7, 7, np.nan])
    kept = np.array([1.0] * 6 + [0.5, 0.5, 0.0, 0.9])
    groups = kept_by_age(since, kept, 3)
    assert [(one.first, one.last, one.examples) for one in groups] == [(0, 0, 6), (5, 7, 3)]
    assert [one.kept.value for one in groups] == pytest.approx([1, 1 / 3])
    assert kept_by_age([np.nan], [1.0]) == []


def test_variance_over_runs() -> None:
    values = np.array([[1.0, 2.0, np.nan], [3.0, 2.0, 4.0], [8.0, 2.0, np.nan]])
    found = spread(values)
    assert found[:2].tolist() == pytest.approx([np.var([1, 3, 8], ddof=1), 0])
    assert np.isnan(found[2])


def test_early_values_foretell_final_ones() -> None:
    random = np.random.default_rng(1)
    start = random.normal(size=12)
    values = np.column_stack([start, 2 * start + 1, -start])
    early = foretold(values, [1, 50, 100], [0.01, 0.5, 0.2])
    assert [one.generation for one in early] == [1, 50, 50]
    assert [one.correlation.rho for one in early] == pytest.approx([-1, -1, -1])
    assert [one.explained for one in early] == pytest.approx([1, 1, 1])
    noisy = start + random.normal(size=12)
    assert explained(start, noisy) == pytest.approx(np.corrcoef(start, noisy)[0, 1] ** 2)
    assert np.isnan(explained([1, 1, 1], [1, 2, 3]))
    values[3, 0] = np.nan
    assert foretold(values, [1, 50, 100], [0.01])[0].correlation.pairs == 11
