"""PGPE with ClipUp: its update, its bounds, and functions that it climbs."""

from __future__ import annotations

import numpy as np
import pytest
from vector_games import SIZE, climbed, ellipsoid, sphere

from galab.errors import UsageError
from galab.strategies.pgpe import PGPE, TRAVEL

#: Of two generations; the same from EvoTorch 0.6.1 in float64, see tests/bench/test_peer_updates.py. The first meets
#: the bound of a step size, the second that of the speed.
OPTIONS = {"lr_centre": 0.3, "max_speed": 0.5, "momentum": 0.9, "lr_sigma": 0.5, "max_change": 0.2}
FITNESS = [[3.0, -1, 0.5, 2, -4, 1], [0, 5, 4, -2, 1, 3]]
CENTRES = [[0.8577291585, -2.2638098778, 0.5127810812], [0.5917439261, -2.6574417005, 0.6686843982]]
SIGMAS = [[0.5109896351, 0.4, 0.4901284867], [0.4846312754, 0.4180470849, 0.513800255]]


def made(population=40, **options):
    return PGPE(np.ones(SIZE, np.float32), run_key=3, population=population, sigma=0.5, **options)


def changes(strategy, generations=30):
    """(G, D) changes of the centre in each generation on a sphere."""
    centres = [strategy.centre.astype(np.float64)]
    for _ in range(generations):
        strategy.tell(sphere(strategy.ask()))
        centres.append(strategy.centre.astype(np.float64))
    return np.diff(centres, axis=0)


def test_an_update_is_that_of_other_libraries():
    strategy = PGPE(np.array([1, -2, 0.5], np.float32), run_key=7, population=6, sigma=0.5, **OPTIONS)
    for fitness, centre, sigma in zip(FITNESS, CENTRES, SIGMAS, strict=True):
        strategy.ask()
        strategy.tell(np.array(fitness))
        np.testing.assert_allclose(strategy.centre, centre, rtol=1e-6)
        np.testing.assert_allclose(strategy.sigma, sigma, rtol=1e-9)


def test_the_first_step_has_the_length_of_the_learning_rate():
    assert np.linalg.norm(changes(made(lr_centre=0.07), 1)) == pytest.approx(0.07, rel=1e-5)


def test_no_step_is_longer_than_the_maximum_speed():
    lengths = np.linalg.norm(changes(made(lr_centre=0.07, max_speed=0.1)), axis=1)
    assert lengths.max() == pytest.approx(0.1, rel=1e-5)


def test_the_maximum_speed_is_twice_the_learning_rate_unless_given():
    assert made(lr_centre=0.07).state_dict()["max_speed"] == 0.14


def test_in_a_planned_number_of_generations_the_speed_falls_to_zero():
    lengths = np.linalg.norm(changes(made(generations=20)), axis=1)
    speed = 2 * TRAVEL * 0.5 * SIZE**0.5 / 20
    assert lengths[0] == pytest.approx(speed / 2, rel=1e-5)
    most = speed * np.maximum(0, 1 - np.arange(30) / 20)
    assert (lengths <= most * (1 + 1e-5) + 1e-7).all()
    assert lengths[:20].all()
    assert not lengths[20:].any()


def test_what_is_said_comes_before_what_is_planned():
    state = made(generations=20, max_speed=0.1, lr_sigma=0.05).state_dict()
    assert (state["max_speed"], state["lr_centre"], state["lr_sigma"], state["generations"]) == (0.1, 0.05, 0.05, 20)
    assert made(generations=20, lr_centre=0.1).state_dict()["max_speed"] == 0.2
    assert (made(generations=20).state_dict()["lr_sigma"], made().state_dict()["lr_sigma"]) == (0.3, 0.1)
    assert "generations" not in made().state_dict(), "a state of before can be continued"
    with pytest.raises(UsageError, match="expected generations to be a number above 0"):
        made(generations=0)


def test_without_either_the_speed_follows_the_step_size():
    state = made().state_dict()
    assert state["max_speed"] == pytest.approx(0.5 * SIZE**0.5 / 15)
    assert state["lr_centre"] == pytest.approx(state["max_speed"] / 2)


def test_without_a_gradient_the_centre_follows_the_momentum():
    strategy = made(momentum=0.5)
    first = changes(strategy, 1)[0]
    before = strategy.centre.astype(np.float64)
    strategy.ask()
    strategy.tell(np.zeros(40))
    np.testing.assert_allclose(strategy.centre - before, 0.5 * first, atol=1e-6)


def test_step_sizes_change_by_no_more_than_their_bound():
    strategy = made(lr_sigma=10_000.0, max_change=0.1)
    strategy.tell(ellipsoid(strategy.ask()))
    np.testing.assert_allclose(np.unique(strategy.sigma.round(9)), [0.45, 0.55])


def test_it_climbs_a_sphere():
    assert climbed(made(lr_centre=0.02), sphere, 400) > -1e-2


def test_it_climbs_an_ellipsoid_and_steps_are_smallest_where_it_is_steepest():
    strategy = made(population=100, lr_centre=0.005, lr_sigma=0.3)
    start = float(ellipsoid(strategy.centre[None])[0])
    assert climbed(strategy, ellipsoid, 1000) > 1e-5 * start
    assert (np.diff(strategy.sigma) < 0).all()


@pytest.mark.parametrize(
    ("option", "value", "bounds"),
    [
        ("lr_centre", 0, "above 0 and below inf"),
        ("max_speed", -1.0, "above 0 and below inf"),
        ("momentum", 1.0, "from 0 and below 1"),
        ("lr_sigma", -0.1, "from 0 and below inf"),
        ("max_change", 1.0, "above 0 and below 1"),
    ],
)
def test_an_option_out_of_bounds_is_refused(option, value, bounds):
    with pytest.raises(UsageError, match=f"expected {option} to be a number {bounds}, got {value}"):
        made(**{option: value})
