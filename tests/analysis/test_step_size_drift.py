"""Step sizes that nobody selects: bounded under the mean-reverting rule, growing for ever under the log-normal one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from galab.analysis.step_size import drift, with_rounding
from galab.operators.step_size import Fixed, LogNormal, MeanReverting, ThreePoint, predicted_spread

GENERATIONS = 10_000
SIZE = 1_000


@pytest.mark.slow
def test_over_ten_thousand_generations_the_mean_reverting_spread_stays_at_its_prediction():
    """Within 2 %: deviations are forgotten in 1/r = 100 births, so there are about 95 independent looks at S numbers.

    The error of their mean is 1/sqrt(2 * 1,000 * 95) = 0.23 %. Rounding to the grid adds 0.02 % here (local is 13.9
    grid steps, and (1/12) / 13.9^2 / 2 = 0.0002); at 100,000 step sizes it would add 0.2 %.
    """
    rule = MeanReverting(7)
    found = drift(rule, SIZE, GENERATIONS, every=10)
    settled = found.spread[found.generations > 500]
    expected = predicted_spread(with_rounding(rule.local(SIZE)), 0.01)
    assert expected / predicted_spread(rule.local(SIZE), 0.01) == pytest.approx(1.0002, abs=1e-4)
    assert np.mean(settled) == pytest.approx(expected, rel=0.02)
    assert np.mean(settled[-100:]) == pytest.approx(expected, rel=0.05)
    assert 0.8 * expected < settled.min() < settled.max() < 1.2 * expected
    # The mean of the layer walks freely, by 0.1 nats per birth.
    steps = np.diff(found.mean)
    assert steps.std() == pytest.approx(0.1 / math.log(2) * math.sqrt(10), rel=0.1)


@pytest.mark.slow
def test_the_log_normal_spread_grows_with_the_root_of_the_generations():
    rule = LogNormal(7)
    found = drift(rule, SIZE, GENERATIONS, every=100)
    expected = rule.local(SIZE) * np.sqrt(found.generations)
    np.testing.assert_allclose(found.spread, expected, rtol=5 / math.sqrt(2 * SIZE))
    assert found.spread[-1] > 15


@pytest.mark.parametrize("reversion", [0.002, 0.05])
@pytest.mark.parametrize("rate", [0.005, 0.3])
def test_rate_and_reversion_say_where_the_spread_settles(rate, reversion):
    found = drift(MeanReverting(3, rate, reversion), 4_000, round(6 / reversion), every=1)
    settled = found.spread[found.generations > 3 / reversion]
    assert np.mean(settled) == pytest.approx(predicted_spread(with_rounding(rate), reversion), rel=0.04)


def test_rounding_matters_where_steps_are_as_small_as_the_grid():
    """A step of one grid step walks as predicted, because one rounding leaves no dead zone around the parent."""
    rate = 1 / 256
    found = drift(MeanReverting(3, rate, 0.05), 4_000, 300)
    plain, rounded = predicted_spread(rate, 0.05), predicted_spread(with_rounding(rate), 0.05)
    assert rounded / plain == pytest.approx(math.sqrt(13 / 12))
    assert np.mean(found.spread[100:]) == pytest.approx(rounded, rel=0.02)


def test_a_look_is_taken_every_so_many_births():
    found = drift(Fixed(1), 5, 23, every=10)
    assert found.generations.tolist() == [10, 20]
    assert found.spread.tolist() == found.mean.tolist() == [0, 0]
    three = drift(ThreePoint(1, 1.0), 300, 1)
    assert three.spread[0] == pytest.approx(math.sqrt(2 / 3), rel=0.1)
    assert abs(three.mean[0]) < 0.2
