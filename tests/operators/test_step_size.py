"""Rules that adapt step sizes, each against plain Python arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from galab.config.registry import STEP_SIZE_RULES
from galab.config.traits import CONTROLS
from galab.genome.random import Stream, codes, table
from galab.genome.step_sizes import GRANULARITIES, HIGHEST, LOWEST, PER_OCTAVE, Steps, snap
from galab.genome.weights import Layout
from galab.operators.step_size import Fixed, LogNormal, MeanReverting, SelfAdaptive, ThreePoint, predicted_spread

BIRTHS = range(1, 10_001)
START = snap(0.02)
LAYOUT = Layout(("0.weight", "0.bias", "1.weight", "1.bias"), ((5, 7), (5,), (3, 5), (3,)))
ONE = Steps(Layout(("w",), ((1,),)))
#: Nats in octaves.
NATS = 1 / math.log(2)
INHERITED_RULES = [name for name in STEP_SIZE_RULES.names() if name not in CONTROLS]


def one(rule, k: int, birth: int) -> int:
    return int(rule.mutate([np.array([k], dtype=np.int16)], birth, ONE)[0])


def octaves(rule) -> np.ndarray:
    return np.array([one(rule, START, birth) - START for birth in BIRTHS]) / PER_OCTAVE


def random_points(seed: int, size: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).integers(-3000, 500, size).astype(np.int16)


def normal(run_key: int, birth: int, place: int) -> np.float32:
    return table("normal").quantiles[codes(run_key, birth, Stream.STEP_SIZE, place + 1)[place]]


def moved(run_key: int, birth: int, place: int, rate: float, units: int) -> int:
    """A normal number times a rate in octaves, in whole units: one float32 product, half to even."""
    return round(float(normal(run_key, birth, place) * np.float32(rate * units)))


def without_columns_mean(fine: list[int], steps: Steps) -> list[int]:
    for group in steps.groups:
        if group.columns:
            part = fine[group.start : group.stop]
            fine[group.start : group.stop] = [value - sum(part) // len(part) for value in part]
    return fine


def to_points(fine: list[int]) -> list[int]:
    return [round(Fraction(value, 256)) for value in fine]


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
    exact = moved(7, 5, 0, 0.2, 65_536)
    assert one(LogNormal(7), START, 5) == round(Fraction(START * 256 + exact, 256))


@pytest.mark.parametrize(("rate", "factor"), [(None, 1.05), (math.log2(1.3), 1.3), (1.0, 2.0)])
def test_the_three_point_rule_divides_keeps_or_multiplies_with_equal_odds(rate, factor):
    moves = octaves(ThreePoint(7, rate))
    values, counts = np.unique(moves, return_counts=True)
    np.testing.assert_allclose(values, [-math.log2(factor), 0, math.log2(factor)], atol=0.51 / PER_OCTAVE)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_three_point_steps_down_may_have_a_size_of_their_own():
    assert set(octaves(ThreePoint(7, 1.0, 0.25))) == {-0.25, 0.0, 1.0}


@pytest.mark.parametrize(("rate", "most"), [(None, 1.0), (0.5, 0.5)])
def test_samr_is_uniform_in_the_logarithm(rate, most):
    moves = octaves(SelfAdaptive(7, rate))
    assert -most <= moves.min() < -0.99 * most
    assert 0.99 * most < moves.max() <= most
    assert stats.kstest(moves, stats.uniform(-most, 2 * most).cdf).pvalue > 1e-3


@pytest.mark.parametrize("granularity", GRANULARITIES[1:])
def test_log_normal_step_sizes_are_what_the_textbook_says(granularity):
    steps = Steps(LAYOUT, granularity)
    size = steps.size
    parent = random_points(1, size)
    local, shared = NATS / math.sqrt(2 * math.sqrt(size)), NATS / math.sqrt(2 * size)
    both = moved(3, 11, size, shared, 65_536)
    fine = [int(k) * 256 + moved(3, 11, place, local, 65_536) + both for place, k in enumerate(parent.tolist())]
    assert LogNormal(3).mutate([parent], 11, steps).tolist() == to_points(without_columns_mean(fine, steps))
    # A rate that is given replaces the local one alone.
    fine = [int(k) * 256 + moved(3, 11, place, 0.25, 65_536) + both for place, k in enumerate(parent.tolist())]
    assert LogNormal(3, 0.25).mutate([parent], 11, steps).tolist() == to_points(without_columns_mean(fine, steps))


@pytest.mark.parametrize("granularity", GRANULARITIES[1:])
def test_three_point_and_samr_step_sizes_each_have_a_coin(granularity):
    steps = Steps(LAYOUT, granularity)
    parent = random_points(2, steps.size)
    drawn = codes(3, 11, Stream.STEP_SIZE, steps.size).tolist()
    up = round(0.3 * 65_536)
    fine = [k * 256 + (-up, 0, up)[code * 3 // 65_536] for k, code in zip(parent.tolist(), drawn, strict=True)]
    assert ThreePoint(3, 0.3).mutate([parent], 11, steps).tolist() == to_points(without_columns_mean(fine, steps))
    fine = [
        k * 256 + round(float(np.float32((code + 0.5) / 32_768 - 1) * np.float32(0.3 * 65_536)))
        for k, code in zip(parent.tolist(), drawn, strict=True)
    ]
    assert SelfAdaptive(3, 0.3).mutate([parent], 11, steps).tolist() == to_points(without_columns_mean(fine, steps))


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("parents", [1, 2, 3])
@pytest.mark.parametrize(("rate", "reversion"), [(None, 0.01), (0.05, 0.05), (1.0, 0.0), (8.0, 0.05)])
def test_mean_reverting_step_sizes_are_what_plain_arithmetic_says(granularity, parents, rate, reversion):
    steps = Steps(LAYOUT, granularity)
    size = steps.size
    inherited = [random_points(seed, size) for seed in range(parents)]
    local = 0.3 * NATS / math.sqrt(2 * math.sqrt(size)) if rate is None else rate
    share, units = round(reversion * 65_536), 256 * 65_536
    expected = [0] * size
    for place, group in enumerate(steps.groups):
        total = [sum(int(each[i]) for each in inherited) for i in range(group.start, group.stop)]
        fine = [
            math.floor(Fraction(value * (65_536 - share), parents) + Fraction(1, 2)) + moved(3, 11, i, local, units)
            for i, value in enumerate(total, group.start)
        ]
        if group.columns:
            shift = -(sum(fine) // len(fine))
        else:
            shift = share * sum(total) // (parents * len(total)) + moved(3, 11, size + place, 0.1 * NATS, units)
        expected[group.start : group.stop] = [(value + shift + 32_768) // 65_536 for value in fine]
    found = MeanReverting(3, rate, reversion).mutate(inherited, 11, steps)
    assert found.tolist() == expected


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_the_ends_of_the_range_do_not_overflow(granularity):
    steps = Steps(LAYOUT, granularity)
    ends = np.where(np.arange(steps.size) % 2, LOWEST, HIGHEST).astype(np.int16)
    for name in INHERITED_RULES:
        found = STEP_SIZE_RULES.load(name)(5, 0.001).mutate([ends], 3, steps)
        rows = np.concatenate([np.arange(group.start, group.stop) for group in steps.groups if not group.columns])
        assert np.abs(found[rows].astype(int) - ends[rows]).max() < 0.08 * (HIGHEST - LOWEST)


@pytest.mark.parametrize("rule", [LogNormal(3, 0.02), ThreePoint(3, 0.01)])
def test_unselected_step_sizes_do_not_drift(rule):
    ends, births = [], iter(range(100, 10**6))
    for _ in range(100):
        log_sigma = START
        for _ in range(100):
            log_sigma = one(rule, log_sigma, next(births))
        ends.append(log_sigma - START)
    assert abs(np.mean(ends)) < 5 * np.std(ends) / math.sqrt(len(ends))
    assert np.std(ends) > 10  # a dead zone around the parent's value would stop them


@pytest.mark.parametrize("rule", [LogNormal(3, 0.004), ThreePoint(3, 0.01)])
def test_ten_thousand_births_in_a_row_do_not_drift(rule):
    steps = Steps(Layout(("w",), ((400,),)), "parameter")
    log_sigma = np.full(400, START, dtype=np.int16)
    for birth in range(10_000):
        log_sigma = steps.clip(rule.mutate([log_sigma], birth, steps))
    # All of them share a term under the log-normal rule, so its standard deviation is the error of the mean.
    moves = log_sigma.astype(int) - START
    shared = PER_OCTAVE * NATS / math.sqrt(800) * 100 if isinstance(rule, LogNormal) else 0.0
    assert abs(moves.mean()) < 4 * math.hypot(shared, moves.std() / 20)
    assert moves.std() > 25


@pytest.mark.parametrize("rule", [LogNormal, ThreePoint, MeanReverting, SelfAdaptive])
def test_key_and_birth_decide_the_coin(rule):
    def shifts(key, start=START):
        return [one(rule(key), start, birth) - start for birth in range(50)]

    assert shifts(7) == shifts(7)
    assert shifts(7) != shifts(8)
    # Only halves could round differently, and these starts are all even or all odd.
    if rule is not MeanReverting:
        assert shifts(7) == shifts(7, START + 512) == shifts(7, START - 5000)


def test_golden_step_sizes_never_change():
    assert [one(LogNormal(2024), START, birth) for birth in range(8)] == GOLDEN_LOG_NORMAL
    assert [one(ThreePoint(2024), START, birth) for birth in range(8)] == GOLDEN_THREE_POINT
    steps = Steps(LAYOUT, "row-column")
    found = MeanReverting(2024).mutate([random_points(5, steps.size)], 1_000_003, steps)
    assert found[:10].tolist() == GOLDEN_MEAN_REVERTING


@pytest.mark.parametrize("name", INHERITED_RULES)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_every_registered_rule_keeps_the_contract(name, granularity):
    steps = Steps(LAYOUT, granularity)
    for rate in (None, 0.1):
        rule = STEP_SIZE_RULES.load(name)(5, rate)
        for count in (1, 2, 4):
            parents = [random_points(seed, steps.size) for seed in range(count)]
            kept = [parent.copy() for parent in parents]
            first = rule.mutate(parents, 9, steps)
            assert first.shape == (steps.size,)
            assert first.dtype in (np.int16, np.int32)
            # The same again from another object, after other work; nobody's memory is shared or written to.
            held = first.copy()
            again = STEP_SIZE_RULES.load(name)(5, rate)
            again.mutate(parents, 10, steps)
            assert np.array_equal(again.mutate(parents, 9, steps), first)
            assert np.array_equal(first, held)
            assert all(np.array_equal(parent, copy) for parent, copy in zip(parents, kept, strict=True))
            assert not any(np.shares_memory(first, parent) for parent in parents)


@given(points=st.lists(st.integers(LOWEST, HIGHEST), min_size=1, max_size=4))
def test_a_fixed_child_of_several_has_their_mean_to_the_nearest(points):
    found = Fixed(1).mutate([np.array([k], dtype=np.int16) for k in points], 1, ONE)[0]
    assert abs(found - Fraction(sum(points), len(points))) <= Fraction(1, 2) + Fraction(1, 512)


def test_the_predicted_spread_is_that_of_an_autoregression():
    assert predicted_spread(0.0172, 0.01) == pytest.approx(0.0172 / math.sqrt(1 - 0.99**2))


GOLDEN_LOG_NORMAL = [-1493, -1523, -1494, -1492, -1376, -1429, -1416, -1407]
GOLDEN_THREE_POINT = [-1463, -1463, -1463, -1463, -1427, -1445, -1427, -1427]
GOLDEN_MEAN_REVERTING = [-8, -14, -2490, 241, -192, 231, 888, -711, -1120, 559]
