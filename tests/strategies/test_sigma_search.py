"""The search for a step size with common random numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from strategy_games import algorithm

from galab.contracts import Scores
from galab.errors import NoViableChildError
from galab.genome.births import from_rows
from galab.genome.step_sizes import sigma, snap
from galab.strategies.reproduction import expected_best

NAN = float("nan")


@pytest.mark.parametrize("children", [1, 2, 3])
def test_the_expected_best_is_the_mean_over_all_draws(children):
    gains = np.array([0.5, -1.0, 2.0, 2.0])
    by_hand = np.mean([max(draw) for draw in itertools.product(gains, repeat=children)])
    assert expected_best(gains, children) == pytest.approx(by_hand, abs=1e-12)


def test_failures_are_left_out_of_the_expectation_and_nobody_is_minus_infinity():
    assert expected_best(np.array([-np.inf, 3.0, 3.0]), 2) == pytest.approx(3.0)
    assert expected_best(np.array([-np.inf, -np.inf]), 2) == -np.inf
    # The more of them fail, the less the worse of the living counts.
    few, many = ([-np.inf] * failed + [0.0, 1.0] for failed in (0, 6))
    assert expected_best(np.array(few), 4) > expected_best(np.array(many), 4) > 0.5


def quadratic(ga, generations, *, distance=1.0, dimension=100):
    """Loss |w|^2 of children that move from a point at a distance; the step sizes that were chosen."""
    chosen, centre = [], np.zeros(dimension)
    centre[0] = distance
    for _ in range(generations):
        cohort = ga.ask()
        fitness = []
        for row, birth in enumerate(from_rows(cohort.births)):
            noise = np.random.Generator(np.random.Philox(birth.id - birth.argument)).standard_normal(dimension)
            step = noise * float(sigma(birth.log_sigma)) if row < cohort.children else 0.0
            fitness.append(-float(np.sum((centre + step) ** 2)))
        ga.tell(Scores(np.array(fitness)))
        if ga._restart is not None:
            chosen.append(float(sigma(ga._restart)))
    return chosen


def best_of_quadratic(children, distance, dimension):
    """The step size of a grid with the largest mean of the best gain -2 sigma distance z_1 - sigma^2 |z|^2."""
    grid = [0.02 * 2.0**octave for octave in range(-5, 4)]
    generator = np.random.Generator(np.random.Philox(99))
    noise = generator.standard_normal((2000, children, dimension))
    along, square = noise[..., 0], (noise**2).sum(axis=-1)
    gains = [(-2 * step * distance * along - step**2 * square).max(axis=1).mean() for step in grid]
    return grid[int(np.argmax(gains))]


def test_it_finds_the_best_step_size_of_a_quadratic():
    best = best_of_quadratic(64, 1.0, 100)
    (chosen,) = quadratic(algorithm(sigma_search=50, children=64, parents=1), 1)
    assert best in (0.01, 0.02, 0.04)  # 1.0 * expected best of 64 / 100 is 0.024
    assert chosen / best == pytest.approx(1.0, rel=0.01) or abs(np.log2(chosen / best)) == pytest.approx(1.0, abs=0.01)


def test_from_afar_it_goes_to_the_best_step_size():
    """The grid reaches five octaves down and three up; the best is 0.02 or its neighbour."""
    for start in (0.3, 0.004):
        ga = algorithm(sigma_search=50, children=64, parents=1, sigma=start)
        (chosen,) = quadratic(ga, 1)
        assert 0.01 < chosen < 0.045


def test_every_step_size_is_tried_with_the_same_noises_from_the_same_parents():
    ga = algorithm(sigma_search=3, children=6)
    cohort = ga.ask()
    born = from_rows(cohort.births[: cohort.children])
    assert cohort.births["id"][cohort.children :].tolist() == [0, 1, 2, 3]
    steps = list(dict.fromkeys(birth.log_sigma for birth in born))
    assert steps == [snap(0.02) + 256 * octave for octave in range(-5, 4)]
    for log_sigma in steps:
        tried = [(birth.id - birth.argument, birth.parents) for birth in born if birth.log_sigma == log_sigma]
        assert tried == [(birth.id, birth.parents) for birth in born[:6]]


def test_nobody_of_a_search_lives_on_and_its_step_size_is_where_the_next_children_start():
    ga = algorithm(sigma_search=3, children=6, step_size="fixed", sigma_floor=2**-24)
    cohort = ga.ask()
    gains = np.where(cohort.births["log_sigma"][:54] == snap(0.02) - 256, 1.0, 0.0)
    outcome = ga.tell(Scores(np.concatenate([gains, np.zeros(4)])))
    assert (ga.generation, len(outcome.records), outcome.parents.tolist()) == (1, 0, [0, 1, 2, 3])
    for generation in (2, 3):
        cohort = ga.ask()
        assert cohort.children == len(cohort.births) == 6
        assert set(cohort.births["log_sigma"].tolist()) == {snap(0.02) - 256}
        assert cohort.births["id"][0] == 4 + 54 + 6 * (generation - 2)
        ga.tell(Scores(np.arange(6.0)))
    assert ga.ask().children == 54


def test_where_no_gain_is_known_the_step_size_stays():
    ga = algorithm(sigma_search=3, children=6)
    ga.ask()
    ga.tell(Scores(np.array([1.0] * 54 + [NAN] * 4)))  # every parent failed
    assert ga._restart == snap(0.02)
    assert ga.parents.tolist() == [0, 1, 2, 3]


def test_a_search_in_which_every_probe_fails_stops():
    ga = algorithm(sigma_search=3, children=6)
    ga.ask()
    with pytest.raises(NoViableChildError, match="not one of 54 children"):
        ga.tell(Scores(np.array([NAN] * 54 + [1.0] * 4)))


def test_a_grid_ends_at_the_bounds():
    ga = algorithm(sigma_search=3, children=6, sigma_floor=0.015, sigma_ceiling=0.05)
    tried = sorted(set(ga.ask().births["log_sigma"][:-4].tolist()))
    assert tried == [snap(0.015), snap(0.02), snap(0.04), snap(0.05)]
