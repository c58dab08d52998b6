"""Figures about two precisions, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from galab.analysis.precision import in_common, progress_kept, run_off, spearman, survivors

NAN = float("nan")


def row(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_spearman_is_that_of_scipy_with_ties() -> None:
    one, other = row(3, 1, 4, 1, 5, 9), row(2, 7, 1, 8, 2, 8)
    assert spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)
    assert spearman(one, np.exp(one)) == pytest.approx(1.0)
    assert spearman(one, -one) == pytest.approx(-1.0)


def test_spearman_takes_failures_for_the_worst() -> None:
    assert spearman(row(NAN, 1, 2), row(-np.inf, 5, 6)) == pytest.approx(1.0)
    assert spearman(row(NAN, 1, 2), row(7, 5, 6)) == pytest.approx(-0.5)
    assert np.isnan(spearman(row(1, 1, 1), row(1, 2, 3)))


def test_survivors_are_the_best_and_of_equals_the_younger() -> None:
    assert survivors(row(1, 5, NAN, 5, 3), 3).tolist() == [3, 1, 4]
    assert in_common(survivors(row(1, 2, 3, 4), 2), survivors(row(1, 4, 2, 3), 2)) == 0.5


def test_a_run_off_lets_the_fine_score_decide_among_the_best_by_the_coarse_one() -> None:
    coarse, fine = row(9, 8, 7, 1, 0), row(1, 3, 2, 9, 0)
    assert run_off(coarse, fine, 2, 3).tolist() == [1, 2], "who is not among the candidates is not looked at"
    assert run_off(coarse, fine, 2, 5).tolist() == [3, 1]
    assert run_off(coarse, fine, 2, 2).tolist() == [1, 0]


def test_progress_is_a_share_of_the_best_differential() -> None:
    fitness = row(0, 2, 4, 6)  # mean 3; the best two have mean 5
    assert progress_kept(np.array([2, 3]), fitness) == 1.0
    assert progress_kept(np.array([1, 3]), fitness) == 0.5
    assert progress_kept(np.array([0, 1]), fitness) == -1.0
    assert np.isnan(progress_kept(np.array([0]), row(1, 1)))
