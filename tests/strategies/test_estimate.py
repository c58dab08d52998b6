"""The estimate equals the sum over directions written out, and points along the gradient as well as the law says."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from evolution_games import CPU, LAYOUT, MATRICES, all_formed, directions_of

from galab.genome.weights import Layout
from galab.operators.es_noise import DenseNoise, Directions, Plan, cosine, one_sided_cosine, plan_of, variance
from galab.strategies.evolution import estimate, pair_weights, single_weights

MATRIX = Layout(("weight",), ((16, 64),))
RANKS = (1, 4, 16, None)
UPDATES = 30
SIGMA = 0.1


pytestmark = pytest.mark.usefixtures("one_thread")


def slope() -> torch.Tensor:
    """A gradient of full rank."""
    return torch.randn(16 * 64, generator=torch.Generator().manual_seed(2))


def flat(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.double().flatten() for part in parts.values()])


@pytest.mark.parametrize("rank", [1, 2, 3, None])
@pytest.mark.parametrize("count", [1, 7, 40])
def test_it_equals_the_sum_over_formed_directions(rank: int | None, count: int) -> None:
    directions = directions_of(plan_of(LAYOUT, rank, MATRICES))
    weights = np.random.Generator(np.random.Philox(1)).normal(size=count)
    found = estimate(directions, 4, weights, SIGMA, CPU)
    assert {name: tuple(part.shape) for name, part in found.items()} == dict(
        zip(LAYOUT.names, LAYOUT.shapes, strict=True)
    )
    expected = torch.from_numpy(weights) @ all_formed(directions, 4, count) / (count * SIGMA)
    torch.testing.assert_close(flat(found), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_it_does_not_depend_on_the_size_of_a_group() -> None:
    plan = plan_of(LAYOUT, 2, MATRICES)
    weights = np.random.Generator(np.random.Philox(1)).normal(size=300)
    found = []
    for group in (1, 8, 64, 4096):
        directions = directions_of(plan)
        directions.group = group
        found.append(flat(estimate(directions, 4, weights, SIGMA, CPU)))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-5, atol=1e-5)


def test_it_repeats_to_the_bit_with_and_without_what_evaluation_drew() -> None:
    plan = plan_of(LAYOUT, 2, MATRICES)
    weights = np.linspace(-1, 1, 50)
    fresh, warm = directions_of(plan), directions_of(plan)
    for _ in warm.between(4, 0, 50):
        pass
    assert torch.equal(flat(estimate(fresh, 4, weights, SIGMA, CPU)), flat(estimate(warm, 4, weights, SIGMA, CPU)))


def scores_along(
    directions: Directions, generation: int, count: int, gradient: torch.Tensor, bend: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fitness of plus and minus along directions, of a function with an even part where ``bend`` is not 0."""
    odd, squares = [], []
    for _, noise in directions.between(generation, 0, count):
        part = noise["weight"]
        if isinstance(part, DenseNoise):
            flat_part = part.values.flatten(1)
            odd.append(flat_part @ gradient)
            squares.append(flat_part.square().sum(1))
        else:
            # <g, A B^T> and |A B^T|^2 without forming the product.
            rank = part.a.shape[2]
            odd.append(((gradient.view(16, 64).t() @ part.a) * part.b).sum((1, 2)) / rank**0.5)
            squares.append(((part.a.mT @ part.a) * (part.b.mT @ part.b)).sum((1, 2)) / rank)
    along, even = SIGMA * torch.cat(odd), bend * SIGMA * torch.cat(squares)
    return (even + along).double().numpy(), (even - along).double().numpy()


@functools.cache
def cosines(rank: int | None, members: tuple[int, ...], *, bend: float = 0.0, alone: bool = False) -> dict[int, float]:
    """Mean cosine over many updates of a fitness that is linear, but for an even part."""
    plan = plan_of(MATRIX, rank, MATRIX.names)
    gradient = slope()
    found: dict[int, list[float]] = {count: [] for count in members}
    for update in range(1, UPDATES + 1):
        directions = directions_of(plan, seed=11)
        most = max(members) if alone else max(members) // 2
        plus, minus = scores_along(directions, update, most, gradient, bend)
        for count in members:
            if alone:
                weights = single_weights(plus[:count], 1)
            else:
                weights = pair_weights(np.stack([plus, minus], 1)[: count // 2].reshape(-1))
            guess = flat(estimate(directions, update, weights, SIGMA, CPU))
            found[count].append(float(torch.nn.functional.cosine_similarity(guess, gradient.double(), dim=0)))
    return {count: float(np.mean(values)) for count, values in found.items()}


def matrix_plan(rank: int | None) -> Plan:
    return plan_of(MATRIX, rank, MATRIX.names)


@pytest.mark.slow
@pytest.mark.parametrize("rank", RANKS)
def test_the_cosine_with_the_gradient_follows_the_law(rank: int | None) -> None:
    """The estimate of arXiv 2511.16652, from 128 to 8,192 members, at every rank and with dense noise."""
    for members, found in cosines(rank, (128, 512, 2048, 8192)).items():
        assert found == pytest.approx(cosine(variance(matrix_plan(rank)), members / 2), abs=0.02), members


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, None])
def test_single_members_follow_their_law(rank: int | None) -> None:
    for members, found in cosines(rank, (512, 2048), alone=True).items():
        assert found == pytest.approx(one_sided_cosine(variance(matrix_plan(rank)), members, 0.0), abs=0.02)
        paired = cosine(variance(matrix_plan(rank)), members / 2)
        assert found > paired + 0.04, "without an even part, twice the directions are better than pairs"


@pytest.mark.slow
@pytest.mark.parametrize("rank", [4, None])
def test_the_even_part_is_noise_to_single_members_and_nothing_to_pairs(rank: int | None) -> None:
    plan, bend = matrix_plan(rank), 1.0
    plus, minus = scores_along(directions_of(plan, seed=12), 1, 4096, slope(), bend)
    ratio = float(((plus + minus) / 2).var() / ((plus - minus) / 2).var())
    assert ratio > 1
    alone = cosines(rank, (2048,), bend=bend, alone=True)[2048]
    assert alone == pytest.approx(one_sided_cosine(variance(plan), 2048, ratio), abs=0.02)
    pairs = cosines(rank, (2048,), bend=bend)[2048]
    assert pairs == pytest.approx(cosine(variance(plan), 1024), abs=0.02)
    assert pairs > alone
