"""What the starts of runs say of their ends."""

from __future__ import annotations

import numpy as np
import pytest

from galab.analysis.variance import early_and_final, explained, spread


def test_variance_over_runs() -> None:
    values = np.array([[1.0, 2.0, np.nan], [3.0, 2.0, 4.0], [8.0, 2.0, np.nan]])
    found = spread(values)
    assert found[:2].tolist() == pytest.approx([np.var([1, 3, 8], ddof=1), 0])
    assert np.isnan(found[2])


def test_early_values_foretell_final_ones() -> None:
    random = np.random.default_rng(1)
    start = random.normal(size=12)
    values = np.column_stack([start, 2 * start + 1, -start])
    early = early_and_final(values, [1, 50, 100], [0.01, 0.5, 0.2])
    assert [one.generation for one in early] == [1, 50, 50]
    assert [one.correlation.rho for one in early] == pytest.approx([-1, -1, -1])
    assert [one.explained for one in early] == pytest.approx([1, 1, 1])
    noisy = start + random.normal(size=12)
    assert explained(start, noisy) == pytest.approx(np.corrcoef(start, noisy)[0, 1] ** 2)
    assert np.isnan(explained([1, 1, 1], [1, 2, 3]))
    values[3, 0] = np.nan
    assert early_and_final(values, [1, 50, 100], [0.01])[0].correlation.pairs == 11
