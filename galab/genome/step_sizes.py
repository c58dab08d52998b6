"""Step sizes: the grid that they lie on, and how they lie over the weights.

A step size is 2^(k/256): an exponent, never ``exp``, so it means the same number everywhere.

There is one step size for all weights, one per tensor, row and column vectors, or one per weight. An individual carries
its step sizes as grid points, ``log_sigma`` of shape (S,). In ``row-column`` a matrix of m rows and n columns has
m + n of them, and a weight's step size is 2^((row + column)/256); columns are centred on 0. A tensor with one axis,
such as a bias, has one per element there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

from galab.genome.domain import REAL_BITS
from galab.genome.weights import Layout, Neurons, scratch

#: Grid points per octave (per doubling).
PER_OCTAVE = 256
#: Step-size rules compute in units of 2^-16 octave and round once to the grid.
FINE_PER_OCTAVE = 65_536
#: The grid points of which :func:`sigmas` knows the step size: 2^-32 to 2^8.
LOWEST, HIGHEST = -32 * PER_OCTAVE, 8 * PER_OCTAVE
#: Units of a rule in one grid point, as a power of two.
FINE_BITS = 8
GRANULARITIES = ("global", "tensor", "row-column", "parameter")
#: Columns may differ from their mean by four octaves each way.
_COLUMN_RANGE = 4 * 256


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


@dataclass(frozen=True, slots=True)
class Group:
    """Step sizes that belong together: those of a tensor, or its rows, or its columns.

    Attributes:
        name: the tensor's name; empty where one step size serves all.
        start: index of the first among the (S,) step sizes.
        stop: index after the last.
        tensor: number of the tensor.
        columns: whether they are the columns of a matrix, which are centred on 0.
    """

    name: str
    start: int
    stop: int
    tensor: int
    columns: bool = False


class Steps:
    """The step sizes of one network.

    Args:
        layout: where the weights lie.
        granularity: a name of :data:`GRANULARITIES`.
        factors: what the founders' step size is multiplied with in each tensor, on the grid of step sizes.
        frozen: numbers of tensors that no mutation moves.
        low: smallest step size, as a grid point.
        high: largest step size, as a grid point.
        relative: (low, high) as grid offsets to the RMS of the parent's tensor, or None each.

    Attributes:
        size: S, the number of step sizes.
        groups: those that belong together, in order.
    """

    def __init__(
        self,
        layout: Layout,
        granularity: str = "global",
        *,
        factors: Sequence[int] | None = None,
        frozen: Sequence[int] = (),
        low: int = LOWEST,
        high: int = HIGHEST,
        relative: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self.layout = layout
        self.granularity = granularity
        self.frozen = frozenset(frozen)
        self.low, self.high, self.relative = low, high, relative
        self._factors = factors
        self._parts = list(zip(layout.names, layout.shapes, layout.starts, layout.sizes, strict=True))
        #: For each tensor the step sizes of its rows, which may be all its weights or one for all, and of its columns.
        self._by_tensor: list[tuple[Group, Group | None]] = []
        self.groups = tuple(self._grouped())
        self.size = self.groups[-1].stop
        #: (S,) number of a weight that the step size serves.
        self.first = self._first()

    @property
    def free(self) -> list[slice]:
        """The weights that mutations may move, tensor by tensor."""
        parts = enumerate(self._parts)
        return [slice(start, start + size) for tensor, (*_, start, size) in parts if tensor not in self.frozen and size]

    @property
    def neurons(self) -> Neurons:
        """The neurons of the layout without what is frozen; see :attr:`Layout.neurons`."""
        starts = {part.start for part in self.free}
        kept = ((count, tuple(part for part in parts if part[0] in starts)) for count, parts in self.layout.neurons)
        return tuple((count, parts) for count, parts in kept if parts)

    @property
    def uniform(self) -> bool:
        """Whether one step size moves every weight."""
        return self.granularity == "global" and not self.frozen

    def founder(self, log_sigma: int) -> NDArray[np.int16]:
        """(S,) the step sizes of a founder."""
        values = np.zeros(self.size, dtype=np.int32)
        for group in self.groups:
            if not group.columns:
                factor = self._factors[group.tensor] if self._factors else 0
                values[group.start : group.stop] = log_sigma + factor
        return self.clip(values)

    def clip(
        self, log_sigma: NDArray[np.int16] | NDArray[np.int32], weights: NDArray[np.int32] | None = None
    ) -> NDArray[np.int16]:
        """Step sizes within their bounds, and columns within four octaves of their mean.

        Args:
            log_sigma: (S,) grid points; overwritten, and returned where they are int16.
            weights: (D,) the parent's, for bounds relative to the RMS of its tensors.
        """
        if self.granularity != "row-column" and self.relative == (None, None):
            np.clip(log_sigma, self.low, self.high, out=log_sigma)
            return log_sigma.astype(np.int16, copy=False)
        for group in self.groups:
            part = log_sigma[group.start : group.stop]
            if group.columns:
                np.clip(part, -_COLUMN_RANGE, _COLUMN_RANGE, out=part)
            else:
                low, high = self.bounds(group.tensor, weights)
                np.clip(part, low, high, out=part)
        return log_sigma.astype(np.int16, copy=False)

    def bounds(self, tensor: int, weights: NDArray[np.int32] | None) -> tuple[int, int]:
        """Smallest and largest grid point for a tensor; the absolute ones win where both are given."""
        if weights is None or self.relative == (None, None):
            return self.low, self.high
        _, _, start, size = self._parts[tensor]
        rms = log_rms(weights[start : start + size], self.layout.domain.bits)
        low, high = self.relative
        floor = self.low if low is None else min(max(self.low, rms + low), self.high)
        return floor, self.high if high is None else max(min(self.high, rms + high), floor)

    def multiply(self, z: NDArray[np.float32], log_sigma: NDArray[np.int16]) -> float:
        """``z * sigma * 2^bits`` in place: one float32 product per weight, as scaling by 2^bits is exact.

        In ``row-column`` sigma is itself the float32 product of the row's and the column's.

        Args:
            z: (D,) noise.
            log_sigma: (S,) step sizes.

        Returns:
            The largest factor used.
        """
        scale = self.layout.scale
        if self.uniform:
            factor = np.float32(sigma(int(log_sigma[0])) * np.float32(scale))
            np.multiply(z, factor, out=z)
            return float(factor)
        if self.granularity == "parameter" and not self.frozen:
            octaves = self.layout.domain.bits
            np.multiply(z, sigmas(log_sigma, octaves=octaves, out=scratch("sigmas", len(z), np.float32)), out=z)
            return float(sigma(int(log_sigma.max(initial=LOWEST)))) * scale
        return max((self._multiply_tensor(z, log_sigma, tensor) for tensor in range(len(self._parts))), default=0.0)

    def factors(self, log_sigma: NDArray[np.int16], tensor: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Row and column step sizes of a tensor, each of shape (1,) where all are the same; no columns are a 1."""
        rows, columns = self._by_tensor[tensor]
        one = np.ones(1, dtype=np.float32)
        return sigmas(log_sigma[rows.start : rows.stop]), one if columns is None else sigmas(
            log_sigma[columns.start : columns.stop]
        )

    def _multiply_tensor(self, z: NDArray[np.float32], log_sigma: NDArray[np.int16], tensor: int) -> float:
        _, shape, start, size = self._parts[tensor]
        part = z[start : start + size]
        if tensor in self.frozen:
            part[:] = 0
            return 0.0
        rows, columns = self.factors(log_sigma, tensor)
        rows = rows * np.float32(self.layout.scale)
        if self._by_tensor[tensor][1] is None:
            np.multiply(part, rows, out=part)
            return float(rows.max(initial=0))
        matrix = part.reshape(shape[0], -1)
        products = rows[:, None] * columns[None, :]
        np.multiply(matrix, products, out=matrix)
        return float(products.max(initial=0))

    def _grouped(self) -> list[Group]:
        if self.granularity == "global":
            everything = Group("", 0, 1, 0)
            self._by_tensor += [(everything, None)] * len(self._parts)
            return [everything]
        groups: list[Group] = []
        at = 0
        for tensor, (name, shape, _, size) in enumerate(self._parts):
            matrix = self.granularity == "row-column" and len(shape) > 1 and shape[0] > 0
            count = 1 if self.granularity == "tensor" else shape[0] if matrix else size
            rows = Group(name, at, at + count, tensor)
            at += count
            columns = Group(name, at, at + size // shape[0], tensor, columns=True) if matrix else None
            at = at if columns is None else columns.stop
            groups += [rows] if columns is None else [rows, columns]
            self._by_tensor.append((rows, columns))
        return groups

    def _first(self) -> NDArray[np.int64]:
        first = np.zeros(self.size, dtype=np.int64)
        for group in self.groups:
            _, _, start, size = self._parts[group.tensor]
            count = group.stop - group.start
            stride = 1 if group.columns or not count else size // count
            first[group.start : group.stop] = start + stride * np.arange(count)
        # The step size of an empty tensor serves no weight, and must not point behind the last weight.
        return np.minimum(first, max(self.layout.size - 1, 0))


def log_rms(weights: NDArray[np.int32], bits: int = REAL_BITS) -> int:
    """The grid point at or below the root mean square of fixed-point weights, by integers alone.

    Args:
        weights: in units of 2^-bits.
        bits: see :class:`galab.genome.domain.Domain`.
    """
    if not weights.size:
        return LOWEST
    shift = spare_bits(bits)
    mean_square = sum_of_squares(weights, shift) // weights.size
    return log2_grid(mean_square) - (bits - shift) * PER_OCTAVE if mean_square else LOWEST


def spare_bits(bits: int) -> int:
    """The lowest bits of a weight that a root mean square leaves out: those below 2^-16, at most 8."""
    return min(8, max(0, bits - 16))


def sum_of_squares(values: NDArray[np.int32], shift: int = 8) -> int:
    """The sum of squares of whole numbers without their lowest ``shift`` bits: exact, as float sums depend on order."""
    coarse = (values >> shift).astype(np.int64)
    peak = max(int(coarse.max(initial=0)), -int(coarse.min(initial=0)), 1)
    # As many at a time as int64 can hold: 2^16 of the largest weights, whose squares are 2^46.
    most = max(((1 << 63) - 1) // peak**2, 1)
    parts = (coarse[start : start + most] for start in range(0, len(coarse), most))
    return sum(int(np.dot(part, part)) for part in parts)


def mean_log_sigma(steps: Steps, log_sigma: NDArray[np.int16]) -> float:
    """The mean log step size over the weights, as a grid point with a fraction.

    Args:
        steps: what each of them serves.
        log_sigma: (S,) an individual's.
    """
    if steps.granularity == "global":
        return float(log_sigma[0])
    sizes = steps.layout.sizes
    # A weight of a matrix has its row's and its column's, so both groups of a tensor count for all of its weights.
    parts = [(sizes[group.tensor], log_sigma[group.start : group.stop]) for group in steps.groups]
    return sum(size * float(part.mean()) for size, part in parts if size) / steps.layout.size


def root_mean_square(steps: Steps, log_sigma: NDArray[np.int16]) -> float:
    """The root mean square step size over the weights, in weight units.

    Args:
        steps: what each of them serves.
        log_sigma: (S,) an individual's.
    """
    if steps.granularity == "global":
        return float(sigma(int(log_sigma[0])))
    squares = dict[int, float]()
    for group in steps.groups:
        if group.stop > group.start:
            own = sigmas(log_sigma[group.start : group.stop]).astype(np.float64)
            # The mean over a matrix of (row * column)^2 is the product of the means over its rows and its columns.
            squares[group.tensor] = squares.get(group.tensor, 1.0) * float(np.square(own).mean())
    sizes = steps.layout.sizes
    return float(np.sqrt(sum(sizes[tensor] * square for tensor, square in squares.items()) / steps.layout.size))


def reached_log_sigma(steps: Steps, start: float, log_sigma: NDArray[np.int16]) -> int:
    """The step size from which founders would start where an individual has arrived, as a grid point.

    Args:
        steps: what each step size serves.
        start: the step size from which the individual's founders started.
        log_sigma: (S,) the individual's.
    """
    moved = mean_log_sigma(steps, log_sigma) - mean_log_sigma(steps, steps.founder(snap(start)))
    return round(snap(start) + moved)
