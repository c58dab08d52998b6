"""Rules that adapt the step size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from galab.genome.noise import Stream, codes, table
from galab.genome.sigma import PER_OCTAVE, snap
from galab.mutation.step_size import Fixed, LogNormal, ThreePoint
from galab.registry import STEP_SIZE_RULES

BIRTHS = range(1, 10_001)
START = snap(0.02)


def octaves(rule) -> np.ndarray:
    return np.array([rule.mutate(START, birth) - START for birth in BIRTHS]) / PER_OCTAVE


def test_a_fixed_step_size_never_changes():
    assert not octaves(Fixed(7)).any()
    assert not octaves(Fixed(7, 0.5)).any()


@pytest.mark.parametrize(("rate", "expected"), [(None, 0.2), (0.05, 0.05), (1.0, 1.0)])
def test_the_log_normal_rule_spreads_by_its_rate_in_octaves(rate, expected):
    moves = octaves(LogNormal(7, rate))
    error = expected / math.sqrt(len(moves))
    assert abs(moves.std() - expected) < 5 * error / math.sqrt(2) + 1 / PER_OCTAVE**2
    assert abs(moves.mean()) < 5 * error
    assert stats.kurtosis(moves) == pytest.approx(0, abs=5 * math.sqrt(24 / len(moves)))


def test_the_log_normal_rule_rounds_once():
    z = table("normal").quantiles[codes(7, 5, Stream.STEP_SIZE, 1)[0]]
    exact = float(np.float32(0.2 * 65_536) * z)
    assert LogNormal(7).mutate(START, 5) == round((START * 256 + round(exact)) / 256)


@pytest.mark.parametrize(("rate", "factor"), [(None, 1.05), (math.log2(1.3), 1.3), (1.0, 2.0)])
def test_the_three_point_rule_divides_keeps_or_multiplies_with_equal_odds(rate, factor):
    moves = octaves(ThreePoint(7, rate))
    values, counts = np.unique(moves, return_counts=True)
    np.testing.assert_allclose(values, [-math.log2(factor), 0, math.log2(factor)], atol=0.51 / PER_OCTAVE)
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("rule", [LogNormal(3, 0.02), ThreePoint(3, 0.01)])
def test_unselected_step_sizes_do_not_drift(rule):
    ends, births = [], iter(range(100, 10**6))
    for _ in range(100):
        log_sigma = START
        for _ in range(100):
            log_sigma = rule.mutate(log_sigma, next(births))
        ends.append(log_sigma - START)
    assert abs(np.mean(ends)) < 5 * np.std(ends) / math.sqrt(len(ends))
    assert np.std(ends) > 10  # a dead zone around the parent's value would stop them


@pytest.mark.parametrize("rule", [LogNormal, ThreePoint])
def test_key_and_birth_decide_the_coin(rule):
    def shifts(key, start=START):
        return [rule(key).mutate(start, birth) - start for birth in range(50)]

    assert shifts(7) == shifts(7)
    assert shifts(7) != shifts(8)
    # Only halves could round differently, and these starts are all even or all odd.
    assert shifts(7) == shifts(7, START + 512) == shifts(7, START - 5000)


def test_golden_step_sizes_never_change():
    assert [LogNormal(2024).mutate(START, birth) for birth in range(8)] == GOLDEN_LOG_NORMAL
    assert [ThreePoint(2024).mutate(START, birth) for birth in range(8)] == GOLDEN_THREE_POINT


@pytest.mark.parametrize("name", STEP_SIZE_RULES.names())
def test_every_registered_rule_gives_whole_grid_points(name):
    for rate in (None, 0.1):
        rule = STEP_SIZE_RULES.load(name)(5, rate)
        assert all(type(rule.mutate(START, birth)) is int for birth in range(20))


GOLDEN_LOG_NORMAL = [-1493, -1523, -1494, -1492, -1376, -1429, -1416, -1407]
GOLDEN_THREE_POINT = [-1463, -1463, -1463, -1463, -1427, -1445, -1427, -1427]
