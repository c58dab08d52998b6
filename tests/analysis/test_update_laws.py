"""Fits and tests against scipy, on numbers whose law is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from galab.analysis.update_laws import FEWEST, MOST, density, fits_of, sampled, shape_of, unit_quantiles
from galab.genome import quantile_tables

COUNT = 4000
DRAWN = {
    "normal": stats.norm(0.3, 1.2),
    "laplace": stats.laplace(-0.2, 0.8),
    "student-t": stats.t(3, 0.1, 0.7),
}


def numbers(name: str, count: int = COUNT) -> np.ndarray:
    return np.asarray(DRAWN[name].rvs(count, random_state=np.random.default_rng(5)))


@pytest.mark.parametrize("name", DRAWN)
def test_the_law_of_known_numbers_is_found_with_its_parameters(name: str) -> None:
    values = numbers(name)
    found = shape_of(values)
    assert found is not None
    assert found.best.law == name
    own, true = found.best.parameters, DRAWN[name].args
    location, scale = true[-2:]
    # Standard errors of these estimates are at most 2 scale / sqrt(n).
    assert own["location"] == pytest.approx(location, abs=8 * scale / math.sqrt(COUNT))
    assert own["scale"] == pytest.approx(scale, abs=8 * scale / math.sqrt(COUNT))
    if name == "student-t":
        assert own["freedom"] == pytest.approx(3, rel=0.25)
    assert (found.p < 0.001) == (name != "normal")
    assert found.best.p > 0.05


@pytest.mark.parametrize("name", DRAWN)
def test_fits_and_tests_are_scipys(name: str) -> None:
    values = numbers(name)
    shape, fits = shape_of(values), {fit.law: fit for fit in fits_of(values)}
    assert shape is not None
    w, p = stats.shapiro(values)
    assert (shape.w, shape.p) == (pytest.approx(w, rel=1e-6), pytest.approx(p, rel=1e-3))
    assert shape.kurtosis == pytest.approx(stats.kurtosis(values))
    assert shape.deviation == pytest.approx(math.sqrt(np.mean(values**2)))
    for law, kind in (("normal", stats.norm), ("laplace", stats.laplace)):
        frozen, own = kind(*kind.fit(values)), fits[law]
        assert list(own.parameters.values()) == pytest.approx(list(kind.fit(values)))
        assert own.distance == pytest.approx(stats.kstest(values, frozen.cdf).statistic)
        assert own.likelihood == pytest.approx(frozen.logpdf(values).mean())
    # At least as likely as scipy's own.
    theirs = stats.t(*stats.t.fit(values)).logpdf(values).mean()
    assert fits["student-t"].likelihood >= theirs - 1e-5
    for law, fit in fits.items():
        of_shape = next(one for one in shape.fits if one.law == law)
        assert of_shape.distance == pytest.approx(fit.distance, abs=2e-4)
        assert of_shape.likelihood == pytest.approx(fit.likelihood, abs=1e-5)


def test_sizes_far_from_one_change_nothing_but_the_scale() -> None:
    values = numbers("laplace", 500)
    one, tiny = shape_of(values), shape_of(values * 1e-30)
    assert one is not None
    assert tiny is not None
    assert tiny.best.parameters["scale"] == pytest.approx(one.best.parameters["scale"] * 1e-30)
    assert (tiny.p, tiny.kurtosis) == (pytest.approx(one.p, rel=1e-6), pytest.approx(one.kurtosis))


def test_densities_have_mass_one() -> None:
    places = np.linspace(-400, 400, 800_001)
    for fit in fits_of(numbers("student-t")):
        assert np.sum(density(fit, places)) * 1e-3 == pytest.approx(1, abs=1e-4)


def test_zeros_are_counted_and_left_out() -> None:
    values = np.concatenate([numbers("normal", 300), np.zeros(100)])
    found = shape_of(values.reshape(20, 20))
    assert found is not None
    assert (found.count, found.zeros) == (300, 0.25)


@pytest.mark.parametrize("values", [np.zeros(500), np.ones(500), np.arange(FEWEST - 1) + 1.0, np.empty(0)])
def test_what_has_no_law_has_none(values: np.ndarray) -> None:
    assert shape_of(values) is None


def test_no_more_than_5_000_are_looked_at_and_always_the_same() -> None:
    values = numbers("normal", 9000)
    found = sampled(values)
    assert len(found) == len(set(found.tolist())) == MOST
    assert set(found.tolist()) <= set(values.tolist())
    np.testing.assert_array_equal(found, sampled(values))


@pytest.mark.parametrize("count", [300, 100_000])
def test_an_exported_law_has_the_quantiles_of_its_numbers(count: int, tmp_path: Path) -> None:
    values = 3e-4 * numbers("student-t", count)
    file = tmp_path / "law.npy"
    np.save(file, unit_quantiles(values, quantile_tables.LEVELS))
    law = quantile_tables.make(f"table:{file}").quantiles.astype(np.float64)
    assert (law.mean(), law.std()) == (pytest.approx(0, abs=2e-3), pytest.approx(1, abs=1e-3))
    for level in (0.01, 0.1, 0.25, 0.5, 0.9, 0.99):
        expected = (np.quantile(values, level, method="hazen") - values.mean()) / values.std()
        assert law[int(level * quantile_tables.LEVELS)] == pytest.approx(expected, abs=0.02)
