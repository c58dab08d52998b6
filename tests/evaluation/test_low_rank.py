"""A parameter of members that differ by matrices of low rank."""

from __future__ import annotations

import pytest
import torch

from galab.evaluation.batched.low_rank import LowRank, low_rank


def weight_of(members: int, shape: tuple[int, ...], rank: int, antithetic: bool) -> LowRank:
    generator, pairs = torch.Generator().manual_seed(0), members // (2 if antithetic else 1)
    base = torch.randn(shape, generator=generator)
    a = torch.randn(pairs, shape[0], rank, generator=generator)
    b = torch.randn(pairs, base[0].numel(), rank, generator=generator)
    return low_rank(base, a, b, 0.3, antithetic=antithetic)


def test_a_pair_lies_on_both_sides_of_the_centre():
    weight = weight_of(6, (5, 2, 2), 2, True)
    formed = weight.formed()
    torch.testing.assert_close((formed[:3] + formed[3:]) / 2, weight.base.expand(3, -1, -1, -1))
    torch.testing.assert_close(torch.stack([weight.member(p) for p in range(6)]), formed)
    part = weight.rows_between(1, 3)
    torch.testing.assert_close(part.formed(), formed[:, 1:3])


def test_the_difference_has_the_variance_of_one_weight_at_every_rank():
    for rank in (1, 4, 16):
        weight = weight_of(2, (200, 300), rank, False)
        assert float((weight.formed() - weight.base).std()) == pytest.approx(0.3, rel=0.1)
