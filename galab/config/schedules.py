"""How a rate changes over a run: factors of its starting value, by generation.

A schedule is one of::

    constant                the starting value throughout
    linear, cosine          down to zero in the last generation, on a straight line or on half a cosine
    linear:0.1, cosine:0.1  down to that share of the starting value
    decay:0.999             times that factor from each generation to the next
    0:1,1000:0.1            points GENERATION:FACTOR, exponential in between, constant before and after them

The cosine is that of I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017,
without restarts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from galab.config.spelling import OptionError

#: Those that go down to a share of the start, which the end of the run must be known for.
_TO_THE_END = ("linear", "cosine")


@dataclass(frozen=True, slots=True)
class RateSchedule:
    """What a rate is multiplied with in each generation.

    Attributes:
        kind: ``constant``, ``linear``, ``cosine``, ``decay`` or ``points``.
        value: the share at the end of ``linear`` and ``cosine``, or the factor per generation of ``decay``.
        points: generation and factor of each of the ``points``, in order of generations.
    """

    kind: str
    value: float = 0.0
    points: tuple[tuple[int, float], ...] = ()

    @property
    def needs_end(self) -> bool:
        """Whether the number of generations of the run must be known."""
        return self.kind in _TO_THE_END

    def factor(self, generation: int, generations: int | None) -> float:
        """The factor of a generation, rounded to 24 bits: cosines and powers differ in the last ones between machines.

        Args:
            generation: its number, from 1. Generation 1 has the factor 1 but with points, which say it themselves.
            generations: how many the run has; a schedule that ends stays at its end beyond them.

        Raises:
            UsageError: the schedule needs the number of generations, and there is none.
        """
        mantissa, exponent = math.frexp(self._formula(generation, generations))
        return math.ldexp(round(mantissa * 2**24), exponent - 24)

    def _formula(self, generation: int, generations: int | None) -> float:
        if self.kind == "decay":
            return float(self.value ** (generation - 1))
        if self.kind == "points":
            return self._between_points(generation)
        if self.kind == "constant":
            return 1.0
        if generations is None:
            raise OptionError(
                "expected {generations} with the schedule {kind}, which ends with the run, got none; name it, or use "
                "decay:FACTOR",
                kind=self.kind,
            )
        done = min((generation - 1) / max(generations - 1, 1), 1.0)
        left = 1 - done if self.kind == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.value + (1 - self.value) * left

    def _between_points(self, generation: int) -> float:
        first, last = self.points[0], self.points[-1]
        if generation <= first[0]:
            return first[1]
        for (begin, before), (end, after) in itertools.pairwise(self.points):
            if generation < end:
                return float(before * (after / before) ** ((generation - begin) / (end - begin)))
        return last[1]


def parse_rate_schedule(text: str, option: str) -> RateSchedule:
    """A schedule as a value.

    Args:
        text: see the head of this module.
        option: the field that it was given to, such as ``lr_schedule``, for messages.

    Raises:
        OptionError: it is none.
    """
    found = _parsed(text.strip())
    if found is None:
        raise OptionError(
            f"expected {{{option}}} as constant, linear or cosine (down to zero, or as cosine:0.1 to that share), "
            "decay:FACTOR with a factor above 0 and at most 1 for each generation, or points GENERATION:FACTOR in "
            "order with positive factors, such as 0:1,1000:0.1, got '{text}'",
            text=text,
        )
    return found


def parse_share(text: str) -> Callable[[int], float]:
    """A share of weights for each update t from 0.

    A number; or ``inverse:RATE``, which is 1 / (RATE t + 1); or points ``UPDATE:SHARE`` in order, such as
    ``0:1,500:1e-3,1000:1e-9``, exponential in between, constant before and after them.

    Raises:
        OptionError: it is none of these, or outside of (0, 1].
    """
    points = _points(text)
    if points is not None and max(share for _, share in points) <= 1:
        return partial(RateSchedule("points", points=points).factor, generations=None)
    kind, colon, rest = text.strip().partition(":")
    try:
        value = float(rest if colon else kind)
    except ValueError:
        value = math.nan
    inverse = bool(colon) and kind.strip() == "inverse"
    if not (0 < value < math.inf if inverse else 0 < value <= 1 and not colon):
        raise OptionError(
            "expected {move_share} as a number above 0 and at most 1, or inverse:RATE, which is 1 / (RATE t + 1) in "
            "update t, such as inverse:0.02, or points UPDATE:SHARE in order, such as 0:1,1000:1e-9, got '{text:.80}'",
            text=text,
        )
    return (lambda update: 1 / (value * update + 1)) if inverse else (lambda update: value)


def parse_schedule(text: str) -> tuple[tuple[int, float], ...]:
    """The points ``GENERATION:SIGMA`` of the step-size rule ``schedule``, in order of generations.

    Raises:
        OptionError: a point is malformed or out of order, or its step size is out of bounds.
    """
    points = _points(text) or ()
    if not points or not all(2**-24 <= value <= 8 for _, value in points):
        raise OptionError(
            "expected {sigma_schedule} as points GENERATION:SIGMA in order, such as 0:0.02,1000:0.002, with step sizes "
            "between 2^-24 and 8, got '{text}'",
            text=text,
        )
    return points


def _parsed(text: str) -> RateSchedule | None:
    """The schedule, or None where the text is none."""
    kind, colon, rest = (part.strip() for part in text.partition(":"))
    if not colon:
        return RateSchedule(kind) if kind in ("constant", *_TO_THE_END) else None
    if kind not in (*_TO_THE_END, "decay"):
        points = _points(text)
        return None if points is None else RateSchedule("points", points=points)
    try:
        value = float(rest)
    except ValueError:
        return None
    # Written so that NaN is refused too.
    taken = 0 < value <= 1 or (value == 0 and kind != "decay")
    return RateSchedule(kind, value) if taken else None


def _points(text: str) -> tuple[tuple[int, float], ...] | None:
    """Points ``GENERATION:NUMBER`` separated by commas, or None where they are malformed or out of order."""
    try:
        pairs = [part.split(":") for part in text.split(",")]
        points = tuple((int(generation), float(value)) for generation, value in pairs)
    except ValueError:
        return None
    rising = all(one[0] < other[0] for one, other in itertools.pairwise(points))
    fine = all(generation >= 0 and 0 < value < math.inf for generation, value in points)
    return points if rising and fine else None
