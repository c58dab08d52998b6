"""Votes and the test on them: exact sums, the share that moves without a signal, and the power to find one."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from galab.contracts import Scores
from galab.errors import CheckpointError, NoViableChildError
from galab.genome.weights import Layout
from galab.operators.integer_noise import IntegerNoise, NoiseConfig, TensorNoise, planned_threshold
from galab.strategies.integer_eggroll import IntegerEggroll, least_votes, most_votes, pair_factors, votes

LAYOUT = Layout(("matrix", "vector"), ((40, 60), (100,)))


def searcher(pairs: int = 64, share: float = 0.1, key: int = 1, start: int = 0, **options: object) -> IntegerEggroll:
    config = NoiseConfig(**options)
    return IntegerEggroll(
        LAYOUT, np.full(LAYOUT.size, start, np.int8), IntegerNoise(LAYOUT, config, key), config, pairs=pairs,
        threshold=lambda update: planned_threshold(share), units=1.0,
    )  # fmt: skip


def test_factors_are_signs_or_sixteenths_of_the_root_mean_square() -> None:
    differences = np.array([300, -300, 0, 1, -1, 100_000], dtype=np.int64)
    assert pair_factors(differences, fast=True).tolist() == [1, -1, 0, 1, -1, 1]
    deviation = int(np.sqrt((differences.astype(object) ** 2).sum() // 6))
    expected = [max(-127, min(127, round(16 * int(d) / deviation))) for d in differences]
    assert pair_factors(differences, fast=False).tolist() == expected
    assert pair_factors(np.zeros(3, np.int64), fast=False).tolist() == [0, 0, 0]
    # The root mean square of 10, -30 and 20 is 21, rounded down.
    assert pair_factors(np.array([10, -30, 20]), fast=False).tolist() == [8, -23, 15]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("use_clt", [True, False])
@pytest.mark.parametrize("rank", [1, 4])
def test_votes_are_the_sums_of_plain_integers(fast: bool, use_clt: bool, rank: int) -> None:
    rng = np.random.default_rng(0)
    factors = rng.integers(-1, 2, 9).astype(np.int8) if fast else rng.integers(-127, 128, 9).astype(np.int8)
    a, b = (rng.integers(-127, 128, (9, rank, size)).astype(np.int8) for size in (3, 5))
    v = rng.integers(-127 * 127, 127 * 127, (9, 4)).astype(np.int16)
    shift = 0 if fast or not use_clt else 4

    def own(value: int) -> int:
        return int(value) if use_clt else int(np.sign(value))

    matrix = [
        [
            sum(
                (int(f) * own(a[p, k, i]) >> shift) * own(b[p, k, j])
                for p, f in enumerate(factors)
                for k in range(rank)
            )
            for j in range(5)
        ]
        for i in range(3)
    ]
    assert votes(factors, TensorNoise(b, a), fast=fast, use_clt=use_clt).tolist() == matrix
    vector = [sum(int(f) * own(v[p, i]) >> shift for p, f in enumerate(factors)) for i in range(4)]
    assert votes(factors, TensorNoise(v), fast=fast, use_clt=use_clt).tolist() == vector


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("use_clt", [True, False])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
@pytest.mark.parametrize("rank", [1, 4])
def test_random_fitness_moves_the_share_that_was_asked_for(
    fast: bool, use_clt: bool, share: float, rank: int
) -> None:
    search = searcher(1024, share, fast_fitness=fast, use_clt=use_clt, rank=rank)
    rng, moved = np.random.default_rng(1), []
    for _ in range(8):
        search.ask()
        search.tell(Scores(rng.integers(-1000, 1000, 2048).astype(float)))
        moved.append(search.moved)
    expected = 2 * (1 - NormalDist().cdf(planned_threshold(share) / 16))
    # Votes by signs are even or odd together, so one on the threshold counts in whole.
    assert np.mean(moved) == pytest.approx(expected, rel=0.15)


def test_a_planted_signal_is_found_with_the_power_that_theory_predicts() -> None:
    """Differences are the noise along a direction and luck; the votes then lie sqrt(P) rho from 0."""
    pairs, share = 512, 0.05
    search = searcher(pairs, share, key=3)
    noise = search.noise.of(0, 0, pairs)["matrix"]
    effect = np.einsum("pkm,pkn->pmn", noise.a.astype(float), noise.b.astype(float))[:, :4, :5]
    signal, rng = effect.sum((1, 2)), np.random.default_rng(2)
    differences = np.rint(signal + 3 * signal.std() * rng.standard_normal(pairs)).astype(int)
    scores = np.zeros(2 * pairs)
    scores[::2] = differences
    search.ask()
    search.tell(Scores(scores))
    moved = search.weights["matrix"][:4, :5]
    rho = 1 / np.sqrt(20 * 10)  # 20 weights share the signal, of which a tenth is not luck
    power = 1 - NormalDist().cdf(planned_threshold(share) / 16 - np.sqrt(pairs) * rho)
    assert (moved > 0).mean() == pytest.approx(power, abs=0.25)
    assert (moved > 0).sum() > 3 * max(1, (moved < 0).sum())


def test_nothing_moves_without_a_vote_and_weights_stay_in_their_range() -> None:
    assert least_votes(0, 0, fast=True, use_clt=True) == least_votes(5, 0, fast=True, use_clt=True) == 1
    # A standard score of 2 of 900 pairs by signs, of which 2.5 % are 0: 60 x 0.975 votes.
    assert least_votes(900, 32, fast=True, use_clt=False) == 59
    assert least_votes(9, 32, fast=True, use_clt=True, rank=4) == 2 * 6 * 256
    assert least_votes(9 * 256, 32, fast=False, use_clt=True) == 6 * 256
    search = searcher(8, 1.0, start=127, learning_rate=3, weight_clip=7.0)
    search.ask()
    search.tell(Scores(np.arange(16.0) ** 2))
    assert max(np.abs(value).max() for value in search.weights.values()) <= 112
    ties = searcher(8, 1.0, start=5)
    ties.ask()
    ties.tell(Scores(np.ones(16)))
    assert all((value == 5).all() for value in ties.weights.values())
    assert (ties.moved, ties.ties) == (0, 1)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("use_clt", [True, False])
@pytest.mark.parametrize("rank", [1, 4])
def test_votes_stay_below_their_bound(fast: bool, use_clt: bool, rank: int) -> None:
    rng = np.random.default_rng(2)
    factors = rng.integers(-1, 2, 9).astype(np.int8) if fast else rng.integers(-127, 128, 9).astype(np.int8)
    signs = np.sign(factors.astype(np.int16))
    # All the noise at its largest, and with the signs of the factors or against them.
    for sign in (1, -1):
        a = np.broadcast_to((sign * signs * 127).astype(np.int8)[:, None, None], (9, rank, 2)).copy()
        found = votes(factors, TensorNoise(np.full((9, rank, 3), 127, np.int8), a), fast=fast, use_clt=use_clt)
        bound = most_votes(factors, fast=fast, use_clt=use_clt, rank=rank)
        assert 0.95 * bound < np.abs(found).max() <= bound


def test_pairs_that_can_move_nothing_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    for pairs, share, options in ((8, 0.001, {"use_clt": False}), (16, 0.001, {"use_clt": False}), (8, 0.001, {})):
        search = searcher(pairs, share, fast_fitness=True, **options)
        caplog.clear()
        for _ in range(3):
            search.ask()
            search.tell(Scores(np.arange(2.0 * pairs) ** 2))
        # A standard score of 3.29 needs 11 pairs whose signs all agree.
        said = "no weight can move: 8 pairs that differ cannot reach a standard score of 3.2"
        expected = 1 if pairs == 8 and options else 0
        assert sum(said in message for message in caplog.messages) == len(caplog.messages) == expected
        assert not expected or search.moved == 0


def test_failures_count_for_nothing() -> None:
    one, other = searcher(4, 1.0), searcher(4, 1.0)
    scores = np.array([5.0, 3, np.nan, 3, 7, 7, 2, np.nan])
    for search, values in ((one, scores), (other, np.array([5.0, 3, 0, 0, 7, 7, 0, 0]))):
        search.ask()
        search.tell(Scores(values))
    assert np.array_equal(one.centre, other.centre)
    search = searcher(2)
    search.ask()
    with pytest.raises(NoViableChildError, match="--sigma-shift"):
        search.tell(Scores(np.full(4, np.nan)))


def test_an_update_is_repeated_from_its_record() -> None:
    search, again = searcher(16, 0.3), searcher(16, 0.3)
    rng = np.random.default_rng(5)
    for _ in range(4):
        search.ask()
        (row,) = search.tell(Scores(rng.integers(0, 50, 32).astype(float))).records
        again.repeat(row)
    assert np.array_equal(search.centre, again.centre)
    assert search.checksum == again.checksum
    with pytest.raises(CheckpointError, match="multiples of 1/16"):
        search.load_centre(search.centre + np.float32(0.01))
