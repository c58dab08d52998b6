"""The raw bits of ``random.py`` made on a torch device, bit for bit the same.

NumPy's Philox runs on the CPU, and what it makes would have to be copied to a GPU in every generation. Philox is ten
rounds of products and exclusive ors on a counter (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC
2011, algorithm Philox4x64-10), so any device computes any block of it by itself. Torch has signed 64-bit integers:
sums and products wrap as unsigned ones do, and upper halves of products are put together from 32-bit parts.

It is apart from ``random.py`` because torch takes seconds to import, and random numbers alone do not need it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from galab.genome.random import Stream, Table

_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_INCREMENTS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_LOW = 0xFFFFFFFF
_WORD = 1 << 64


def words_on(
    device: torch.device, run_key: int, generation: int, tensor: int, stream: Stream, block: int, n: int
) -> Tensor:
    """What :func:`galab.genome.random.words_at` gives, in memory of a device.

    Args:
        device: which one.
        run_key: the run's key, 64 bits.
        generation: whose sequence.
        tensor: number of the parameter whose sequence it is.
        stream: what it is for.
        block: where to begin, in blocks of four words.
        n: how many.

    Returns:
        (n,) int64, the bits of the unsigned words.
    """
    # As in NumPy the counter is raised before it is used, so the first block is that of counter + 1.
    place = torch.arange(block + 1, block + 1 + -(-n // 4), device=device)
    counter = [place, *(torch.full_like(place, _signed(value)) for value in (tensor, generation, 0))]
    keys = [run_key, int(stream)]
    for _ in range(_ROUNDS):
        counter = _round(counter, keys)
        keys = [(key + increment) % _WORD for key, increment in zip(keys, _INCREMENTS, strict=True)]
    return torch.stack(counter, dim=1).view(-1)[:n]


def numbers_on(law: Table, words: Tensor, first: int, count: int) -> Tensor:
    """Numbers of unit variance for the 16-bit codes ``first`` to ``first + count - 1`` of each row of words.

    Args:
        law: the table.
        words: (rows, n) int64.
        first: the first code of a row that is wanted.
        count: how many.

    Returns:
        (rows, count) float32.
    """
    codes = words.contiguous().view(torch.int16)[:, first : first + count].to(torch.int64) & 0xFFFF
    return _quantiles(law, words.device)[codes]


_TABLES: dict[tuple[str, torch.device], Tensor] = {}


def _quantiles(law: Table, device: torch.device) -> Tensor:
    key = (law.sha256, device)
    if key not in _TABLES:
        _TABLES[key] = torch.from_numpy(law.quantiles).to(device)
    return _TABLES[key]


def _round(counter: list[Tensor], keys: list[int]) -> list[Tensor]:
    first, second, third, fourth = counter
    high0, low0 = _product(first, _MULTIPLIERS[0])
    high1, low1 = _product(third, _MULTIPLIERS[1])
    return [high1 ^ second ^ _signed(keys[0]), low1, high0 ^ fourth ^ _signed(keys[1]), low0]


def _product(x: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """Upper and lower half of the unsigned 128-bit product."""
    x1, x0, m1, m0 = _upper(x), x & _LOW, multiplier >> 32, multiplier & _LOW
    low, cross, other = x0 * m0, x0 * m1, x1 * m0
    middle = _upper(low) + (cross & _LOW) + (other & _LOW)
    return x1 * m1 + _upper(cross) + _upper(other) + _upper(middle), x * _signed(multiplier)


def _upper(x: Tensor) -> Tensor:
    """The upper 32 bits; the shift itself would carry the sign along."""
    return (x >> 32) & _LOW


def _signed(value: int) -> int:
    """The signed number with the bits of an unsigned one."""
    return value - _WORD if value >= _WORD >> 1 else value
