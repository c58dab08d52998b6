"""The executor with every fitness, with the norm penalty, and with what it gives for each example."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from galab.config.parsing import BASES, DIRECTIONAL, EPISODIC, INTRINSIC, PROMPTED
from galab.errors import UsageError
from galab.evaluation.fitness import EXAMPLE_SCORES
from galab.genome.weights import to_float

pytestmark = pytest.mark.usefixtures("one_thread")


def outputs_of(bench, cohort, inputs) -> torch.Tensor:
    """(P, B, C) outputs of a cohort's members, one plain module after the other."""
    layout = bench.decoder.layout
    every = []
    for number in cohort.births["id"].tolist():
        parts = layout.split(to_float(bench.decoder.decode(number).weights))
        state = {name: torch.from_numpy(part.copy()) for name, part in parts.items()}
        every.append(torch.func.functional_call(bench.module, state, (inputs,)))
    return torch.stack(every)


def oracle(base: str, outputs: torch.Tensor, targets: torch.Tensor, coins: torch.Tensor) -> np.ndarray:
    """(P,) in float64."""
    # The loss of a classification is its cross-entropy.
    scores = EXAMPLE_SCORES["cross-entropy" if base == "loss" else base](outputs, targets, coins).double()
    if base == "tilldeath":
        return np.array([float(min((row == 0).nonzero()[:1].flatten().tolist() or [len(row)])) for row in scores])
    return (scores.sum(1) - len(targets) if base == "wrong" else scores.mean(1)).numpy()


@pytest.mark.parametrize("batch", [0, 40])
@pytest.mark.parametrize("base", sorted(set(BASES) - {*INTRINSIC, *DIRECTIONAL, *EPISODIC, *PROMPTED}))
def test_each_fitness_is_that_of_plain_modules_block_by_block(base, batch, bench_of):
    bench = bench_of(fitness=f"improvement:{base}", batch=batch)
    bench.evaluator._blocks.block = 16  # three blocks a chunk and more
    for _ in range(2):
        cohort = bench.strategy.ask()
        scores = bench.here.score(cohort)
        examples = bench.minibatches.of(cohort.generation)
        outputs = outputs_of(bench, cohort, examples.inputs)
        expected = oracle(base, outputs, examples.targets, bench.minibatches.coins(cohort.generation))
        np.testing.assert_allclose(scores.fitness, expected, rtol=1e-5)
        assert len(set(scores.fitness.tolist())) > (0 if base == "tilldeath" else 2)
        assert scores.further is scores.cases is scores.behaviour is None
        bench.strategy.tell(scores)


@pytest.mark.slow
def test_drawn_answers_change_with_the_generation_and_average_to_what_is_expected(bench_of):
    drawn, expected = (bench_of(fitness=f"{base}-accuracy") for base in ("sampled", "expected"))
    cohort = drawn.strategy.ask()
    mean = expected.here.score(expected.strategy.ask()).fitness
    rounds = []
    for generation in range(1, 301):
        rounds.append(drawn.here.score(replace(cohort, generation=generation)).fitness)
    assert len({tuple(values) for values in rounds}) == 300
    np.testing.assert_allclose(np.mean(rounds, axis=0), mean, atol=5 * 0.5 / np.sqrt(300 * 70))


def test_further_bases_are_the_further_keys(bench_of):
    bench = bench_of(fitness="wrong,cross-entropy,expected-accuracy")
    scores = bench.here.score(bench.strategy.ask())
    alone = [bench_of(fitness=base) for base in ("wrong", "cross-entropy", "expected-accuracy")]
    first, *others = (each.here.score(each.strategy.ask()).fitness for each in alone)
    assert scores.fitness.tolist() == first.tolist()
    assert len(set(first.tolist())) < len(first)
    assert scores.further.tolist() == np.stack(others, axis=1).tolist()
    assert scores.metrics["expected_accuracy"].tolist() == others[1].tolist()


def test_the_norm_penalty_is_taken_off_the_first_base(bench_of):
    plain, punished = (bench_of(fitness="accuracy,cross-entropy", norm_penalty=penalty) for penalty in (0.0, 3.0))
    cohort = punished.strategy.ask()
    before, after = plain.here.score(plain.strategy.ask()), punished.here.score(cohort)
    weights = [to_float(punished.decoder.decode(number).weights) for number in cohort.births["id"].tolist()]
    squares = np.array([np.mean(each.astype(np.float64) ** 2) for each in weights])
    np.testing.assert_allclose(after.fitness, before.fitness - 3.0 * squares, rtol=1e-6)
    np.testing.assert_allclose(after.metrics["norm"], np.sqrt(squares), rtol=1e-6)
    assert after.further.tolist() == before.further.tolist()
    assert "norm" not in before.metrics


