"""Fixed-point weights: what a genome decodes to, and where each parameter tensor lies among them.

A weight is an int32 in units of 2^-24, so it ranges over +-128, unless the run has other numbers
(:mod:`galab.genome.domain`). Integer addition is exact, associative and invertible: mutations may be summed in any
order, undone and redone, and the bits agree.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from galab.errors import LethalMutationError
from galab.genome.births import Birth
from galab.genome.domain import REAL, REAL_BITS, Domain

#: For each layer its number of neurons, and (start, width of a row) for each of its tensors.
Neurons = tuple[tuple[int, tuple[tuple[int, int], ...]], ...]
Whole = TypeVar("Whole", np.int16, np.int32)

#: Units of a weight per 1.0, where a run does not say otherwise.
SCALE = 2.0**REAL_BITS
_INT32_LIMIT = 2.0**31
_ROUNDED = 1 + 2.0**-20
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each parameter tensor lies in the flat weight vector.

    Attributes:
        names: parameter names, in the module's order.
        shapes: their shapes.
        domain: the numbers that a weight may be.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    domain: Domain = REAL

    @property
    def scale(self) -> float:
        """Units of a weight per 1.0."""
        return self.domain.scale

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of weights in each tensor."""
        return _sizes(self)

    @property
    def size(self) -> int:
        """D, the number of weights."""
        return sum(_sizes(self))

    @property
    def starts(self) -> tuple[int, ...]:
        """Index of each tensor's first weight."""
        return _starts(self)

    @property
    def layers(self) -> tuple[int, ...]:
        """For each tensor the number of its layer: a weight and its bias lie in one module, so in one layer."""
        return _layers(self)

    @property
    def neurons(self) -> Neurons:
        """Neurons by layer: how many, and for each tensor with that many rows its start and the width of a row.

        A neuron is a row of a layer's matrix with the same entry of its bias. Tensors of one module with another number
        of rows form neurons of their own; a scalar is one neuron.
        """
        return _neurons(self)

    def lethal(self, index: int, birth: int) -> LethalMutationError:
        """The error of a birth whose weight number ``index`` cannot be represented."""
        return LethalMutationError(self.name_at(index), birth, self.domain.limit)

    def tensor_at(self, index: int) -> int:
        """Number of the tensor that holds weight number ``index``."""
        return bisect_right(self.starts, index) - 1

    def name_at(self, index: int) -> str:
        """Name of the tensor that holds weight number ``index``."""
        return self.names[self.tensor_at(index)]

    def split(self, flat: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        """Views of (..., D) by name, each (..., *shape)."""
        parts = zip(self.names, self.shapes, self.starts, self.sizes, strict=True)
        lead = flat.shape[:-1]
        return {name: flat[..., at : at + size].reshape((*lead, *shape)) for name, shape, at, size in parts}


@lru_cache(maxsize=64)
def _sizes(layout: Layout) -> tuple[int, ...]:
    return tuple(int(np.prod(shape, dtype=np.int64)) for shape in layout.shapes)


@lru_cache(maxsize=64)
def _starts(layout: Layout) -> tuple[int, ...]:
    ends = np.cumsum((0, *_sizes(layout)))
    return tuple(int(start) for start in ends[:-1])


@lru_cache(maxsize=64)
def _layers(layout: Layout) -> tuple[int, ...]:
    modules = [name.rpartition(".")[0] for name in layout.names]
    numbers = {module: number for number, module in enumerate(dict.fromkeys(modules))}
    return tuple(numbers[module] for module in modules)


@lru_cache(maxsize=64)
def _neurons(layout: Layout) -> Neurons:
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for layer, shape, start, size in zip(layout.layers, layout.shapes, layout.starts, layout.sizes, strict=True):
        rows = shape[0] if shape else 1
        if size:
            found.setdefault((layer, rows), []).append((start, size // rows))
    return tuple((rows, tuple(tensors)) for (_, rows), tensors in found.items())


class Gene(NamedTuple):
    """One mutation, apart from its carriers.

    Attributes:
        birth: the birth that it happened in.
        log_sigma: (S,) int16 the step sizes that it happened with.
    """

    birth: Birth
    log_sigma: NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Phenotype:
    """A decoded individual.

    Attributes:
        weights: (D,) int32 in units of 2^-bits; never written to, several caches may share it.
        log_sigma: (S,) int16 its step sizes as grid points (see ``step_sizes.py``): those its own birth used.
        genes: under a gene law, the mutations that it carries, by birth id, without those that all individuals carry.
        velocity: under momentum, (D,) int32 the step that its own birth took.
        bits: see :class:`galab.genome.domain.Domain`.
    """

    weights: NDArray[np.int32]
    log_sigma: NDArray[np.int16]
    genes: Mapping[int, Gene] | None = None
    velocity: NDArray[np.int32] | None = None
    bits: int = REAL_BITS

    def write(self, parts: Sequence[NDArray[np.float32]]) -> None:
        """Write the float32 weights, one IEEE rounding and an exact scaling, into rows one after the other."""
        at = 0
        for row in parts:
            np.copyto(row, self.weights[at : at + len(row)], casting="same_kind")
            row *= np.float32(2.0**-self.bits)
            at += len(row)

    def floats(self) -> NDArray[np.float32]:
        """(D,) the float32 weights."""
        return to_float(self.weights, self.bits)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays, in bytes."""
        moving = 0 if self.velocity is None else self.velocity.nbytes
        return int(self.weights.nbytes + self.log_sigma.nbytes + moving)


def picked(values: Sequence[NDArray[Whole]], sources: NDArray[np.uint8]) -> NDArray[Whole]:
    """Each number from one of several arrays of whole numbers, a new array.

    Args:
        values: arrays of shape (n,).
        sources: (n,) number of the array that each comes from.
    """
    if len(values) == 2:
        # By bits and not by branches, which a random mask makes the processor mispredict every other time.
        first, second = values
        mask = np.negative(sources, dtype=first.dtype, casting="unsafe")
        mask &= first ^ second
        mask ^= first
        return mask
    result = values[0].copy()
    for number, other in enumerate(values[1:], 1):
        np.copyto(result, other, where=sources == number)
    return result


def to_float(weights: NDArray[np.int32], bits: int = REAL_BITS) -> NDArray[np.float32]:
    """Float32 weights out of units of 2^-bits: one IEEE rounding, then an exact scaling."""
    return weights.astype(np.float32) * np.float32(2.0**-bits)


def from_float(values: NDArray[np.floating]) -> NDArray[np.int32]:
    """The nearest weights in units of 2^-24; see :meth:`galab.genome.domain.Domain.units`."""
    return REAL.units(values)


def step(
    z: NDArray[np.float32], sigma: np.float32, peak: float, layout: Layout, birth: int
) -> NDArray[np.int32]:
    """``rint(sigma * z * 2^bits)``: one float32 product, rounded half to even.

    Args:
        z: (D,) noise of unit variance; overwritten.
        sigma: the step size.
        peak: an upper bound of ``|z|``.
        layout: to name the tensor of a weight that cannot be represented.
        birth: for the message.

    Raises:
        LethalMutationError: a step is too large for int32.
    """
    scale = np.float32(sigma * np.float32(layout.scale))  # exact: a power of two only moves the exponent
    np.multiply(z, scale, out=z)
    return to_change(z, float(scale) * peak, layout, birth, np.empty(len(z), dtype=np.int32))


def to_change(
    z: NDArray[np.float32], limit: float, layout: Layout, birth: int, out: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Steps in units of 2^-bits, rounded half to even and range-checked before the cast.

    Args:
        z: (D,) steps; overwritten.
        limit: an upper bound of their magnitude.
        layout: to name the tensor of a step that cannot be represented.
        birth: for the message.
        out: (D,) where to put the result.

    Raises:
        LethalMutationError: a step is too large for int32.
    """
    np.rint(z, out=z)
    # The bound is that of exact products; each float32 rounding on the way may have added 2^-24 of it.
    if not limit * _ROUNDED < _INT32_LIMIT and (bad := ~(np.abs(z) < _INT32_LIMIT)).any():
        raise layout.lethal(int(np.argmax(bad)), birth)
    np.copyto(out, z, casting="unsafe")
    return out


def narrowed(total: NDArray[np.int64], layout: Layout, birth: int) -> NDArray[np.int32]:
    """Exact sums in 64 bits as weights.

    Raises:
        LethalMutationError: a weight leaves its range.
    """
    outside = (total < -(1 << 31)) | (total >= 1 << 31)
    if outside.any():
        raise layout.lethal(int(np.argmax(outside)), birth)
    return total.astype(np.int32)


def add(weights: NDArray[np.int32], change: NDArray[np.int32], layout: Layout, birth: int) -> NDArray[np.int32]:
    """The exact sum, a new array.

    Raises:
        LethalMutationError: a weight leaves its range.
    """
    total = weights + change
    if reach(weights) + reach(change) < _INT32_LIMIT:  # a fifth of the time of looking at every sum
        return total
    # Two's complement: the sum overflowed where its sign differs from that of both terms.
    overflow = np.bitwise_xor(weights, total, out=scratch("overflow", len(total), np.int32))
    overflow &= np.bitwise_xor(change, total, out=scratch("sign", len(total), np.int32))
    if int(overflow.min(initial=0)) < 0:
        raise layout.lethal(int(np.argmax(overflow < 0)), birth)
    return total


def reach(values: NDArray[np.int32]) -> int:
    """The largest magnitude."""
    return max(int(values.max(initial=0)), -int(values.min(initial=0)))


def step_all(
    z: NDArray[np.float32], sigmas: Sequence[np.float32], peak: float, scale: float
) -> NDArray[np.int32] | None:
    """:func:`step` for several births at once; None where a step may be too large for int32.

    Args:
        z: (P, D) noise of unit variance; overwritten.
        sigmas: P step sizes.
        peak: an upper bound of ``|z|``.
        scale: units of a weight per 1.0.
    """
    scales = np.array(sigmas, dtype=np.float32) * np.float32(scale)
    if float(scales.max()) * peak >= _INT32_LIMIT:
        return None
    np.multiply(z, scales[:, None], out=z)
    np.rint(z, out=z)
    change = scratch("all changes", z.size, np.int32).reshape(z.shape)
    np.copyto(change, z, casting="unsafe")
    return change


def add_all(weights: NDArray[np.int32], change: NDArray[np.int32] | None) -> NDArray[np.int32] | None:
    """:func:`add` for several births at once, (P, D) each; None where a weight leaves its range, or is not moved."""
    if change is None:
        return None
    total = weights + change
    if reach(weights) + reach(change) < _INT32_LIMIT:
        return total
    overflow = np.bitwise_xor(weights, total)
    overflow &= np.bitwise_xor(change, total, out=change)
    return None if int(overflow.min(initial=0)) < 0 else total


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.buffers: dict[str, NDArray[Any]] = {}


_SCRATCH = _Scratch()


def scratch(name: str, n: int, dtype: type[Scalar]) -> NDArray[Scalar]:
    """An array of ``n`` arbitrary values; the same memory comes back for the same name on the same thread.

    Args:
        name: what it is for; two buffers in use at once need two names.
        n: length.
        dtype: type of the elements.
    """
    buffer = _SCRATCH.buffers.get(name)
    if buffer is None or len(buffer) < n or buffer.dtype != dtype:
        buffer = _SCRATCH.buffers[name] = np.empty(n, dtype=dtype)
    return buffer[:n]
