"""The noise of an evolution strategy: numbered directions, and what an estimate made of them is worth.

A plan says what a direction is made of: for each parameter tensor low-rank factors, dense noise, or nothing; the
classes of parameters are those of Sarkar et al., "Evolution Strategies at the Hyperscale", arXiv 2511.16652 (EGGROLL).
Directions are drawn when needed. Direction i of a generation is made of the bits keyed (run key, generation, tensor, i)
and of nothing else: neither the size of the population nor the order or number of directions that are drawn at once
changes it.

How well an estimate points along the gradient follows from exact second moments. For a fitness that is linear where the
population looks, with gradient g, and P antithetic pairs, the estimate (1 / P) sum of <g, E_p> E_p has E |estimate|^2 =
|g|^2 (1 + V / P), so its cosine with g is about 1 / sqrt(1 + V / P). V is one less than E <g, E>^2 |E|^2 / |g|^2 of a
single direction. For an (m, n) matrix alone, E = A B^T / sqrt(r):

    V = (1 - 1/r) (m n + 2) + (m + 2) (n + 2) / r - 1,   and for dense noise   V = m n + 1.

The gradient of a network is spread over tensors t in shares s_t of |g|^2. Directions of different tensors are
independent, so a tensor's noise of d_t weights also carries the others' signal:

    V + 1 = sum over t of s_t (V_t + 1 - d_t), plus D.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galab.config.spelling import OptionError
from galab.genome.device_random import numbers_on, words_on
from galab.genome.random import Stream, Table, words_at
from galab.genome.weights import Layout, scratch


@dataclass(frozen=True, slots=True, eq=False)
class WeightVector:
    """See :class:`galab.contracts.Member`.

    Attributes:
        weights: (D,) float32.
    """

    weights: NDArray[np.float32]

    def write(self, parts: Sequence[NDArray[np.float32]]) -> None:
        """Write the weights into rows of memory one after the other."""
        at = 0
        for row in parts:
            row[:] = self.weights[at : at + len(row)]
            at += len(row)

    def floats(self) -> NDArray[np.float32]:
        """(D,) the weights."""
        return self.weights


#: Codes in one block of Philox; every direction begins with a block of its own, so any of them can be drawn alone.
BLOCK_CODES = 16


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """How one parameter tensor is perturbed.

    Attributes:
        name: the parameter's name.
        shape: its shape.
        number: its place in the module, which keys its noise.
        rank: r of the factors; None for dense noise.
    """

    name: str
    shape: tuple[int, ...]
    number: int
    rank: int | None

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        """m: the tensor is seen as an (m, n) matrix."""
        return self.shape[0]

    @property
    def columns(self) -> int:
        """n: all axes after the first."""
        return math.prod(self.shape[1:])

    @property
    def numbers(self) -> int:
        """Random numbers in one direction: r (m + n), or one for each weight."""
        return self.size if self.rank is None else self.rank * (self.rows + self.columns)

    @property
    def blocks(self) -> int:
        """Blocks of Philox that one direction takes."""
        return -(-self.numbers // BLOCK_CODES)


@dataclass(frozen=True, slots=True)
class Plan:
    """How every tensor of a network is perturbed.

    Attributes:
        tensors: in the module's order.
    """

    tensors: tuple[TensorPlan, ...]

    @property
    def size(self) -> int:
        """D, the number of weights."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def numbers(self) -> int:
        """Random numbers in one direction."""
        return sum(tensor.numbers for tensor in self.tensors)

    @property
    def low_rank(self) -> bool:
        """Whether any tensor has factors."""
        return any(tensor.rank is not None for tensor in self.tensors)

    @property
    def ranks(self) -> list[int]:
        """The rank of each tensor's factors, 0 for dense noise: beside the layout, all that a checkpoint needs."""
        return [tensor.rank or 0 for tensor in self.tensors]


def plan_of(layout: Layout, rank: int | None, low_rank_names: Collection[str] = ()) -> Plan:
    """The plan for a network.

    Args:
        layout: names and shapes of the parameters.
        rank: r for the tensors that can be low-rank; None makes all noise dense.
        low_rank_names: which tensors can be low-rank.

    Raises:
        UsageError: the rank is larger than the smaller side of such a tensor.
    """
    return plan_of_ranks(layout, [rank or 0 if name in low_rank_names else 0 for name in layout.names])


