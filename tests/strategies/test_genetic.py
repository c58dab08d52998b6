"""The genetic algorithm: who breeds, who stays, and that it continues exactly."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from strategy_games import algorithm

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.contracts import Cohort, Outcome, Scores
from galab.errors import GalabError
from galab.genome.births import from_rows
from galab.genome.decoder import Decoder
from galab.genome.initial import Founders, TensorLaw
from galab.genome.pedigree import Pedigree
from galab.genome.random import table
from galab.genome.step_sizes import sigma, snap
from galab.genome.weights import to_float
from galab.operators.step_size import LogNormal
from galab.storage import pickle_format
from galab.strategies.build import developer
from galab.strategies.genetic import GeneticAlgorithm


def noise_of(cohort: Cohort) -> Scores:
    """A score for everybody that depends on id and generation, so that a rescored elite gets another one."""
    raw = cohort.births["id"] * 2654435761 + cohort.generation * 40503
    return Scores((raw % 1009) / 1009.0)


def play(ga: GeneticAlgorithm, generations: int) -> list[Outcome]:
    return [ga.tell(noise_of(ga.ask())) for _ in range(generations)]


def score(cohort: Cohort, by_place: dict[int, float], rest: float) -> Scores:
    return Scores(np.array([by_place.get(place, rest) for place in range(len(cohort.births))]))


def test_a_cohort_is_the_children_in_order_of_birth():
    ga = algorithm()
    for generation in (1, 2, 3):
        cohort = ga.ask()
        assert cohort.generation == generation == ga.generation + 1
        assert cohort.births["id"].tolist() == list(range(4 + 12 * (generation - 1), 4 + 12 * generation))
        assert cohort.children == 12
        assert all(born.generation == generation and born.mutation == 1 for born in from_rows(cohort.births))
        assert {born.parents[0] for born in from_rows(cohort.births)} <= set(ga.parents.tolist())
        ga.tell(noise_of(cohort))


def test_the_best_children_become_the_parents_best_first():
    ga = algorithm()
    cohort = ga.ask()
    outcome = ga.tell(score(cohort, {3: 5.0, 7: 9.0, 0: 7.0, 11: 1.0, 5: 0.5}, rest=0.0))
    ids = cohort.births["id"]
    assert outcome.parents.tolist() == ga.parents.tolist() == ids[[7, 0, 3, 11]].tolist()
    assert ga.parent_fitness.tolist() == [9.0, 7.0, 5.0, 1.0]
    assert outcome.records["id"].tolist() == ids[[0, 3, 7, 11]].tolist()
    assert len(ga.pedigree) <= 4 + 4


@pytest.mark.slow
def test_every_parent_is_drawn_about_equally_often():
    ga = algorithm(parents=5, children=5000)
    counts = np.bincount(ga.ask().births["parents"][:, 0], minlength=5)
    assert counts == pytest.approx([1000] * 5, abs=5 * 29)


def test_ask_twice_and_tell_before_ask_are_refused_with_what_to_do():
    ga = algorithm()
    with pytest.raises(GalabError, match=r"expected ask\(\) before tell\(\), got tell\(\); call ask\(\)"):
        ga.tell(Scores(np.zeros(12)))
    cohort = ga.ask()
    with pytest.raises(GalabError, match=r"got ask\(\) again; call tell\(\) first"):
        ga.ask()
    ga.tell(noise_of(cohort))
    with pytest.raises(GalabError, match="expected ask"):
        ga.tell(noise_of(cohort))


@pytest.mark.parametrize("shape", [(11,), (13,), (12, 1), ()])
def test_scores_of_another_shape_are_refused_and_change_nothing(shape):
    ga = algorithm()
    cohort = ga.ask()
    with pytest.raises(GalabError, match=r"expected 12 scores, one per member asked for, got shape \("):
        ga.tell(Scores(np.zeros(shape)))
    assert ga.generation == 0
    ga.tell(noise_of(cohort))
    assert ga.generation == 1


def test_the_key_decides_everything():
    def story(key):
        ga = algorithm(key, elites=2)
        return [ga.tell(noise_of(ga.ask())).records.tobytes() for _ in range(10)]

    assert story(1) == story(1)
    assert story(1) != story(2)


@pytest.mark.parametrize("options", [{}, {"elites": 2}, {"elites": 4, "fixed_data": True}, {"ties": "random"}])
@pytest.mark.parametrize("mid_generation", [False, True])
def test_a_state_that_was_saved_continues_as_if_nothing_had_happened(options, mid_generation, tmp_path: Path):
    unbroken = algorithm(5, **options)
    play(unbroken, 7)
    if mid_generation:
        unbroken.ask()
    pickle_format.dump(unbroken.state_dict(), tmp_path / "state.pkl")
    if mid_generation:
        unbroken.tell(noise_of(unbroken._asked))
    else:
        play(unbroken, 1)
    resumed = algorithm(5, **options)
    resumed.load_state_dict(pickle_format.load(tmp_path / "state.pkl"))
    assert resumed.generation == 7
    play(resumed, 1)
    for _ in range(10):
        first, second = unbroken.ask(), resumed.ask()
        assert first.births.tobytes() == second.births.tobytes()
        told = [unbroken.tell(noise_of(first)), resumed.tell(noise_of(second))]
        assert told[0].parents.tolist() == told[1].parents.tolist()
        assert told[0].records.tobytes() == told[1].records.tobytes()
    np.testing.assert_array_equal(unbroken.parent_fitness, resumed.parent_fitness)


def test_a_state_is_a_copy():
    ga = algorithm(elites=2)
    play(ga, 3)
    state = ga.state_dict()
    kept = copy.deepcopy(state)
    play(ga, 3)
    assert state["generation"] == kept["generation"] == 3
    assert state["births"].tobytes() == kept["births"].tobytes()
    assert state["parent_fitness"].tolist() == kept["parent_fitness"].tolist()


def test_a_configuration_makes_the_strategy_that_it_describes():
    config = decide(RunConfig(
        parents=3, children=9, elites=2, ties="older", sigma=0.5, sigma_floor=0.25, sigma_ceiling=1.0, seed=6
    ))
    pedigree = Pedigree()
    ga = GeneticAlgorithm.from_config(config, LogNormal(6), pedigree, True)
    assert (ga.config, ga.pedigree) == (config, pedigree)
    cohort = ga.ask()
    assert (cohort.children, len(cohort.births)) == (9, 11)
    assert {pedigree[founder].log_sigma for founder in range(3)} == {snap(0.5)}
    assert set(cohort.births["log_sigma"].tolist()) <= set(range(snap(0.25), snap(1.0) + 1))
    ga.tell(Scores(np.zeros(11)))
    assert ga.parents.tolist() == [0, 1, 3]  # the older of equals first
    assert len(ga.ask().births) == 9  # the scores of the elites stay true


def test_step_sizes_mutate_before_use_and_are_inherited():
    ga = algorithm(9, step_size="log-normal")
    steps = ga.reproduction.steps
    for _ in range(5):
        inherited = {number: ga.pedigree[number].log_sigma for number in ga.parents.tolist()}
        cohort = ga.ask()
        for born in from_rows(cohort.births):
            parent = np.array([inherited[born.parents[0]]], dtype=np.int16)
            assert born.log_sigma == LogNormal(9).mutate([parent], born.id, steps)[0]
        ga.tell(noise_of(cohort))


def test_a_fixed_step_size_stays():
    ga = algorithm(step_size="fixed")
    play(ga, 3)
    assert set(ga.ask().births["log_sigma"].tolist()) == {snap(0.02)}


def test_step_sizes_stay_between_floor_and_ceiling():
    ga = algorithm(
        children=40, sigma_floor=0.015, sigma_ceiling=0.03, step_size="three-point", step_size_rate=0.25
    )
    seen = set()
    for _ in range(10):
        cohort = ga.ask()
        seen |= set(cohort.births["log_sigma"].tolist())
        ga.tell(noise_of(cohort))
    assert min(seen) == snap(0.015)
    assert max(seen) == snap(0.03)
    assert len(seen) > 2
    assert all(0.015 * 0.998 < float(sigma(k)) < 0.03 * 1.002 for k in seen)


def sphere(key: int, generations: int, **options) -> float:
    """How much of the squared distance to a point is left after some generations."""
    founders = Founders(key, (TensorLaw("w", (20,), "uniform", 1.0),), np.empty((1, 0), np.int32))
    goal = np.linspace(-2, 2, 20)
    ga = algorithm(key, sigma=0.1, parents=4, children=16, **options)
    decoder = Decoder(developer(ga.config, founders, table("normal")), ga.pedigree, cache_bytes=10_000)

    def loss(number: int) -> float:
        return float(np.sum((to_float(decoder.decode(number).weights) - goal) ** 2))

    first = np.mean([loss(number) for number in range(4)])
    for _ in range(generations):
        cohort = ga.ask()
        outcome = ga.tell(Scores(np.array([-loss(number) for number in cohort.births["id"].tolist()])))
        decoder.pin(outcome.parents.tolist())
    return loss(int(ga.parents[0])) / first


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"elites": 1}, {"elites": 4, "fixed_data": True}])
def test_it_finds_the_bottom_of_a_bowl(options):
    assert np.median([sphere(key, 80, **options) for key in (1, 2, 3)]) < 0.1  # about 0.01


def test_selection_is_what_finds_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "galab.strategies.survival.rank", lambda fitness, ids, **_: np.argsort(ids % 7, kind="stable")
    )
    assert sphere(1, 80) > 0.5
