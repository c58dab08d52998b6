"""Quantiles of step sizes against sorted lists, for each way in which step sizes lie over the weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from galab.genome.step_sizes import Steps, snap
from galab.genome.weights import SCALE, Layout, Phenotype
from galab.training.diagnostics import layer_of, quantiles, step_size_shares, step_sizes

LAYOUT = Layout(("hidden.0.weight", "hidden.0.bias", "output.weight", "scale"), ((3, 4), (3,), (2, 3), ()))


def parents(steps: Steps, count: int = 4) -> list[Phenotype]:
    random = np.random.default_rng(len(steps.groups))
    return [
        Phenotype(
            random.integers(-(2**22), 2**22, LAYOUT.size).astype(np.int32),
            random.integers(-3000, -1000, steps.size).astype(np.int16),
        )
        for _ in range(count)
    ]


def by_sorting(values: list[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    return next(value for value in sorted(values) if sum(v <= value for v in values) >= share * len(values))


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 257])
def test_quantiles_are_values_that_occur(count: int) -> None:
    points = np.random.default_rng(count).integers(-4000, 0, count).astype(np.int16)
    assert quantiles(points) == [by_sorting(points.tolist(), share) for share in (0.1, 0.5, 0.9)]


@pytest.mark.parametrize("granularity", ["global", "tensor", "row-column", "parameter"])
def test_step_sizes_by_layer(granularity: str) -> None:
    steps = Steps(LAYOUT, granularity, frozen=() if granularity == "global" else (1,), low=-2000)
    people = parents(steps)
    line = step_sizes(steps, people)
    places: dict[str, Any] = {
        "global": {"": [0]},
        "tensor": {"_hidden.0": [0], "_output": [2], "_scale": [3]},
        # Rows of the first matrix, its columns, its bias, rows and columns of the second, and the scalar.
        "row-column": {"_hidden.0": [0, 1, 2], "_output": [10, 11], "_scale": [15]},
        "parameter": {"_hidden.0": range(12), "_output": range(15, 21), "_scale": [21]},
    }[granularity]
    everything = []
    for layer, indices in places.items():
        values = [2.0 ** (int(person.log_sigma[index]) / 256) for person in people for index in indices]
        everything += values
        for end, share in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9)):
            assert line.pop(f"step_size{layer}_{end}") == pytest.approx(by_sorting(values, share), rel=1e-6)
    low = 2.0 ** (-2000 / 256) * 1.0000001
    assert line == {"step_size_at_floor": sum(value <= low for value in everything) / len(everything)}


@pytest.mark.parametrize("granularity", ["global", "tensor", "parameter"])
def test_step_sizes_relative_to_the_weights(granularity: str) -> None:
    steps = Steps(LAYOUT, granularity)
    people = parents(steps)
    weights = {"hidden.0": range(15), "output": range(15, 21), "scale": [21]}
    own = {
        "global": {layer: [0] for layer in weights},
        "tensor": {"hidden.0": [0, 1], "output": [2], "scale": [3]},
        "parameter": weights,
    }[granularity]
    line = step_size_shares(steps, people)
    assert len(line) == 9
    for layer, places in weights.items():
        values = []
        for person in people:
            rms = math.sqrt(sum((int(person.weights[place]) / SCALE) ** 2 for place in places) / len(places))
            values += [2.0 ** (int(person.log_sigma[place]) / 256) / rms for place in own[layer]]
        for end, share in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9)):
            # The RMS is a point of the grid, 0.3 % apart; small weights lose their last bits.
            assert line[f"step_size_share_{layer}_{end}"] == pytest.approx(by_sorting(values, share), rel=0.01)


def test_weights_of_zero_have_no_relative_step_size_and_frozen_ones_none_at_all() -> None:
    steps = Steps(LAYOUT, frozen=(2,))
    member = Phenotype(np.array([1 << 20] * 15 + [5] * 6 + [0], dtype=np.int32), np.array([-1024], dtype=np.int16))
    line = step_size_shares(steps, [member])
    assert set(line) == {f"step_size_share_hidden.0_{end}" for end in ("p10", "p50", "p90")}
    assert line["step_size_share_hidden.0_p50"] == 2.0**-4 / 2.0**-4
    assert [layer_of(steps, tensor) for tensor in range(4)] == ["hidden.0", "hidden.0", "output", "scale"]


def test_a_floor_relative_to_the_weights_is_nobodys_floor() -> None:
    steps = Steps(LAYOUT, "tensor", relative=(snap(0.01), None))
    assert "step_size_at_floor" not in step_sizes(steps, parents(steps))
