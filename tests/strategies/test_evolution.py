"""The evolution strategy by itself: whom it asks for, and what it makes of the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from evolution_games import LAYOUT, all_formed, members, play, strategy

from galab.contracts import Scores
from galab.errors import GalabError, NoViableChildError, UsageError
from galab.strategies.evolution import EvolutionStrategy, odd_even_energy

D = LAYOUT.size
GRADIENT = np.linspace(-1, 1, D)


def linear(weights: np.ndarray) -> np.ndarray:
    return weights @ GRADIENT


def curved(weights: np.ndarray) -> np.ndarray:
    return -np.square(weights - 0.3).sum(1)


def gradient(es: EvolutionStrategy) -> np.ndarray:
    assert es.step is not None
    return torch.cat([part.flatten() for part in es.step.gradient.values()]).numpy()


def test_pairs_lie_side_by_side_and_single_members_have_directions_of_their_own() -> None:
    cohort = strategy(population=6).ask()
    assert cohort.births["id"].tolist() == [0, 0, 1, 1, 2, 2]
    assert cohort.births["sign"].tolist() == [1, -1, 1, -1, 1, -1]
    assert (cohort.generation, cohort.children) == (1, 6)
    alone = strategy(population=5, pairs="one-sided").ask()
    assert alone.births["id"].tolist() == [0, 1, 2, 3, 4]
    assert alone.births["sign"].tolist() == [1] * 5


def test_ask_and_tell_take_turns_and_scores_must_fit() -> None:
    es = strategy()
    with pytest.raises(GalabError, match=r"expected ask\(\) before tell\(\), got tell\(\); call ask\(\)"):
        es.tell(Scores(np.zeros(16)))
    es.ask()
    with pytest.raises(GalabError, match=r"got ask\(\) again; call tell\(\) first"):
        es.ask()
    with pytest.raises(GalabError, match=r"expected 16 scores, one per member asked for, got shape \(15,\)"):
        es.tell(Scores(np.zeros(15)))
    es.tell(Scores(np.zeros(16)))
    assert es.generation == 1


def test_the_record_is_the_generations_scores_as_the_update_used_them() -> None:
    es = strategy(generations=40)
    es.ask()
    fitness = np.linspace(0, 1, 16) / 3
    fitness[3] = np.nan
    record = es.tell(Scores(fitness)).records[0]
    assert (record["generation"], record["planned"]) == (1, 40)
    assert np.array_equal(record["fitness"], fitness.astype(np.float32), equal_nan=True)
    again = strategy(generations=40)
    again.ask()
    again.tell(Scores(record["fitness"].astype(np.float64)))
    assert np.array_equal(again.centre, es.centre)


def test_failures_count_as_the_worst_member() -> None:
    fitness = np.random.Generator(np.random.Philox(0)).normal(size=16)
    centres = []
    for bad in (fitness.min(), np.nan, -np.inf, -1e39):  # the last is infinite in float32
        es = strategy()
        es.ask()
        es.tell(Scores(np.where(np.arange(16) == 5, bad, fitness)))
        centres.append(es.centre)
    assert all(np.array_equal(centre, centres[0]) for centre in centres)
    assert np.abs(centres[0]).max() > 0


@pytest.mark.parametrize("shaping", ["centred-ranks", "sign"])
def test_plus_infinity_ranks_first(shaping: str) -> None:
    fitness = np.random.Generator(np.random.Philox(0)).normal(size=16)
    centres = []
    for best in (1e6, np.inf, 1e39):
        es = strategy(shaping=shaping)
        es.ask()
        record = es.tell(Scores(np.where(np.arange(16) == 5, best, fitness))).records[0]
        assert np.isfinite(record["fitness"]).all()
        centres.append(es.centre)
    assert all(np.array_equal(centre, centres[0]) for centre in centres)


@pytest.mark.parametrize("shaping", ["raw", "z-score"])
def test_plus_infinity_is_refused_where_scores_are_averaged(shaping: str) -> None:
    es = strategy(shaping=shaping)
    before = es.centre
    es.ask()
    fitness = np.arange(16.0)
    with pytest.raises(UsageError, match=r"got the best infinity, .* member 5; bound .* --shaping centred-ranks"):
        es.tell(Scores(np.where(np.arange(16) == 5, np.inf, fitness)))
    assert np.array_equal(es.centre, before)
    es.tell(Scores(fitness))
    assert es.generation == 1


def test_a_generation_in_which_all_failed_is_not_counted() -> None:
    es = strategy()
    play(es, curved, 2)
    before = es.centre, es.state_dict()
    es.ask()
    with pytest.raises(NoViableChildError) as error:
        es.tell(Scores(np.full(16, np.nan), failures={4: "ValueError: too hot"}))
    said = "generation 3: not one of 16 members has a finite fitness (ValueError: too hot); the last good checkpoint"
    assert said in str(error.value)
    assert es.generation == 2
    assert np.array_equal(es.centre, before[0])
    assert str(es.state_dict()) == str(before[1])


@pytest.mark.parametrize("rank", [1, 3, None])
@pytest.mark.parametrize("pairs", ["antithetic", "one-sided"])
def test_gradient_ascent_by_the_definition(rank: int | None, pairs: str) -> None:
    """Centre + lr (1 / (N sigma)) sum f_i s_i E_i, in float64 and with all directions written out."""
    es = strategy(rank=rank, pairs=pairs, lr_schedule="1:1,2:0.5", sigma_schedule="1:1,2:0.25")
    expected = np.zeros(D)
    for generation in (1, 2):
        weights = members(es)
        fitness = curved(weights).astype(np.float32).astype(np.float64)
        steps = (weights - es.centre) / es.sigma(generation)
        baseline = fitness.mean() if pairs == "one-sided" else 0.0
        estimate = ((fitness - baseline)[:, None] * steps).mean(0) / es.sigma(generation)
        es.tell(Scores(fitness))
        assert gradient(es) == pytest.approx(estimate, rel=1e-4, abs=1e-4)
        expected += es.learning_rate(generation) * estimate
        assert es.centre == pytest.approx(expected, abs=1e-4)
    assert (es.sigma(1), es.sigma(2)) == (0.5, 0.125)
    assert (es.learning_rate(1), es.learning_rate(2)) == (0.25, 0.125)


def test_learning_rates_of_the_paper_and_of_the_official_code() -> None:
    """One update in the conventions of three: ours, Eq. 6 of arXiv 2511.16652, and the authors' code."""
    sigma, rate, population = 0.5, 0.25, 16
    es = strategy(sigma=sigma, lr=rate, population=population, pairs="antithetic")
    weights = members(es)
    fitness = linear(weights)
    steps = (weights - es.centre) / sigma  # E_i, with their signs
    es.tell(Scores(fitness))
    ours = es.centre.astype(np.float64)
    alpha = rate / sigma
    paper = alpha / population * (fitness[:, None] * steps).sum(0)
    theirs = rate / (sigma**2 * np.sqrt(population))
    official = theirs * np.sqrt(population) * (fitness[:, None] * sigma * steps).mean(0)
    assert ours == pytest.approx(paper, rel=1e-4, abs=1e-5)
    assert ours == pytest.approx(official, rel=1e-4, abs=1e-5)


