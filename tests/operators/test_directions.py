"""The noise of directions: the same bits however they are drawn, pinned for ever, of the variance that is promised."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galab.genome.random import Stream, table
from galab.genome.weights import Layout
from galab.operators.es_noise import DenseNoise, Directions, LowRankNoise, Noise, draw, plan_of, size_of

LAYOUT = Layout(("first", "bias", "second"), ((6, 5), (6,), (3, 6)))
RANKED = plan_of(LAYOUT, 2, ("first", "second"))
DENSE = plan_of(LAYOUT, None)
CPU = torch.device("cpu")
NORMAL = table("normal")


def rows(noise: Noise) -> torch.Tensor:
    """(Q, numbers) all numbers of each direction."""
    parts: list[Any] = []
    for part in noise.values():
        parts += [part.values.flatten(1)] if isinstance(part, DenseNoise) else [part.a.flatten(1), part.b.flatten(1)]
    return torch.cat(parts, dim=1)


def whole(plan: Any, generation: int = 2, count: int = 50) -> torch.Tensor:
    return rows(draw(plan, NORMAL, 7, generation, 0, count))


@pytest.mark.slow
@pytest.mark.parametrize("plan", [RANKED, DENSE], ids=["factors", "dense"])
@given(cuts=st.lists(st.integers(0, 50), max_size=6), group=st.sampled_from([1, 2, 16, 64]), most=st.integers(1, 4000))
def test_any_chunks_in_any_order_are_the_same_bits(plan: Any, cuts: list[int], group: int, most: int) -> None:
    expected = whole(plan)
    directions = Directions(plan, NORMAL, 7, CPU, most)
    directions.group = group
    edges = [0, *sorted(cuts), 50]
    for start, stop in reversed(list(itertools.pairwise(edges))):
        at = start
        for first, noise in directions.between(2, start, stop):
            assert first == at
            at += size_of(noise)
            assert torch.equal(rows(noise), expected[first:at])
        assert at == stop


def test_any_single_direction_can_be_drawn_alone() -> None:
    expected = whole(RANKED)
    for number in (0, 1, 17, 49):
        assert torch.equal(rows(draw(RANKED, NORMAL, 7, 2, number, 1))[0], expected[number])


def test_a_group_is_forgotten_and_drawn_again_alike() -> None:
    directions = Directions(RANKED, NORMAL, 7, CPU, 1)  # room for one group at most
    directions.group = 4
    first = [rows(noise) for _, noise in directions.between(1, 0, 20)]
    other = [rows(noise) for _, noise in directions.between(2, 0, 20)]
    again = [rows(noise) for _, noise in directions.between(1, 0, 20)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert len(directions._groups) == 1


def test_no_more_is_drawn_than_a_generation_has() -> None:
    for count, group in ((1, 1), (2, 2), (48, 64), (10**6, 4096)):
        assert Directions(RANKED, NORMAL, 7, CPU, 1 << 20, count).group == group
    assert Directions(plan_of(Layout(("w",), ((1000, 1000),)), None), NORMAL, 7, CPU, 1 << 20).group == 4


def test_the_stream_is_pinned_for_ever() -> None:
    """A run that is resumed or replayed years later draws these bits; change nothing here."""
    digests = [
        hashlib.sha256(whole(plan, generation=3, count=9).numpy().astype("<f4").tobytes()).hexdigest()
        for plan in (RANKED, DENSE)
    ]
    assert digests == [
        "63f22a94fd55a27714a62c7f0a1ef72e35ced2044a568dab90c28186d56fb2c5",
        "255abe6dc0914cd3cf4cd54b125aef9defa2ac1ce388e08dc64825108cb3090e",
    ]


def test_the_bits_are_those_of_philox_at_the_place_that_the_head_of_the_module_names() -> None:
    for plan in (RANKED, DENSE):
        for tensor in plan.tensors:
            raw = np.random.Philox(
                key=[7, int(Stream.PERTURBATION)], counter=[5 * tensor.blocks, tensor.number, 2, 0]
            ).random_raw(4 * tensor.blocks)
            codes = raw.astype("<u8").view("<u2")[: tensor.numbers]
            drawn = rows({tensor.name: draw(plan, NORMAL, 7, 2, 5, 1)[tensor.name]})[0]
            assert np.array_equal(drawn.numpy(), NORMAL.quantiles[codes])


def test_factors_and_dense_noise_have_the_shapes_of_their_tensors() -> None:
    noise = draw(RANKED, NORMAL, 7, 1, 0, 5)
    first, bias = noise["first"], noise["bias"]
    assert isinstance(first, LowRankNoise)
    assert isinstance(bias, DenseNoise)
    assert (tuple(first.a.shape), tuple(first.b.shape)) == ((5, 6, 2), (5, 5, 2))
    assert tuple(bias.values.shape) == (5, 6)
    assert first.part(1, 3).count == bias.part(1, 3).count == 2
    assert torch.equal(first.part(1, 3).a, first.a[1:3])
    assert tuple(draw(DENSE, NORMAL, 7, 1, 0, 5)["first"].values.shape) == (5, 6, 5)


@pytest.mark.parametrize("law", ["normal", "uniform", "sign", "laplace"])
@pytest.mark.parametrize("rank", [1, 2, 5, None])
def test_entries_of_a_direction_have_mean_zero_and_variance_one(law: str, rank: int | None) -> None:
    plan = plan_of(Layout(("w",), ((6, 5),)), rank, ("w",))
    noise = draw(plan, table(law), 7, 1, 0, 20_000)["w"]
    if isinstance(noise, LowRankNoise):
        formed = torch.einsum("qmr,qnr->qmn", noise.a, noise.b) / noise.a.shape[2] ** 0.5
    else:
        formed = noise.values
    assert formed.mean() == pytest.approx(0, abs=0.01)
    assert formed.square().mean() == pytest.approx(1, abs=0.03)
    each = formed.square().mean(0)
    assert each.min() > 0.85
    assert each.max() < 1.15
    covariance = torch.cov(formed.flatten(1).t()) - torch.diag(each.flatten())
    assert covariance.abs().max() < 0.06, "entries of one direction are uncorrelated, at rank 1 too"


@pytest.mark.parametrize("plan", [RANKED, DENSE], ids=["factors", "dense"])
def test_a_device_draws_the_same_bits(plan):
    for first, count in ((0, 50), (13, 7), (49, 1)):
        ours, theirs = (rows(draw(plan, NORMAL, 7, 2, first, count, device)) for device in (None, CPU))
        assert torch.equal(ours, theirs)
