"""The rules of low-rank members by themselves: every branch, and that weights are formed only where it is cheaper."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from galab.evaluation.batched.dense import Fold
from galab.evaluation.batched.low_rank import LowRank, low_rank
from galab.evaluation.batched.low_rank_layers import LOW_RANK_RULES

pytestmark = pytest.mark.usefixtures("one_thread")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def weight_of(members: int, shape: tuple[int, ...], rank: int, antithetic: bool) -> LowRank:
    pairs, columns = members // (2 if antithetic else 1), normal(*shape)[0].numel()
    a, b = normal(pairs, shape[0], rank, seed=1), normal(pairs, columns, rank, seed=2)
    return low_rank(normal(*shape), a, b, 0.3, antithetic=antithetic)


def by_loop(function, members: int, x: Tensor, weight: LowRank, bias: Tensor | None, own: bool, **options) -> Tensor:
    each = []
    for member in range(members):
        difference = weight.a[member] @ weight.b[member % len(weight.b)].T
        values = (weight.base + difference.view(weight.base.shape),) + (() if bias is None else (bias[member],))
        each.append(function(x.chunk(members)[member] if own else x, *values, **options))
    return torch.cat(each)


def assert_same(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(expected.abs().max())))


sizes, ranks = st.integers(1, 6), st.sampled_from([1, 4])


@given(
    pairs=st.integers(1, 3),
    antithetic=st.booleans(),
    rank=ranks,
    examples=sizes,
    steps=st.integers(0, 3),
    rows=sizes,
    columns=sizes,
    biased=st.booleans(),
    own=st.booleans(),
)
def test_linear_at_every_size(pairs, antithetic, rank, examples, steps, rows, columns, biased, own):
    members = pairs * (2 if antithetic else 1)
    weight = weight_of(members, (rows, columns), rank, antithetic)
    x = normal(examples * (members if own else 1), *([steps] if steps else []), columns)
    bias = normal(members, rows) if biased else None
    got = LOW_RANK_RULES[F.linear](Fold(members, examples, by_member=True), x, weight, bias)
    assert_same(got, by_loop(F.linear, members, x, weight, bias, own and members > 1))


@pytest.mark.slow
@given(
    pairs=st.integers(1, 2),
    antithetic=st.booleans(),
    rank=ranks,
    examples=st.integers(1, 3),
    out=sizes,
    channels=st.integers(1, 3),
    size=st.integers(5, 8),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    padding=st.sampled_from([0, 1, "valid"]),
    biased=st.booleans(),
    own=st.booleans(),
    axes=st.integers(1, 3),
)
def test_convolutions_at_every_size(
    pairs, antithetic, rank, examples, out, channels, size, stride, dilation, padding, biased, own, axes
):
    members, function = pairs * (2 if antithetic else 1), (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    weight = weight_of(members, (out, channels, 3, 2, 2)[: axes + 2], rank, antithetic)
    x = normal(examples * (members if own else 1), channels, *[size] * axes)
    bias, options = normal(members, out) if biased else None, {"stride": stride, "padding": padding}
    options["dilation"] = dilation
    got = LOW_RANK_RULES[function](Fold(members, examples, by_member=True), x, weight, bias, **options)
    assert_same(got, by_loop(function, members, x, weight, bias, own and members > 1, **options))


@pytest.mark.parametrize("own", [False, True])
def test_convolutions_of_few_pixels_do_not_form_weights(own):
    weight = weight_of(4, (40, 40, 3, 3), 2, True)
    x, bias = normal(8 if own else 2, 40, 3, 3), normal(4, 40)
    got = LOW_RANK_RULES[F.conv2d](Fold(4, 2, by_member=True), x, weight, bias, padding=1)
    assert_same(got, by_loop(F.conv2d, 4, x, weight, bias, own, padding=1))
    assert weight._formed is None


@given(
    pairs=st.integers(1, 3),
    antithetic=st.booleans(),
    rank=ranks,
    examples=sizes,
    steps=st.integers(0, 3),
    width=sizes,
    own=st.booleans(),
)
def test_embedding_at_every_size(pairs, antithetic, rank, examples, steps, width, own):
    members = pairs * (2 if antithetic else 1)
    weight = weight_of(members, (7, width), rank, antithetic)
    shape = (examples * (members if own else 1), *([steps] if steps else []))
    tokens = torch.randint(0, 7, shape, generator=torch.Generator().manual_seed(0))
    got = LOW_RANK_RULES[F.embedding](Fold(members, examples, by_member=True), tokens, weight)
    assert_same(got, by_loop(F.embedding, members, tokens, weight, None, own and members > 1))
    assert weight._formed is None


@pytest.mark.parametrize(("examples", "formed"), [(2, False), (64, True)])
def test_members_weights_are_formed_only_for_many_examples_of_their_own(examples, formed):
    fold, weight = Fold(4, examples, by_member=True), weight_of(4, (20, 20), 1, True)
    LOW_RANK_RULES[F.linear](fold, normal(examples, 20), weight)
    assert weight._formed is None
    LOW_RANK_RULES[F.linear](fold, normal(4 * examples, 20), weight)
    assert (weight._formed is not None) == formed


@pytest.mark.parametrize("function", [F.linear, F.conv2d])
def test_a_first_layer_costs_one_product_with_the_centre_and_one_thin_one_for_each_pair(function):
    shape, x = ((30, 50), normal(20, 50)) if function is F.linear else ((30, 5, 3, 3), normal(20, 5, 8, 8))
    weight, bias = weight_of(8, shape, 1, True), normal(8, 30)
    with FlopCounterMode(display=False) as centre:
        base = function(x, weight.base)
    with FlopCounterMode(display=False) as all_members:
        LOW_RANK_RULES[function](Fold(8, 20, by_member=True), x, weight, bias)
    thin = centre.get_total_flops() * 4 // 30  # the four pairs' filters, beside thirty
    wide = 2 * 8 * base.numel() * 2  # every member's result, from rank 1 and the bias
    # Sums without a product of matrices are not counted.
    assert all_members.get_total_flops() - centre.get_total_flops() - thin in (0, wide)
