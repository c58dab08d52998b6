"""The comparison of minima: its functions, its table, and other people's side, which needs ``make bench-peers``."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def comparison(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("minimize")


def test_the_functions_are_zero_at_their_minimum_and_alike_in_numpy_and_torch(comparison):
    points = np.random.default_rng(1).uniform(-2, 2, (7, 5))
    for name, minimum in (("Rastrigin", 0.0), ("Rosenbrock", 1.0)):
        of = comparison.FUNCTIONS[name].of
        assert of(np.full((1, 5), minimum), np.cos).tolist() == [0.0]
        assert (of(points, np.cos) > 0.1).all()
        np.testing.assert_allclose(of(points, np.cos), of(torch.from_numpy(points), torch.cos).numpy(), rtol=1e-12)


def test_the_table_has_a_row_for_each_function_and_strategy(comparison):
    random = np.random.default_rng(1)
    sides = [f"{side}_{strategy}" for side in ("galab", "evosax", "evotorch") for strategy in comparison.STRATEGIES]
    lines = comparison.table({side: random.uniform(1, 2, (2, 20)) for side in sides}).splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| Rastrigin", "snes"], ["| Rastrigin", "pgpe"], ["| Rosenbrock", "snes"], ["| Rosenbrock", "pgpe"]
    ]  # fmt: skip
    assert {line.count("|") for line in lines} == {7}


@pytest.mark.slow
def test_all_sides_search_from_the_same_starts(comparison):
    if not comparison.client.available():
        pytest.skip("other people's libraries are not installed: make bench-peers")
    found = comparison.measured(seeds=2, dimensions=3, population=6, evaluations=600)
    assert len(found) == 6
    for values in found.values():
        assert values.shape == (2, 2)
        assert (values > 0).all()
        assert (values[1] < 50).all()
