"""The oracle on a quadratic: the best step size for the expected maximum, and what a collapse is."""

from __future__ import annotations

import numpy as np
import pytest

from galab.analysis.step_size import Moment, collapse, interpolated, moment_of_estimates, moment_of_mutations

SIGMAS = [2.0**power for power in range(-8, 3)]


@pytest.mark.slow
def test_a_sphere_has_the_step_size_of_the_expected_maximum() -> None:
    # f(w) = -|w|^2 / 2 at distance R in D dimensions: the change is -sigma R z_1 - sigma^2 |z|^2 / 2, in high dimension
    # sigma R e_n - sigma^2 D / 2, whose best sigma is R e_n / D, with e_n the expected maximum of n normals.
    random, dims, distance, count = np.random.default_rng(0), 400, 20.0, 16
    z = random.standard_normal((4096, dims))
    change = np.stack([-s * distance * z[:, 0] - s**2 * (z**2).sum(axis=1) / 2 for s in SIGMAS])
    found = moment_of_mutations(3, SIGMAS, change, count)
    exact = distance * 1.76599 / dims  # 0.0883: the grid's nearest are 1/16 and 1/8
    assert found.sigma in (1 / 16, 1 / 8)
    fine = [exact * factor for factor in (0.5, 0.8, 1.0, 1.25, 2.0)]
    close = np.stack([-s * distance * z[:, 0] - s**2 * (z**2).sum(axis=1) / 2 for s in fine])
    assert 0.8 * exact <= moment_of_mutations(3, fine, close, count).sigma <= 1.25 * exact
    assert found.worth == pytest.approx(distance * found.sigma * 1.76599 - found.sigma**2 * dims / 2, rel=0.1)


def test_estimates_are_judged_by_their_cosine() -> None:
    gradient = np.array([1.0, 0.0])
    estimates = np.array([[1.0, 0.1], [1.0, 0.2], [0.0, 1.0]])
    found = moment_of_estimates(1, [0.1, 0.2, 0.4], estimates, gradient)
    np.testing.assert_allclose(found.values, [1 / np.hypot(1, 0.1), 1 / np.hypot(1, 0.2), 0])
    assert (found.sigma, found.low, found.high) == (0.2, 0.1, 0.2)
    assert np.isnan(moment_of_estimates(1, [0.1], np.zeros((1, 2)), gradient).sigma)


def test_ties_everywhere_have_no_best() -> None:
    assert np.isnan(moment_of_mutations(0, SIGMAS, np.zeros((len(SIGMAS), 32)), 4).sigma)


def test_too_few_samples_have_a_best_and_no_interval() -> None:
    change = np.outer([1.0, 3.0, 2.0], np.random.default_rng(1).standard_normal(31))
    few, enough = (moment_of_mutations(0, [0.1, 0.2, 0.4], change, count) for count in (4, 3))
    assert (few.sigma, enough.sigma, enough.low, enough.high) == (0.2, 0.2, 0.2, 0.2)
    assert np.isnan([few.low, few.high]).all()


def moment(generation: int, sigma: float) -> Moment:
    return Moment(generation, sigma, sigma, sigma, 1.0, np.array([sigma]), np.array([1.0]))


def test_a_collapse_is_seen_and_timed() -> None:
    generations = np.arange(1, 101)
    actual = np.where(generations > 60, 0.001, 0.1)
    moments = [moment(1, 0.1), moment(50, 0.1), moment(100, 0.1), moment(70, np.nan)]
    found = collapse(generations, actual, moments, floor_share=np.where(generations > 90, 1.0, 0.0))
    assert found.collapsed == pytest.approx(0.4)
    assert found.longest == 40
    assert found.at_floor == pytest.approx(0.1)
    assert found.ratio == pytest.approx(1.0)
    nothing = collapse(generations, actual, [moment(1, np.nan)], floor_share=np.full(100, np.nan))
    assert np.isnan([nothing.ratio, nothing.collapsed, nothing.at_floor]).all()


def test_between_moments_logarithms_are_straight() -> None:
    assert interpolated([0, 10], np.array([1.0, 100.0]), [5, 20]) == pytest.approx([10, 100])
