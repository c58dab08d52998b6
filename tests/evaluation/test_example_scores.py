"""What is computed example by example, against plain torch and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from galab.evaluation.fitness import ANSWERS, EXAMPLE_SCORES, ExampleScores

P, B, C = 5, 60, 7


@pytest.fixture
def outputs() -> torch.Tensor:
    return 2 * torch.randn(P, B, C, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def targets() -> torch.Tensor:
    return torch.arange(B) % C


@pytest.fixture
def coins() -> torch.Tensor:
    return (torch.randint(0, 65536, (B,), generator=torch.Generator().manual_seed(1)) + 0.5) / 65536


def oracle(base: str, outputs: torch.Tensor, target: int, coin: float) -> float:
    """What one member makes of one example, in float64."""
    probabilities = outputs.double().softmax(0)
    if base == "cross-entropy":
        return -float(functional.cross_entropy(outputs.double(), torch.tensor(target)))
    if base == "expected-accuracy":
        return float(probabilities[target])
    if base == "sampled-accuracy":
        answer, total = 0, float(probabilities[0])
        while coin >= total:
            answer += 1
            total += float(probabilities[answer])
        return float(answer == target)
    return float(int(outputs.argmax()) == target)


@pytest.mark.parametrize("base", EXAMPLE_SCORES)
def test_a_score_is_what_plain_torch_says(base, outputs, targets, coins):
    before = outputs.clone()
    found = EXAMPLE_SCORES[base](outputs, targets, coins)
    assert found.dtype == torch.float32
    assert torch.equal(outputs, before)
    expected = [
        [oracle(base, outputs[member, place], int(targets[place]), float(coins[place])) for place in range(B)]
        for member in range(P)
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert len(np.unique(found.numpy())) > 1


def test_coins_are_shared_by_all_members(outputs, targets, coins):
    twins = outputs[:1].expand(P, B, C)
    found = EXAMPLE_SCORES["sampled-accuracy"](twins, targets, coins)
    assert torch.equal(found, found[:1].expand(P, B))


def test_every_coin_draws_exactly_one_class():
    """Also one that the sum of the rounded probabilities does not exceed."""
    outputs = torch.randn(1, 1, 1000, generator=torch.Generator().manual_seed(0))
    for coin in (0.5 / 65536, 0.5, 65535.5 / 65536, 1.0):
        right = [
            float(EXAMPLE_SCORES["sampled-accuracy"](outputs, torch.tensor([target]), torch.tensor([coin]))[0, 0])
            for target in range(1000)
        ]
        assert sum(right) == 1


def test_drawn_answers_are_right_as_often_as_the_softmax_says(outputs, targets):
    expected = EXAMPLE_SCORES["expected-accuracy"](outputs, targets, None).double()
    draws = 2000
    random = torch.Generator().manual_seed(2)
    total = torch.zeros(P, B, dtype=torch.float64)
    for _ in range(draws):
        total += EXAMPLE_SCORES["sampled-accuracy"](outputs, targets, torch.rand(B, generator=random))
    error = (expected * (1 - expected) / draws).sqrt()
    assert ((total / draws - expected).abs() <= 5 * error + 1e-6).all()


@pytest.mark.parametrize("base", ["cross-entropy", "expected-accuracy", "sampled-accuracy"])
def test_a_nan_stays_with_its_member_and_example(base, outputs, targets, coins):
    clean = EXAMPLE_SCORES[base](outputs, targets, coins)
    outputs[2, 7, 3] = torch.nan
    found = EXAMPLE_SCORES[base](outputs, targets, coins)
    assert found.isnan().nonzero().tolist() == [[2, 7]]
    assert torch.equal(found.nan_to_num(9), clean.index_put((torch.tensor(2), torch.tensor(7)), torch.tensor(9.0)))


def test_huge_outputs_are_certain_answers():
    outputs, targets = torch.tensor([[[1e30, -1e30], [-200.0, 200.0]]]), torch.tensor([0, 0])
    for base in ("expected-accuracy", "sampled-accuracy"):
        assert EXAMPLE_SCORES[base](outputs, targets, torch.tensor([0.5, 0.5])).tolist() == [[1.0, 0.0]]


def test_blocks_take_their_own_coins_and_give_the_same(outputs, targets, coins):
    each = ExampleScores(["sampled-accuracy", "accuracy"], answers=True, coins=coins)
    whole = each(outputs, targets, 0)
    assert list(whole) == ["sampled-accuracy", "accuracy", ANSWERS]
    for start in range(0, B, 16):
        part = each(outputs[:, start : start + 16], targets[start : start + 16], start)
        assert all(torch.equal(part[name], whole[name][:, start : start + 16]) for name in whole)


def test_answers_are_the_first_of_equal_maxima_and_need_no_classes():
    outputs = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]]])
    found = ExampleScores([], answers=True)(outputs, torch.tensor([0.5, 0.5]), 0)
    assert {name: values.tolist() for name, values in found.items()} == {ANSWERS: [[0, 1]]}
