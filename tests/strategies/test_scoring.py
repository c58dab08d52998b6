"""What ranks: fitness as it is, gains over the parents, and scores that are partly inherited; by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from strategy_games import algorithm

from galab.contracts import Cohort, Scores
from galab.genome.births import from_rows
from galab.strategies.survival import WORST, Scoring, improvement, inherited, levelled, parents_mean

NAN, INF = float("nan"), float("inf")


def test_the_mean_of_parents_leaves_out_places_without_a_parent():
    families = np.array([[3, 4, -1], [4, -1, -1], [3, 4, 5], [3, 9, -1]])
    assert parents_mean(families, {3: 1.0, 4: 2.0, 5: 6.0}).tolist()[:3] == [1.5, 2.0, 3.0]
    assert np.isnan(parents_mean(families, {3: 1.0, 4: 2.0, 5: 6.0})[3])


def test_gains_rank_failures_nowhere_and_children_of_failures_last():
    fitness = np.array([5.0, 1.0, NAN, INF, -9.0])
    gain = np.array([0.5, NAN, 1.0, 1.0, -INF])
    score = improvement(fitness, gain)
    assert score[:2].tolist() == [0.5, WORST]
    assert np.isnan(score[2:4]).all()
    assert score[4] == WORST


def test_an_inherited_score_starts_from_the_fitness_where_nothing_is_known():
    score = inherited(np.array([4.0, 4.0, NAN]), np.array([2.0, NAN, 2.0]), 0.75)
    assert score[:2].tolist() == [2.5, 4.0]
    assert np.isnan(score[2])


def test_the_lower_keys_of_an_improvement_are_gains_and_others_are_as_they_stand():
    measured = np.array([[1.0], [5.0], [NAN], [2.0], [4.0]])  # births 10, 11, 12, then their parents 3 and 4
    place = {10: 0, 11: 1, 12: 2, 3: 3, 4: 4}
    families = np.array([[3, -1], [3, 4], [4, -1]])
    rows = [0, 1, 2, 4]  # the children, and parent 4 as an elite
    gains = Scoring("improvement:wrong,cross-entropy", 0.5).further(measured, rows, place, families)
    assert gains[[0, 1, 3], 0].tolist() == [-1.0, 2.0, 0.0]
    assert np.isnan(gains[2, 0])
    plain = Scoring("wrong,cross-entropy", 0.5).further(measured, rows, place, families)
    np.testing.assert_array_equal(plain[:, 0], [1.0, 5.0, NAN, 4.0])


def scored(cohort: Cohort, by_birth: dict[int, float], rest: float) -> Scores:
    return Scores(np.array([by_birth.get(birth, rest) for birth in cohort.births["id"].tolist()], dtype=float))


def test_improvement_ranks_children_by_what_they_gain_over_their_own_parents():
    ga = algorithm(fitness="improvement", children=8, parents=2)
    cohort = ga.ask()
    born = from_rows(cohort.births[:8])
    again = cohort.births["id"][8:].tolist()
    assert again == sorted({child.parents[0] for child in born}) == [0, 1]
    worth = {0: 100.0, 1: 0.0}  # whoever descends from 0 is much fitter, and gains less
    gains = {child.id: float(child.id % 5) + (0.5 if child.parents[0] else 0.0) for child in born}
    fitness = worth | {child.id: worth[child.parents[0]] + gains[child.id] for child in born}
    ga.tell(scored(cohort, fitness, 0.0))
    assert ga.parents.tolist() == sorted(gains, key=lambda birth: (gains[birth], birth), reverse=True)[:2]
    assert ga.gain.tolist() == [gains[child.id] for child in born]


def test_a_surviving_parent_gains_nothing_and_stays_only_if_the_others_lose():
    ga = algorithm(fitness="improvement", survival="plus", elites=4, children=6)
    cohort = ga.ask()
    assert cohort.births["id"][6:].tolist() == [0, 1, 2, 3]
    ga.tell(scored(cohort, {4: 6.0, 0: 5.0, 1: 5.0, 2: 5.0, 3: 5.0}, rest=4.0))
    assert ga.parents.tolist() == [4, 3, 2, 1]  # one child gains; the parents gain nothing, the younger first
    assert ga._parent_score.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert ga.parent_fitness.tolist() == [6.0, 5.0, 5.0, 5.0]


def test_a_failed_parents_child_ranks_last_among_the_finite():
    ga = algorithm(fitness="improvement", children=8, parents=2)
    cohort = ga.ask()
    born = from_rows(cohort.births[:8])
    orphans = [child.id for child in born if child.parents[0] == 0]
    others = [child.id for child in born if child.parents[0] == 1]
    assert len(orphans) > 2
    assert len(others) > 2
    fitness = {0: NAN, 1: 0.0} | dict.fromkeys(orphans, 100.0) | dict.fromkeys(others, -100.0) | {others[0]: NAN}
    ga.tell(scored(cohort, fitness, 0.0))
    assert ga.parents.tolist() == others[:0:-1][:2]
    cohort = ga.ask()
    alive = {child.id for child in from_rows(cohort.births[:8])[:1]}
    ga.tell(scored(cohort, dict.fromkeys(alive, 1.0), NAN))  # all parents fail: somebody must live on all the same
    assert ga.parents.tolist() == sorted(alive)


@pytest.mark.parametrize("fixed_data", [False, True])
def test_only_parents_that_have_children_are_scored_again(fixed_data):
    ga = algorithm(fitness="improvement", children=4, parents=4, fixed_data=fixed_data)
    for generation in range(6):
        cohort = ga.ask()
        needed = {child.parents[0] for child in from_rows(cohort.births[:4])}
        expected = [] if fixed_data and generation else [birth for birth in ga.parents.tolist() if birth in needed]
        assert cohort.births["id"][4:].tolist() == expected
        ga.tell(scored(cohort, {}, 1.0))
        assert np.isfinite(ga.gain).all()


def test_a_warm_ups_children_are_compared_with_the_founders_that_they_descend_from():
    ga = algorithm(fitness="improvement", sigma_only=3, children=6, parents=2)
    for generation in range(1, 6):
        cohort = ga.ask()
        families = {child.parents[0] for child in from_rows(cohort.births[:6])}
        assert (families <= {0, 1}) == (generation <= 3)
        assert set(cohort.births["id"][6:].tolist()) == families
        assert families <= set(ga.stock)
        assert (set(ga.stock) == set(ga.parents.tolist())) == (generation in (1, 4, 5))
        ga.tell(scored(cohort, {}, float(generation)))
        assert ga.gain.tolist() == [0.0] * 6


def test_inherited_scores_follow_the_recursion_by_hand():
    """A score is share * mean of the parents' scores + (1 - share) * fitness; elites go on from their own."""
    ga = algorithm(fitness="inherited", inheritance=0.75, children=5, parents=3, elites=1, crossover="row")
    scores: dict[int, float] = {}
    generator = np.random.Generator(np.random.Philox(3))
    for generation in range(5):
        cohort = ga.ask()
        fitness = generator.standard_normal(len(cohort.births))
        everybody = from_rows(cohort.births)
        new = {}
        for row, (birth, own) in enumerate(zip(everybody, fitness.tolist(), strict=True)):
            family = birth.parents if row < cohort.children else (birth.id,)
            before = [scores[parent] for parent in family] if generation else [own]
            new[birth.id] = 0.75 * (sum(before) / len(before)) + 0.25 * own
        ga.tell(Scores(fitness))
        best = sorted(new, key=lambda birth: (new[birth], birth), reverse=True)[:3]
        assert ga.parents.tolist() == best
        scores = {birth: new[birth] for birth in best}
        assert ga._parent_score.tolist() == pytest.approx([scores[birth] for birth in best], abs=1e-12)


