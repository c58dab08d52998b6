"""Rates over the generations of a run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.config.schedules import RateSchedule, parse_rate_schedule, parse_share
from galab.errors import UsageError


def factor(text: str, generation: int, generations: int | None = 101) -> float:
    return parse_rate_schedule(text, "lr_schedule").factor(generation, generations)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("constant", {1: 1, 51: 1, 101: 1, 500: 1}),
        ("linear", {1: 1, 26: 0.75, 51: 0.5, 101: 0, 500: 0}),
        ("linear:0.1", {1: 1, 51: 0.55, 101: 0.1, 500: 0.1}),
        ("cosine", {1: 1, 26: (1 + math.sqrt(0.5)) / 2, 51: 0.5, 101: 0, 500: 0}),
        ("cosine:0.2", {1: 1, 51: 0.6, 101: 0.2, 500: 0.2}),
        ("decay:0.5", {1: 1, 2: 0.5, 4: 0.125}),
        ("decay:1", {1: 1, 99: 1}),
        ("0:1,1000:0.1", {1: 10**-0.001, 500: 10**-0.5, 1000: 0.1, 5000: 0.1}),
        (" 10:2, 20:0.5 ,21:3", {1: 2, 10: 2, 15: 1, 20: 0.5, 21: 3, 22: 3}),
        ("5:0.25", {1: 0.25, 5: 0.25, 9: 0.25}),
    ],
)
def test_factors_are_those_of_the_formula(text, expected):
    found = {generation: factor(text, generation) for generation in expected}
    assert found == pytest.approx(expected, rel=2**-24, abs=1e-12)
    assert all(value == float(np.float32(value)) for value in found.values())


@pytest.mark.parametrize(("text", "needs"), [("linear", True), ("cosine:0.1", True), ("constant", False),
                                             ("decay:0.9", False), ("0:1,9:2", False)])  # fmt: skip
def test_only_what_ends_with_the_run_needs_its_length(text, needs):
    schedule = parse_rate_schedule(text, "lr_schedule")
    assert schedule.needs_end == needs
    if needs:
        with pytest.raises(UsageError, match=f"expected --generations with the schedule {schedule.kind}"):
            schedule.factor(3, None)
    else:
        assert schedule.factor(3, None) == schedule.factor(3, 10)


@given(st.sampled_from(["constant", "linear", "cosine", "linear:0.3", "cosine:0.3", "decay:0.9"]),
       st.integers(1, 10_000))  # fmt: skip
def test_the_first_generation_has_the_starting_value_and_none_later_has_more(text, generations):
    some = sorted({1, 2, generations // 2 + 1, generations})
    factors = [factor(text, generation, generations) for generation in some]
    assert factors[0] == 1
    assert factors == sorted(factors, reverse=True)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(1e-6, 1e6)), min_size=1, unique_by=lambda point: point[0]))
def test_points_are_met_and_never_left(points):
    points.sort()
    text = ",".join(f"{generation}:{value!r}" for generation, value in points)
    assert parse_rate_schedule(text, "x") == RateSchedule("points", points=tuple(points))
    for generation, value in points:
        assert factor(text, generation) == pytest.approx(value, rel=2**-24)
    low, high = min(value for _, value in points), max(value for _, value in points)
    for generation in range(0, 10**6, 99_991):
        assert low * (1 - 2**-23) <= factor(text, generation) <= high * (1 + 2**-23)


@pytest.mark.parametrize(
    "text",
    ["", "none", "linear:", "linear:-0.1", "linear:1.5", "cosine:nan", "cosine:x", "decay", "decay:0", "decay:1.1",
     "decay:nan", "constant:1", "0:1,0:2", "5:1,4:1", "0:0", "0:-1", "0:inf", "0:nan", "-1:1", "1.5:1", "0:1,", "0:1:2",
     "3", "linear,cosine"],
)  # fmt: skip
def test_anything_else_is_refused_in_one_sentence(text):
    with pytest.raises(UsageError, match="expected --sigma-decay as constant, linear or cosine") as caught:
        parse_rate_schedule(text, "sigma_decay")
    assert str(caught.value).endswith(f"got '{text}'")
    assert "\n" not in str(caught.value)


def test_shares_of_moving_weights_are_a_number_an_inverse_or_points() -> None:
    assert [parse_share("0.25")(update) for update in (0, 9)] == [0.25, 0.25]
    assert [parse_share("inverse:0.5")(update) for update in (0, 2, 8)] == [1.0, 0.5, 0.2]
    share = parse_share("0:1,10:0.01,20:1e-10")
    found = [share(update) for update in (0, 5, 10, 15, 20, 999)]
    assert found == pytest.approx([1.0, 0.1, 0.01, 1e-6, 1e-10, 1e-10], rel=1e-6)


@pytest.mark.parametrize("text", ["0", "1.5", "inverse:0", "0:1,5:0", "5:0.1,2:0.1", "0:2", "decay:0.1", "0:1,"])
def test_other_shares_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="or points UPDATE:SHARE in order, such as 0:1,1000:1e-9, got"):
        parse_share(text)
