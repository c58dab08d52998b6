"""Laws of cosines against scipy, high precision and simulation; what selection makes of mutations, on a quadratic."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from galab.analysis import cosines as of
from galab.analysis.cosines import CosinePicture, draw_cosines
from galab.genome.random import Stream, draw, table
from galab.operators import es_noise
from galab.stats.intervals import Interval


def noise(count: int, size: int, name: str = "normal") -> np.ndarray:
    return np.stack([draw(table(name), 7, row, Stream.PERTURBATION, size).copy() for row in range(count)])


def test_cosines_are_those_of_the_textbook() -> None:
    rows = np.array([[3.0, 4.0], [-3.0, -4.0], [4.0, -3.0], [0.0, 0.0], [np.nan, 1.0]], dtype=np.float32)
    found = of.cosines(rows, np.array([6.0, 8.0], dtype=np.float32))
    np.testing.assert_allclose(found, [1, -1, 0, np.nan, np.nan], atol=1e-7)


@pytest.mark.parametrize("name", ["normal", "laplace", "uniform", "sign"])
def test_random_mutations_have_the_deviation_of_the_law(name: str) -> None:
    size, count = 300, 2000
    found = of.cosines(noise(count, size, name), np.linspace(-1, 2, size))
    # The standard error of a deviation of n numbers is 1 / sqrt(2 n) of it.
    assert found.std() == pytest.approx(size**-0.5, rel=4 / math.sqrt(2 * count))
    assert abs(found.mean()) < 4 * size**-0.5 / math.sqrt(count)


@pytest.mark.parametrize("size", [3, 5, 50])
def test_random_directions_follow_the_exact_law(size: int) -> None:
    found = of.cosines(noise(3000, size), np.eye(size)[0])
    shape = (size - 1) / 2
    assert stats.kstest((found + 1) / 2, stats.beta(shape, shape).cdf).pvalue > 0.01
    if size == 3:  # Archimedes: even on -1 to 1
        np.testing.assert_allclose(of.density([-0.9, 0.0, 0.5], 3), 0.5)


@pytest.mark.parametrize("size", [2, 4, 30, 2410])
def test_the_density_has_mass_one_and_variance_one_over_d(size: int) -> None:
    # c = sin(t) takes the pole of two dimensions away.
    def weighted(power: int) -> float:
        return integrate.quad(
            lambda t: math.sin(t) ** power * float(of.density(math.sin(t), size)) * math.cos(t),
            -math.pi / 2, math.pi / 2, limit=400, points=[0],
        )[0]  # fmt: skip

    assert weighted(0) == pytest.approx(1, rel=1e-6)
    assert weighted(2) == pytest.approx(1 / size, rel=1e-6)


@pytest.mark.parametrize(
    # Of arbitrary precision: log(betainc((D - 1) / 2, 1 / 2, 0, 1 - c^2) / 2) by mpmath with 60 digits.
    ("cosine", "size", "log"),
    [
        (0.1, 2410, -14.653088730237195), (0.5, 2410, -350.63367535324033), (0.9, 2410, -2005.0580011801121),
        (0.99, 100_000, -195856.48419344373), (0.12, 100_000, -729.7828763009003), (0.9, 3, math.log(0.05)),
    ],
)  # fmt: skip
def test_the_tail_is_exact_however_small(cosine: float, size: int, log: float) -> None:
    assert of.log_tail(cosine, size) == pytest.approx(log, rel=1e-11)
    assert of.log10_mutations_for(cosine, size) == pytest.approx(-log / math.log(10), rel=1e-11)


def test_the_tail_agrees_with_scipy_on_both_sides() -> None:
    for size in (3, 40, 2000):
        for cosine in (-0.5, -0.05, 0.0, 0.05, 0.3):
            expected = stats.beta((size - 1) / 2, (size - 1) / 2).sf((cosine + 1) / 2)
            assert math.exp(of.log_tail(cosine, size)) == pytest.approx(expected, rel=1e-8)
    assert of.log_tail(1.0, 10) == -math.inf
    # Near 0 the normal law is the limit; far out it promises too much.
    near = of.log10_mutations_for(0.02, 2410)
    assert of.log10_mutations_for(0.02, 2410, normal=True) == pytest.approx(near, rel=1e-3)
    assert of.log10_mutations_for(0.9, 2410, normal=True) < of.log10_mutations_for(0.9, 2410)


@pytest.mark.slow
def test_the_best_of_n_is_as_large_as_simulated() -> None:
    size, count = 100, 64
    found = of.cosines(noise(200 * count, size), np.eye(size)[3]).reshape(200, count).max(axis=1)
    assert of.expected_best(count, size) == pytest.approx(found.mean(), abs=4 * found.std() / math.sqrt(200))
    assert of.expected_best(1, size) == pytest.approx(0, abs=1e-12)
    assert of.expected_best(2, 3) == pytest.approx(1 / 3, rel=1e-4)  # of two even numbers on -1 to 1


def test_minibatch_gradients_follow_their_law() -> None:
    random = np.random.default_rng(1)
    whole, size, batch = 200, 30, 20
    each = random.normal(0, 1, (whole, size)) + 0.3
    full = each.mean(axis=0)
    drawn = np.array([each[random.permutation(whole)[:batch]].mean(axis=0) for _ in range(4000)])
    spread = np.trace(np.cov(each.T, bias=True)) / (full @ full)
    found = of.gradient_spread(np.square(drawn).sum(axis=1), float(full @ full), batch, whole)
    assert found == pytest.approx(spread, rel=0.03)
    predicted = float(of.batch_cosine(batch, spread, whole))
    assert of.cosines(drawn, full).mean() == pytest.approx(predicted, rel=0.02)
    assert float(of.batch_cosine(whole, spread, whole)) == 1
    assert math.isnan(of.gradient_spread([1.0], 1.0, whole, whole))


def test_a_share_has_wilsons_interval() -> None:
    share = of.share_of(np.arange(40) < 10)
    # Wilson 1927: (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4 n^2)) / (1 + z^2 / n)
    z = 1.959963984540054
    middle, reach = 0.25 + z * z / 80, z * math.sqrt(0.1875 / 40 + z * z / 6400)
    assert (share.count, share.total, share.share) == (10, 40, 0.25)
    assert share.low == pytest.approx((middle - reach) / (1 + z * z / 40))
    assert share.high == pytest.approx((middle + reach) / (1 + z * z / 40))
    assert of.share_of(np.empty(0, bool)).total == 0


def tried(count: int, size: int, curvature: float) -> tuple[of.MutationGains, np.ndarray]:
    """Mutations of f(x) = <g, x> - curvature |x|^2 / 2 at 0, by hand."""
    mutations, slope = noise(count, size), np.linspace(0.5, 1.5, size)

    def fitness(steps: np.ndarray) -> np.ndarray:
        return steps @ slope - curvature / 2 * np.square(steps).sum(axis=1)

    pairs = count // 2
    return of.MutationGains(mutations, fitness(mutations), fitness(-mutations[:pairs]), fitness(mutations)), slope


def test_estimates_on_a_quadratic_have_the_cosine_of_their_law() -> None:
    count, size = 400, 60
    some, slope = tried(count, size, 1.0)
    found = of.directions(some, [2, 400])
    cosine = {name: float(of.cosines(one[None], slope)[0]) for name, one in found.items()}
    assert cosine["ES antithetic"] == pytest.approx(es_noise.cosine(size + 1, count / 2), abs=0.06)
    expected = es_noise.one_sided_cosine(size + 1, count, of.even_to_odd(some))
    assert cosine["ES one-sided"] == pytest.approx(expected, abs=0.06)
    # By hand: sum over pairs of (f(+) - f(-)) / 2 E is sum of <g, E> E, whatever the curvature.
    by_hand = (some.noise[: count // 2] @ slope) @ some.noise[: count // 2]
    np.testing.assert_allclose(of.cosines(found["ES antithetic"][None], by_hand), 1, atol=1e-5)
    assert cosine["ES antithetic, ranks"] == pytest.approx(cosine["ES antithetic"], abs=0.1)


def test_the_best_and_their_means_are_those_of_the_gains() -> None:
    some, _ = tried(8, 5, 0.0)
    gains = np.array([1.0, 5.0, np.nan, 3.0, 5.0, -1.0, 0.0, np.inf])
    other = of.MutationGains(some.noise, gains, -gains[:4], gains[::-1].copy())
    found = of.directions(other, [1, 2, 3])
    np.testing.assert_array_equal(found[of.BEST], some.noise[1])
    np.testing.assert_array_equal(found[of.BEST_FULL], some.noise[3])
    np.testing.assert_allclose(found[of.mean_of_best(3)], some.noise[[1, 4, 3]].mean(axis=0), rtol=1e-6)


def test_even_and_odd_parts_are_told_apart() -> None:
    flat, _ = tried(400, 20, 0.0)
    assert of.even_to_odd(flat) == pytest.approx(0, abs=1e-12)
    curved, slope = tried(4000, 20, 2.0)
    # var |x|^2 = 2 D against |g|^2
    assert of.even_to_odd(curved) == pytest.approx(2 * 20 / float(slope @ slope), rel=0.15)
    lost = of.MutationGains(flat.noise, np.full(400, np.nan), np.full(200, np.nan), np.zeros(400))
    assert math.isnan(of.even_to_odd(lost))


@pytest.mark.slow
@pytest.mark.usefixtures("rough_figures")
@pytest.mark.parametrize("bare", [False, True])
def test_odd_pictures_are_drawn(bare: bool, tmp_path: Path) -> None:
    one = Interval(1, 0.2, math.nan, math.nan)
    picture = CosinePicture(
        np.array([0.1, -0.1, np.nan]), 2, {"a": {} if bare else {"full": one}}, {} if bare else {"a": 0.3},
        {} if bare else {8: one}, math.nan if bare else 3.0, 20, np.empty((0, 3)) if bare else np.ones((1, 3)), "odd",
    )  # fmt: skip
    draw_cosines(tmp_path / "odd.png", picture=picture)
    assert (tmp_path / "odd.png").read_bytes().startswith(b"\x89PNG")
