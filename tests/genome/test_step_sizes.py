"""Step sizes over the weights: groups, factors, bounds, and what is frozen."""

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
    GRANULARITIES,
    HIGHEST,
    LOWEST,
    PER_OCTAVE,
    Steps,
    from_fine,
    log2_grid,
    log_rms,
    mean_fine,
    sigma,
    sigmas,
    snap,
    sum_of_squares,
    to_fine,
)
from galab.genome.weights import Layout

LAYOUT = Layout(("0.weight", "0.bias", "empty", "1.weight", "scale"), ((3, 4), (3,), (0, 5), (2, 2, 2), ()))
D = 24
SIZES = {"global": 1, "tensor": 5, "row-column": 3 + 4 + 3 + 0 + 2 + 4 + 1, "parameter": D}
#: Every step size that a run may use, from 2^-24 to 8, and what fits into a birth.
GRID = range(-24 * PER_OCTAVE, 3 * PER_OCTAVE + 1)


def used(steps: Steps, log_sigma: np.ndarray) -> np.ndarray:
    """The step size of every weight, read off noise that is 1 everywhere."""
    z = np.ones(D, dtype=np.float32)
    limit = steps.multiply(z, log_sigma)
    assert limit == z.max() or steps.granularity == "tensor"  # where the empty tensor may have the largest
    assert limit >= z.max()
    return z / np.float32(2**24)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_groups_cover_every_step_size_once(granularity):
    steps = Steps(LAYOUT, granularity)
    assert steps.size == SIZES[granularity]
    covered = [place for group in steps.groups for place in range(group.start, group.stop)]
    assert covered == list(range(steps.size))
    assert sum(group.columns for group in steps.groups) == (2 if granularity == "row-column" else 0)
    assert steps.uniform == (granularity == "global")
    assert steps.first.min() >= 0
    assert steps.first.max() < D


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_every_weight_moves_by_the_step_size_that_serves_it(granularity):
    steps = Steps(LAYOUT, granularity)
    rng = np.random.Generator(np.random.Philox(4))
    log_sigma = rng.integers(-2000, 0, steps.size).astype(np.int16)
    found = used(steps, log_sigma)
    for group in steps.groups:
        for place in range(group.start, group.stop):
            changed = log_sigma.copy()
            changed[place] += 256
            moved = np.flatnonzero(used(steps, changed) != found)
            assert np.array_equal(used(steps, changed)[moved], 2 * found[moved])
            if granularity != "global" and group.name != "empty":
                assert steps.first[place] == moved[0]
    assert set(np.unique(np.log2(found) * 256 % 1 < 1)) == {True}


def test_row_and_column_multiply():
    steps = Steps(LAYOUT, "row-column")
    log_sigma = np.arange(-1000, -1000 + steps.size).astype(np.int16)
    matrix = used(steps, log_sigma)[:12].reshape(3, 4)
    rows, columns = [sigma(k) for k in range(-1000, -997)], [sigma(k) for k in range(-997, -993)]
    assert matrix.tolist() == [[np.float32(row * column) for column in columns] for row in rows]
    rows_found, columns_found = steps.factors(log_sigma, 0)
    assert rows_found.tolist() == rows
    assert columns_found.tolist() == columns
    assert steps.factors(log_sigma, 1)[1].tolist() == [1.0]


def test_a_matrix_of_one_column_has_a_column_step_size_too():
    steps = Steps(Layout(("w",), ((2, 1),)), "row-column")
    z = np.ones(2, dtype=np.float32)
    assert steps.multiply(z, np.array([0, 256, -512], dtype=np.int16)) == 2.0**23
    assert z.tolist() == [2.0**22, 2.0**23]


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_what_is_frozen_gets_no_step(granularity):
    steps = Steps(LAYOUT, granularity, frozen=[1, 4])
    assert not steps.uniform
    z = np.ones(D, dtype=np.float32)
    steps.multiply(z, steps.founder(-256))
    assert np.flatnonzero(z == 0).tolist() == [12, 13, 14, 23]
    assert steps.free == [slice(0, 12), slice(15, 23)]
    assert steps.neurons == ((3, ((0, 4),)), (2, ((15, 4),)))
    assert Steps(LAYOUT, granularity).neurons == LAYOUT.neurons


