"""Who is born of whom: shares of crossover, parents of a child, mates, operators, warm-ups and clones."""

from __future__ import annotations

import numpy as np
import pytest
from strategy_games import algorithm

from galab.contracts import Scores
from galab.genome.births import Birth, from_rows
from galab.genome.decoder import Decoder
from galab.genome.initial import Founders, TensorLaw
from galab.genome.random import table
from galab.genome.step_sizes import snap
from galab.strategies.build import developer
from galab.strategies.genetic import GeneticAlgorithm

FOUNDERS = Founders(1, (TensorLaw("w", (4, 5), "uniform", 1.0),), np.empty((1, 0), np.int32))


def children(ga: GeneticAlgorithm) -> list[Birth]:
    cohort = ga.ask()
    return from_rows(cohort.births[: cohort.children])


def play(ga: GeneticAlgorithm, generations: int) -> None:
    for _ in range(generations):
        cohort = ga.ask()
        ga.tell(Scores((cohort.births["id"] * 2654435761 % 1009) / 1009.0))


def decoder_of(ga: GeneticAlgorithm) -> Decoder:
    return Decoder(developer(ga.config, FOUNDERS, table("normal")), ga.pedigree)


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_a_share_of_the_children_is_made_by_crossover(rate):
    ga = algorithm(crossover="row", crossover_rate=rate, children=4000)
    born = children(ga)
    sexual = [birth for birth in born if len(birth.parents) == 2]
    assert len(sexual) == pytest.approx(rate * 4000, abs=5 * 28)
    assert all(birth.crossover == (len(birth.parents) > 1) for birth in born)
    assert all(len(set(birth.parents)) == len(birth.parents) for birth in born)


@pytest.mark.slow
def test_whether_a_child_has_two_parents_says_nothing_of_its_first_parent_or_its_operator():
    ga = algorithm(crossover="row", crossover_rate=0.5, children=4000, mutate="dense,layer")
    born = children(ga)
    for group in ([b for b in born if b.crossover], [b for b in born if not b.crossover]):
        firsts = np.bincount([b.parents[0] for b in group], minlength=4)
        assert firsts == pytest.approx([len(group) / 4] * 4, abs=5 * 22)
        assert np.mean([b.mutation for b in group]) == pytest.approx(1.5, abs=5 * 0.5 / 2000**0.5)


@pytest.mark.parametrize(
    ("options", "ways"),
    [({"crossover": "mean"}, 4), ({"crossover": "mean", "parents_per_child": 3}, 3), ({"crossover": "row"}, 2),
     ({"crossover": "layer", "parents_per_child": 4}, 4), ({"crossover": "mean", "islands": 2}, 2)],
)  # fmt: skip
def test_a_child_has_as_many_different_parents_as_were_asked_for(options, ways):
    ga = algorithm(**options)
    play(ga, 2)
    for birth in children(ga):
        assert len(set(birth.parents)) == len(birth.parents) == ways
        assert set(birth.parents) <= set(ga.parents.tolist())
    assert ga.births_dtype["parents"].shape == (max(2, ways),)


def test_who_is_left_alone_breeds_with_itself():
    ga = algorithm(crossover="row")
    ga.ask()
    ga.tell(Scores(np.array([1.0] + [np.nan] * 11)))
    assert {birth.parents for birth in children(ga)} == {(4, 4)}


@pytest.mark.parametrize("mate", ["similar", "dissimilar"])
def test_mates_are_chosen_by_the_answers_of_the_last_generation(mate):
    """Four parents of two kinds, and every other parent is a candidate: mates are of one's own kind, or never."""
    ga = algorithm(crossover="row", mate=mate, mate_choices=3, children=40)
    assert len({birth.parents for birth in children(ga)}) > 6, "nothing is known yet, so mates are random"
    answers = np.zeros((40, 9), dtype=np.uint8)
    answers[[2, 3]] = 1
    ga.tell(Scores(-np.arange(40.0), behaviour=answers))
    kinds = {birth: int(birth in (6, 7)) for birth in ga.parents.tolist()}
    assert list(kinds.values()) == [0, 0, 1, 1]
    for birth in children(ga):
        first, second = (kinds[parent] for parent in birth.parents)
        assert (first == second) == (mate == "similar")


