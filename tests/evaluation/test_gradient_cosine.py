"""A child's direction beside the gradient at its parents, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from galab.stats.vectors import cosine


@pytest.mark.parametrize(
    ("step", "slope", "expected"),
    [
        ([3.0, 4.0], [1.0, 0.0], 0.6),
        ([-2.0, 0.0], [5.0, 0.0], -1.0),
        ([1.0, 1.0], [1.0, -1.0], 0.0),
        ([0.0, 0.0], [1.0, 2.0], 0.0),  # no step
        ([1.0, 2.0], [0.0, 0.0], 0.0),  # every direction is as good as another
        ([1.0, 2.0], [math.nan, 1.0], math.nan),
        ([1.0, 2.0], [math.inf, 1.0], math.nan),
    ],
)
def test_the_cosine_is_that_of_the_textbook(step: list[float], slope: list[float], expected: float) -> None:
    with np.errstate(invalid="ignore"):
        found = cosine(np.array(step), np.array(slope), undefined=0.0)
    assert found == pytest.approx(expected, nan_ok=True)
