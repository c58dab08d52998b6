"""The executor in this process: births in, scores out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.contracts import Cohort
from galab.errors import LethalMutationError
from galab.evaluation.blocks import Minibatches
from galab.evaluation.dense_evaluator import Evaluator
from galab.evaluation.executors.local import LocalExecutor
from galab.evaluation.sources import GenomeSource
from galab.genome.decoder import Decoder
from galab.genome.initial import founders_of
from galab.genome.random import table
from galab.operators.selection import BEST
from galab.strategies.build import developer, step_size_rule
from galab.strategies.genetic import GeneticAlgorithm

pytestmark = pytest.mark.usefixtures("one_thread")


def test_scores_come_in_the_order_of_the_cohort(bench_of, task):
    bench = bench_of()
    cohort = bench.strategy.ask()
    scores = bench.here.score(cohort)
    members = [bench.decoder.decode(number) for number in cohort.births["id"].tolist()]
    direct = bench.evaluator.measure(members, task.train)
    assert scores.fitness.tolist() == (-direct.means["loss"]).tolist()
    assert scores.metrics["correct"].tolist() == direct.means["correct"].tolist()
    assert scores.metrics["loss"].shape == scores.fitness.shape == (16,)
    assert scores.failures == scores.lethal == {}
    assert len(set(scores.fitness.tolist())) == 16


def test_accuracy_as_fitness_is_the_share_right(bench_of):
    scores = (bench := bench_of(fitness="accuracy")).here.score(bench.strategy.ask())
    assert scores.fitness.tolist() == scores.metrics["correct"].tolist()
    assert all(0 <= share <= 1 for share in scores.fitness)


def test_the_examples_are_the_generations(bench_of):
    bench = bench_of(batch=20)
    for _ in range(4):
        cohort = bench.strategy.ask()
        scores = bench.here.score(cohort)
        members = [bench.decoder.decode(number) for number in cohort.births["id"].tolist()]
        direct = bench.evaluator.measure(members, bench.minibatches.of(cohort.generation))
        assert scores.fitness.tolist() == (-direct.means["loss"]).tolist()
        assert scores.evaluations == len(cohort.births) * 20
        bench.strategy.tell(scores)


def test_evaluations_are_members_times_examples(bench_of):
    bench = bench_of()
    first = bench.strategy.ask()
    assert bench.here.score(first).evaluations == 16 * 70  # the founders among the elites are scored once
    bench.strategy.tell(bench.here.score(first))
    assert bench.here.score(bench.strategy.ask()).evaluations == 14 * 70


def test_the_cache_never_changes_a_score(bench_of):
    stories = []
    for options in ({}, {"cache": 1}):
        bench = bench_of(**options)
        for _ in range(3):
            scores = bench.here.score(bench.strategy.ask())
            bench.decoder.pin(bench.strategy.tell(scores).parents.tolist())
            stories.append(scores.fitness.tolist())
    assert stories[:3] == stories[3:]


def test_lethal_children_are_reported_with_the_parameter_and_the_others_are_scored(bench_of):
    bench = bench_of(edge=True, sigma=0.0005)
    cohort = bench.strategy.ask()
    scores = bench.here.score(cohort)
    lethal = {}
    for index, number in enumerate(cohort.births["id"].tolist()):
        try:
            bench.decoder.decode(number)
        except LethalMutationError as error:
            lethal[index] = error.parameter
    assert 0 < len(lethal) < 14
    assert scores.lethal == lethal
    assert set(lethal.values()) == {"output.bias"}
    assert scores.failures == dict.fromkeys(lethal, "lethal: a weight of 'output.bias' left its range")
    assert np.isnan(scores.fitness).tolist() == [index in lethal for index in range(16)]
    assert np.isnan(scores.metrics["loss"]).tolist() == np.isnan(scores.fitness).tolist()
    assert scores.evaluations == (16 - len(lethal)) * 70
    # Leaving out a member does not move the scores of the others.
    living = [index for index in range(16) if index not in lethal]
    members = [bench.decoder.decode(int(cohort.births["id"][index])) for index in living]
    direct = bench.evaluator.measure(members, bench.minibatches.of(1))
    assert scores.fitness[living].tolist() == (-direct.means["loss"]).tolist()


def test_a_cohort_of_the_dead_has_no_scores_and_costs_nothing(bench_of):
    bench = bench_of(edge=True, sigma=8.0)
    cohort = bench.strategy.ask()
    children = Cohort(1, cohort.births[:14], 14)
    scores = bench.here.score(children)
    dead = sorted(scores.lethal)
    assert len(dead) > 10  # one in 32 survives
    only = bench.here.score(Cohort(1, children.births[dead], len(dead)))
    assert np.isnan(only.fitness).all()
    assert only.evaluations == 0
    assert len(only.failures) == len(dead)
    assert only.metrics == {}


class Moody:
    """A task that gives particular members no number, or raises for them."""

    def __init__(self, task, what) -> None:
        self.train, self._task, self._what = task.train, task, what

    def measure(self, outputs, targets):
        sums = dict(self._task.measure(outputs, targets))
        unlucky = (sums["loss"] * 1000).long() % 3 == 0
        if self._what == "raise":
            if len(unlucky.unique()) == 1 and unlucky[0]:
                raise ValueError("bad luck")
            if unlucky.any():
                raise ValueError("somebody here has bad luck")
        else:
            sums["loss"] = torch.where(unlucky, torch.tensor(float(self._what)), sums["loss"])
        return sums


@pytest.mark.parametrize(
    ("what", "reason"), [("nan", "fitness was nan"), ("inf", "fitness was -inf"),
                         ("raise", "ValueError: bad luck")]
)  # fmt: skip
def test_failures_have_a_reason_and_no_fitness(bench_of, task, what, reason):
    healthy = bench_of()
    expected = healthy.here.score(healthy.strategy.ask()).fitness
    bench = bench_of(Moody(task, what))
    scores = bench.here.score(bench.strategy.ask())
    failed = np.isnan(scores.fitness)
    assert 0 < failed.sum() < 16
    assert scores.failures == {int(index): reason for index in np.flatnonzero(failed)}
    assert scores.lethal == {}
    assert scores.fitness[~failed].tolist() == expected[~failed].tolist()
    outcome = bench.strategy.tell(scores)
    alive = set(bench.strategy.parents.tolist())
    assert alive == set(outcome.parents.tolist())


def test_plus_infinity_ranks_first(bench_of, task):
    bench = bench_of(Moody(task, "-inf"))
    cohort = bench.strategy.ask()
    scores = bench.here.score(cohort)
    lucky = cohort.births["id"][scores.fitness == BEST].tolist()
    assert 0 < len(lucky) < 16
    assert not scores.failures
    bench.strategy.tell(scores)
    assert bench.strategy.parents[0] in lucky


def test_the_dead_and_the_failed_are_told_apart(bench_of, task):
    bench = bench_of(Moody(task, "raise"), edge=True, sigma=0.0005)
    scores = bench.here.score(bench.strategy.ask())
    failed = {index for index, reason in scores.failures.items() if reason == "ValueError: bad luck"}
    assert len(failed) > 0
    assert len(scores.lethal) > 0
    assert not failed & set(scores.lethal)
    assert set(scores.failures) == failed | set(scores.lethal) == set(np.flatnonzero(np.isnan(scores.fitness)).tolist())


def test_it_learns_with_norms_in_bfloat16(task):
    module = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 5)).eval().requires_grad_(False)
    founders = founders_of(module, 1)
    config = decide(RunConfig(seed=1, parents=2, children=6, sigma=0.05, step_size="fixed"))
    strategy = GeneticAlgorithm(config, step_size_rule(config, 1))
    decoder = Decoder(developer(config, founders, table("normal")), strategy.pedigree)
    evaluator = Evaluator(module, founders.layout, task, chunk=3, precision="bfloat16", device=torch.device("cpu"))
    here = LocalExecutor(GenomeSource(decoder, evaluator), Minibatches(task.train, 0, 1), fitness="cross-entropy")
    best = []
    for _ in range(15):
        scores = here.score(strategy.ask())
        assert np.isfinite(scores.fitness).all()
        best.append(scores.fitness.max())
        decoder.pin(strategy.tell(scores).parents.tolist())
    assert best[-1] > best[0]


def test_a_large_cohort_is_decoded_chunk_by_chunk(bench_of, monkeypatch):
    """So that memory depends on the chunk, not on the cohort."""
    bench = bench_of()
    decoded, alive = [], []
    decode, measure = bench.decoder.decode, bench.evaluator.measure
    monkeypatch.setattr(bench.decoder, "decode", lambda birth: decoded.append(birth) or decode(birth))
    monkeypatch.setattr(bench.evaluator, "measure", lambda *args: alive.append(len(decoded)) or measure(*args))
    cohort = bench.strategy.ask()
    bench.here.score(cohort)
    chunk = bench.evaluator.chunk
    assert alive == [min(place + chunk, len(cohort.births)) for place in range(0, len(cohort.births), chunk)]
