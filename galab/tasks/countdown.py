"""``countdown``: reach a number by arithmetic from given ones (the task of Qiu et al., arXiv 2509.24372).

Instances are galab's own: three or four numbers from 1 to 99, and the value of a random expression of them that is a
whole number from 1 to 100. An answer is graded by exact fractions, by a parser that knows nothing but numbers, + - * /
and brackets: nothing of it is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from galab.errors import UsageError
from galab.genome.random import Stream, words
from galab.tasks.prompts import Prompt, PromptTask

#: What a right answer is worth, and one whose form alone is right.
RIGHT, FORM = 1.0, 0.1
_KEY = 0x636F756E74646F77
_LARGEST, _MOST = 99, 100
#: Characters of an expression, and brackets in each other: more is no answer to such a question.
_LONGEST, _DEEPEST = 200, 30
_ASKED = (
    "Use the numbers {numbers}, each exactly once, with + - * / and brackets, to make {goal}. Think between <think> "
    "and </think>, then write the expression alone between <answer> and </answer>."
)


def countdown(train: int = 200, test: int = 200) -> PromptTask:
    """Instances that are the same in every run.

    Args:
        train: how many are trained on.
        test: how many others the best is tested by.
    """
    if not 1 <= train <= 100_000 or not 1 <= test <= 100_000:
        raise UsageError(f"task 'countdown': expected 1 to 100,000 instances each, got {train} and {test}; correct it")
    made = [
        Prompt(_ASKED.format(numbers=_spoken(numbers), goal=goal), _written(numbers, goal))
        for numbers, goal in instances(train + test)
    ]
    return PromptTask("countdown", made[:train], made[train:], reward, right=is_right)


def instances(count: int) -> list[tuple[tuple[int, ...], int]]:
    """So many different ones: the numbers, and what they are to make."""
    found: dict[tuple[tuple[int, ...], int], None] = {}
    number = 0
    while len(found) < count:
        random = np.random.Generator(np.random.Philox(key=int(words(_KEY, number, Stream.EXAMPLES, 1)[0])))
        number += 1
        numbers = tuple(sorted(int(one) for one in random.integers(1, _LARGEST + 1, random.integers(3, 5))))
        goal = _random_value(numbers, random)
        if goal is not None and goal.denominator == 1 and 1 <= goal <= _MOST:
            found[numbers, int(goal)] = None
    return list(found)


def _random_value(numbers: tuple[int, ...], random: np.random.Generator) -> Fraction | None:
    """The value of a random expression of all the numbers; None where it divides by zero."""
    left = [Fraction(number) for number in numbers]
    while len(left) > 1:
        one, other = (left.pop(int(random.integers(len(left)))) for _ in range(2))
        value = _applied("+-*/"[int(random.integers(4))], one, other)
        if value is None:
            return None
        left.append(value)
    return left[0]


def _applied(sign: str, one: Fraction, other: Fraction) -> Fraction | None:
    if sign == "/":
        return one / other if other else None
    return one + other if sign == "+" else one - other if sign == "-" else one * other


def reward(answer: str, target: str) -> float:
    """1 for a right answer, and up to 0.1 for its form: both pairs of tags in order; 0.01 or 0.05 for one of them."""
    whole = re.fullmatch(r"\s*<think>.*?</think>\s*<answer>.*?</answer>\s*", answer, re.DOTALL)
    if whole:
        form = 1.0
    else:
        thought = re.search(r"<think>.*?</think>", answer, re.DOTALL) is not None
        form = 0.1 * thought + 0.5 * (_last_answer(answer) is not None)
    return RIGHT * is_right(answer, target) + FORM * form


def is_right(answer: str, target: str) -> bool:
    """Whether the last ``<answer>`` uses each number exactly once and makes the goal."""
    said = _last_answer(answer)
    if said is None:
        return False
    numbers, _, goal = target.partition(" -> ")
    value, used = evaluated(said)
    return value == int(goal) and sorted(used) == sorted(map(int, numbers.split()))


def evaluated(text: str) -> tuple[Fraction | None, list[int]]:
    """The value of an expression, None where it is none, and the numbers in it."""
    tokens = re.findall(r"\d+|[-+*/()]", text)
    if len(text) > _LONGEST or "".join(tokens) != re.sub(r"\s", "", text) or re.search(r"\d\s+\d", text):
        return None, []
    try:
        reader = _Reader(tokens)
        value = reader.sum_(0)
        return (value, reader.used) if reader.at == len(tokens) else (None, [])
    except (_NoExpressionError, ZeroDivisionError):
        return None, []


class _NoExpressionError(Exception):
    """What was read is no expression."""


class _Reader:
    """Reads an expression from left to right; products come before sums."""

    def __init__(self, tokens: list[str]) -> None:
        self.at, self.used = 0, list[int]()
        self._tokens = tokens

    def _signs(self, wanted: str) -> Iterator[str]:
        """The signs that follow, one after each operand."""
        while self.at < len(self._tokens) and self._tokens[self.at] in wanted:
            self.at += 1
            yield self._tokens[self.at - 1]

    def sum_(self, depth: int) -> Fraction:
        """Products with + and - between them."""
        total = self._product(depth)
        for sign in self._signs("+-"):
            value = self._product(depth)
            total = total + value if sign == "+" else total - value
        return total

    def _product(self, depth: int) -> Fraction:
        total = self._operand(depth)
        for sign in self._signs("*/"):
            value = self._operand(depth)
            total = total * value if sign == "*" else total / value
        return total

    def _operand(self, depth: int) -> Fraction:
        if self.at >= len(self._tokens) or depth > _DEEPEST:
            raise _NoExpressionError
        token = self._tokens[self.at]
        self.at += 1
        if token.isdecimal():
            self.used.append(int(token))
            return Fraction(int(token))
        if token != "(":
            raise _NoExpressionError
        value = self.sum_(depth + 1)
        if self._tokens[self.at : self.at + 1] != [")"]:
            raise _NoExpressionError
        self.at += 1
        return value


def _last_answer(text: str) -> str | None:
    found = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    return found[-1].strip() if found else None


def _spoken(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"


def _written(numbers: tuple[int, ...], goal: int) -> str:
    return f"{' '.join(map(str, numbers))} -> {goal}"