def test_a_control_hears_how_much_each_child_gained():
    ga = algorithm(step_size="one-fifth", children=5, parents=1)
    sizes = [int(ga.ask().births["log_sigma"][0])]
    assert ga._asked.births["id"].tolist() == [1, 2, 3, 4, 5, 0]
    for better in (5, 5, 0, 0, 0, 0):
        ga.tell(Scores(np.array([1.0] * better + [-1.0] * (5 - better) + [0.0])))
        sizes.append(int(ga.ask().births["log_sigma"][0]))
    assert [after - before for before, after in itertools.pairwise(sizes[:3])] == [51, 51]  # 0.2 octave
    assert sizes[-1] == pytest.approx(sizes[2] - 4 * 12.8, abs=1)  # a quarter of it downwards


def test_a_step_size_of_which_most_children_die_is_no_success():
    ga = algorithm(step_size="one-fifth", children=5, parents=1, sigma=0.5)
    ga.ask()
    ga.tell(Scores(np.array([9.0, NAN, NAN, NAN, NAN, 0.0])))  # one in five is better: stay
    assert ga.ask().births["log_sigma"][:5].tolist() == [-256] * 5


def test_for_rules_that_measure_distances_the_last_are_as_low_as_others():
    assert levelled(np.array([0.5, WORST, -0.25])).tolist() == [0.5, -0.25, -0.25]
    assert levelled(np.array([WORST, WORST])).tolist() == [WORST, WORST]
    assert np.isnan(levelled(np.array([NAN, WORST]))[0])


@pytest.mark.parametrize("options", [{"selection": "proportional"}, {"diversity": 0.01}])
def test_a_child_of_a_failed_parent_leaves_the_others_their_differences(options):
    won = 0
    for key in range(20):
        ga = algorithm(key=key, parents=2, children=6, fitness="improvement", **options)
        cohort = ga.ask()
        family = cohort.births["parents"][:6, 0]
        scores = np.zeros(len(cohort.births))
        scores[np.flatnonzero(cohort.births["id"] == family[0])[-1]] = NAN
        healthy = np.flatnonzero(family != family[0])
        if len(healthy) < 3:
            continue
        scores[healthy[1]] = 1.0
        behaviour = np.zeros((len(scores), 4), dtype=np.uint8)
        behaviour[healthy[2]] = 1  # unlike the others, which a weight of 0.01 cannot make up for
        ga.tell(Scores(scores, behaviour=behaviour))
        assert ga.parents[0] == cohort.births["id"][healthy[1]]
        won += 1
    assert won > 5
