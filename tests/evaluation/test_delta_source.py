"""Children scored as their parents with changes of low rank, against the same children decoded."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from noise_task import classification
from torch import nn

from galab.config import RunConfig
from galab.contracts import Scores
from galab.evaluation.batched import product_cache
from galab.evaluation.batched.compiled import compiler
from galab.evaluation.batched.product_cache import base_product
from galab.evaluation.delta_evaluator import DeltaEvaluator
from galab.evaluation.delta_source import DeltaSource
from galab.evaluation.dense_evaluator import Evaluator
from galab.evaluation.sources import GenomeSource, split_cohort
from galab.genome.births import Birth
from galab.models import MLP
from galab.training.build import build
from galab.training.resolve import resolve
from galab.training.search import RunComponents

pytestmark = pytest.mark.usefixtures("one_thread")

BASE = {
    "task": "digits", "seed": 3, "parents": 4, "children": 12, "elites": 1, "chunk": 8, "threads": 1, "sigma": 0.1,
    "mutate": "low-rank", "crossover": "none", "compile": "off", "precision": "float32",
}  # fmt: skip
NETWORKS = {
    "one hidden layer": lambda: MLP((12,), 5, (16,)),
    "two": lambda: MLP((12,), 5, (16, 9)),
    "none": lambda: nn.Linear(12, 5),
    "convolutions": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 3, 4)), nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 2), nn.Flatten(),
        nn.Linear(18, 5),
    ),
    "normalised": lambda: nn.Sequential(nn.Linear(12, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 5, bias=False)),
}  # fmt: skip


def test_what_is_remembered_of_children_is_bounded(monkeypatch):
    monkeypatch.setattr(product_cache, "_MOST_BORN_BYTES", 1000)
    side = components(batch=0)
    side.search.initial_records()
    for _ in range(3):
        cohort, scores = generation(side)
        assert side.search.source._bases._born_bytes <= 1000
        np.testing.assert_allclose(scores.fitness, decoded_scores(side, scores, cohort), rtol=2e-5)
        advance(side, scores)


def components(module: nn.Module | None = None, **changes) -> RunComponents:
    config = resolve(RunConfig(**(BASE | changes)))
    return build(config, MLP((12,), 5, (16,)) if module is None else module, classification((12,), 90))


def decoded_scores(side: RunComponents, scores: Scores, cohort) -> np.ndarray:
    """Fitness of the same cohort with every member's weights formed."""
    search = side.search
    evaluator = Evaluator(side.module, side.layout, side.task, chunk=8, precision="float32", device=torch.device("cpu"))
    members = [search.decoder.decode(number) for number in cohort.births["id"].tolist()]
    examples = search.executor._minibatches.of(cohort.generation)
    return -evaluator.measure(members, examples).means["loss"]


def generation(side: RunComponents):
    cohort = side.strategy.ask()
    scores = side.executor.score(cohort)
    return cohort, scores


def advance(side: RunComponents, scores: Scores) -> None:
    side.search.after_tell(side.strategy.tell(scores))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("rank", "granularity"), [(1, "global"), (3, "tensor"), (2, "row-column")])
def test_children_score_as_when_decoded(network, rank, granularity):
    side = components(NETWORKS[network](), mutate_rank=rank, granularity=granularity, batch=40)
    side.search.initial_records()
    assert isinstance(side.search.source, DeltaSource)
    for _ in range(3):
        cohort, scores = generation(side)
        assert len(cohort.births) > 12 or cohort.generation == 1  # an elite is scored again
        np.testing.assert_allclose(scores.fitness, decoded_scores(side, scores, cohort), rtol=2e-5)
        assert len(set(scores.fitness.tolist())) > 10
        assert scores.evaluations == len(cohort.births) * 40
        advance(side, scores)


@pytest.mark.parametrize("changes", [{"norm_penalty": 0.1}, {"mutate": "dense"}, {"crossover": "row"},
                                     {"mutate": "low-rank:0.5,dense:0.5"}])  # fmt: skip
def test_whoever_is_more_than_a_parent_and_a_change_is_decoded(changes):
    assert isinstance(components(**changes).search.source, GenomeSource)