@pytest.mark.slow
def test_operators_are_chosen_by_their_shares_and_the_choice_is_in_the_birth():
    ga = algorithm(mutate="dense:0.7,layer:0.2,row:0.1", children=5000)
    counts = np.bincount([birth.mutation for birth in children(ga)], minlength=4)
    assert counts == pytest.approx([0, 3500, 1000, 500], abs=5 * 33)


@pytest.mark.slow
def test_inherited_shares_follow_selection():
    """Where the second operator's children win, it is chosen more and more; fixed shares stay."""
    late = {}
    for shares in ("fixed", "inherited"):
        ga = algorithm(mutate="dense:0.9,layer:0.1", mutate_shares=shares, children=40, parents=4)
        for _ in range(60):
            cohort = ga.ask()
            ga.tell(Scores((cohort.births["mutation"] == 2) + cohort.births["id"] % 7 / 10.0))
        late[shares] = np.mean([birth.mutation == 2 for birth in children(ga)])
    assert late["fixed"] < 0.3
    assert late["inherited"] > 0.5


def test_a_childs_shares_are_the_mean_of_its_parents_and_noise():
    ga = algorithm(mutate="dense:0.5,layer:0.5", mutate_shares="inherited", crossover="row", children=400)
    shares = ga.reproduction.mixture
    shares.restore([0, 1, 2, 3], [[0, 0], [0, 0], [65_536 * 4, 0], [65_536 * 4, 0]])
    born = children(ga)
    for family, expected in ((0, 0.0), (1, 2.0), (2, 4.0)):
        mine = [b for b in born if (b.parents[0] > 1) + (b.parents[1] > 1) == family]
        octaves = np.log2([part[0] / part[1] for part in shares.shares_of([b.id for b in mine])])
        assert octaves.mean() == pytest.approx(expected, abs=5 * 0.3 / len(mine) ** 0.5)
        assert octaves.std() == pytest.approx(0.2 * 2**0.5, rel=0.25)


def test_clones_are_one_founder_and_their_weights_are_equal():
    ga = algorithm(crossover="genes-union")
    rows = [ga.pedigree[birth] for birth in range(4)]
    assert [row.parents for row in rows] == [(), (0,), (0,), (0,)]
    decoder = decoder_of(ga)
    first = decoder.decode(0).weights
    assert all((decoder.decode(birth).weights == first).all() for birth in range(4))
    distinct = algorithm(crossover="row")
    assert not (decoder_of(distinct).decode(1).weights == first).all()


def test_a_child_under_union_is_the_base_and_the_mutations_of_both_parents():
    ga = algorithm(crossover="genes-union", children=12, step_size="fixed")
    decoder = decoder_of(ga)
    decoder.pin(ga.stock)
    base = decoder.decode(0).weights
    play(ga, 1)
    decoder.pin(ga.stock)
    change = {birth: decoder.decode(birth).weights - base for birth in ga.parents.tolist()}
    for birth in children(ga):
        alone = developer(ga.config, FOUNDERS, table("normal")).develop(
            birth._replace(parents=(0,), crossover=0), [decoder_of(ga).decode(0)]
        )
        expected = alone.weights + sum(change[parent] for parent in birth.parents)
        assert (decoder.decode(birth.id).weights == expected).all()


def test_in_a_warm_up_step_sizes_are_inherited_and_weights_are_not():
    ga = algorithm(sigma_only=3, children=30, crossover="row", step_size="three-point", step_size_rate=1.0)
    for generation in range(1, 6):
        parents = {birth: ga.pedigree[birth].log_sigma for birth in ga.parents.tolist()}
        cohort = ga.ask()
        for birth in from_rows(cohort.births):
            if generation <= 3:
                assert set(birth.parents) <= {0, 1, 2, 3}
                assert birth.crossover == 0
                nearest = min(abs(birth.log_sigma - own) for own in parents.values())
                assert nearest in (0, 256)
            else:
                assert len(set(birth.parents)) == 2
                assert set(birth.parents) <= set(parents)
        # Large steps win.
        ga.tell(Scores(cohort.births["log_sigma"].astype(float)))
        if generation <= 3:
            assert {ga.pedigree[birth].log_sigma for birth in ga.parents.tolist()} == {snap(0.02) + 256 * generation}
