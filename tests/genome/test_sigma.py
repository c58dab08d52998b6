"""Step sizes on the grid 2^(k/256)."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.genome.step_sizes import (
    FINE_PER_OCTAVE,
    HIGHEST,
    LOWEST,
    PER_OCTAVE,
    from_fine,
    log2_grid,
    mean_fine,
    sigma,
    sigmas,
    snap,
    to_fine,
)

#: Every step size that a run may use, from 2^-24 to 8, and what fits into a birth.
GRID = range(-24 * PER_OCTAVE, 3 * PER_OCTAVE + 1)


def rounded(fine: int) -> int:
    return int(from_fine(np.array([fine], dtype=np.int32))[0])


def fine_of(k: int) -> int:
    return int(to_fine(np.array([k], dtype=np.int16))[0])


def test_golden_step_sizes_never_change():
    expected = {-5120: 2.0**-20, 0: 1.0, 128: float(np.float32(math.sqrt(2))), 768: 8.0, -256: 0.5}
    assert {k: float(sigma(k)) for k in expected} == expected
    assert [float(sigma(k)).hex() for k in (1, 255, -1445)] == GOLDEN_SIGMAS
    every = np.array([sigma(k) for k in GRID], dtype="<f4")
    assert hashlib.sha256(every.tobytes()).hexdigest() == GOLDEN_GRID


def test_every_grid_point_is_the_float32_nearest_to_its_power_of_two():
    for k in GRID:
        found = sigma(k)
        assert type(found) is np.float32
        # Compared as 256th powers, which are whole: no logarithm of anybody's library is trusted.
        low, high = (np.nextafter(found, np.float32(side)) for side in (0, 100))
        middle = [(Fraction(float(found)) + Fraction(float(side))) / 2 for side in (low, high)]
        assert middle[0] ** PER_OCTAVE < Fraction(2) ** k < middle[1] ** PER_OCTAVE or k % PER_OCTAVE == 0
        if k % PER_OCTAVE == 0:
            assert Fraction(float(found)) == Fraction(2) ** (k // PER_OCTAVE)


def test_the_grid_ascends_in_even_ratios():
    every = np.array([sigma(k) for k in GRID], dtype=np.float64)
    np.testing.assert_allclose(every[1:] / every[:-1], 2 ** (1 / PER_OCTAVE), rtol=2e-7)


@given(st.floats(2**-24, 8))
def test_snapping_moves_a_step_size_by_at_most_half_a_grid_step(value):
    octaves = math.log2(float(sigma(snap(value))) / value)
    assert abs(octaves) <= 0.5 / PER_OCTAVE + 1e-6


@given(st.sampled_from(GRID))
def test_a_snapped_step_size_stays_where_it_is(k):
    assert snap(float(sigma(k))) == k


@given(st.integers(-(2**23), 2**23))
def test_fine_units_round_to_the_nearest_grid_point_and_halves_to_even(fine):
    # Python's round of a fraction is exact and rounds halves to even.
    assert rounded(fine) == round(Fraction(fine, FINE_PER_OCTAVE // PER_OCTAVE))


@pytest.mark.parametrize(
    ("fine", "expected"), [(128, 0), (127, 0), (129, 1), (384, 2), (640, 2), (-128, 0), (-384, -2), (-129, -1)]
)
def test_halves_go_to_even_on_both_sides_of_zero(fine, expected):
    assert rounded(fine) == expected


@given(st.integers(-(2**15), 2**15 - 1))
def test_a_grid_point_survives_fine_units(k):
    assert rounded(fine_of(k)) == k


@given(start=st.integers(-5000, 700), step=st.integers(0, 3000))
def test_a_step_up_and_a_step_down_from_neighbouring_grid_points_cancel_on_average(start, step):
    # Halves rounded up would drift by half a grid point per birth at every step of an odd number of halves.
    moves = [rounded(fine_of(k) + sign * step) - k for k in (start, start + 1) for sign in (1, -1)]
    assert sum(moves) == 0


def test_a_long_random_walk_of_half_grid_steps_does_not_drift():
    coins = np.random.Generator(np.random.Philox(3)).integers(0, 2, (200, 400)) * 2 - 1
    ends = []
    for walk in coins.tolist():
        k = 0
        for sign in walk:
            k = rounded(fine_of(k) + sign * 128)
        ends.append(k)
    standard_error = np.std(ends) / math.sqrt(len(ends))
    assert abs(np.mean(ends)) < 5 * max(standard_error, 0.1)  # rounding halves up would end at +200


@pytest.mark.parametrize("octaves", [0, 24])
def test_many_step_sizes_are_each_what_one_is(octaves):
    points = np.arange(LOWEST, HIGHEST + 1, dtype=np.int16)
    found = sigmas(points, octaves=octaves)
    assert found.dtype == np.float32
    assert found.tolist() == [float(sigma(k)) * 2.0**octaves for k in points.tolist()]
    ends = sigmas(np.array([-(2**15), LOWEST - 1, HIGHEST + 1, 2**15 - 1], dtype=np.int16))
    assert ends.tolist() == [2.0**-32, 2.0**-32, 256.0, 256.0]


@given(st.lists(st.integers(LOWEST, HIGHEST), min_size=1, max_size=9))
def test_a_mean_of_step_sizes_is_exact_to_half_a_fine_unit(points):
    found = mean_fine([np.array([k, -k], dtype=np.int16) for k in points])
    exact = Fraction(sum(points), len(points)) * 256
    assert found.dtype == np.int32
    assert found[0] == math.floor(exact + Fraction(1, 2))
    assert found[1] == math.floor(-exact + Fraction(1, 2))


def test_a_single_parents_step_sizes_are_not_overwritten():
    parent = np.array([5, -7], dtype=np.int16)
    from_fine(mean_fine([parent]))
    assert parent.tolist() == [5, -7]


@given(st.integers(1, 2**62))
def test_a_grid_point_of_a_root_is_the_last_that_does_not_exceed_it(square):
    k = log2_grid(square)
    # 2^(k/256) <= sqrt(square) < 2^((k + 1)/256), as whole numbers; the table of fractions is rounded to float32.
    slack = Fraction(1) + Fraction(1, 2**22)
    low, high = (float(sigma(point % PER_OCTAVE)) for point in (k, k + 1))
    assert (Fraction(low) * Fraction(2) ** (k // PER_OCTAVE)) ** 2 <= square * slack
    assert square < (Fraction(high) * Fraction(2) ** ((k + 1) // PER_OCTAVE)) ** 2 * slack


def test_grid_points_of_powers_of_two_are_exact():
    assert [log2_grid(4**power) for power in range(31)] == [256 * power for power in range(31)]
    assert log2_grid(2) == 128
    assert log2_grid(4**20 - 1) == 256 * 20 - 1


GOLDEN_SIGMAS = ["0x1.00b1b00000000p+0", "0x1.fe9d960000000p+0", "0x1.4786d60000000p-6"]
GOLDEN_GRID = "fa460868776f6e2a1327ec615491fce069eafb6cda53bcf9c6610fab60fb79c9"