@pytest.mark.release
@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
def test_compiled_scores_are_the_eager_ones():
    eager, compiled = components(batch=32), components(batch=32, compile="on")
    for side in (eager, compiled):
        side.search.initial_records()
    assert compiled.search.numerics["compiled"]
    assert not eager.search.numerics["compiled"]
    for _ in range(3):
        (_, expected), (_, got) = generation(eager), generation(compiled)
        np.testing.assert_allclose(got.fitness, expected.fitness, rtol=1e-5)
        assert got.metrics["correct"].tolist() == expected.metrics["correct"].tolist()
        advance(eager, expected)
        advance(compiled, expected)
    assert compiled.search.evaluator.recompilations == 0


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
def test_an_axis_of_length_one_is_compiled_once_whatever_its_stride():
    task = classification((1, 12), 90)
    task.train = dataclasses.replace(task.train, inputs=task.train.inputs.as_strided((90, 1, 12), (12, 0, 1)))
    config = resolve(RunConfig(**(BASE | {"batch": 32, "compile": "on"})))
    side = build(config, nn.Sequential(nn.Flatten(), MLP((12,), 5, (16,))), task)
    side.search.initial_records()
    generation(side)
    assert side.search.evaluator.compiled
    assert side.search.evaluator.recompilations == 0


@pytest.mark.slow
@pytest.mark.parametrize("compile", ["off", "on"])
def test_products_that_follow_the_lineage_hang_on_nothing_else(compile):
    """What a long run has carried along, somebody who comes to it later computes to the same bits."""
    long = components(batch=0, compile=compile, parents=3)
    long.search.initial_records()
    for _ in range(21):  # beyond an anchor in generation 16
        cohort, scores = generation(long)
        late = DeltaSource(long.search.decoder, long.search.evaluator, long.search.source._bases._lineage)
        examples = long.search.executor._minibatches.of(cohort.generation)
        parts = split_cohort(cohort, late.starts(cohort))
        for part, measured in zip(parts, late.measured(parts, examples, None), strict=True):
            got = -measured.measurements.means["loss"]
            assert got.tolist() == scores.fitness[part.first : part.first + len(part)].tolist()
        np.testing.assert_allclose(scores.fitness, decoded_scores(long, scores, cohort), rtol=5e-5)
        advance(long, scores)


def test_products_follow_where_examples_stay_and_nowhere_else(monkeypatch):
    sides = {batch: components(batch=batch) for batch in (0, 30)}
    assert {batch: side.search.source._bases._lineage is not None for batch, side in sides.items()} == {
        0: True, 30: False,
    }  # fmt: skip
    side = sides[0]
    side.search.initial_records()
    made: list[int] = []
    monkeypatch.setattr(product_cache, "base_product", lambda *args, **kw: made.append(1) or base_product(*args, **kw))
    counts = []
    for _ in range(17):
        made.clear()
        _, scores = generation(side)
        counts.append(len(made))
        advance(side, scores)
    assert counts[0] > 0
    assert counts[1:16].count(0) >= 12  # a parent without children for a generation is followed from its anchor
    assert counts[16] > 0  # parents born in generation 16 are anchors


def test_a_child_that_leaves_the_range_is_lethal():
    side = components(batch=30, sigma=8.0, sigma_ceiling=8.0, distribution="cauchy")
    side.search.initial_records()
    found = {}
    for _ in range(8):
        cohort, scores = generation(side)
        for place, parameter in scores.lethal.items():
            found[place] = parameter
            assert np.isnan(scores.fitness[place])
            assert "left its range" in scores.failures[place]
            with pytest.raises(Exception, match=parameter):
                side.search.decoder.decode(int(cohort.births["id"][place]))
        for place in set(range(len(cohort.births))) - set(scores.lethal):
            side.search.decoder.decode(int(cohort.births["id"][place]))
        assert scores.evaluations == (len(cohort.births) - len(scores.lethal)) * 30
        advance(side, scores)
    assert found


def test_one_bad_member_fails_alone():
    side = components(batch=30)
    side.search.initial_records()
    bad = side.strategy.ask()
    (ninth,) = bad.births["id"][[9]]
    runner = side.search.evaluator._runner
    good = runner.sums

    def sums(members, examples, each, products, kind=None):
        noise = members["hidden.0.weight"].a
        if (noise == marked).all(dim=(1, 2)).any():
            raise ArithmeticError("this one")
        return good(members, examples, each, products, kind)

    descents = side.search.decoder.deltas([int(ninth)], 1, 1)
    marked = torch.from_numpy(descents.changes[0].a[0])
    expected = side.executor.score(bad).fitness
    runner.sums = sums
    scores = side.executor.score(bad)
    assert scores.failures == {9: "ArithmeticError: this one"}
    assert np.isnan(scores.fitness[9])
    others = [place for place in range(12) if place != 9]
    np.testing.assert_allclose(scores.fitness[others], expected[others], rtol=1e-5)


