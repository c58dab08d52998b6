"""Linear ranking and the roulette wheel."""

from __future__ import annotations

import logging
from fractions import Fraction

import numpy as np
import pytest
from fields import assert_drawn_by, exact_sets, field, fields, frequencies
from hypothesis import given
from hypothesis import strategies as st

from galab.errors import UsageError
from galab.operators import selection
from galab.operators.selection import LinearRanking, Proportional


def wheel(weights):
    """Chances of the next place in proportion to weights; even where all that are left weigh nothing."""

    def chances(left):
        total = sum(weights[member] for member in left)
        return {member: weights[member] / total if total else Fraction(1, len(left)) for member in left}

    return chances


@pytest.mark.slow
@pytest.mark.parametrize("pressure", [1.0, 1.25, 1.5, 2.0])
@pytest.mark.parametrize("count", [1, 3])
def test_linear_ranking_gives_bakers_chances(pressure, count):
    slope = 2 * Fraction(pressure) - 2
    weights = {place: Fraction(pressure) - slope * (4 - place) / 4 for place in range(5)}
    assert sum(weights.values()) == 5
    assert weights[4] == Fraction(pressure)
    counts = frequencies(LinearRanking(pressure), count, 4000, np.arange(5.0))
    assert_drawn_by(counts, exact_sets(range(5), count, wheel(weights)))


def test_under_pressure_two_the_worst_comes_last():
    for generation in range(300):
        assert 0 not in LinearRanking(2.0)(field(np.arange(6.0), generation=generation), 5)


@pytest.mark.slow
@given(competitors=fields(), count=st.integers(0, 12))
def test_ranking_ignores_scale_and_offset(competitors, count):
    squeezed = np.full(len(competitors.ids), np.nan)
    squeezed[competitors.order] = -np.arange(len(competitors.order)) * 1e-6 - 1e6
    other = field(squeezed, competitors.ids, run_key=competitors.run_key, generation=competitors.generation,
                  island=competitors.island)
    assert LinearRanking()(other, count).tolist() == LinearRanking()(competitors, count).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("fitness", [[-4.0, -3.0, -1.0, 0.0], [1e6, 1e6 + 1, 1e6 + 3, 1e6 + 4]])
@pytest.mark.parametrize("count", [1, 2])
def test_the_wheel_is_measured_from_the_worst(fitness, count):
    weights = {place: Fraction(fitness[place] - fitness[0]) for place in range(4)}
    counts = frequencies(Proportional(), count, 4000, fitness)
    assert_drawn_by(counts, exact_sets(range(4), count, wheel(weights)))


def test_the_worst_fill_up_evenly_when_nobody_else_is_left():
    counts = frequencies(Proportional(), 2, 3000, [0.0, 5.0, 0.0, 0.0])
    assert_drawn_by(counts, {(1, other) if other > 1 else (other, 1): Fraction(1, 3) for other in (0, 2, 3)})


def test_an_outlier_takes_most_of_the_wheel_but_not_of_the_ranking():
    fitness = [0.0, 0.5, 1.0, 1000.0]
    wins = {rule: frequencies(rule, 1, 1000, fitness)[(3,)] for rule in (Proportional(), LinearRanking())}
    assert wins[Proportional()] > 990
    assert wins[LinearRanking()] == pytest.approx(375, abs=5 * 15.3)


@pytest.mark.parametrize("fitness", [[-1.7e308, 1.7e308, 0.0], [0.0, 5e-324, 5e-324], [-0.0, 0.0, 0.0]])
def test_extreme_numbers_do_not_break_the_wheel(fitness):
    found = {tuple(Proportional()(field(fitness, generation=generation), 1).tolist()) for generation in range(50)}
    assert len(found) > 1
    with np.errstate(all="raise"):
        LinearRanking()(field(fitness), 2)


def test_the_dependence_on_scale_is_said_once(caplog):
    selection._warn.cache_clear()
    with caplog.at_level(logging.WARNING, logger="galab"):
        LinearRanking()(field([1.0, 2.0]), 1)
        assert not caplog.records
        for _ in range(3):
            Proportional()(field([1.0, 2.0]), 1)
    assert len(caplog.records) == 1
    assert "scale and offset" in caplog.text


@pytest.mark.parametrize("pressure", [0.99, 2.01, float("nan")])
def test_impossible_pressures_are_refused(pressure):
    with pytest.raises(UsageError, match="expected a selection pressure from 1 to 2"):
        LinearRanking(pressure)
