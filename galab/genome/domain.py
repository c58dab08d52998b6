"""Which numbers a weight may be: real ones in fixed point, whole ones, or one of two; and bounds where it stops.

A weight is stored as int32 in units of 2^-bits. Real weights have 24 bits behind the point and so lie within +-128
(``--weight-range`` moves the point); whole ones have none. With bounds a birth ends by moving each weight that left
them back inside, by integers alone, so that a genome stays the same network for ever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config.parsing import parse_bounds
from galab.config.spelling import OptionError
from galab.errors import UsageError

#: Bits behind the point of real weights, unless a run says otherwise.
REAL_BITS = 24
_INT32_LIMIT = 1 << 31


@dataclass(frozen=True, slots=True)
class Domain:
    """The numbers that a weight may be.

    Attributes:
        genome: ``real``, ``integer`` or ``binary``.
        bits: a weight is a whole number of units of 2^-bits.
        low: smallest weight, in units; None where only int32 bounds it, outside of which a child is lethal.
        high: largest weight, in units. A binary one is ``low`` or ``high``.
        reflects: whether a weight is reflected at the bounds; else it stops there.
    """

    genome: str = "real"
    bits: int = REAL_BITS
    low: int | None = None
    high: int | None = None
    reflects: bool = False

    @property
    def scale(self) -> float:
        """Units per 1.0."""
        return 2.0**self.bits

    @property
    def limit(self) -> float:
        """The smallest magnitude that cannot be represented, in weight units."""
        return _INT32_LIMIT / self.scale

    @property
    def plain(self) -> bool:
        """Whether a child is its parent plus a change, without bounds and other rounding than that to 2^-bits."""
        return self.genome == "real" and self.low is None

    @property
    def written(self) -> str:
        """What a recipe's hash says of it; nothing of the numbers that all runs of version 0.1.0 have."""
        return "" if self == REAL else repr((self.genome, self.bits, self.low, self.high, self.reflects))

    def allows(self, weights: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which weights, in units, lie within the bounds, or are one of the two."""
        if self.low is None or self.high is None:
            return np.ones(weights.shape, dtype=bool)
        if self.genome == "binary":
            return (weights == self.low) | (weights == self.high)
        return (weights >= self.low) & (weights <= self.high)

    def inside(self, weights: NDArray[np.int32]) -> NDArray[np.int32]:
        """Weights after a birth: as they are, or each that left the bounds moved back, a new array.

        Raises:
            UsageError: a mutation gave a binary weight a third value.
        """
        if self.low is None or self.high is None:
            return weights
        if self.genome == "binary":
            if not self.allows(weights).all():
                raise UsageError(
                    f"expected mutations and crossovers that leave each weight of a binary genome at {self.shown}, got "
                    "one that does not; correct it"
                )
            return weights
        if not self.reflects:
            return np.clip(weights, self.low, self.high)
        span = self.high - self.low
        # The way goes up and down between the bounds, with a period of twice their distance.
        way = (weights.astype(np.int64) - self.low) % (2 * span)
        np.minimum(way, 2 * span - way, out=way)
        way += self.low
        return way.astype(np.int32)

    def units(self, values: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
        """Given weights in units of 2^-bits, real ones rounded to the nearest.

        Raises:
            UsageError: a value is not finite, leaves the range or the bounds, or is none of the numbers allowed.
        """
        wide = np.asarray(values, dtype=np.float64) * self.scale
        scaled = np.rint(wide)
        if not np.isfinite(wide).all():
            worst = np.asarray(values).flat[int(np.argmax(~np.isfinite(wide)))]
            raise UsageError(f"expected finite weights, got {worst}; look at how they were trained or saved")
        # The range is checked before the cast: a cast that overflows gives any number, differently on each machine.
        if not np.all(np.abs(scaled) < _INT32_LIMIT):
            worst = np.asarray(values).flat[int(np.argmax(~(np.abs(scaled) < _INT32_LIMIT)))]
            raise OptionError(
                "expected weights inside +-{limit:,.0f}, got {worst}; rescale the network, or raise {weight_range}",
                limit=self.limit, worst=worst,
            )  # fmt: skip
        found = self._at_ends(wide, scaled.astype(np.int32))
        self._check(np.asarray(values), wide, found)
        return found

    def _at_ends(self, wide: NDArray[np.float64], found: NDArray[np.int32]) -> NDArray[np.int32]:
        """Numbers that are not allowed for a bound's rounding, or theirs to float32, at that bound."""
        if self.genome != "integer":
            for end in (self.low, self.high):
                if end is not None:
                    near = np.abs(wide - end) <= 1 + abs(end) * 2.0**-24
                    found = np.where(near & ~self.allows(found), np.int32(end), found)
        return found

    @property
    def shown(self) -> str:
        """The numbers that a weight may be, for messages."""
        what = "whole numbers" if self.genome == "integer" else "numbers"
        if self.low is None or self.high is None:
            return what
        low, high = self.low / self.scale, self.high / self.scale
        return f"{low:.9g} or {high:.9g}" if self.genome == "binary" else f"{what} from {low:.9g} to {high:.9g}"

    def _check(self, values: NDArray[Any], wide: NDArray[np.float64], found: NDArray[np.int32]) -> None:
        """Refuse given weights that are none of the numbers allowed."""
        wrong = ~self.allows(found)
        if self.genome == "integer":
            wrong |= wide != found
        if wrong.any():
            raise UsageError(
                f"expected {self.shown}, got {values.flat[int(np.argmax(wrong))]:.9g}; freeze this parameter, or begin "
                "at weights that are drawn"
            )


#: What weights are where a run says nothing else.
REAL = Domain()


def _exponent(width: float) -> int:
    """The power of two that a range of weights is."""
    half, exponent = math.frexp(width)
    if half != 0.5:  # a damaged file may say anything
        raise UsageError(f"expected a range of weights that is a power of two, such as 1024, got {width:g}; restore it")
    return exponent - 1


def domain_of(values: Mapping[str, Any]) -> Domain:
    """The numbers that the weights of a run may be.

    Args:
        values: its hyperparameters by name; those that an older run does not have are the defaults.

    Raises:
        UsageError: the range of weights is no power of two.
    """
    genome, bounds = values.get("genome") or "real", values.get("bounds")
    bits = 0 if genome == "integer" else 31 - _exponent(values.get("weight_range") or 128.0)
    if genome == "binary" and bounds is None:
        bounds = "-1:1"
    if bounds is None:
        return Domain(genome, bits)
    low, high = (end * 2.0**bits for end in parse_bounds(bounds))
    # A binary weight is the number nearest to a bound; others stay within them.
    ends = (round(low), round(high)) if genome == "binary" else (int(np.ceil(low)), int(np.floor(high)))
    return Domain(genome, bits, *ends, reflects=values.get("at_bounds") == "reflect")
