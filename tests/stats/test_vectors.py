"""The cosine of two vectors."""

import math

import numpy as np
import pytest

from galab.stats.vectors import cosine


def test_the_cosine_follows_the_definition() -> None:
    assert cosine(np.array([3.0, 4.0]), np.array([4.0, 3.0])) == pytest.approx(24 / 25)
    assert cosine(np.array([1.0, 0.0]), np.array([0.0, 2.0])) == 0
    assert cosine(np.array([1.0, 2.0]), np.array([-2.0, -4.0])) == pytest.approx(-1)


def test_single_precision_is_summed_in_double() -> None:
    large = np.full(3, 1e30, dtype=np.float32)
    assert cosine(large, large) == pytest.approx(1)


def test_a_vector_without_length_has_the_cosine_that_the_caller_asks_for() -> None:
    assert math.isnan(cosine(np.zeros(2), np.ones(2)))
    assert cosine(np.ones(2), np.zeros(2), undefined=0.0) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_have_none(bad: float) -> None:
    assert math.isnan(cosine(np.array([bad, 1.0]), np.ones(2), undefined=0.0))
