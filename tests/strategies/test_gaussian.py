"""What SNES and PGPE share: members, failures and state."""

from __future__ import annotations

import numpy as np
import pytest
from vector_games import ellipsoid

from galab.errors import CheckpointError, GalabError, NoViableChildError, UsageError
from galab.genome.random import Stream, table, words_at
from galab.strategies import gaussian
from galab.strategies.pgpe import PGPE
from galab.strategies.snes import SNES

MAKERS = {
    "snes": SNES,
    "mirrored snes": lambda start, **options: SNES(start, mirrored=True, **options),
    "pgpe": PGPE,
}


@pytest.fixture(params=MAKERS)
def make(request):
    def made(size=20, population=12, run_key=3, sigma=0.5, **options):
        start = np.linspace(-1, 2, size, dtype=np.float32)
        return MAKERS[request.param](start, run_key=run_key, population=population, sigma=sigma, **options)

    return made


def test_the_first_centre_and_step_sizes_are_those_given(make):
    strategy = make()
    np.testing.assert_array_equal(strategy.centre, np.linspace(-1, 2, 20, dtype=np.float32))
    np.testing.assert_array_equal(strategy.sigma, np.full(20, 0.5))
    assert strategy.generation == 0


def test_members_are_rows_of_all(make):
    strategy = make()
    strategy.tell(ellipsoid(strategy.ask()))
    numbers = [5, 0, 11, 4, 4, 7]
    np.testing.assert_array_equal(strategy.members(numbers), strategy.ask()[numbers])
    assert strategy.members([]).shape == (0, 20)


def test_all_members_are_the_same_until_they_are_told(make):
    strategy = make()
    first = strategy.ask()
    np.testing.assert_array_equal(strategy.ask(), first)
    strategy.tell(ellipsoid(first))
    assert not np.isclose(strategy.ask(), first).any()


def test_members_do_not_depend_on_the_size_of_the_population(make):
    np.testing.assert_array_equal(make(population=12).ask(), make(population=30).ask()[:12])


def test_another_run_key_has_other_members(make):
    assert not np.isclose(make(run_key=3).ask(), make(run_key=4).ask()).any()


def test_the_noise_is_philox_bits_in_the_normal_table():
    strategy = SNES(np.zeros(19, np.float32), run_key=9, population=6, sigma=0.25)
    # A member of 19 weights takes two blocks of 16 codes; member 4 begins at block 8.
    codes = words_at(9, 1, 0, Stream.PERTURBATION, 8, 8).astype("<u8").view("<u2")[:19]
    np.testing.assert_array_equal(strategy.ask()[4], np.float32(0.25) * table("normal").quantiles[codes])


def test_mirrored_members_lie_on_both_sides_of_the_centre():
    members = PGPE(np.zeros(20, np.float32), run_key=3, population=12, sigma=0.5).ask()
    np.testing.assert_array_equal(members[0::2], -members[1::2])
    assert len(np.unique(members[0::2], axis=0)) == 6


def test_updates_do_not_depend_on_how_much_noise_is_summed_at_once(make, monkeypatch):
    whole = make()
    whole.tell(ellipsoid(whole.ask()))
    monkeypatch.setattr(gaussian, "_CHUNK_BYTES", 5 * 4 * 20)
    parts = make()
    parts.tell(ellipsoid(parts.ask()))
    np.testing.assert_allclose(parts.centre, whole.centre, rtol=1e-6)
    np.testing.assert_allclose(parts.sigma, whole.sigma, rtol=1e-12)


@pytest.mark.parametrize("failure", [np.nan, -np.inf])
def test_a_failure_counts_as_the_worst_of_the_others(make, failure):
    fitness = np.arange(12.0)
    failed, worst = make(), make()
    failed.ask(), worst.ask()
    failed.tell(np.where(np.isin(fitness, (3, 8)), failure, fitness))
    worst.tell(np.where(np.isin(fitness, (3, 8)), 0, fitness))
    np.testing.assert_array_equal(failed.sigma, worst.sigma)
    np.testing.assert_array_equal(failed.centre, worst.centre)


def test_plus_infinity_is_the_best(make):
    endless, best = make(), make()
    endless.ask(), best.ask()
    endless.tell(np.array([*range(11), np.inf]))
    best.tell(np.arange(12.0))
    np.testing.assert_array_equal(endless.centre, best.centre)


def test_where_all_fail_nothing_moves(make):
    strategy = make()
    first = strategy.ask()
    with pytest.raises(NoViableChildError, match="generation 1: not one of 12 members has a finite fitness"):
        strategy.tell(np.array([np.nan, -np.inf] * 6))
    assert strategy.generation == 0
    np.testing.assert_array_equal(strategy.ask(), first)


