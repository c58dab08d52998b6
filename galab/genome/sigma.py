"""Step sizes on the grid 2^(k/256): an exponent, never ``exp``, so a step size means the same number everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

from galab.genome.scratch import scratch

#: Grid points per octave (per doubling).
PER_OCTAVE = 256
#: Step-size rules compute in units of 2^-16 octave and round once to the grid.
FINE_PER_OCTAVE = 65_536
#: The grid points of which :func:`sigmas` knows the step size: 2^-32 to 2^8.
LOWEST, HIGHEST = -32 * PER_OCTAVE, 8 * PER_OCTAVE
#: Units of a rule in one grid point, as a power of two.
FINE_BITS = 8


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


@cache
def _grid(octaves: int) -> NDArray[np.float32]:
    """(65536,) 2^octaves times the step size of every int16, in the order of the same bits read as uint16."""
    points = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int64).clip(LOWEST, HIGHEST)
    return np.ldexp(_fractions()[points % PER_OCTAVE], points // PER_OCTAVE + octaves)


def sigmas(
    log_sigma: NDArray[np.int16], *, octaves: int = 0, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The step sizes of many grid points, each as :func:`sigma` gives it; points off the table count as its ends.

    Args:
        log_sigma: (S,) grid points.
        octaves: the step sizes are multiplied by 2^octaves, which is exact.
        out: (S,) where to put them; new memory if absent.
    """
    indices = scratch("indices", len(log_sigma), np.intp)
    np.copyto(indices, log_sigma.view(np.uint16), casting="safe")
    # mode="wrap" skips the bounds check: 16 bits cannot leave a table of 65,536 entries.
    return _grid(octaves).take(indices, mode="wrap", out=out)


def snap(value: float) -> int:
    """The grid point k nearest to a step size."""
    return round(math.log2(value) * PER_OCTAVE)


def to_fine(log_sigma: NDArray[np.int16]) -> NDArray[np.int32]:
    """Grid points in units of 2^-16 octave."""
    fine = log_sigma.astype(np.int32)
    fine <<= FINE_BITS
    return fine


def mean_fine(log_sigmas: Sequence[NDArray[np.int16]]) -> NDArray[np.int32]:
    """The mean of several parents' step sizes in units of 2^-16 octave, to the nearest, halves up; a new array."""
    if len(log_sigmas) == 1:
        return to_fine(log_sigmas[0])
    total = np.zeros(len(log_sigmas[0]), dtype=np.int64)
    for log_sigma in log_sigmas:
        total += log_sigma
    count = len(log_sigmas)
    return ((total * 512 + count) // (2 * count)).astype(np.int32)


def from_fine(fine: NDArray[np.int32]) -> NDArray[np.int32]:
    """Units of 2^-16 octave to the nearest grid points, halves to even, as halves up would drift.

    Args:
        fine: overwritten, and returned.
    """
    odd = np.right_shift(fine, FINE_BITS, out=scratch("odd", len(fine), np.int32))
    odd &= 1
    fine += odd
    fine += (1 << (FINE_BITS - 1)) - 1
    fine >>= FINE_BITS
    return fine


def log2_grid(mean_square: int) -> int:
    """The grid point at or below the square root of a whole number: 128 times its binary logarithm, by integers alone.

    Args:
        mean_square: at least 1.
    """
    octave = mean_square.bit_length() - 1
    # The root of the leading digits, in [1, sqrt(2)), in units of 2^-63: finer than the grid resolves.
    leading = math.isqrt((mean_square << 126) >> octave)
    half = _fractions()[: PER_OCTAVE // 2].astype(np.float64)
    fraction = int(np.searchsorted(half, leading / 2.0**63, side="right")) - 1
    return octave * PER_OCTAVE // 2 + fraction
