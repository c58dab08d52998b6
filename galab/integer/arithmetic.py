"""The arithmetic of integer networks: int8 numbers, int32 sums, shifts and divisions that round down.

A number v is stored as 16 v, from -127 to 127; ``clip`` keeps it there. Right shifts and divisions round towards minus
infinity. A member differs from the centre by noise of low rank: A and B are int8, drawn from 16 N(0, 1), so that with
the shift s of the noise a weight moves by 2^-s, in the units of the network and not of its storage.

The operations are those of the EGG language model (Sarkar et al., "Evolution Strategies at the Hyperscale", arXiv
2511.16652). They work on any device; ``egg.c`` computes the same bits faster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galab.errors import UsageError

#: Bits behind the point: a number v is stored as 16 v.
POINT = 4
#: The largest magnitude of what is stored.
TOP = 127
_INT32 = 2**31


def clip(values: Tensor) -> Tensor:
    """Values within -127 to 127."""
    return values.clamp(-TOP, TOP)


def scaling(inputs: int) -> int:
    """By what a sum over so many inputs is divided: 16 isqrt(n), as the shift where it is one, else minus a divisor."""
    root = math.isqrt(inputs)
    return POINT + root.bit_length() - 1 if root & (root - 1) == 0 else -(root << POINT)


def scaled(values: Tensor, scale: int) -> Tensor:
    """Values divided as :func:`scaling` says, rounded down."""
    return values >> scale if scale >= 0 else torch.div(values, -scale, rounding_mode="floor")


def check_width(inputs: int) -> None:
    """Refuse sums that leave int32: n inputs of 127 times weights of 127, with noise that is summed in int64.

    Raises:
        UsageError: there are too many inputs.
    """
    most = (_INT32 - 1) // (TOP * TOP) // 2
    if inputs > most:
        raise UsageError(f"expected at most {most:,} inputs of an integer layer, got {inputs:,}; make it narrower")


def rank_shift(rank: int) -> int:
    """Bits by which noise of a rank is shifted further, the binary logarithm of sqrt(r).

    Raises:
        UsageError: it is no whole number.
    """
    half = (rank.bit_length() - 1) // 2
    if rank not in (1, 4, 16):
        raise UsageError(f"expected --rank 1, 4 or 16 with integers, whose square root is a shift, got {rank}")
    return half


@dataclass(frozen=True, slots=True)
class Factors:
    """Noise of a matrix (m, n) for P pairs: sum over k of a_k b_k^T.

    Attributes:
        a: (P, r, m) int8.
        b: (P, r, n) int8.
    """

    a: Tensor
    b: Tensor


class Operations(Protocol):
    """What an integer network is made of: the centre's numbers, or those of many members at once.

    All activations are int32 tensors (rows, width) with numbers from -127 to 127.
    """

    def product(self, name: str, x: Tensor) -> Tensor:
        """(rows, m) a matrix (m, n) times x (rows, n), divided by 16 isqrt(n), clipped."""
        ...

    def row(self, name: str, numbers: Tensor) -> Tensor:
        """(rows, D) the rows of a table (count, D) with these numbers (rows,)."""
        ...

    def vector(self, name: str) -> Tensor:
        """(rows, D) or (1, D) a vector."""
        ...


class Centre:
    """The numbers of the centre, without noise; see :class:`Operations`.

    Args:
        weights: name to int8 tensor.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = {name: value.to(torch.int32) for name, value in weights.items()}

    def product(self, name: str, x: Tensor) -> Tensor:
        """See :class:`Operations`."""
        weights = self._weights[name]
        return clip(scaled(_sums(x, weights), scaling(weights.shape[1])))

    def row(self, name: str, numbers: Tensor) -> Tensor:
        """See :class:`Operations`."""
        return self._weights[name][numbers]

    def vector(self, name: str) -> Tensor:
        """See :class:`Operations`."""
        return self._weights[name][None]


@dataclass(frozen=True, slots=True)
class Members:
    """The numbers of P pairs of members, rows 2 p and 2 p + 1 with plus and minus the noise; see :class:`Operations`.

    Attributes:
        weights: name to int8 tensor.
        factors: of each matrix and table, its noise.
        products: of each vector, (P, D) its noise: products of two numbers.
        shift: s, by which the noise is shifted, that of the rank included.
    """

    weights: Mapping[str, Tensor]
    factors: Mapping[str, Factors]
    products: Mapping[str, Tensor]
    shift: int
    _wide: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def product(self, name: str, x: Tensor) -> Tensor:
        """See :class:`Operations`."""
        weights, noise = self._whole(name), self.factors[name]
        own = x.unflatten(0, (-1, 2)).to(torch.int64)  # (P, 2, n)
        inner = torch.einsum("psn,prn->psr", own, noise.b.to(torch.int64))
        added = torch.einsum("psr,prm->psm", inner, noise.a.to(torch.int64))
        added = (_signed(added) >> (POINT + self.shift)).flatten(0, 1).to(torch.int32)
        return clip(scaled(_sums(x, weights) + added, scaling(weights.shape[1])))

    def row(self, name: str, numbers: Tensor) -> Tensor:
        """See :class:`Operations`."""
        noise, pairs = self.factors[name], numbers.unflatten(0, (-1, 2))  # (P, 2)
        chosen = noise.a.to(torch.int64).gather(2, pairs[:, None].expand(-1, noise.a.shape[1], -1))  # (P, r, 2)
        added = torch.einsum("prs,prd->psd", chosen, noise.b.to(torch.int64))
        added = (_signed(added) >> (POINT + self.shift)).flatten(0, 1).to(torch.int32)
        return clip(self._whole(name)[numbers] + added)

    def vector(self, name: str) -> Tensor:
        """See :class:`Operations`."""
        noise = self.products[name].to(torch.int32)[:, None].expand(-1, 2, -1)
        return clip(self._whole(name) + (_signed(noise) >> (POINT + self.shift)).flatten(0, 1))

    def _whole(self, name: str) -> Tensor:
        if name not in self._wide:
            self._wide[name] = self.weights[name].to(torch.int32)
        return self._wide[name]