def test_equal_fitness_moves_nothing(make):
    strategy = make()
    strategy.ask()
    before = strategy.state_dict()
    strategy.tell(np.full(12, 7.0))
    np.testing.assert_array_equal(strategy.centre, before["centre"].astype(np.float32))
    np.testing.assert_allclose(strategy.sigma, before["sigma"], rtol=1e-12)


def test_equal_members_share_their_weight_whatever_their_numbers(make):
    strategy = make()
    weights = strategy._weights(np.array([1.0, 5, 5, 1, 0, 5, 2, 3, 9, 9, 5, 1]))
    assert weights[1] == weights[2] == weights[5] == weights[10] > weights[7]
    assert weights.sum() == pytest.approx(0, abs=1e-12)


def test_a_state_continues_bit_for_bit(make):
    whole = make()
    for _ in range(3):
        whole.tell(ellipsoid(whole.ask()))
    resumed = make()
    resumed.load_state_dict(whole.state_dict())
    for _ in range(3):
        for strategy in (whole, resumed):
            strategy.tell(ellipsoid(strategy.ask()))
    assert resumed.generation == 6
    for name, value in whole.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name], value)


def test_a_state_is_a_copy(make):
    strategy = make()
    before = strategy.state_dict()
    strategy.tell(ellipsoid(strategy.ask()))
    np.testing.assert_array_equal(before["sigma"], np.full(20, 0.5))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"size": 21}, r"with centre of shape \(20,\) in float64, got of shape \(21,\) in float64"),
        ({"population": 14}, "with population 12, got 14"),
        ({"run_key": 4}, "with run_key 3, got 4"),
        ({"lr_sigma": 0.3}, "with lr_sigma .*, got 0.3"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(make, changes, sentence):
    strategy = make()
    with pytest.raises(CheckpointError, match=sentence):
        strategy.load_state_dict(make(**changes).state_dict())


def test_a_state_of_another_strategy_is_refused():
    start = np.zeros(4, np.float32)
    state = PGPE(start, run_key=3, population=4, sigma=1.0).state_dict()
    with pytest.raises(CheckpointError, match="expected a state of snes with strategy 'snes', got 'pgpe'"):
        SNES(start, run_key=3, population=4, sigma=1.0).load_state_dict(state)


def test_a_state_without_something_is_refused(make):
    state = make().state_dict()
    del state["generation"]
    with pytest.raises(CheckpointError, match="with generation int, got NoneType"):
        make().load_state_dict(state)


def test_scores_without_members_are_refused(make):
    strategy = make()
    with pytest.raises(GalabError, match=r"expected ask\(\) before tell\(\)"):
        strategy.tell(np.zeros(12))
    strategy.tell(ellipsoid(strategy.ask()))
    with pytest.raises(GalabError, match=r"expected ask\(\) before tell\(\)"):
        strategy.tell(np.zeros(12))


def test_a_score_too_few_is_refused(make):
    strategy = make()
    strategy.ask()
    with pytest.raises(GalabError, match=r"expected 12 scores, one per member asked for, got shape \(11,\)"):
        strategy.tell(np.zeros(11))


def test_some_members_are_enough_to_be_told(make):
    strategy = make()
    strategy.members([2])
    strategy.tell(np.arange(12.0))
    assert strategy.generation == 1


@pytest.mark.parametrize("number", [-1, 12])
def test_a_member_that_does_not_exist_is_refused(make, number):
    with pytest.raises(GalabError, match="expected members from 0 to 11"):
        make().members([0, number])


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan, np.inf, "0.1"])
def test_a_step_size_that_is_no_positive_number_is_refused(make, sigma):
    with pytest.raises(UsageError, match="expected sigma to be a number above 0"):
        make(sigma=sigma)


def test_one_member_is_refused(make):
    with pytest.raises(UsageError, match=r"expected a population of .*, got 1"):
        make(population=1)


def test_mirrored_members_without_a_partner_are_refused():
    with pytest.raises(UsageError, match="an even number from 2, as members come in pairs, got 5"):
        PGPE(np.zeros(3, np.float32), run_key=1, population=5, sigma=1.0)


def test_a_start_that_is_no_vector_is_refused(make):
    with pytest.raises(UsageError, match="expected start to be a vector of weights, got shape"):
        SNES(np.zeros((2, 3), np.float32), run_key=1, population=4, sigma=1.0)