def test_founders_step_sizes_have_factors_and_columns_of_one():
    steps = Steps(LAYOUT, "row-column", factors=[-100, 0, 7, 50, 5000], low=-1050, high=600)
    assert steps.founder(-1000).tolist() == [-1050] * 3 + [0] * 4 + [-1000] * 3 + [-950] * 2 + [0] * 4 + [600]
    assert Steps(LAYOUT, "tensor", factors=[-100, 0, 7, 50, 9]).founder(-8).tolist() == [-108, -8, -1, 42, 1]
    assert Steps(LAYOUT).founder(-8).tolist() == [-8]


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_step_sizes_are_kept_within_their_bounds(granularity, dtype):
    steps = Steps(LAYOUT, granularity, low=-1500, high=300)
    wild = np.linspace(-9000, 9000, steps.size if steps.size > 1 else 2).astype(dtype)[-steps.size :]
    rows = np.concatenate([np.arange(group.start, group.stop) for group in steps.groups if not group.columns])
    columns = np.setdiff1d(np.arange(steps.size), rows)
    found = steps.clip(wild.copy())
    assert found.dtype == np.int16
    assert found[rows].tolist() == np.clip(wild[rows], -1500, 300).tolist()
    assert found[columns].tolist() == np.clip(wild[columns], -1024, 1024).tolist()


@pytest.mark.parametrize("granularity", GRANULARITIES[1:])
def test_bounds_relative_to_the_rms_of_the_parents_tensor(granularity):
    weights = np.repeat(np.array([2**24, 2**20, 2**22, 0]), [12, 3, 8, 1]).astype(np.int32)
    steps = Steps(LAYOUT, granularity, low=-4000, high=500, relative=(-600, 100))
    rms = {0: 0, 1: -1024, 3: -512}
    assert {tensor: log_rms(weights[part]) for tensor, part in zip(rms, steps.free, strict=False)} == rms
    for points, side in ((-9000, 0), (9000, 1)):
        found = steps.clip(np.full(steps.size, points, dtype=np.int32), weights)
        for group in steps.groups:
            if group.columns:
                continue
            own = rms.get(group.tensor)
            # A tensor of zeros has no size; only the absolute bounds hold it, and the floor wins.
            bounds = (-4000, -4000) if own is None else (max(-4000, own - 600), min(500, own + 100))
            assert set(found[group.start : group.stop].tolist()) <= {bounds[side]}
    assert steps.bounds(0, None) == (-4000, 500)


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        ((None, None), (-700, 300)), ((-100, None), (-100, 300)), ((None, 50), (-700, 50)), ((-900, 900), (-700, 300)),
        ((500, 600), (300, 300)), ((-2000, -900), (-700, -700)),
    ],
)  # fmt: skip
def test_absolute_bounds_win_over_relative_ones(relative, expected):
    steps = Steps(Layout(("w",), ((4,),)), "tensor", low=-700, high=300, relative=relative)
    assert steps.bounds(0, np.full(4, 2**24, dtype=np.int32)) == expected


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=50), st.sampled_from([0, 8]))
def test_sums_of_squares_are_exact(values, shift):
    assert sum_of_squares(np.array(values, dtype=np.int32), shift) == sum((value >> shift) ** 2 for value in values)


def test_the_largest_sum_of_squares_does_not_overflow():
    assert sum_of_squares(np.full(200_000, -(2**31), dtype=np.int32)) == 200_000 * 2**46
    assert sum_of_squares(np.full(5, -(2**31), dtype=np.int32), 0) == 5 * 2**62
    assert sum_of_squares(np.empty(0, dtype=np.int32)) == 0


@given(st.integers(-25, 6), st.integers(1, 40))
def test_the_rms_is_right_to_a_grid_point(octave, size):
    weights = np.full(size, round(2.0 ** (octave + 24)), dtype=np.int32)
    expected = LOWEST if octave < -16 else octave * 256
    assert log_rms(weights) == expected
    uneven = np.array([3, 4], dtype=np.int32) << 20
    assert log_rms(uneven) == math.floor(256 * math.log2(math.sqrt(12.5) / 16))
    assert log_rms(uneven[:0]) == LOWEST < HIGHEST


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
