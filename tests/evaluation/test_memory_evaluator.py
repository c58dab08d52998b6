"""Members that are told by one changed memory score as their weights do, to the same bits however they came about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from galab.config import RunConfig
from galab.evaluation.dense_evaluator import Evaluator
from galab.evaluation.memory_evaluator import MemoryDeltaSource
from galab.evaluation.sources import GenomeSource
from galab.genome.weights import Layout
from galab.operators.mutation.memory_bank import is_bank_alone
from galab.training.build import build, network_and_task
from galab.training.resolve import resolve
from galab.training.search import RunComponents

pytestmark = pytest.mark.usefixtures("one_thread")
COMMON: dict[str, Any] = {
    "task": "memorize(points=20, dims=16)", "model": "memory(heads=24)", "sigma": 0.7, "parents": 6, "children": 20,
    "mutate": "memory-replace(heads=unused),memory-perturb,memory-target,memory-delete", "batch": 0, "seed": 3,
    "fitness": "wrong+0.5*closeness", "threads": 1, "precision": "float32", "chunk": 8, "elites": 2,
}  # fmt: skip
VARIANTS = [
    {"crossover": "none"}, {"crossover": "row", "parents_per_child": 3}, {"model": "memory(heads=24, norm=torus)"},
    {"model": "memory(heads=24, norm=normalised, answer=soft)"}, {"model": "memory(heads=24, project=8, plastic=True)",
    "mutate": "memory-perturb(heads=plasticity, both=True),memory-activate"},
    {"survival": "plus", "fitness": "tilldeath"},
    {"model": "memory(heads=24, norm=free, closeness=distance, bank=random)"}, {"sigma_only": 3},
]  # fmt: skip


def experiment_of(**changes: Any) -> RunComponents:
    config = resolve(RunConfig(**COMMON | {"generations": 9} | changes))
    return build(config, *network_and_task(config))


def play(components: RunComponents, generations: int) -> Iterator[tuple[Any, Any]]:
    """Each generation's cohort and scores, before the search hears them."""
    search = components.search
    search.initial_records()
    for _ in range(generations):
        cohort = search.strategy.ask()
        scores = search.executor.score(cohort)
        yield cohort, scores
        search.before_tell(cohort)
        search.after_tell(search.strategy.tell(scores))


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_scores_are_those_of_the_weights(changes: Any) -> None:
    components = experiment_of(**changes)
    search = components.search
    assert isinstance(search.source, MemoryDeltaSource)
    plain = Evaluator(
        components.module, components.layout, components.task, chunk=8, precision="float32",
        device=torch.device("cpu"), reports_usage=True,
    )  # fmt: skip
    for cohort, scores in play(components, 8):
        members = [search.decoder.decode(birth) for birth in cohort.births["id"].tolist()]
        expected = plain.measure(members, components.task.train)
        for name, values in expected.means.items():
            np.testing.assert_allclose(scores.metrics[name], values, atol=2e-6, err_msg=name)
        assert not scores.failures


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_it_does_not_matter_who_computes_or_what_was_known_before(changes: Any) -> None:
    """Each generation again: by somebody who knows nobody, and member by member of a chunk."""
    components = experiment_of(**changes)
    search, examples = components.search, components.search.executor.examples
    for cohort, scores in play(components, 6):
        fresh = MemoryDeltaSource(search.decoder, search.pedigree, search.evaluator)
        parts = search.executor.parts(cohort)
        found = [one for part in parts[::-1] for one in fresh.measured([part], examples, None)][::-1]
        for name in ("loss", "correct"):
            again = np.concatenate([one.measurements.means[name] for one in found])
            np.testing.assert_array_equal(again, scores.metrics[name])


def test_who_cannot_live_is_named() -> None:
    components = experiment_of(model="memory(heads=24, norm=free)", sigma=8.0, crossover="none", elites=0,
                               mutate="memory-perturb", survival="plus")  # fmt: skip
    search = components.search
    lethal = [one for _, scores in play(components, 2) for one in scores.lethal.values()]
    assert lethal == []
    # A free vector at the edge of what can be represented: its next steps leave it.
    weights = search.decoder.decode(search.strategy.parents.tolist()[0]).weights
    weights[: 24 * 16] = 2**31 - 5
    for parent in search.strategy.parents.tolist():
        search.decoder.decode(parent).weights[: 24 * 16] = 2**31 - 5
    search.source._states.clear()
    scores = search.executor.score(search.strategy.ask())
    assert set(scores.lethal.values()) == {"free_memories"}
    assert len(scores.lethal) > 10
    assert np.isnan(scores.fitness[list(scores.lethal)]).all()


CRASHY = """
import numpy as np, torch
from galab.tasks import Classification

class Crashy(Classification):
    '''Cannot bear members that answer class 1 first.'''
    def measure(self, outputs, targets):
        if (outputs[:, 0].argmax(1) == 1).any():
            raise ValueError("boom")
        return super().measure(outputs, targets)

def crashy() -> Crashy:
    bits = np.random.Philox(key=3).random_raw(400) / 2.0**63 - 1
    x, y = bits.reshape(20, 20).astype(np.float32), np.arange(20) % 10
    return Crashy(name="crashy", train=(x, y), validation=(x, y), test=(x, y), classes=10)
"""


def test_a_crash_in_a_measure_fails_the_member_alone(tmp_path: Path) -> None:
    (tmp_path / "crash.py").write_text(CRASHY)
    components = experiment_of(task=f"{tmp_path}/crash.py:crashy", model="memory(heads=6, bank=random)",
                               mutate="memory-replace", crossover="none", elites=0, fitness="wrong")  # fmt: skip
    assert isinstance(components.search.source, MemoryDeltaSource)
    failed = 0
    for _, scores in play(components, 4):
        failed += len(scores.failures)
        assert set(scores.failures.values()) <= {"ValueError: boom"}
        assert np.isnan(scores.fitness[list(scores.failures)]).all()
        assert np.isfinite(scores.fitness).sum() == len(scores.fitness) - len(scores.failures) > 0
    assert failed > 0


def test_a_class_of_somebodys_own_is_scored_as_it_answers(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from galab.models.memory import Memory\n"
        "class Turned(Memory):\n    def forward(self, inputs):\n        return super().forward(inputs.abs())\n"
        "class Doubting(Memory):\n    def answers(self, near, head, classes):\n"
        "        return super().answers(near, head, classes) * near.amax(-2)[..., None]\n"
    )
    assert type(experiment_of(model=f"{tmp_path}/own.py:Turned").search.source) is GenomeSource
    assert type(experiment_of(model=f"{tmp_path}/own.py:Doubting").search.source) is MemoryDeltaSource


@pytest.mark.parametrize(
    "changes",
    [{"batch": 8}, {"mutate": "memory-all"}, {"mutate": "memory-perturb,dense"}, {"crossover": "parameter"},
     {"granularity": "tensor"}, {"norm_penalty": 0.1}],
    ids=str,
)  # fmt: skip
def test_where_children_are_no_such_thing_weights_are_formed(changes: Any) -> None:
    assert type(experiment_of(**changes).search.source) is GenomeSource


@pytest.mark.parametrize(
    ("names", "alone"),
    [(("memories", "classes"), True), (("a.memories", "a.classes", "a.plasticity"), True), (("memories",), False),
     (("memories", "classes", "bias"), False), (("a.memories", "a.classes", "b.memories", "b.classes"), False)],
)  # fmt: skip
def test_a_bank_alone_is_told_by_its_parameters(names: tuple[str, ...], alone: bool) -> None:
    assert is_bank_alone(Layout(names, ((3, 2),) * len(names))) is alone
