"""Which numbers a weight may be: the bounds hold, whole numbers stay whole, and what does not fit is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from galab.errors import LethalMutationError, UsageError
from galab.genome.births import Birth
from galab.genome.domain import REAL, Domain, domain_of
from galab.genome.initial import EVEN, founders_given, founders_of
from galab.genome.step_sizes import PER_OCTAVE, Steps, log_rms
from galab.genome.weights import Layout, Phenotype, from_float, step

LONG = st.integers(-(2**31), 2**31 - 1)


def founder(founders: Any, number: int = 0) -> Phenotype:
    return Phenotype(
        founders.decode(Birth(number, (), 0, 0, 0, 0, 0)), np.zeros(1, np.int16), bits=founders.domain.bits
    )


def test_what_a_run_says_nothing_of_is_as_it_ever_was() -> None:
    assert domain_of({}) == REAL == domain_of({"genome": "real", "bounds": None, "weight_range": 128.0})
    assert REAL.written == ""
    assert REAL.limit == 128.0
    assert REAL.plain
    weights = np.arange(5, dtype=np.int32)
    assert REAL.inside(weights) is weights


@given(st.lists(LONG, min_size=1, max_size=30), LONG, LONG)
def test_weights_stop_at_bounds_or_are_reflected_as_a_ball_between_walls(
    values: list[int], one: int, other: int
) -> None:
    low, high = sorted((one, other))
    if low == high:
        return
    weights = np.array(values, dtype=np.int32)
    stopped = Domain("real", 24, low, high).inside(weights)
    assert stopped.tolist() == [min(max(value, low), high) for value in values]
    reflected = Domain("real", 24, low, high, reflects=True).inside(weights)
    for value, found in zip(values, reflected.tolist(), strict=True):
        ball = value
        way, span = (ball - low) % (2 * (high - low)), high - low
        assert found == low + (way if way <= span else 2 * span - way)
        assert low <= found <= high
        if low <= value <= high:
            assert found == value


def test_bounds_are_never_exceeded_by_rounding_them() -> None:
    domain = domain_of({"bounds": "-0.1:0.3"})
    assert domain.low is not None
    assert domain.high is not None
    assert -0.1 <= domain.low / domain.scale < -0.1 + 2**-23
    assert 0.3 - 2**-23 < domain.high / domain.scale <= 0.3


def test_the_range_moves_the_point() -> None:
    wide = domain_of({"weight_range": 1024.0})
    assert (wide.bits, wide.limit) == (21, 1024.0)
    back = wide.units(np.array([1000.0, -0.5])) / wide.scale
    assert back.tolist() == [1000.0, -0.5]
    layout = Layout(("w",), ((4,),), wide)
    z = np.full(4, 3.0, dtype=np.float32)
    assert (step(z.copy(), np.float32(200.0), 3.0, layout, 1) / wide.scale).tolist() == [600.0] * 4
    with pytest.raises(LethalMutationError, match=r"left the representable range of \+-1024; use a smaller --sigma"):
        step(z.copy(), np.float32(400.0), 3.0, layout, 7)
    assert log_rms(wide.units(np.full(8, 512.0)), wide.bits) == 9 * PER_OCTAVE == log_rms(np.full(8, 512, np.int32), 0)
    assert Phenotype(np.array([2**21], np.int32), np.zeros(1, np.int16), bits=21).floats().tolist() == [1.0]
    moved = np.ones(4, dtype=np.float32)
    assert Steps(layout).multiply(moved, np.zeros(1, np.int16)) == 2.0**21


def test_founders_of_whole_and_binary_weights_take_each_number_that_is_allowed_equally_often() -> None:
    module = nn.Linear(40, 100)
    for values, allowed in (
        ({"genome": "integer"}, [-1, 0, 1]),
        ({"genome": "integer", "bounds": "-2:5"}, list(range(-2, 6))),
        ({"genome": "binary"}, [-1, 1]),
        ({"genome": "binary", "bounds": "0:0.25"}, [0, 0.25]),
    ):
        founders = founders_of(module, 3, domain_of(values))
        assert {law.law for law in founders.laws} == {EVEN}
        found, counts = np.unique(founder(founders).floats(), return_counts=True)
        assert found.tolist() == allowed
        expected = 4100 / len(allowed)
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
        assert not np.array_equal(founder(founders).weights, founder(founders, 1).weights)
        assert founders.sha256 != founders_of(module, 3).sha256


@pytest.mark.parametrize(
    ("values", "weight", "said"),
    [
        ({"genome": "integer"}, 0.3, "expected whole numbers, got 0.300000012; freeze this parameter, or begin"),
        ({"genome": "integer", "bounds": "-2:2"}, 3.0, "expected whole numbers from -2 to 2, got 3"),
        ({"genome": "binary"}, 0.0, "expected -1 or 1, got 0;"),
        ({"bounds": "-0.5:0.5"}, 0.75, "expected numbers from -0.5 to 0.5, got 0.75"),
        ({"weight_range": 256.0}, 256.0, r"expected weights inside \+-256, got 256.0; .* raise --weight-range"),
        ({}, 128.0, r"expected weights inside \+-128, got 128.0; rescale the network, or raise --weight-range$"),
        ({"genome": "integer"}, float("nan"), "expected finite weights, got nan; look at how"),
    ],
)
def test_given_weights_that_are_none_of_these_numbers_are_refused(
    values: dict[str, Any], weight: float, said: str
) -> None:
    module = nn.Linear(2, 2)
    state = {name: torch.full_like(value, 1.0 if values.get("genome") else 0.25) for name, value in
             module.state_dict().items()}  # fmt: skip
    state["bias"][1] = weight
    with pytest.raises(UsageError, match=f"parameter 'bias': {said}"):
        founders_given(module, state, 1, domain_of(values))


def test_given_weights_that_fit_are_taken_as_they_are() -> None:
    module, domain = nn.Linear(2, 2, bias=False), domain_of({"genome": "binary"})
    state = {"weight": torch.tensor([[1.0, -1.0], [-1.0, 1.0]])}
    assert founder(founders_given(module, state, 1, domain)).floats().tolist() == [1, -1, -1, 1]
    assert from_float(np.array([1.0])).tolist() == [2**24]


def test_a_mutation_that_gives_a_binary_weight_a_third_value_is_refused() -> None:
    with pytest.raises(UsageError, match="leave each weight of a binary genome at -1 or 1, got one that does not"):
        domain_of({"genome": "binary"}).inside(np.zeros(3, dtype=np.int32))


@pytest.mark.parametrize("bound", [0.1, 0.3, 3.3, 0.7, 12.1])
@pytest.mark.parametrize("genome", ["real", "binary"])
def test_bounds_between_two_numbers_hold_and_float32s_of_them_are_taken(genome: str, bound: float) -> None:
    module, domain = nn.Linear(2, 1, bias=False), domain_of({"genome": genome, "bounds": f"{-bound}:{bound}"})
    taken = founder(founders_given(module, {"weight": torch.tensor([[-bound, bound]])}, 1, domain))
    low, high = taken.weights.tolist()
    assert (low, high) == (domain.low, domain.high)
    if genome == "real":
        assert -bound <= low / domain.scale < high / domain.scale <= bound
        near = torch.tensor([[(low + 1) / domain.scale, (high - 1) / domain.scale]], dtype=torch.float64)
        kept = founder(founders_given(module, {"weight": near}, 1, domain))
        assert kept.weights.tolist() == [low + 1, high - 1]  # allowed, so they stay
    drawn = founder(founders_of(module, 3, domain=domain)) if genome == "real" else taken
    assert domain.allows(drawn.weights).all()
    beyond = torch.tensor([[-bound, bound * (1 + 1e-5)]])
    with pytest.raises(UsageError, match="parameter 'weight': expected"):
        founders_given(module, {"weight": beyond}, 1, domain)


@pytest.mark.parametrize("width", [float("nan"), float("inf"), -float("inf"), -128.0, 100.0])
def test_a_range_that_a_damaged_file_says_is_refused(width: float) -> None:
    with pytest.raises(UsageError, match="expected a range of weights that is a power of two, such as 1024, got"):
        domain_of({"weight_range": width})
