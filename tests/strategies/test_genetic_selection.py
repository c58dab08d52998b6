"""Elites, plus and comma selection, and what happens to failures."""

from __future__ import annotations

import numpy as np
import pytest
from strategy_games import algorithm

from galab.contracts import Cohort, Scores
from galab.errors import NoViableChildError

NAN, INF = float("nan"), float("inf")


def falling(cohort: Cohort, *, top: float = 0.0) -> Scores:
    """The first member is best, each next one worse by 1."""
    return Scores(top - np.arange(len(cohort.births), dtype=np.float64))


def again(cohort: Cohort) -> list[int]:
    """Who is scored besides the children."""
    return cohort.births["id"][cohort.children :].tolist()


def test_under_a_minibatch_elites_are_scored_again_every_generation():
    ga = algorithm(elites=2)
    for _ in range(4):
        elites = ga.parents[:2].tolist()
        cohort = ga.ask()
        assert cohort.children == 12
        assert again(cohort) == elites
        ga.tell(falling(cohort))


def test_on_fixed_data_an_elites_score_is_measured_once():
    ga = algorithm(elites=2, fixed_data=True)
    cohort = ga.ask()
    assert again(cohort) == [0, 1]  # founders have no score yet
    ga.tell(Scores(np.array([0.0] * 12 + [5.0, 4.0])))
    assert ga.parents[:2].tolist() == [0, 1]
    for _ in range(3):
        cohort = ga.ask()
        assert again(cohort) == []
        ga.tell(falling(cohort))
        assert ga.parents[:2].tolist() == [0, 1]
        assert ga.parent_fitness[:2].tolist() == [5.0, 4.0]


def test_a_lucky_score_does_not_rule_for_ever_under_a_minibatch():
    ga = algorithm(elites=1)
    cohort = ga.ask()
    ga.tell(falling(cohort, top=1000.0))
    lucky = int(ga.parents[0])
    cohort = ga.ask()
    assert again(cohort) == [lucky]
    ga.tell(Scores(np.array([1.0] * 12 + [-5.0])))
    assert lucky not in ga.parents


@pytest.mark.parametrize("failure", [NAN, INF, -INF])
@pytest.mark.parametrize("fixed_data", [False, True])
def test_an_elite_that_fails_when_scored_again_never_stays(failure, fixed_data):
    ga = algorithm(elites=4, fixed_data=fixed_data)
    cohort = ga.ask()
    assert again(cohort) == [0, 1, 2, 3]
    # Fewer children than parents are finite, so there would be room for the failed elite.
    ga.tell(Scores(np.array([1.0, 2.0] + [NAN] * 10 + [failure, 3.0, failure, failure])))
    assert ga.parents.tolist() == [1, 5, 4]
    assert np.isfinite(ga.parent_fitness).all()


@pytest.mark.parametrize("failure", [NAN, INF, -INF])
def test_a_failure_never_becomes_a_parent(failure):
    ga = algorithm()
    for _ in range(5):
        cohort = ga.ask()
        scores = np.full(12, failure)
        scores[[2, 5, 7, 8, 9]] = [1, 2, 3, 4, 5]
        ga.tell(Scores(scores))
        assert ga.parents.tolist() == cohort.births["id"][[9, 8, 7, 5]].tolist()


def test_fewer_finite_scores_than_parents_breed_alone_and_the_next_generation_is_full_again():
    ga = algorithm()
    cohort = ga.ask()
    scores = np.full(12, NAN)
    scores[[3, 6]] = [1.0, 2.0]
    outcome = ga.tell(Scores(scores))
    two = cohort.births["id"][[6, 3]].tolist()
    assert outcome.parents.tolist() == two
    assert outcome.records["id"].tolist() == sorted(two)
    cohort = ga.ask()
    assert len(cohort.births) == cohort.children == 12
    assert set(cohort.births["parents"][:, 0].tolist()) == set(two)
    assert cohort.births["id"].tolist() == list(range(16, 28))
    ga.tell(falling(cohort))
    assert len(ga.parents) == 4


