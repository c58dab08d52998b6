"""Fates of births against a family tree drawn by hand, and against a walk through random ones."""

from __future__ import annotations

import numpy as np
import pytest

from galab.analysis.replay import fates, growth


def test_a_tree_by_hand() -> None:
    # Generation 0: 0, 1. Generation 1: 2 and 3 from 0. Generation 2: 4 from 2, 5 from 3. Generation 3: 6, 7 from 5.
    births, generations = [0, 1, 2, 3, 4, 5, 6, 7], [0, 0, 1, 1, 2, 2, 3, 3]
    parents: list[list[int]] = [[], [], [0], [0], [2], [3], [5], [5]]
    found = fates(births, parents, generations, [6, 7])
    nan = np.nan
    np.testing.assert_array_equal(found.fixed, [1, nan, nan, 2, nan, 1, nan, nan])
    np.testing.assert_array_equal(found.lost, [nan, 1, 2, nan, 1, nan, nan, nan])
    np.testing.assert_array_equal(found.second, [1, 0, 0.5, 0.5, 0, 1, nan, nan])
    assert found.kinship == pytest.approx({0: nan, 1: 1, 2: 2, 3: 1}, nan_ok=True)
    assert growth(found.first, found.second) == pytest.approx(np.log(np.mean([1, 0, 0.5, 0.5, 0, 1]) / 0.5))


def test_a_parent_that_survives_goes_on_being_one() -> None:
    # 1 has a selected child in generation 2 and so still lives in generation 1.
    found = fates([0, 1, 2, 3], [[], [], [0], [1]], [0, 0, 1, 2], [3])
    np.testing.assert_array_equal(found.fixed, [np.nan, 2, np.nan, 0])
    np.testing.assert_array_equal(found.lost, [2, np.nan, 1, np.nan])


@pytest.mark.parametrize("several", [1, 2])
def test_random_families_against_a_plain_walk(several: int) -> None:
    random, size, last = np.random.default_rng(several), 4, 30
    births, parents, generations = list(range(size)), [list[int]() for _ in range(size)], [0] * size
    for generation in range(1, last + 1):
        before = births[-size:]
        for _ in range(size):
            births.append(len(births))
            parents.append(random.choice(before, several).tolist())
            generations.append(generation)
    found = fates(births, parents, generations, births[-size:])
    ancestors: list[set[int]] = []
    for birth in births:
        ancestors.append({birth}.union(*(ancestors[parent] for parent in parents[birth])))
    for birth in births:
        counts = [
            sum(birth in ancestors[one] for one in births if generations[one] == later)
            for later in range(generations[birth], last + 1)
        ]
        for values, wanted in ((found.fixed, size), (found.lost, 0)):
            expected = counts.index(wanted) if wanted in counts else np.nan
            np.testing.assert_equal(values[birth], expected)
        if len(counts) > 1:
            assert found.second[birth] == counts[1] / size


def test_nobody_was_born() -> None:
    assert fates([], [], [], []).kinship == {}
    assert np.isnan(growth(np.empty(0), np.empty(0)))
    assert growth(np.ones(2), np.zeros(2)) == -np.inf