def plan_of_ranks(layout: Layout, ranks: Sequence[int]) -> Plan:
    """The plan that :attr:`Plan.ranks` was taken of.

    Args:
        layout: names and shapes of the parameters.
        ranks: one for each parameter, 0 for dense noise.

    Raises:
        UsageError: a rank is larger than the smaller side of its tensor.
    """
    tensors = []
    for number, (name, shape, rank) in enumerate(zip(layout.names, layout.shapes, ranks, strict=True)):
        tensor = TensorPlan(name, shape, number, rank or None)
        if tensor.rank is not None and not 0 < tensor.rank <= min(tensor.rows, tensor.columns):
            raise OptionError(
                "expected {rank} at most {most}, the smaller side of '{tensor}' ({rows} x {columns}), got {got}: more "
                "would be full rank at a higher price; lower it, or use {strategy:openai-es} for full-rank noise",
                most=min(tensor.rows, tensor.columns), tensor=name, rows=tensor.rows, columns=tensor.columns, got=rank,
            )  # fmt: skip
        tensors.append(tensor)
    return Plan(tuple(tensors))


_GROUP_BYTES = 16 << 20
_MOST_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class LowRankNoise:
    """Low-rank noise of Q directions for one (m, n) tensor: direction q is ``a[q] b[q]^T / sqrt(r)``.

    Attributes:
        a: (Q, m, r) float32 of unit variance.
        b: (Q, n, r) float32 of unit variance.
    """

    a: Tensor
    b: Tensor

    @property
    def count(self) -> int:
        """Q."""
        return len(self.a)

    def to(self, device: torch.device) -> LowRankNoise:
        """The same on a device."""
        return LowRankNoise(self.a.to(device), self.b.to(device))

    def part(self, start: int, stop: int) -> LowRankNoise:
        """Some of the directions."""
        return LowRankNoise(self.a[start:stop], self.b[start:stop])


@dataclass(frozen=True, slots=True)
class DenseNoise:
    """Dense noise of Q directions for one tensor.

    Attributes:
        values: (Q, *shape) float32 of unit variance.
    """

    values: Tensor

    @property
    def count(self) -> int:
        """Q."""
        return len(self.values)

    def to(self, device: torch.device) -> DenseNoise:
        """The same on a device."""
        return DenseNoise(self.values.to(device))

    def part(self, start: int, stop: int) -> DenseNoise:
        """Some of the directions."""
        return DenseNoise(self.values[start:stop])


#: Noise of Q directions by the name of the parameter.
Noise = dict[str, LowRankNoise | DenseNoise]


def size_of(noise: Noise) -> int:
    """Q, the number of directions."""
    return next(iter(noise.values())).count


def chunks_of(noise: Noise, width: int, starts: Sequence[int] | None = None) -> Iterator[tuple[int, Noise]]:
    """The directions in chunks of ``width``, each with the number of its first one; ``starts`` are those wanted."""
    for first in range(0, size_of(noise), width) if starts is None else starts:
        yield first, {name: values.part(first, first + width) for name, values in noise.items()}


