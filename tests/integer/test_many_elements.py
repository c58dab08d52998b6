"""Each operation of integer networks on many numbers, against plain Python integers; every end among them.

GALAB_ELEMENTS is how many output elements each operation computes: 10,000 in the ordinary tests.
"""

from __future__ import annotations

import math
import os

import numpy as np
import plain_integers as plain
import torch
from numpy.typing import NDArray

from galab.integer.arithmetic import (
    Factors,
    Members,
    gated,
    log_likelihood,
    normalised,
    power_table,
)
from galab.operators.integer_noise import TensorNoise
from galab.strategies.integer_eggroll import least_votes, votes

ELEMENTS = int(os.environ.get("GALAB_ELEMENTS", "10000"))
#: Numbers of an int8 network, of which its ends count most.
EDGES = [-127, -126, -1, 0, 1, 126, 127]


def drawn(seed: int, *shape: int) -> NDArray[np.int64]:
    """Numbers of which a third are at the ends."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < 1 / 3, rng.choice(EDGES, shape), rng.integers(-127, 128, shape))


def whole(values: NDArray[np.int64]) -> torch.Tensor:
    return torch.from_numpy(values).to(torch.int32)


def members(pairs: int, m: int, n: int, shift: int) -> tuple[Members, NDArray[np.int64], NDArray[np.int64]]:
    """Of one matrix and one vector of zeros and up, with their noise."""
    weights, b, a = drawn(1, m, n), drawn(2, pairs, 1, n), drawn(3, pairs, 1, m)
    products = drawn(4, pairs, n) * drawn(5, pairs, n)
    int8 = {name: torch.from_numpy(value).to(torch.int8) for name, value in (("m", weights), ("v", weights[0]))}
    factors = {"m": Factors(torch.from_numpy(a).to(torch.int8), torch.from_numpy(b).to(torch.int8))}
    return Members(int8, factors, {"v": torch.from_numpy(products).to(torch.int16)}, shift), b, a


def test_products() -> None:
    m, n = 64, 64
    pairs = max(1, ELEMENTS // (2 * m))
    made, b, a = members(pairs, m, n, 4)
    x, weights = drawn(6, 2 * pairs, n), drawn(1, m, n).tolist()
    for row, got in enumerate(made.product("m", whole(x)).tolist()):
        noise = b[row // 2].tolist(), a[row // 2].tolist(), 1 - 2 * (row % 2), 4
        assert got == plain.product(weights, x[row].tolist(), *noise)


def test_rows_and_vectors() -> None:
    m, n = 256, 64
    pairs = max(1, ELEMENTS // (2 * n))
    made, b, a = members(pairs, m, n, 4)
    weights, numbers = drawn(1, m, n).tolist(), torch.arange(2 * pairs) * 37 % m
    noise = made.products["v"].tolist()
    rows, vectors = made.row("m", numbers).tolist(), made.vector("v").tolist()
    for row in range(2 * pairs):
        pair, sign = row // 2, 1 - 2 * (row % 2)
        own = b[pair].tolist(), a[pair].tolist(), sign, 4
        assert rows[row] == plain.table_row(weights, int(numbers[row]), *own)
        assert vectors[row] == plain.vector(weights[0], noise[pair], sign, 4)


def test_layer_norms() -> None:
    rows = max(2, ELEMENTS // 64)
    x, w = drawn(7, rows, 64), drawn(8, rows, 64)
    x[0], x[1] = 0, 1
    for row, got in enumerate(normalised(whole(x), whole(w)).tolist()):
        assert got == plain.normalised(x[row].tolist(), w[row].tolist())


def test_recurrent_cells() -> None:
    s, f, h = drawn(9, ELEMENTS), drawn(10, ELEMENTS) + 127, drawn(11, ELEMENTS)
    found = gated(whole(s), whole(f), whole(h)).tolist()
    expected = [a + ((b * (c - a)) >> 8) for a, b, c in zip(s.tolist(), f.tolist(), h.tolist(), strict=True)]
    assert found == expected


def test_losses() -> None:
    powers = power_table().tolist()
    assert powers == [math.floor(16 * 2 ** (v / 16)) for v in range(256)]
    # Where floor(16 log2(s / 16)) steps: e is the largest with 16 x 2^(e / 16) <= s.
    steps = [plain_root(1 << (e + 64)) for e in range(16 * 26)]
    for start in range(0, ELEMENTS, 10_000):
        rows = min(10_000, ELEMENTS - start)
        logits = drawn(12 + start, rows, 256)
        logits[: rows // 4] //= 8  # sums of every size
        targets = (np.arange(rows) * 37 + start) % 256
        found = log_likelihood(whole(logits), torch.from_numpy(targets)).tolist()
        sums = np.array(powers)[logits + 128].sum(1).tolist()
        for row, got in enumerate(found):
            exponent = np.searchsorted(steps, sums[row], side="right") - 1
            assert got == logits[row, targets[row]] + 128 - exponent


def plain_root(value: int) -> int:
    """The smallest whole number whose 16th power is at least a value."""
    root = value
    for _ in range(4):
        root = math.isqrt(root)
    return root if root**16 == value else root + 1


def test_votes_and_the_test_on_them() -> None:
    m = max(1, math.isqrt(ELEMENTS))
    factors, a, b = drawn(13, 6), drawn(14, 6, 1, m), drawn(15, 6, 1, m)
    int8 = [value.astype(np.int8) for value in (factors, b, a)]
    found = votes(int8[0], TensorNoise(int8[1], int8[2]), fast=False, use_clt=True)
    left = [[int(f) * int(v) >> 4 for v in a[pair, 0]] for pair, f in enumerate(factors)]
    right = b[:, 0].tolist()
    for i in range(m):
        expected = [sum(left[pair][i] * right[pair][j] for pair in range(6)) for j in range(m)]
        assert found[i].tolist() == expected
    squares = sum(int(f) ** 2 for f in factors)
    for threshold in (0, 1, 16, 31, 256):
        least = least_votes(squares, threshold, fast=False, use_clt=True)
        # A weight moves where (16 Z)^2 >= threshold^2 x its variance, and Z is not 0.
        bound = threshold**2 * squares * 16**2
        moves = [[z != 0 and 256 * z * z >= bound for z in row] for row in found.tolist()]
        assert (np.abs(found) >= least).tolist() == moves
