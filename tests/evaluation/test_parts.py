"""Parts of a cohort: whichever are asked for, and wherever, the scores are the same to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from galab.contracts import Cohort, Scores
from galab.evaluation.batched.supported_layers import low_rank_names
from galab.evaluation.blocks import Minibatches
from galab.evaluation.es_evaluator import PerturbedEvaluator
from galab.evaluation.executors.hand_out import assign_parts, parent_affinity
from galab.evaluation.executors.local import LocalExecutor
from galab.evaluation.sources import PerturbedSource, join_scores, split_cohort
from galab.genome.births import Birth, to_rows
from galab.genome.random import table
from galab.genome.weights import Layout
from galab.models import MLP
from galab.operators.es_noise import Directions, plan_of
from galab.strategies.evolution import MEMBER

pytestmark = pytest.mark.usefixtures("one_thread")


def same(one: Scores, other: Scores) -> None:
    """All fields are equal, down to the last bit of every number."""
    assert (one.failures, one.lethal, one.evaluations) == (other.failures, other.lethal, other.evaluations)
    assert (one.cache_hits, one.cache_misses) == (other.cache_hits, other.cache_misses)
    assert list(one.metrics) == list(other.metrics)
    pairs = [(one.metrics[name], other.metrics[name]) for name in one.metrics]
    pairs += [(getattr(one, name), getattr(other, name)) for name in ("fitness", "further", "cases", "behaviour")]
    for a, b in pairs:
        assert (a is None and b is None) or (a.dtype == b.dtype and a.tobytes() == b.tobytes())


@pytest.mark.parametrize(
    "options",
    [{}, {"fitness": "wrong,cross-entropy", "cases": "classes", "behaviour": True}, {"edge": True, "sigma": 0.0005}],
    ids=["plain", "everything", "lethal"],
)
def test_parts_of_a_cohort_of_genomes(bench_of, options):
    bench = bench_of(**options)
    cohort = bench.strategy.ask()
    bench.decoder.pin(bench.strategy.parents.tolist())
    whole = bench.here.score(cohort)
    parts = bench.here.parts(cohort)
    assert [len(part) for part in parts] == [5, 5, 5, 1]
    alone = {}
    for own in (parts[2:], parts[1::-1][::-1]):  # as if two workers had them, each with a cache of its own
        other = bench_of(**options)
        assert other.strategy.ask().births.tobytes() == cohort.births.tobytes()
        other.decoder.pin(other.strategy.parents.tolist())
        alone |= dict(zip([part.number for part in own], other.here.scored(own), strict=True))
    same(join_scores(parts, [alone[number] for number in range(4)]), whole)


@pytest.fixture
def around(task):
    """An executor of members around a centre, with little groups of directions; and a cohort of 56 members."""

    def make(*, antithetic: bool, groups: int, fitness: str = "cross-entropy") -> tuple[LocalExecutor, Cohort]:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            module = MLP((6,), 5, hidden=(7,)).eval().requires_grad_(False)
        shapes = {name: tuple(value.shape) for name, value in module.named_parameters()}
        layout = Layout(tuple(shapes), tuple(shapes.values()))
        plan = plan_of(layout, 1, low_rank_names(module, task.train.inputs[:2]).names)
        device = torch.device("cpu")
        directions = Directions(plan, table("normal"), 3, device, 1 << 20, 16)
        evaluator = PerturbedEvaluator(module, plan, task, chunk=6, batch=0, precision="float32", device=device)
        centre = {name: value.detach() for name, value in module.named_parameters()}
        source = PerturbedSource(
            centre, directions, evaluator, noise_of=lambda generation: generation, sigma=lambda _: 0.1, groups=groups
        )
        births = np.zeros(56, dtype=MEMBER)
        births["id"] = np.arange(56) // (2 if antithetic else 1)
        births["sign"] = 1 - 2 * (np.arange(56) % 2) if antithetic else 1
        return LocalExecutor(source, Minibatches(task.train, 0, 3), fitness=fitness), Cohort(1, births, 56)

    return make


@pytest.mark.parametrize("antithetic", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_parts_of_a_cohort_around_a_centre(around, antithetic, groups):
    """A chunk has products in common with its neighbours, and must not notice who computed them."""
    here, cohort = around(antithetic=antithetic, groups=groups)
    whole = here.score(cohort)
    assert np.isfinite(whole.fitness).all()
    assert len(set(whole.fitness.tolist())) == 56
    parts = here.parts(cohort)
    assert sum(map(len, parts)) == 56
    assert len(parts) > 8
    for workers in (2, 3, len(parts)):
        answers: dict[int, Scores] = {}
        for worker in range(workers):
            own = parts[worker::workers]
            answers |= dict(zip([part.number for part in own], here.scored(own), strict=True))
        same(join_scores(parts, [answers[part.number] for part in parts]), whole)


def test_no_parts_are_no_scores(around):
    here, _ = around(antithetic=True, groups=1)
    assert list(here.scored([])) == []


def test_answers_find_their_places():
    cohort = Cohort(7, np.zeros(5, dtype=MEMBER), 5)
    parts = split_cohort(cohort, [0, 2, 4])
    assert [(part.generation, part.number, part.first, len(part), part.members) for part in parts] == [
        (7, 0, 0, 2, 5), (7, 1, 2, 2, 5), (7, 2, 4, 1, 5),
    ]  # fmt: skip
    nan = np.nan
    found = join_scores(parts, [
        Scores(np.array([1.0, nan]), {1: "b"}, {1: "w"}, {"loss": np.array([1.0, nan])}, 10, cache_hits=2),
        Scores(np.array([nan, nan]), {0: "c", 1: "d"}),
        Scores(np.array([5.0]), metrics={"loss": np.array([5.0]), "late": np.array([6.0])}, evaluations=5),
    ])  # fmt: skip
    assert found.fitness.tolist() == pytest.approx([1, nan, nan, nan, 5], nan_ok=True)
    assert found.failures == {1: "b", 2: "c", 3: "d"}
    assert found.lethal == {1: "w"}
    assert found.metrics["loss"].tolist() == pytest.approx([1, nan, nan, nan, 5], nan_ok=True)
    assert found.metrics["late"].tolist() == pytest.approx([nan, nan, nan, nan, 6], nan_ok=True)
    assert (found.evaluations, found.cache_hits) == (15, 2)
    assert found.further is found.cases is found.behaviour is None


@pytest.mark.parametrize(("count", "workers"), [(1, 1), (1, 3), (4, 2), (5, 2), (7, 3), (64, 5), (3, 3)])
def test_parts_are_spread_evenly_whatever_workers_like(count, workers):
    random = np.random.Generator(np.random.Philox(count))
    nobody: list[dict[int, int]] = [{} for _ in range(count)]
    some = [{worker: int(random.integers(1, 9)) for worker in range(0, workers, 2)} for _ in range(count)]
    everybody = [{worker: int(random.integers(1, 9)) for worker in range(workers)} for _ in range(count)]
    for liked in (nobody, some, everybody):
        chosen = assign_parts(liked, workers)
        taken = np.bincount(chosen, minlength=workers)
        assert taken.sum() == count
        assert taken.max() - taken.min() <= 1
    assert assign_parts(nobody, workers) == sorted(assign_parts(nobody, workers))


def test_parts_go_where_their_parents_are_decoded():
    rows = to_rows([Birth(10 + n, (n % 4, 4 + n % 4), 1, 0, 0, 1, 1) for n in range(4)])
    parts = split_cohort(Cohort(1, rows, 4), [0, 1, 2, 3])
    liked = parent_affinity(parts, [{1, 5, 3}, {0, 4, 2, 6}])
    assert liked == [{1: 2}, {0: 2}, {1: 2}, {0: 1}]
    assert assign_parts(liked, 2) == [1, 0, 1, 0]
    chosen = assign_parts(parent_affinity(parts, [set(), {0, 1, 2, 3}]), 2)
    assert chosen == [0, 0, 1, 1]  # not all can
