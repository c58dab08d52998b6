"""Step sizes on the grid 2^(k/256): an exponent, never ``exp``, so a step size means the same number everywhere."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

#: Grid points per octave (per doubling).
PER_OCTAVE = 256
#: Step-size rules compute in units of 2^-16 octave and round once to the grid.
FINE_PER_OCTAVE = 65_536
_FINE_BITS = 8


@cache
def _fractions() -> NDArray[np.float32]:
    """2^(i/256) for i = 0..255; decimal arithmetic is exact by specification, unlike the C library's ``pow``."""
    with localcontext() as context:
        context.prec = 40
        return np.array([float(Decimal(2) ** (Decimal(i) / PER_OCTAVE)) for i in range(PER_OCTAVE)], dtype=np.float32)


def sigma(log_sigma: int) -> np.float32:
    """The float32 step size 2^(k/256) of a grid point k."""
    octave, fraction = divmod(log_sigma, PER_OCTAVE)
    return np.ldexp(_fractions()[fraction], octave)


def snap(value: float) -> int:
    """The grid point k nearest to a step size."""
    return round(math.log2(value) * PER_OCTAVE)


def to_fine(log_sigma: int) -> int:
    """A grid point in units of 2^-16 octave."""
    return log_sigma << _FINE_BITS


def from_fine(fine: int) -> int:
    """Units of 2^-16 octave to the nearest grid point, halves to even (another rule would drift)."""
    floor, rest = divmod(fine, 1 << _FINE_BITS)
    half = 1 << (_FINE_BITS - 1)
    return floor + (rest > half or (rest == half and floor % 2 == 1))
