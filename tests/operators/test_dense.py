"""Dense mutation, for every law of noise."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from galab.config.distribution import TABLE_HASHES
from galab.errors import LethalMutationError
from galab.genome.births import Birth
from galab.genome.random import Stream, codes, table
from galab.genome.step_sizes import Steps, sigma, snap
from galab.genome.weights import Layout, Phenotype
from galab.operators.mutation.dense import Dense

LAYOUT = Layout(("w", "b"), ((70, 90), (7,)))
LAWS = list(TABLE_HASHES)
NORMAL = table("normal")


def child(number: int, log_sigma: int = snap(0.02)) -> Birth:
    return Birth(number, (0,), 1, 0, log_sigma, 0, 1)


def applied(dense: Dense, weights: np.ndarray, birth: Birth, layout: Layout = LAYOUT) -> np.ndarray:
    log_sigma = np.array([birth.log_sigma], dtype=np.int16)
    return dense.apply(Phenotype(weights, log_sigma), birth, log_sigma, Steps(layout))


def start() -> np.ndarray:
    return np.random.Generator(np.random.Philox(0)).integers(-(2**26), 2**26, LAYOUT.size).astype(np.int32)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("step_size", [2**-24, 2**-20, 0.0001, 0.02, 1.0, 8.0])
def test_a_child_is_its_parent_plus_rounded_noise(law, step_size):
    weights = start()
    z = table(law).quantiles[codes(3, 11, Stream.WEIGHTS, LAYOUT.size)]
    change = np.rint(sigma(snap(step_size)) * z * np.float32(2**24)).astype(np.int64)
    found = applied(Dense(3, table(law)), weights, child(11, snap(step_size)))
    assert found.dtype == np.int32
    assert np.array_equal(found, weights + change)
    assert np.array_equal(weights, start())


@pytest.mark.parametrize("law", LAWS)
def test_the_step_size_is_the_standard_deviation_of_the_change(law):
    weights = start()
    dense = Dense(3, table(law))
    changes = np.concatenate([applied(dense, weights, child(n)) - weights for n in range(10)]) / 2**24
    found = float(np.sqrt(np.mean(changes**2)))
    kurtosis = float(np.mean((changes / found) ** 4))
    error = np.sqrt((kurtosis - 1) / changes.size) / 2
    assert abs(found / float(sigma(snap(0.02))) - 1) < 5 * error + 1e-5
    assert abs(changes.mean()) < 5 * found / np.sqrt(changes.size)


@pytest.mark.parametrize(
    ("law", "kurtosis"), [("normal", 3), ("laplace", 6), ("uniform", 1.8), ("sign", 1), ("cauchy", 34.8)]
)
def test_each_law_has_the_tails_of_its_name(law, kurtosis):
    zero = np.zeros(LAYOUT.size, np.int32)
    changes = np.concatenate([applied(Dense(3, table(law)), zero, child(number)) for number in range(20)]) / 2**24
    assert np.mean(changes**4) / np.mean(changes**2) ** 2 == pytest.approx(kurtosis, rel=0.06)


def test_birth_and_key_and_law_decide_the_noise_and_nothing_else_does():
    zero = np.zeros(LAYOUT.size, np.int32)
    again = Birth(5, (3,), 9, 0, snap(0.02), 0, 1)
    assert np.array_equal(applied(Dense(3, NORMAL), zero, child(5)), applied(Dense(3, NORMAL), zero, again))
    operators = [Dense(key, table(law)) for key in (3, 4) for law in LAWS]
    different = [applied(dense, zero, child(n)) for dense in operators for n in (5, 6)]
    assert len({each.tobytes() for each in different}) == 4 * len(LAWS)


def test_the_noise_goes_across_the_whole_genome():
    zero, dense = np.zeros(LAYOUT.size, np.int32), Dense(3, NORMAL)
    one_tensor = Layout(("all",), ((LAYOUT.size,),))
    assert np.array_equal(applied(dense, zero, child(5)), applied(dense, zero, child(5), one_tensor))


def test_a_probe_repeats_the_noise_of_an_earlier_birth_at_another_step_size():
    zero, dense = np.zeros(LAYOUT.size, np.int32), Dense(3, table("sign"))
    first = applied(dense, zero, Birth(5, (0,), 1, 0, -512, 0, 1))
    probe = applied(dense, zero, Birth(12, (0,), 1, 7, -256, 0, 1))
    assert np.array_equal(probe, 2 * first)


@pytest.mark.parametrize("side", [1, -1])
def test_a_weight_that_leaves_the_range_is_lethal(side):
    weights = np.zeros(LAYOUT.size, np.int32)
    weights[-1] = side * (2**31 - 1)
    upward = [codes(3, number, Stream.WEIGHTS, LAYOUT.size)[-1] >= 2**15 for number in range(20)]
    assert any(upward)
    assert not all(upward)
    for number, up in enumerate(upward):
        if up == (side == 1):
            with pytest.raises(LethalMutationError, match=f"birth {number} is lethal: a weight of 'b'"):
                applied(Dense(3, table("sign")), weights, child(number))
        else:
            assert applied(Dense(3, table("sign")), weights, child(number)).shape == weights.shape


@pytest.mark.parametrize("law", LAWS)
def test_a_golden_child_never_changes(law):
    found = applied(Dense(2024, table(law)), start(), child(1_000_003))
    assert hashlib.sha256(found.astype("<i4").tobytes()).hexdigest() == GOLDEN[law]


GOLDEN = {
    "normal": "afcc844a3e9b887cae320b6a09f5fc6591ea96f0b25c3215a6443753d9627ebe",
    "laplace": "2104838a402aca5a554294af4c17f218eb55c559808e8e8e308464aef5465bd3",
    "uniform": "7d014cccb0f17e3600d3fa7ba198bf5bd55552e4be5f2c7a17400a4a685478a7",
    "sign": "80d257aa55a882fe55f24d6911cffd3de8a12d396d8d84f1094e0317295e37f7",
    "cauchy": "8ceb4cd79464c4f3c37aeb6fde7ec025acb3d5b5376cd204f15bbffc11815775",
}


@pytest.mark.parametrize("law", LAWS)
def test_several_births_at_once_are_each_birth_alone(law):
    operator = Dense(3, table(law))
    births = [child(11), child(4, snap(2.0)), child(12, snap(2**-20))]
    parents = np.stack([start(), start()[::-1], start() // 2])
    together = operator.apply_all(parents, births, LAYOUT)
    for parent, birth, found in zip(parents, births, together, strict=True):
        assert np.array_equal(found, applied(operator, parent, birth))
    assert np.array_equal(parents[0], start())


@pytest.mark.parametrize(("weight", "log_sigma"), [(2**31 - 1, snap(0.02)), (0, snap(120.0))])
def test_several_births_at_once_are_left_to_apply_where_one_is_lethal(weight, log_sigma):
    operator = Dense(3, NORMAL)
    parents = np.full((2, LAYOUT.size), weight, np.int32)
    parents[0] = 0
    births = [child(1), child(2, log_sigma)]
    assert operator.apply_all(parents, births, LAYOUT) is None
    with pytest.raises(LethalMutationError):
        applied(operator, parents[1], births[1])