def test_parents_scored_for_a_diagnosis_score_as_in_a_cohort():
    side = components(batch=30)
    side.search.initial_records()
    _, scores = generation(side)
    advance(side, scores)
    elites, again = generation(side)
    elite = int(elites.births["id"][12])
    phenotype = side.search.decoder.decode(elite)
    examples = side.search.executor._minibatches.of(2)
    measured = side.search.source.of([0, 1], [phenotype] * 2, examples, None)
    assert (-measured.measurements.means["loss"]).tolist() == [again.fitness[12]] * 2


def test_factors_are_the_mutation_but_for_rounding():
    for granularity in ("global", "tensor", "row-column"):
        side = components(granularity=granularity, mutate_rank=3, sigma=0.02)
        side.search.initial_records()
        cohort = side.strategy.ask()
        decoder = side.search.decoder
        ids = cohort.births["id"].tolist()
        descents = decoder.deltas(ids, 1, 3)
        for place, number in enumerate(ids):
            parent = decoder.decode(descents.bases[place]).floats().astype(np.float64)
            expected = side.layout.split(decoder.decode(number).floats().astype(np.float64) - parent)
            for name, change in zip(side.layout.names, descents.changes, strict=True):
                added = change[place] if isinstance(change, np.ndarray) else change.a[place] @ change.b[place].T
                np.testing.assert_allclose(added.reshape(expected[name].shape), expected[name], atol=2e-7)


def test_an_elite_is_told_apart_from_itself():
    side = components(batch=30)
    side.search.initial_records()
    _, scores = generation(side)
    advance(side, scores)
    cohort = side.strategy.ask()
    ids = cohort.births["id"].tolist()
    descents = side.search.decoder.deltas(ids, 2, 1)
    assert descents.bases[12] == ids[12]
    assert not descents.changes[1][12].any()
    assert set(descents.bases[:12]) <= set(side.strategy.parents.tolist())


def test_the_bound_says_who_may_be_lethal():
    side = components(sigma=2.0, sigma_ceiling=8.0)
    side.search.initial_records()
    cohort = side.strategy.ask()
    descents = side.search.decoder.deltas(cohort.births["id"].tolist(), 1, 1)
    assert not descents.doubtful().any()
    loud = [change if isinstance(change, np.ndarray) else dataclasses.replace(change, a=change.a * 100)
            for change in descents.changes]  # fmt: skip
    assert dataclasses.replace(descents, changes=loud).doubtful()[:12].all()  # and the elite has no change


def test_a_birth_without_mutation_is_its_own_base():
    side = components()
    side.search.initial_records()
    side.search.pedigree.add(Birth(100, (0,), 1, 0, 0, 0, 0))
    assert side.search.decoder.deltas([100], 1, 1).bases == [100]


LEXICASE = {"survival": "plus", "selection": "lexicase", "cases": "classes"}


@pytest.mark.slow
@pytest.mark.parametrize("batch", [0, 30])
@pytest.mark.parametrize(
    ("sizes", "changes"),
    [
        ((4, 12, 1), {}),
        ((4, 12, 2), {}),
        ((4, 12, 5), {"mutate_rank": 2}),
        ((1, 1, 1), {"elites": 0}),
        ((20, 40, 6), {}),
        ((6, 12, 2), LEXICASE),
        ((6, 12, 1), LEXICASE),
    ],
)
@pytest.mark.parametrize("room", [256 << 20, 0], ids=["for all", "for a chunk"])
def test_scores_hang_neither_on_the_chunk_nor_on_who_else_has_room(sizes, changes, batch, room, monkeypatch):
    monkeypatch.setattr("galab.evaluation.delta_evaluator._PARENT_BYTES", room)
    parents, children, chunk = sizes
    side = components(parents=parents, children=children, chunk=chunk, batch=batch, **changes)
    side.search.initial_records()
    assert isinstance(side.search.evaluator, DeltaEvaluator)
    for _ in range(8):
        cohort, scores = generation(side)
        np.testing.assert_allclose(scores.fitness, decoded_scores(side, scores, cohort), rtol=2e-5)
        advance(side, scores)
