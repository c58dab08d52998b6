"""SNES: its update, its utilities, and functions that it climbs."""

from __future__ import annotations

import numpy as np
import pytest
from vector_games import SIZE, climbed, ellipsoid, sphere

from galab.errors import UsageError
from galab.strategies.snes import SNES, by_rank, utilities

#: Of two generations; the same from evosax 0.3.2 and EvoTorch 0.6.1 in float64, see tests/bench/test_peer_updates.py.
FITNESS = [[3.0, -1, 0.5, 2, -4, 1], [0, 5, 4, -2, 1, 3]]
CENTRES = [[0.6804060102, -2.3350300823, 0.5636832027], [0.4289469722, -2.6171915406, 0.8591922932]]
SIGMAS = [[0.5267064681, 0.3879783523, 0.4665431509], [0.7268878216, 0.2872232005, 0.3877863671]]


def made(**options):
    return SNES(np.ones(SIZE, np.float32), run_key=3, population=40, sigma=0.5, **options)


def test_an_update_is_that_of_other_libraries():
    strategy = SNES(np.array([1, -2, 0.5], np.float32), run_key=7, population=6, sigma=0.5)
    for fitness, centre, sigma in zip(FITNESS, CENTRES, SIGMAS, strict=True):
        strategy.ask()
        strategy.tell(np.array(fitness))
        np.testing.assert_allclose(strategy.centre, centre, rtol=1e-6)
        np.testing.assert_allclose(strategy.sigma, sigma, rtol=1e-9)


def test_mirrored_members_move_it_by_the_same_rule():
    strategy = made(mirrored=True)
    noise = (strategy.ask().astype(np.float64) - 1) / 0.5
    fitness = np.random.default_rng(0).standard_normal(40)
    strategy.tell(fitness)
    weights = by_rank(utilities(40), fitness)
    rate = (3 + np.log(SIZE)) / (5 * np.sqrt(SIZE))
    np.testing.assert_allclose(strategy.centre, 1 + 0.5 * weights @ noise, rtol=1e-6)
    np.testing.assert_allclose(strategy.sigma, 0.5 * np.exp(rate / 2 * weights @ (noise**2 - 1)), rtol=1e-6)


def test_utilities_of_four_members():
    raw = np.log(3) - np.log([1, 2, 3, 4])
    expected = np.maximum(raw, 0) / np.maximum(raw, 0).sum() - 0.25
    np.testing.assert_allclose(utilities(4), expected, rtol=1e-12)


def test_equal_fitness_shares_the_mean_of_its_values():
    shared = by_rank(np.array([8.0, 4.0, 2.0, 1.0]), np.array([5.0, 7.0, 5.0, 6.0]))
    np.testing.assert_array_equal(shared, [1.5, 8.0, 1.5, 4.0])


@pytest.mark.parametrize("mirrored", [False, True])
def test_it_climbs_a_sphere(mirrored):
    assert climbed(made(mirrored=mirrored), sphere, 200) > -1e-6


@pytest.mark.parametrize("mirrored", [False, True])
def test_it_climbs_an_ellipsoid_and_steps_are_smallest_where_it_is_steepest(mirrored):
    strategy = made(mirrored=mirrored)
    assert climbed(strategy, ellipsoid, 300) > -1e-6
    ranks = np.argsort(np.argsort(strategy.sigma))
    assert np.corrcoef(ranks, np.arange(SIZE))[0, 1] < -0.95


@pytest.mark.parametrize("option", ["lr_centre", "lr_sigma"])
def test_a_learning_rate_of_nothing_is_refused(option):
    with pytest.raises(UsageError, match=f"expected {option} to be a number above 0 and below inf, got 0"):
        made(**{option: 0})