def test_a_learning_rate_means_what_it_means_in_gradient_descent() -> None:
    """With many members the estimate is the gradient itself, not a multiple of it."""
    es = strategy(population=40_000, sigma=0.01, lr=1.0)
    play(es, linear)
    slope = es.centre.astype(np.float64) @ GRADIENT / (GRADIENT @ GRADIENT)
    assert slope == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("shaping", ["z-score", "centred-ranks", "sign"])
def test_shapings_that_normalise_do_not_see_scale_and_level(shaping: str) -> None:
    one, other = strategy(shaping=shaping), strategy(shaping=shaping)
    play(one, curved)
    play(other, lambda weights: 1000 * curved(weights) + 7)
    assert np.abs(one.centre).max() > 0
    assert other.centre == pytest.approx(one.centre, abs=1e-4)


def test_raw_fitness_keeps_its_scale_and_loses_its_level() -> None:
    for pairs in ("antithetic", "one-sided"):
        one, other = strategy(pairs=pairs), strategy(pairs=pairs)
        play(one, linear)
        play(other, lambda weights: 3 * linear(weights) + 5)
        assert other.centre == pytest.approx(3 * one.centre, abs=1e-4)


def test_equal_fitness_moves_nothing() -> None:
    for shaping in ("raw", "z-score", "centred-ranks", "sign"):
        for pairs in ("antithetic",) if shaping == "sign" else ("antithetic", "one-sided"):
            es = strategy(shaping=shaping, pairs=pairs)
            play(es, lambda weights: np.full(len(weights), 0.1))
            assert not es.centre.any()
            assert es.step is not None
            assert es.step.norm == 0


