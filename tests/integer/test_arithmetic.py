"""The operations of integer networks against plain Python integers, at their boundaries and everywhere between."""

from __future__ import annotations

import math

import numpy as np
import plain_integers as plain
import pytest
import torch

from galab.errors import UsageError
from galab.integer.arithmetic import (
    Centre,
    Factors,
    Members,
    check_width,
    clip,
    divided,
    gated,
    int8_product,
    log_likelihood,
    logarithm,
    logarithm_thresholds,
    normalised,
    power_table,
    rank_shift,
    scaled,
    scaling,
    stored,
)

#: Numbers of an int8 network, of which its ends count most.
EDGES = [-127, -126, -1, 0, 1, 126, 127]


def drawn(seed: int, *shape: int) -> torch.Tensor:
    """Numbers of which a third are at the ends."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-127, 128, shape)
    ends = rng.choice(EDGES, shape)
    return torch.from_numpy(np.where(rng.random(shape) < 1 / 3, ends, values)).to(torch.int8)


def test_every_division_by_a_mean_rounds_down() -> None:
    values = torch.arange(-127 * 127, 127 * 127 + 1, dtype=torch.int32)
    for divisor in range(1, 128):
        found = divided(values, torch.full_like(values, divisor))
        assert torch.equal(found, torch.div(values, divisor, rounding_mode="floor")), divisor


def test_powers_and_logarithms_are_exact() -> None:
    assert power_table().tolist() == [math.floor(16 * 2 ** (i / 16)) for i in range(256)]
    assert power_table()[[0, 16, 255]].tolist() == [16, 32, 1004119]
    # Where floor(16 log2(s / 16)) steps, s^16 passes a power of two; both sides of each step.
    steps = [math.ceil(16 * 2 ** (e / 16)) for e in range(16 * 26)]
    around = sorted({s + d for s in steps for d in (-2, -1, 0, 1, 2) if 0 < s + d < 2**31} | {1, 2, 16, 2**31 - 1})
    found = logarithm(torch.tensor(around, dtype=torch.int32)).tolist()
    for value, got in zip(around, found, strict=True):
        below, above = got + 64, got + 65
        assert (1 << below if below >= 0 else 0) <= value**16 < 1 << above, value
    assert len(logarithm_thresholds()) == 15


@pytest.mark.parametrize("rank", [1, 4, 16])
@pytest.mark.parametrize(("m", "n"), [(3, 64), (2, 256), (5, 96), (4, 1)])
def test_products_rows_and_vectors_of_members(rank: int, m: int, n: int) -> None:
    pairs, shift = 3, 4 + rank_shift(rank)
    weights, b, a = drawn(1, m, n), drawn(2, pairs, rank, n), drawn(3, pairs, rank, m)
    x = drawn(4, 2 * pairs, n).to(torch.int32)
    noise = drawn(5, pairs, n).to(torch.int16) * drawn(6, pairs, n).to(torch.int16)
    factors = {"matrix": Factors(a, b), "table": Factors(a, b)}
    members = Members({"matrix": weights, "table": weights, "vector": weights[0]}, factors, {"vector": noise}, shift)
    found, numbers = members.product("matrix", x), torch.arange(2 * pairs) % m
    rows, vectors = members.row("table", numbers), members.vector("vector")
    for row in range(2 * pairs):
        pair, sign = row // 2, 1 - 2 * (row % 2)
        own = b[pair].tolist(), a[pair].tolist(), sign, shift
        assert found[row].tolist() == plain.product(weights.tolist(), x[row].tolist(), *own)
        assert rows[row].tolist() == plain.table_row(weights.tolist(), int(numbers[row]), *own)
        assert vectors[row].tolist() == plain.vector(weights[0].tolist(), noise[pair].tolist(), sign, shift)
    centre = Centre({"matrix": weights})
    none = [[0] * n], [[0] * m], 1, 0
    assert centre.product("matrix", x)[0].tolist() == plain.product(weights.tolist(), x[0].tolist(), *none)


def test_noise_of_high_rank_is_summed_beyond_int32() -> None:
    n, rank = 256, 16
    weights = torch.zeros(1, n, dtype=torch.int8)
    top = torch.full((1, rank, n), 127, dtype=torch.int8)
    members = Members({"w": weights}, {"w": Factors(top[:, :, :1].contiguous(), top)}, {}, 0)
    x = torch.full((2, n), 127, dtype=torch.int32)
    assert rank * n * 127**3 > 2**31
    assert members.product("w", x).flatten().tolist() == [127, -127]


def test_norms_gates_and_likelihoods() -> None:
    x, w = drawn(7, 40, 64).to(torch.int32), drawn(8, 40, 64).to(torch.int32)
    x[0], x[1] = 0, 1
    for row, got in enumerate(normalised(x, w).tolist()):
        assert got == plain.normalised(x[row].tolist(), w[row].tolist())
    state, forget, candidate = drawn(9, 5000).int(), drawn(10, 5000).int() + 127, drawn(11, 5000).int()
    for s, f, h, got in zip(state.tolist(), forget.tolist(), candidate.tolist(),
                            gated(state, forget, candidate).tolist(), strict=True):  # fmt: skip
        assert got == s + ((f * (h - s)) >> 8)
        assert min(s, h) <= got <= max(s, h)
    logits = drawn(12, 30, 256).to(torch.int32)
    logits[0], logits[1] = -127, 127
    targets = torch.arange(30) * 8
    for row, got in enumerate(log_likelihood(logits, targets).tolist()):
        assert got == plain.likelihood(logits[row].tolist(), int(targets[row]))


def test_a_byte_of_equal_logits_costs_eight_bits() -> None:
    assert log_likelihood(torch.zeros(1, 256, dtype=torch.int32), torch.zeros(1)).tolist() == [-8 * 16]


def test_scales_and_products() -> None:
    assert [scaling(n) for n in (16, 64, 256, 96)] == [6, 7, 8, -16 * 9]
    assert scaled(torch.tensor([-1, -145, 143]), -144).tolist() == [-1, -2, 0]
    a, b = drawn(13, 32, 128), drawn(14, 128, 48)
    assert torch.equal(int8_product(a, b), (a.double() @ b.double()).int())
    assert stored([1.0, -0.03125, 0.09375, 9.0]).tolist() == [16, 0, 2, 127]
    assert clip(torch.tensor([200, -200])).tolist() == [127, -127]


def test_what_has_no_exact_arithmetic_is_refused() -> None:
    with pytest.raises(UsageError, match="expected --rank 1, 4 or 16 with integers, .* got 2"):
        rank_shift(2)
    with pytest.raises(UsageError, match="expected at most 66,572 inputs of an integer layer, got 70,000"):
        check_width(70_000)