@pytest.mark.parametrize("base", EXAMPLE_SCORES)
def test_cases_are_the_scores_whose_mean_is_the_fitness(base, bench_of):
    bench = bench_of(fitness=base, cases="examples", batch=40)
    bench.evaluator._blocks.block = 16
    cohort = bench.strategy.ask()
    scores = bench.here.score(cohort)
    examples, coins = bench.minibatches.of(1), bench.minibatches.coins(1)
    expected = EXAMPLE_SCORES[base](outputs_of(bench, cohort, examples.inputs), examples.targets, coins)
    assert (scores.cases.shape, scores.cases.dtype) == ((16, 40), np.float32)
    np.testing.assert_allclose(scores.cases, expected, rtol=1e-4, atol=1e-5)
    mean = scores.fitness / 40 + 1 if base == "wrong" else scores.fitness
    if base == "tilldeath":  # the cases are right or wrong, and their order makes the fitness
        mean = np.array(scores.cases.mean(1))
    np.testing.assert_allclose(scores.cases.mean(1), mean, rtol=1e-5)
    by_class = bench_of(fitness=base, cases="classes", batch=40)
    found = by_class.here.score(by_class.strategy.ask()).cases
    assert found.shape == (16, 5)
    for number in range(5):
        np.testing.assert_allclose(found[:, number], scores.cases[:, examples.targets == number].mean(1), rtol=1e-5)


def test_behaviour_is_the_answer_to_each_example(bench_of):
    bench = bench_of(behaviour=True)
    bench.evaluator._blocks.block = 16
    cohort = bench.strategy.ask()
    scores = bench.here.score(cohort)
    examples = bench.minibatches.of(1)
    assert scores.behaviour.dtype == np.uint8
    assert scores.behaviour.tolist() == outputs_of(bench, cohort, examples.inputs).argmax(2).tolist()
    assert ((scores.behaviour == examples.targets.numpy()).mean(1) == scores.metrics["correct"]).all()
    assert scores.cases is None


def test_behaviour_of_many_classes_takes_wider_numbers(bench_of, monkeypatch):
    for classes, kind in ((256, np.uint8), (257, np.uint16)):
        bench = bench_of(behaviour=True)
        monkeypatch.setattr(type(bench.evaluator), "outputs", classes)
        assert bench.here.score(bench.strategy.ask()).behaviour.dtype == kind


def test_what_is_asked_for_besides_changes_no_score(bench_of):
    plain, asked = bench_of(), bench_of(cases="classes", behaviour=True)
    first, second = (bench.here.score(bench.strategy.ask()) for bench in (plain, asked))
    assert first.fitness.tolist() == second.fitness.tolist()
    assert {name: values.tolist() for name, values in first.metrics.items()} == {
        name: values.tolist() for name, values in second.metrics.items()
    }
    assert first.evaluations == second.evaluations


class Unlucky:
    """A task that raises for some members, alone or in company, and gives others no number."""

    def __init__(self, task) -> None:
        self.train, self.outputs, self._task = task.train, task.outputs, task

    def measure(self, outputs, targets):
        sums = dict(self._task.measure(outputs, targets))
        luck = (sums["loss"] * 1000).long() % 4
        if (luck == 0).any():
            raise ValueError("bad luck")
        sums["loss"] = torch.where(luck == 1, torch.nan, sums["loss"])
        return sums


@pytest.mark.parametrize("cases", ["examples", "classes"])
def test_failures_have_no_cases_and_no_behaviour_and_the_others_keep_theirs(cases, bench_of, task):
    options = {"fitness": "cross-entropy,sampled-accuracy", "cases": cases, "behaviour": True}
    edge = {"edge": True, "sigma": 0.0005}
    healthy, bench = bench_of(**options, **edge), bench_of(Unlucky(task), **options, **edge)
    expected, scores = (each.here.score(each.strategy.ask()) for each in (healthy, bench))
    failed = np.isnan(scores.fitness)
    reasons = {reason.partition(" ")[0] for reason in scores.failures.values()}
    assert reasons == {"ValueError:", "fitness", "lethal:"}
    assert set(scores.failures) == set(np.flatnonzero(failed).tolist())
    assert not failed.all()
    assert np.isnan(scores.cases[failed]).all()
    assert np.isnan(scores.further[failed]).all()
    assert not scores.behaviour[failed].any()
    for name in ("fitness", "further", "cases", "behaviour"):
        np.testing.assert_array_equal(getattr(scores, name)[~failed], getattr(expected, name)[~failed])
    assert np.isfinite(scores.cases[~failed]).all()


def test_whole_chunks_that_fail_leave_their_rows_blank(bench_of, task):
    class Broken(Unlucky):
        def measure(self, outputs, targets):
            raise RuntimeError("broken")

    scores = (bench := bench_of(Broken(task), cases="examples", behaviour=True)).here.score(bench.strategy.ask())
    assert np.isnan(scores.cases).all()
    assert scores.cases.shape == scores.behaviour.shape == (16, 70)
    assert not scores.behaviour.any()


def test_an_unknown_kind_of_cases_is_refused(bench_of):
    with pytest.raises(UsageError, match="expected cases to be one of examples, classes, got 'all'"):
        bench_of(cases="all")
