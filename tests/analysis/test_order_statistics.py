"""The expected best of n against enumeration, closed forms and Beyer's progress coefficients."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from galab.analysis.order_statistics import best_of_gains, expected_maximum, normal_maximum


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_the_mean_over_all_subsets(n: int) -> None:
    sample = [3.0, -1.0, 4.0, 4.0, 1.5, -9.0, 2.0]
    assert expected_maximum(sample, n) == pytest.approx(np.mean([max(part) for part in combinations(sample, n)]))


def test_large_samples_and_numbers_do_not_overflow() -> None:
    # Of 1..m the largest of n is n (m + 1) / (n + 1) in the mean.
    assert expected_maximum(np.arange(1, 20_001), 4096) == pytest.approx(4096 * 20_001 / 4097)
    for n in (0, 8):
        with pytest.raises(ValueError, match="n from 1"):
            expected_maximum(np.zeros(7), n)
    with pytest.raises(ValueError, match="expected numbers"):
        expected_maximum([1.0, np.nan], 1)


def test_coefficients_of_the_normal_law() -> None:
    known = {1: 0.0, 2: 1 / np.sqrt(np.pi), 3: 1.5 / np.sqrt(np.pi), 10: 1.538753, 100: 2.507594, 1000: 3.241436}
    for n, value in known.items():
        assert normal_maximum(n) == pytest.approx(value, abs=2e-6)
    assert 3.6 < normal_maximum(4096) < 3.8


def test_a_parent_that_stays_loses_nothing() -> None:
    gains = [-3.0, -np.inf, -1.0, 2.0]
    assert best_of_gains(gains, [1, 4]).tolist() == pytest.approx([0.5, 2.0])
    assert best_of_gains(gains[2:], [1], keep=False).tolist() == pytest.approx([0.5])