class Directions:
    """Draws directions by the group and keeps what fits, because evaluation and update need the same ones.

    Args:
        plan: what a direction is made of.
        law: the table of the noise's distribution.
        run_key: the run's key.
        device: where the noise is wanted.
        cache_bytes: how much of one generation's noise to keep.
        count: how many directions a generation has at most; no more of them are drawn at once.
    """

    def __init__(
        self, plan: Plan, law: Table, run_key: int, device: torch.device, cache_bytes: int, count: int = _MOST_AT_ONCE
    ) -> None:
        self.plan = plan
        self._law = law
        self._run_key = run_key
        # NumPy is faster on the CPU; anywhere else its bits would have to be carried there.
        self._device = None if device.type == "cpu" else device
        bytes_each = 4 * max(plan.numbers, 1)
        #: Directions drawn at once: a power of two, so that chunks of evaluation fill it without a rest.
        self.group = 1 << (max(1, min(_MOST_AT_ONCE, _GROUP_BYTES // bytes_each)).bit_length() - 1)
        self.group = min(self.group, 1 << (count - 1).bit_length())
        self._most = max(1, cache_bytes // (bytes_each * self.group))
        self._groups: OrderedDict[tuple[int, int], Noise] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # Noise is drawn again where it is needed.
        return self.__dict__ | {"_groups": OrderedDict()}

    def on_cpu(self) -> Directions:
        """The same directions, drawn on the CPU."""
        other = copy.copy(self)
        other._device, other._groups = None, OrderedDict()
        return other

    def between(self, generation: int, start: int, stop: int) -> Iterator[tuple[int, Noise]]:
        """Directions ``start`` to ``stop - 1`` of a generation in order, by the group.

        Yields:
            The number of the first direction, and the noise of it and those after it.
        """
        for first, last in self.spans(start, stop):
            number, place = divmod(first, self.group)
            noise = self._drawn(generation, number)
            until = last - number * self.group
            yield first, {name: part.part(place, until) for name, part in noise.items()}

    def spans(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Directions ``start`` to ``stop - 1`` as :meth:`between` groups them: the first, one past the last."""
        if start >= stop:
            return []
        firsts = [start, *range((start // self.group + 1) * self.group, stop, self.group)]
        return list(zip(firsts, [*firsts[1:], stop], strict=True))

    def _drawn(self, generation: int, number: int) -> Noise:
        key = (generation, number)
        found = self._groups.get(key)
        if found is None:
            for old in [old for old in self._groups if old[0] != generation]:
                del self._groups[old]
            if len(self._groups) >= self._most:
                self._groups.popitem(last=False)
            first = number * self.group
            found = draw(self.plan, self._law, self._run_key, generation, first, self.group, self._device)
            self._groups[key] = found
        return found


def draw(
    plan: Plan,
    law: Table,
    run_key: int,
    generation: int,
    first: int,
    count: int,
    device: torch.device | None = None,
) -> Noise:
    """The noise of ``count`` directions from number ``first`` on, by NumPy or by a device: the same bits."""
    return {tensor.name: _drawn(tensor, law, run_key, generation, first, count, device) for tensor in plan.tensors}


def _drawn(
    tensor: TensorPlan, law: Table, run_key: int, generation: int, first: int, count: int, device: torch.device | None
) -> LowRankNoise | DenseNoise:
    where = (run_key, generation, tensor.number, Stream.PERTURBATION, first * tensor.blocks, 4 * tensor.blocks * count)
    if device is None:
        raw = words_at(*where).astype("<u8", copy=False)
        codes = raw.view("<u2").reshape(count, tensor.blocks * BLOCK_CODES)

        def numbers(start: int, stop: int) -> Tensor:
            return _numbers(law, codes[:, start:stop])
    else:
        words = words_on(device, *where).view(count, -1)

        def numbers(start: int, stop: int) -> Tensor:
            return numbers_on(law, words, start, stop - start)

    if tensor.rank is None:
        return DenseNoise(numbers(0, tensor.numbers).view(-1, *tensor.shape))
    cut = tensor.rows * tensor.rank
    a, b = numbers(0, cut), numbers(cut, tensor.numbers)
    return LowRankNoise(a.view(-1, tensor.rows, tensor.rank), b.view(-1, tensor.columns, tensor.rank))


def _numbers(law: Table, codes: NDArray[np.uint16]) -> Tensor:
    """Numbers of unit variance in new memory, in the shape of their codes."""
    indices = scratch("direction codes", codes.size, np.intp).reshape(codes.shape)
    np.copyto(indices, codes, casting="safe")
    # mode="wrap" skips the bounds check: a 16-bit code cannot leave a table of 65,536 entries.
    return torch.from_numpy(law.quantiles.take(indices, mode="wrap"))


def tensor_variance(tensor: TensorPlan) -> float:
    """V of a tensor alone."""
    if tensor.rank is None:
        return tensor.size + 1.0
    m, n, r = tensor.rows, tensor.columns, tensor.rank
    return (1 - 1 / r) * (m * n + 2) + (m + 2) * (n + 2) / r - 1


def variance(plan: Plan, shares: Mapping[str, float] | None = None) -> float:
    """V of a whole network.

    Args:
        plan: how its tensors are perturbed.
        shares: how much of the squared gradient lies in each tensor; by size where that is unknown.
    """
    total = plan.size
    known = {tensor.name: tensor.size / total for tensor in plan.tensors} if shares is None else shares
    excess = sum(
        known.get(tensor.name, 0.0) * (tensor_variance(tensor) + 1 - tensor.size) for tensor in plan.tensors
    )
    return total + excess - 1


def cosine(variance: float, pairs: float) -> float:
    """The cosine that P antithetic pairs give."""
    return 1 / math.sqrt(1 + variance / pairs)


def one_sided_cosine(variance: float, members: float, even_to_odd: float) -> float:
    """The cosine that N single members with the mean as baseline give.

    Args:
        variance: V.
        members: N.
        even_to_odd: variance of the even part of the fitness, (f(+) + f(-)) / 2, over that of its odd part. The even
            part cancels in a pair; alone it is noise.
    """
    return 1 / math.sqrt(1 + variance * (1 + even_to_odd) / members)


def pairs_for(variance: float, cosine: float) -> float:
    """Pairs that a cosine between 0 and 1 needs."""
    return variance * cosine**2 / (1 - cosine**2)
