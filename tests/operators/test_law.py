"""The law of the cosine against second moments that were measured, and against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from galab.genome.random import table
from galab.genome.weights import Layout
from galab.operators.es_noise import (
    DenseNoise,
    Plan,
    cosine,
    draw,
    one_sided_cosine,
    pairs_for,
    plan_of,
    tensor_variance,
    variance,
)

pytestmark = pytest.mark.usefixtures("one_thread")
NET = Layout(("first", "bias", "second"), ((8, 6), (8,), (4, 8)))


def measured(plan: Plan, gradient: torch.Tensor, count: int) -> float:
    """V of a plan for a gradient: E <g, E>^2 |E|^2 / |g|^2 - 1 over many directions."""
    total = 0.0
    for first in range(0, count, 20_000):
        parts = []
        for part in draw(plan, table("normal"), 5, 1, first, 20_000).values():
            if isinstance(part, DenseNoise):
                parts.append(part.values.flatten(1))
            else:
                parts.append((torch.einsum("qmr,qnr->qmn", part.a, part.b) / part.a.shape[2] ** 0.5).flatten(1))
        noise = torch.cat(parts, 1)
        total += float(((noise @ gradient).square() * noise.square().sum(1)).double().sum())
    return total / count / float(gradient.square().sum()) - 1


def spread(plan: Plan, shares: dict[str, float]) -> torch.Tensor:
    """A gradient with these shares of its square in the tensors."""
    generator = torch.Generator().manual_seed(1)
    parts = []
    for tensor in plan.tensors:
        part = torch.randn(tensor.size, generator=generator)
        parts.append(part * (shares.get(tensor.name, 0.0) ** 0.5 / part.norm()))
    return torch.cat(parts)


@pytest.mark.parametrize("rank", [1, 2, 6, None])
def test_one_matrix(rank: int | None) -> None:
    plan = plan_of(Layout(("w",), ((8, 6),)), rank, ("w",))
    assert variance(plan) == pytest.approx(tensor_variance(plan.tensors[0]))
    assert measured(plan, spread(plan, {"w": 1.0}), 200_000) == pytest.approx(variance(plan), rel=0.03)


@pytest.mark.parametrize("rank", [1, 3, None])
@pytest.mark.parametrize(
    "shares", [{"first": 1.0}, {"bias": 1.0}, {"first": 0.2, "bias": 0.1, "second": 0.7}], ids=["one", "dense", "mixed"]
)
def test_a_network_of_several_tensors(rank: int | None, shares: dict[str, float]) -> None:
    plan = plan_of(NET, rank, ("first", "second"))
    assert measured(plan, spread(plan, shares), 200_000) == pytest.approx(variance(plan, shares), rel=0.03)


def test_numbers_worked_out_by_hand() -> None:
    matrix = Layout(("w",), ((16, 64),))
    assert variance(plan_of(matrix, None)) == 1025
    assert variance(plan_of(matrix, 1, ("w",))) == 18 * 66 - 1
    assert variance(plan_of(matrix, 4, ("w",))) == pytest.approx(0.75 * 1026 + 18 * 66 / 4 - 1)
    assert cosine(1187, 1024) == pytest.approx(0.681, abs=0.0005)
    assert cosine(1025, 4096) == pytest.approx(0.894, abs=0.0005)
    # 10.6 million weights and 64 pairs: why so many cannot make it train.
    assert cosine(10.6e6, 64) == pytest.approx(0.0025, abs=0.0001)


def test_rank_costs_little_and_less_in_large_matrices() -> None:
    for side, most in ((16, 1.3), (512, 1.01)):
        layout = Layout(("w",), ((side, side),))
        values = [variance(plan_of(layout, rank, ("w",))) for rank in (1, 2, 4, 16)]
        assert values == sorted(values, reverse=True)
        assert 1 < values[0] / variance(plan_of(layout, None)) < most


def test_dense_noise_does_not_ask_where_the_gradient_lies() -> None:
    plan = plan_of(NET, None)
    assert variance(plan) == variance(plan, {"bias": 1.0}) == pytest.approx(plan.size + 1)


def test_pairs_and_single_members() -> None:
    assert one_sided_cosine(100, 64, 0.0) == cosine(100, 64)
    assert one_sided_cosine(100, 64, 1.0) == pytest.approx(cosine(100, 32)), "where pairs begin to be worth it"
    for wanted in (0.1, 0.7, 0.99):
        assert cosine(100, pairs_for(100, wanted)) == pytest.approx(wanted)