def _signed(pairs: Tensor) -> Tensor:
    """(P, 2, ...) as it is for the first of each pair, with the other sign for the second."""
    return torch.stack([pairs[:, 0], -pairs[:, 1]], 1)


def _sums(x: Tensor, weights: Tensor) -> Tensor:
    """(rows, m) int32: in float64, exact for whole numbers below 2^53, as integers have no fast product of matrices."""
    return (x.double() @ weights.double().T).to(torch.int32)


@cache
def _has_int8_product(device: str) -> bool:
    """Whether torch multiplies int8 matrices exactly here: tried with the largest numbers, as some might saturate."""
    try:
        signs = torch.tensor([[TOP], [-TOP]], dtype=torch.int8, device=device).expand(2, 16).repeat(16, 4)
        found = torch._int_mm(signs.contiguous(), signs[:32].T.contiguous())
    except (RuntimeError, AttributeError):
        return False
    return torch.equal(found.cpu().double(), (signs.double() @ signs[:32].T.double()).cpu())


def int8_product(a: Tensor, b: Tensor) -> Tensor:
    """(m, n) int32, the exact product of int8 matrices (m, k) and (k, n); k is at most 133,000."""
    if _has_int8_product(str(a.device)):
        return torch._int_mm(a, b)
    return (a.double() @ b.double()).to(torch.int32)


def normalised(x: Tensor, weight: Tensor) -> Tensor:
    """X times weight over the mean magnitude of a row, rounded down and clipped (layer norm by absolute values).

    Args:
        x: (rows, D).
        weight: (rows, D) or (1, D).
    """
    mean = (x.abs().sum(1, keepdim=True, dtype=torch.int32) // x.shape[1]).clamp(min=1)
    return clip(divided(x * weight, mean))


def divided(values: Tensor, divisors: Tensor) -> Tensor:
    """int32 values over divisors from 1 to 127, rounded down, by a product and a shift: exact below 127 x 127."""
    shifts, magic = (torch.from_numpy(table).to(values.device) for table in division_tables())
    shift, factor = shifts[divisors.long()], magic[divisors.long()]
    minus = values >> 31
    return (((values ^ minus) * factor) >> shift) ^ minus


@cache
def division_tables() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(128,) shifts k and (128,) factors ceil(2^k / m): floor(a / m) is (a factor) >> k for 0 <= a <= 127 x 255."""
    shifts = [0] + [14 + (m - 1).bit_length() for m in range(1, 128)]
    factors = [0] + [-(-(1 << shifts[m]) // m) for m in range(1, 128)]
    return np.array(shifts, dtype=np.int32), np.array(factors, dtype=np.int32)


def gated(state: Tensor, forget: Tensor, candidate: Tensor) -> Tensor:
    """The next state of the recurrent cell: it lies between the last one and the candidate.

    Args:
        state: (rows, D) the last one.
        forget: (rows, D) the gate, from 0 to 254.
        candidate: (rows, D).
    """
    return state + ((forget * (candidate - state)) >> 8)


@cache
def power_table() -> NDArray[np.int32]:
    """(256,) floor(16 x 2^(i / 16))."""
    # floor(16 * 2^(i/16)) is the integer 16th root of 2^(i + 64): no float.
    return np.array([_root16(1 << (i + 64)) for i in range(256)], dtype=np.int32)


@cache
def logarithm_thresholds() -> NDArray[np.int32]:
    """(15,) ceil(2^(30 + j / 16)) for j = 1 to 15: where floor(16 log2) steps between two powers of two."""
    return np.array([_root16((1 << (480 + j)) - 1) + 1 for j in range(1, 16)], dtype=np.int32)


def _root16(value: int) -> int:
    """The largest whole number whose 16th power does not exceed a value."""
    for _ in range(4):
        value = math.isqrt(value)
    return value


def logarithm(sums: Tensor) -> Tensor:
    """floor(16 log2(sum / 16)) of whole numbers from 1 to 2^31 - 1, by comparisons alone."""
    powers = torch.tensor([1 << k for k in range(31)], device=sums.device, dtype=torch.int64)
    wide = sums.to(torch.int64)
    k = torch.bucketize(wide, powers, right=True) - 1
    mantissa = wide << (30 - k)
    thresholds = torch.from_numpy(logarithm_thresholds()).to(sums.device, torch.int64)
    return (16 * (k - 4) + torch.bucketize(mantissa, thresholds, right=True)).to(torch.int32)


def log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """(rows,) of the target bytes, in 1/16 bit, rounded down: a byte's probability is proportional to 2^(logit / 16).

    Args:
        logits: (rows, 256) from -127 to 127.
        targets: (rows,) numbers of bytes.
    """
    places = logits + (TOP + 1)
    powers = torch.from_numpy(power_table()).to(logits.device)[places.long()]
    chosen = places.gather(1, targets.long()[:, None])[:, 0]
    return chosen - logarithm(powers.sum(1, dtype=torch.int32))


def stored(values: Sequence[float] | NDArray[np.floating] | Tensor) -> Tensor:
    """Numbers as they are stored: 16 v to the nearest, halves to even, clipped; int8."""
    return clip(torch.round(torch.as_tensor(values) * 2.0**POINT)).to(torch.int8)
