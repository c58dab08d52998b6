"""One birth in plain Python: whole numbers without an end, float32 products one by one, noise without NumPy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import philox_oracle
from random_lineages import table

from galab.genome.weights import Layout

WEIGHTS, MASK = 2, 4


def coins(run_key: int, birth: int, ways: int, n: int) -> list[int]:
    """Numbers below ``ways``: bits of the bytes of the words, the highest first, or 16-bit codes."""
    if ways == 2:
        words = philox_oracle.words(run_key, birth, MASK, -(-n // 64))
        octets = [word >> shift & 255 for word in words for shift in range(0, 64, 8)]
        return [octet >> bit & 1 for octet in octets for bit in range(7, -1, -1)][:n]
    return [code * ways // 65_536 for code in philox_oracle.codes(run_key, birth, MASK, n)]


def modules(layout: Layout) -> list[str]:
    return [name.rpartition(".")[0] for name in layout.names]


def sources(kind: str, run_key: int, birth: int, ways: int, layout: Layout) -> list[int]:
    """The number of the parent that each weight comes from."""
    owners: list[object] = []
    for module, shape, size in zip(modules(layout), layout.shapes, layout.sizes, strict=True):
        rows = shape[0] if shape else 1
        for place in range(size):
            row = place // (size // rows)
            owners.append({"parameter": len(owners), "row": (module, rows, row), "layer": module}[kind])
    if kind == "row":
        # Neurons are counted group by group: all of the first module with its number of rows, then the next.
        groups = dict.fromkeys((owner[0], owner[1]) for owner in owners)
        order = {(*group, row): None for group in groups for row in range(group[1])}
    else:
        order = dict.fromkeys(owners)
    coin = dict(zip(order, coins(run_key, birth, ways, len(order)), strict=True))
    return [coin[owner] for owner in owners]


def mean(values: list[int]) -> int:
    return round(Fraction(sum(values), len(values)))


def power(k: int) -> np.float32:
    return np.float32(2.0 ** (k / 256))


def rounded(*factors: np.float32) -> int:
    """A float32 product from left to right, times 2^24, to the nearest whole number, halves to even."""
    product = factors[0]
    for factor in factors[1:]:
        product = np.float32(product * factor)
    return round(Fraction(float(product)) * 2**24)


def places(layout: Layout) -> list[tuple[int, int, int]]:
    """For each weight its tensor, and its row and column there."""
    found = []
    for tensor, (shape, size) in enumerate(zip(layout.shapes, layout.sizes, strict=True)):
        width = size // shape[0] if len(shape) > 1 else 1
        found += [(tensor, place // width, place % width) for place in range(size)]
    return found


def first_step_sizes(granularity: str, layout: Layout) -> list[tuple[int, int | None]]:
    """For each tensor the number of its first step size, and that of its first column where it has columns."""
    found: list[tuple[int, int | None]] = []
    at = 0
    for shape, size in zip(layout.shapes, layout.sizes, strict=True):
        if granularity == "global":
            found.append((0, None))
        elif granularity == "row-column" and len(shape) > 1:
            found.append((at, at + shape[0]))
            at += shape[0] + size // shape[0]
        else:
            found.append((at, None))
            at += 1 if granularity == "tensor" else size
    return found


def factors(granularity: str, layout: Layout, log_sigma: list[int]) -> list[list[np.float32]]:
    """The one or two float32 factors of every weight's step size."""
    starts = first_step_sizes(granularity, layout)
    shapes = zip(layout.shapes, layout.sizes, strict=True)
    widths = [size // shape[0] if len(shape) > 1 else 1 for shape, size in shapes]
    found = []
    for tensor, row, column in places(layout):
        start, columns = starts[tensor]
        if columns is not None:
            found.append([power(log_sigma[start + row]), power(log_sigma[columns + column])])
        elif granularity == "parameter":
            found.append([power(log_sigma[start + row * widths[tensor] + column])])
        else:
            found.append([power(log_sigma[start + (row if granularity == "row-column" else 0)])])
    return found


def noise(run_key: int, birth: int, n: int) -> list[np.float32]:
    return [table("normal")[code] for code in philox_oracle.codes(run_key, birth, WEIGHTS, n)]


def dense(granularity: str, layout: Layout, log_sigma: list[int], run_key: int, birth: int) -> list[int]:
    """Of every weight: rint(sigma z 2^24), where sigma is one number or the product of a row's and a column's."""
    z = noise(run_key, birth, layout.size)
    sizes = []
    for several in factors(granularity, layout, log_sigma):
        sizes.append(several[0] if len(several) == 1 else np.float32(several[0] * several[1]))
    return [rounded(sigma, value) for sigma, value in zip(sizes, z, strict=True)]


def low_rank(
    granularity: str, layout: Layout, log_sigma: list[int], run_key: int, birth: int, rank: int
) -> list[int]:
    """Of a matrix: the sum over k of rint(((row r^-0.5) a_k) (column b_k) 2^24)."""
    needed = []
    for shape, size in zip(layout.shapes, layout.sizes, strict=True):
        needed.append(rank * (shape[0] + size // shape[0]) if len(shape) > 1 else size)
    z = noise(run_key, birth, sum(needed))
    sizes, root = factors(granularity, layout, log_sigma), np.float32(rank**-0.5)
    change = []
    for (tensor, row, column), several in zip(places(layout), sizes, strict=True):
        own, shape = z[sum(needed[:tensor]) :], layout.shapes[tensor]
        if len(shape) < 2:
            change.append(rounded(own[row], several[0]))
            continue
        width, total = layout.sizes[tensor] // shape[0], 0
        for k in range(rank):
            a = own[k * shape[0] + row]
            b = own[rank * shape[0] + k * width + column]
            right = np.float32(several[1] * b) if len(several) == 2 else b
            total += rounded(np.float32(several[0] * root), a, right)
        change.append(total)
    return change
