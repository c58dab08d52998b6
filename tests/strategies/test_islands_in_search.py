"""Islands in the genetic algorithm: they meet by migration alone, each has its elites, and none dies out."""

from __future__ import annotations

import numpy as np
import pytest
from strategy_games import algorithm

from galab.contracts import Cohort, Scores
from galab.genome.births import from_rows
from galab.storage import pickle_format
from galab.strategies.genetic import GeneticAlgorithm

NAN = float("nan")


def archipelago(**options) -> GeneticAlgorithm:
    return algorithm(**{"parents": 6, "children": 12, "islands": 3, "migrate_every": 3, "migrants": 1} | options)


def noise(cohort: Cohort) -> Scores:
    raw = cohort.births["id"] * 2654435761 + cohort.generation * 40503
    return Scores((raw % 1009) / 1009.0)


def homes(cohort: Cohort) -> list[int]:
    return [row * 3 // cohort.children for row in range(cohort.children)]


@pytest.mark.parametrize("crossover", ["none", "row"])
@pytest.mark.parametrize("elites", [0, 3, 6])
def test_islands_never_mix_but_by_migration(crossover, elites):
    ga, came = archipelago(crossover=crossover, elites=elites), 0
    for generation in range(1, 13):
        lives = {}
        for birth, island in zip(ga.parents.tolist(), ga.islands.tolist(), strict=True):
            lives.setdefault(birth, set()).add(island)
        cohort = ga.ask()
        for birth, island in zip(from_rows(cohort.births), homes(cohort), strict=False):
            assert all(island in lives[parent] for parent in birth.parents)
        born_on = dict(zip(cohort.births["id"].tolist(), homes(cohort), strict=False))
        ga.tell(noise(cohort))
        assert np.bincount(ga.islands).tolist() == [2, 2, 2]
        for birth, island in zip(ga.parents.tolist(), ga.islands.tolist(), strict=True):
            stranger = island not in ({born_on[birth]} if birth in born_on else lives[birth])
            assert not stranger or generation % 3 == 0
            came += stranger
    assert came >= 6


def test_migrants_are_the_best_and_stay_at_home_too():
    ga = archipelago(migrate_every=1)
    cohort = ga.ask()
    ga.tell(Scores(-np.arange(12.0)))  # on each island the first two are best
    first = int(cohort.births["id"][0])
    pairs = set(zip(ga.parents.tolist(), ga.islands.tolist(), strict=True))
    assert pairs == {(first, 0), (first + 8, 0), (first + 4, 1), (first, 1), (first + 8, 2), (first + 4, 2)}
    assert ga.parent_fitness.tolist() == sorted(ga.parent_fitness.tolist(), reverse=True)


def test_without_migrants_lines_stay_apart_for_ever():
    ga = archipelago(migrants=0, migrate_every=1)
    for _ in range(10):
        ga.tell(noise(ga.ask()))
    for birth, island in zip(ga.parents.tolist(), ga.islands.tolist(), strict=True):
        assert {row.id * 3 // 6 for row in ga.pedigree.ancestors([birth]) if not row.generation} == {island}


def test_an_island_whose_children_all_fail_keeps_its_parents():
    ga = archipelago()
    ga.tell(noise(ga.ask()))
    stayed = ga.parents[ga.islands == 1].tolist()
    fitness = ga.parent_fitness[ga.islands == 1].tolist()
    cohort = ga.ask()
    scores = noise(cohort).fitness
    scores[4:8] = NAN
    outcome = ga.tell(Scores(scores))
    assert ga.parents[ga.islands == 1].tolist() == stayed
    assert ga.parent_fitness[ga.islands == 1].tolist() == fitness
    assert not set(outcome.records["id"].tolist()) & set(stayed)
    assert np.bincount(ga.islands).tolist() == [2, 2, 2]
    born = from_rows(ga.ask().births[4:8])
    assert {birth.parents[0] for birth in born} <= set(stayed)


def test_a_migration_settles_an_island_whose_children_all_failed():
    ga = archipelago(migrate_every=1)
    cohort = ga.ask()
    scores = -np.arange(12.0)
    scores[4:8] = NAN
    ga.tell(Scores(scores))
    assert ga.parents[ga.islands == 1].tolist() == [int(cohort.births["id"][0])]


@pytest.mark.parametrize(("elites", "each"), [(3, 1), (6, 2)])
def test_each_island_has_its_share_of_elites(elites, each):
    ga = archipelago(elites=elites, migrants=0)
    ga.tell(noise(ga.ask()))
    best = [ga.parents[ga.islands == island][:each].tolist() for island in range(3)]
    cohort = ga.ask()
    assert sorted(cohort.births["id"][12:].tolist()) == sorted(birth for island in best for birth in island)
    fitness = np.zeros(len(cohort.births))
    fitness[12:] = 1.0
    ga.tell(Scores(fitness))
    for island in range(3):
        assert set(best[island]) <= set(ga.parents[ga.islands == island].tolist())


def test_one_individual_on_two_islands_is_scored_once_and_competes_on_both():
    ga = archipelago(elites=6, migrate_every=1)
    assert len(ga.ask().births) == 18
    ga.tell(Scores(np.concatenate([np.arange(12.0), np.full(6, -1.0)])))
    assert len(set(ga.parents.tolist())) < 6
    cohort = ga.ask()
    again = cohort.births["id"][12:].tolist()
    assert len(again) == len(set(again)) == len(set(ga.parents.tolist()))
    ga.tell(Scores(np.concatenate([np.zeros(12), np.ones(len(again))])))
    assert set(ga.parents.tolist()) <= set(again)


def test_an_elite_never_lives_twice_on_one_island():
    ga, best = archipelago(elites=6, survival="plus", migrate_every=1), 7
    for _ in range(8):
        cohort = ga.ask()
        fitness = noise(cohort).fitness
        fitness[cohort.births["id"] == best] = 2.0
        ga.tell(Scores(fitness))
        assert np.bincount(ga.islands).tolist() == [2, 2, 2]
        pairs = list(zip(ga.parents.tolist(), ga.islands.tolist(), strict=True))
        assert len(set(pairs)) == len(pairs)
    assert {island for birth, island in pairs if birth == best} == {0, 1, 2}


def test_a_state_with_migrants_continues_exactly(tmp_path):
    unbroken = archipelago(crossover="row", migrate_every=2, elites=3)
    for _ in range(4):
        unbroken.tell(noise(unbroken.ask()))
    pickle_format.dump(unbroken.state_dict(), tmp_path / "state.pkl")
    resumed = archipelago(crossover="row", migrate_every=2, elites=3)
    resumed.load_state_dict(pickle_format.load(tmp_path / "state.pkl"))
    for _ in range(5):
        first, second = unbroken.ask(), resumed.ask()
        assert first.births.tobytes() == second.births.tobytes()
        unbroken.tell(noise(first))
        resumed.tell(noise(second))
        assert unbroken.islands.tolist() == resumed.islands.tolist()


@pytest.mark.parametrize("fixed_data", [True, False])
def test_stranded_parents_keep_what_was_seen_of_them_on_the_same_examples(fixed_data):
    ga = archipelago(fixed_data=fixed_data, mate="similar", crossover="row", migrate_every=1000)
    for generation in (1, 2):
        cohort = ga.ask()
        ids = cohort.births["id"]
        dead = np.array([generation == 2 and row in range(4, 8) for row in range(len(ids))])
        answers = np.stack([ids % 251, ids % 7], axis=1).astype(np.uint8)
        uses = np.stack([ids, ids + 1], axis=1).astype(np.int32)
        before = ga.parents[ga.islands == 1]
        ga.tell(Scores(np.where(dead, NAN, noise(cohort).fitness), behaviour=answers, use=uses))
    assert sorted(before) == sorted(ga.parents[-2:]) == sorted(ga.parents[ga.islands == 1])
    whose = [*ga.parents[:-2], *(ga.parents[-2:] if fixed_data else ga.parents[[0, 0]])]
    state = ga.state_dict()
    assert state["use"].tolist() == [[one, one + 1] for one in whose]
    assert state["behaviour"].tolist() == [[one % 251, one % 7] for one in whose]
