"""Planes, barriers and slopes of known surfaces; and permuted networks that are brought back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from galab.analysis.weight_space import (
    Layer,
    aligned,
    barrier,
    distance,
    permuted,
    principal_plane,
    slope_at_zero,
    symmetric_steps,
)


def test_a_plane_holds_the_points_that_lie_in_one() -> None:
    random = np.random.default_rng(1)
    axes = np.linalg.qr(random.normal(size=(30, 2)))[0].T
    points = 5.0 + random.normal(size=(12, 2)) @ (np.diag([3.0, 1.0]) @ axes)
    plane = principal_plane(points, origin=points[4])
    assert plane.distances(points).max() < 1e-9
    assert plane.axes @ plane.axes.T == pytest.approx(np.eye(2))
    assert plane.coordinates(points[4:5]).tolist() == [[0, 0]]
    where = plane.coordinates(points)  # lengths are kept: the axes are in weight units
    assert np.linalg.norm(where[3] - where[7]) == pytest.approx(np.linalg.norm(points[3] - points[7]))
    assert plane.points(where) == pytest.approx(points)
    values = np.linalg.svd(points - points.mean(0), compute_uv=False) ** 2
    assert plane.shares == pytest.approx(values[:2] / values.sum())


def test_points_on_a_line_and_one_point() -> None:
    line = principal_plane(np.outer([0.0, 1.0, 5.0], [0.6, 0.8]))
    assert line.shares.tolist() == pytest.approx([1, 0])
    assert line.axes[0].tolist() == pytest.approx([0.6, 0.8])  # towards the last
    assert not line.axes[1].any()
    assert not principal_plane(np.ones((3, 4))).axes.any()


def test_barriers() -> None:
    assert barrier([1.0, 2.0, 3.0]) == 0
    assert barrier([3.0, 0.0, 1.0]) == 0  # a valley between them
    assert barrier([1.0, 5.0, 3.0]) == 3
    assert barrier([1.0, np.nan, 3.0]) == np.inf


def test_steps_are_symmetric_and_give_the_slope() -> None:
    steps = symmetric_steps(2.0, 5)
    assert steps.tolist() == pytest.approx((-steps[::-1]).tolist())
    assert (steps[0], steps[5], steps[-1], len(steps)) == (-2, 0, 2, 11)
    assert slope_at_zero(steps, 7 + 3 * steps + steps**2) == pytest.approx(3)


def network(widths: tuple[int, ...], seed: int, biases: bool = True) -> list[Layer]:
    random = np.random.default_rng(seed)
    pairs = pairwise(widths)
    return [(random.normal(size=(m, n)), random.normal(size=m) if biases else None) for n, m in pairs]


def answer(layers: list[Layer], inputs: np.ndarray) -> np.ndarray:
    for number, (weights, biases) in enumerate(layers):
        inputs = inputs @ weights.T + (0 if biases is None else biases)
        inputs = np.tanh(inputs) if number + 1 < len(layers) else inputs
    return inputs


@pytest.mark.parametrize("widths", [(8, 16, 3), (8, 12, 10, 3), (6, 9, 9, 9, 2)])
@pytest.mark.parametrize("biases", [True, False])
def test_permuted_neurons_are_brought_back_exactly(widths: tuple[int, ...], biases: bool) -> None:
    first = network(widths, 1, biases)
    random = np.random.default_rng(2)
    second = permuted(first, [random.permutation(n) for n in widths[1:-1]])
    inputs = random.normal(size=(5, widths[0]))
    assert answer(second, inputs) == pytest.approx(answer(first, inputs))
    assert distance(first, second) > 1
    back = permuted(second, aligned(first, second))
    assert distance(first, back) == 0


def test_alignment_never_takes_networks_further_apart() -> None:
    for seed in range(5):
        first, second = network((5, 8, 8, 3), seed), network((5, 8, 8, 3), seed + 50)
        assert distance(first, permuted(second, aligned(first, second))) < distance(first, second)


def test_without_hidden_neurons_there_is_nothing_to_align() -> None:
    assert aligned(network((5, 3), 1), network((5, 3), 2)) == []
