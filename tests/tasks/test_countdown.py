"""Countdown: instances that can be solved, and a grader that runs nothing."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.errors import UsageError
from galab.tasks.countdown import countdown, evaluated, instances, is_right, reward

TARGET = "3 5 8 -> 34"


def reachable(numbers: list[Fraction], goal: int) -> bool:
    """Whether some expression of all the numbers makes the goal; found by trying all."""
    if len(numbers) == 1:
        return numbers[0] == goal
    for one, other in itertools.permutations(range(len(numbers)), 2):
        rest = [numbers[place] for place in range(len(numbers)) if place not in (one, other)]
        a, b = numbers[one], numbers[other]
        values = [a + b, a - b, a * b, *([a / b] if b else [])]
        if any(reachable([*rest, value], goal) for value in values):
            return True
    return False


def test_every_instance_can_be_solved_and_none_comes_twice() -> None:
    found = instances(60)
    assert len(set(found)) == 60
    for numbers, goal in found:
        assert len(numbers) in (3, 4)
        assert all(1 <= number <= 99 for number in numbers)
        assert 1 <= goal <= 100
        assert reachable([Fraction(number) for number in numbers], goal)
    assert instances(30) == found[:30]


def test_training_and_test_share_no_instance() -> None:
    task = countdown(train=20, test=30)
    assert (len(task.train), len(task.test)) == (20, 30)
    assert len({prompt.text for prompt in task.prompts}) == 50
    assert task.prompts[0].target.split(" -> ")[1] in task.prompts[0].text


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("<answer>(8 * 5) - 3 * 2</answer>", False),
        ("<answer>3 * 8 + 5 * 2</answer>", False),
        ("<answer>8 * 5 - 3 - 3</answer>", False),
        ("<answer>5 * 8 - 3 * 2</answer> <answer>(5 + 3) * 8 - 30</answer>", False),
        ("<answer>34</answer>", False),
        ("8 * 5 - 6", False),
        ("<answer></answer>", False),
        ("<answer>5 * 8 - 3", False),
        ("<answer>8 + 5 * 3</answer>", False),
    ],
)
def test_what_is_not_right(said: str, right: bool) -> None:
    assert is_right(said, TARGET) is right


@pytest.mark.parametrize(
    "said",
    ["<answer>3 * 5 - 8</answer>", "no <answer>1</answer> but <answer> (3*5)-8 </answer>", "<answer>5*3-8</answer>"],
)
def test_what_is_right(said: str) -> None:
    assert is_right(said, "3 5 8 -> 7")


@pytest.mark.parametrize(
    ("said", "worth"),
    [
        ("<think>well</think>\n<answer>3 * 5 - 8</answer>", 1.1),
        ("<think>well</think>\n<answer>8</answer>", 0.1),
        ("<answer>3 * 5 - 8</answer>", 1.05),
        ("<think>well</think>", 0.01),
        ("so <think>well</think> <answer>1</answer>", 0.06),
        ("8", 0.0),
    ],
)
def test_the_form_is_worth_a_tenth(said: str, worth: float) -> None:
    assert reward(said, "3 5 8 -> 7") == pytest.approx(worth)


@pytest.mark.parametrize(
    "text",
    ["", "()", "1 +", "1 2", "1 + 2)", "(1 + 2", "--1", "2 ** 3", "1 / 0", "1 / (2 - 2)", "__import__('os')", "1e3",
     "1.5", "1,000", "x", "(" * 500 + "1" + ")" * 500, "+".join(["1"] * 300), "2\n3"],
)  # fmt: skip
def test_what_is_no_expression(text: str) -> None:
    assert evaluated(text) == (None, [])


@given(st.recursive(st.integers(0, 99).map(str), lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(
    lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"), max_leaves=8))  # fmt: skip
def test_values_are_those_of_exact_arithmetic(text: str) -> None:
    parts = text.replace("(", "( ").replace(")", " )").split()
    exact = "".join(f"Fraction({part})" if part.isdecimal() else part for part in parts)
    try:
        expected = eval(exact, {"Fraction": Fraction})
    except ZeroDivisionError:
        expected = None
    assert evaluated(text)[0] == expected


def test_products_come_before_sums_and_go_from_left_to_right() -> None:
    assert evaluated("2 + 3 * 4")[0] == 14
    assert evaluated("8 / 4 / 2")[0] == 1
    assert evaluated("8 - 4 - 2")[0] == 2
    assert evaluated("7 / 2") == (Fraction(7, 2), [7, 2])


def test_too_many_are_refused() -> None:
    with pytest.raises(UsageError, match="expected 1 to 100,000 instances each, got 0 and 200"):
        countdown(train=0)
