"""The noise of an evolution strategy: numbered directions, drawn when needed from counter-based bits.

Direction i of a generation is made of the bits keyed (run key, generation, tensor, i) and of nothing else: neither the
size of the population nor the order or number of directions that are drawn at once changes it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galab.genome.device_noise import numbers_on, words_on
from galab.genome.noise import Stream, Table, words_at
from galab.genome.scratch import scratch
from galab.perturbation.plan import BLOCK_CODES, Plan, TensorPlan

_GROUP_BYTES = 16 << 20
_MOST_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Factors:
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

    def to(self, device: torch.device) -> Factors:
        """The same on a device."""
        return Factors(self.a.to(device), self.b.to(device))

    def part(self, start: int, stop: int) -> Factors:
        """Some of the directions."""
        return Factors(self.a[start:stop], self.b[start:stop])


@dataclass(frozen=True, slots=True)
class Dense:
    """Dense noise of Q directions for one tensor.

    Attributes:
        values: (Q, *shape) float32 of unit variance.
    """

    values: Tensor

    @property
    def count(self) -> int:
        """Q."""
        return len(self.values)

    def to(self, device: torch.device) -> Dense:
        """The same on a device."""
        return Dense(self.values.to(device))

    def part(self, start: int, stop: int) -> Dense:
        """Some of the directions."""
        return Dense(self.values[start:stop])


#: Noise of Q directions by the name of the parameter.
Noise = dict[str, Factors | Dense]


def size_of(noise: Noise) -> int:
    """Q, the number of directions."""
    return next(iter(noise.values())).count


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
) -> Factors | Dense:
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
        return Dense(numbers(0, tensor.numbers).view(-1, *tensor.shape))
    cut = tensor.rows * tensor.rank
    a, b = numbers(0, cut), numbers(cut, tensor.numbers)
    return Factors(a.view(-1, tensor.rows, tensor.rank), b.view(-1, tensor.columns, tensor.rank))


def _numbers(law: Table, codes: NDArray[np.uint16]) -> Tensor:
    """Numbers of unit variance in new memory, in the shape of their codes."""
    indices = scratch("direction codes", codes.size, np.intp).reshape(codes.shape)
    np.copyto(indices, codes, casting="safe")
    # mode="wrap" skips the bounds check: a 16-bit code cannot leave a table of 65,536 entries.
    return torch.from_numpy(law.quantiles.take(indices, mode="wrap"))