def test_clipping_shortens_the_estimate_and_nothing_else() -> None:
    free, cut, wide = strategy(), strategy(clip=0.125), strategy(clip=1e9)
    for es in (free, cut, wide):
        play(es, linear)
    assert free.step is not None
    assert cut.step is not None
    assert cut.step.norm == free.step.norm > 0.125
    assert np.linalg.norm(cut.centre) == pytest.approx(0.125 * 0.25, rel=1e-5)
    assert cut.centre * (np.linalg.norm(free.centre) / np.linalg.norm(cut.centre)) == pytest.approx(free.centre)
    assert np.array_equal(wide.centre, free.centre)


def test_weight_decay_pulls_the_centre_to_zero() -> None:
    es = strategy(weight_decay=0.5)
    es.load_centre(np.full(D, 2, np.float32))
    play(es, lambda weights: np.zeros(len(weights)))
    assert es.centre == pytest.approx(np.full(D, 2 * (1 - 0.25 * 0.5)))


def test_noise_is_reused_for_as_many_generations_as_were_asked_for() -> None:
    es = strategy(noise_reuse=3)
    assert [es.noise_of(generation) for generation in range(1, 8)] == [1, 1, 1, 2, 2, 2, 3]
    assert [strategy().noise_of(generation) for generation in (1, 2, 3)] == [1, 2, 3]


def test_pairs_are_kept_where_the_even_part_is_large_and_left_where_it_is_small() -> None:
    bent = strategy(pairs="auto", sigma=1.0, lr=1e-6)
    play(bent, lambda weights: linear(weights) - 5 * np.square(weights).sum(1), 3)
    assert bent.step is not None
    assert bent.step.even > bent.step.odd
    assert bent.antithetic
    straight = strategy(pairs="auto")
    assert straight.antithetic, "the first generation measures"
    play(straight, linear)
    assert straight.step is not None
    assert straight.step.even < straight.step.odd * 1e-6
    assert not straight.antithetic
    assert (straight.ask().births["sign"] == 1).all()


def test_single_members_are_tried_in_pairs_again_now_and_then() -> None:
    es = strategy(pairs="auto", lr=1e-6)
    signs = []
    for _ in range(103):
        paired = es.antithetic
        play(es, linear if es.generation < 100 else lambda weights: -np.square(weights).sum(1))
        signs.append(paired)
    assert [place + 1 for place, paired in enumerate(signs) if paired] == [1, 51, 101, 102, 103]


def test_differences_between_groups_speak_for_no_kind_of_pairing() -> None:
    """Each group sees other examples: how hard these are is subtracted with the group's mean, in pairs or alone."""
    levels = np.repeat([0.0, 50.0], 8)
    es = strategy(pairs="auto", groups=2)
    play(es, lambda weights: linear(weights) + levels)
    assert es.step is not None
    assert es.step.even < es.step.odd
    assert not es.antithetic


def test_odd_and_even_parts_and_ties_of_pairs() -> None:
    odd, even, ties = odd_even_energy(np.array([3.0, 1.0, 5.0, 5.0]))
    assert (odd, even, ties) == (0.5, 2.25, 0.5)
    assert odd_even_energy(np.array([3.0, 1.0, 5.0, 5.0]), 2)[1] == 0.0


@pytest.mark.parametrize("optimizer", ["sgd", "sgd(momentum=0.9)", "adam", "muon"])
def test_it_continues_exactly(optimizer: str) -> None:
    options: dict[str, Any] = {"optimizer": optimizer, "pairs": "auto", "lr_schedule": "decay:0.9"}
    whole = strategy(**options)
    play(whole, curved, 4)
    centre, state = whole.centre, whole.state_dict()
    other = strategy(**options)
    other.load_centre(centre)
    other.load_state_dict(state)
    play(whole, curved, 4)
    play(other, curved, 4)
    assert np.array_equal(whole.centre, other.centre)
    assert str(whole.state_dict()) == str(other.state_dict())


def test_the_state_is_a_copy() -> None:
    es = strategy(optimizer="adam")
    play(es, curved)
    state, centre = es.state_dict(), es.centre
    before = state["optimizer"][0]["exp_avg"].copy(), centre.copy()
    play(es, curved)
    assert np.array_equal(state["optimizer"][0]["exp_avg"], before[0])
    assert np.array_equal(centre, before[1])


def test_members_are_the_centre_plus_sigma_times_unit_directions() -> None:
    es = strategy(population=4000)
    play(es, curved)
    spread = (members(es) - es.centre) / 0.5
    assert np.square(spread).mean() == pytest.approx(1.0, abs=0.02)
    assert np.abs(spread[0::2] + spread[1::2]).max() < 1e-6
    assert spread[0] == pytest.approx(all_formed(es._directions, 2, 1)[0].numpy(), abs=1e-6)