def test_elites_are_at_most_the_parents_that_are_left():
    ga = algorithm(elites=3)
    ga.ask()
    ga.tell(Scores(np.array([1.0] + [NAN] * 14)))
    cohort = ga.ask()
    assert again(cohort) == [4]
    assert cohort.children == 12
    ga.tell(falling(cohort))
    assert len(ga.parents) == 4


def test_a_generation_without_a_finite_score_stops_and_changes_nothing():
    ga = algorithm(elites=1)
    ga.tell(falling(ga.ask()))
    before = ga.state_dict()
    cohort = ga.ask()
    reason = "lethal: a weight of 'w' left +-128"
    with pytest.raises(NoViableChildError, match=r"generation 2: not one of 12 children has a finite .*\(lethal: a w"):
        ga.tell(Scores(np.full(13, NAN), {0: reason}))
    after = ga.state_dict()
    assert after["generation"] == before["generation"] == 1
    assert after["births"].tobytes() == before["births"].tobytes()
    assert after["next_id"] == before["next_id"] == cohort.births["id"][0]


def test_no_reason_is_a_reason_too():
    ga = algorithm()
    ga.ask()
    with pytest.raises(NoViableChildError, match=r"\(no score was finite\)"):
        ga.tell(Scores(np.full(12, INF)))


@pytest.mark.parametrize("fixed_data", [False, True])
def test_plus_selection_keeps_the_best_and_comma_forgets_it(fixed_data):
    plus, comma = algorithm(elites=4, fixed_data=fixed_data), algorithm(elites=0, fixed_data=fixed_data)
    best = {}
    for ga in (plus, comma):
        cohort = ga.ask()
        ga.tell(falling(cohort, top=100.0))
        best[ga] = ga.parents.copy()
        cohort = ga.ask()
        rescored = np.array([100.0, 99.0, 98.0, 97.0])[: len(again(cohort))]
        ga.tell(Scores(np.concatenate([np.zeros(12), rescored])))
    assert plus.parents.tolist() == best[plus].tolist()
    assert not set(comma.parents.tolist()) & set(best[comma].tolist())
    assert comma.parents.tolist() == [27, 26, 25, 24]  # all equal: the youngest first


def test_under_plus_selection_the_best_score_never_falls():
    ga, best = algorithm(elites=4, fixed_data=True), -INF
    generator = np.random.Generator(np.random.Philox(1))
    for _ in range(30):
        cohort = ga.ask()
        ga.tell(Scores(generator.standard_normal(len(cohort.births))))
        assert ga.parent_fitness[0] >= best
        assert ga.parent_fitness.tolist() == sorted(ga.parent_fitness, reverse=True)
        best = ga.parent_fitness[0]


@pytest.mark.parametrize(("ties", "expected"), [("younger", [15, 14, 13, 12]), ("older", [0, 1, 2, 3])])
def test_ties_between_elites_and_children_go_by_age(ties, expected):
    ga = algorithm(elites=4, ties=ties)
    ga.tell(Scores(np.zeros(len(ga.ask().births))))
    assert ga.parents.tolist() == expected


def test_random_ties_follow_the_generation():
    ga, seen = algorithm(ties="random", children=4), set()
    for _ in range(10):
        cohort = ga.ask()
        ga.tell(Scores(np.zeros(4)))
        seen.add(tuple((ga.parents - cohort.births["id"][0]).tolist()))
    assert len(seen) > 4


def test_the_pedigree_holds_the_living_and_their_ancestors_only():
    ga = algorithm(elites=1)
    for _ in range(50):
        ga.tell(falling(ga.ask()))
    lineage = {birth.id for birth in ga.pedigree.ancestors(ga.parents.tolist())}
    assert {birth.id for birth in ga.pedigree} == lineage
    assert len(ga.pedigree) < 250
