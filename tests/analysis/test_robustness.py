"""Since when examples are known for good, and what mutations leave of them by that age."""

from __future__ import annotations

import numpy as np
import pytest

from galab.analysis.robustness import learned_since, retention_by_age


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
    groups = retention_by_age(since, kept, 3)
    assert [(one.first, one.last, one.examples) for one in groups] == [(0, 0, 6), (5, 7, 3)]
    assert [one.kept.value for one in groups] == pytest.approx([1, 1 / 3])
    assert retention_by_age([np.nan], [1.0]) == []
