"""Runs whose children are chosen by the cosine of their steps with the gradient at their parents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import log_of, outcome
from torch.nn import functional

from galab.config import RunConfig
from galab.contracts import Examples
from galab.errors import UsageError
from galab.evaluation.blocks import Minibatches
from galab.genome.weights import SCALE
from galab.training.build import build, network_and_task
from galab.training.resolve import resolve
from galab.training.start_or_resume import resume

Evolve = Callable[..., Path]
FITNESS = "gradient-cosine"
KINDS: dict[str, dict[str, Any]] = {
    "asexual": {"crossover": "none"},
    "crossover": {"crossover": "parameter"},
    "elite": {"elites": 1, "batch": 0},
    "low-rank": {"mutate": "low-rank", "crossover": "none", "batch": 0},
    "one-fifth": {"step_size": "one-fifth", "batch": 0},
    "second key": {"fitness": "wrong,gradient-cosine"},
}


def by_torch(components: Any, cohort: Any) -> np.ndarray:
    """(children,) in float64, from plain modules: no code in common with what is tested."""
    decode, layout = components.search.decoder.decode, components.layout
    config, task = components.config, components.task
    whole = Examples(task.train.inputs, task.train.targets)
    shown = Minibatches(whole, config.batch, config.seed).of(cohort.generation)
    found = []
    for birth in cohort.births[: cohort.children]:
        parents = [decode(int(one)).weights / SCALE for one in birth["parents"] if one >= 0]
        middle = torch.tensor(np.mean(parents, axis=0), requires_grad=True)
        parts, at = {}, 0
        for name, shape in zip(layout.names, layout.shapes, strict=True):
            size = int(np.prod(shape))
            parts[name] = middle[at : at + size].view(shape)
            at += size
        outputs = torch.func.functional_call(components.module.double(), parts, (shown.inputs.double(),))
        functional.cross_entropy(outputs, shown.targets).backward()
        step = torch.tensor(decode(int(birth["id"])).weights / SCALE) - middle.detach()
        found.append(float(functional.cosine_similarity(step, -middle.grad, dim=0)))
    return np.array(found)


@pytest.mark.parametrize("kind", ["asexual", "crossover", "elite", "low-rank"])
def test_a_child_scores_the_cosine_of_its_step_with_the_gradient(small: dict[str, Any], kind: str) -> None:
    config = resolve(RunConfig(**{**small, "fitness": FITNESS, "precision": "float32", **KINDS[kind]}))
    module, task = network_and_task(config)
    components = build(config, module, task)
    components.search.initial_records()
    for _ in range(3):
        cohort = components.strategy.ask()
        scores = components.executor.score(cohort)
        np.testing.assert_allclose(scores.fitness[: cohort.children], by_torch(components, cohort), atol=2e-5)
        assert np.abs(scores.fitness[: cohort.children]).min() > 0
        # Whoever stayed has taken no step.
        assert (scores.fitness[cohort.children :] == 0).all()
        components.search.after_tell(components.strategy.tell(scores))


def test_gradients_are_counted_as_three_evaluations_each(evolve: Evolve) -> None:
    plain, directed = (log_of(evolve(name, fitness=name, crossover="none", parents=1, elites=0))
                       for name in ("cross-entropy", FITNESS))  # fmt: skip
    # One parent, 6 children, 32 examples.
    assert [line["evaluations"] for line in plain] == [6 * 32 * g for g in range(1, 6)]
    assert [line["evaluations"] for line in directed] == [(6 + 3) * 32 * g for g in range(1, 6)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_resume_is_exact(evolve: Evolve, kind: str) -> None:
    options = {"fitness": FITNESS, **KINDS[kind]}
    whole, parts = evolve("whole", **options), evolve("parts", generations=2, **options)
    resume(parts, {"generations": 5})
    assert outcome(parts) == outcome(whole)


@pytest.mark.slow
def test_workers_change_nothing(evolve: Evolve) -> None:
    options = {"fitness": FITNESS, "children": 9, "chunk": 4, "generations": 3}
    assert outcome(evolve("here", **options)) == outcome(evolve("there", workers=2, **options))


@pytest.mark.slow
def test_steps_follow_the_gradient(evolve: Evolve) -> None:
    options = {"crossover": "none", "step_size": "fixed", "sigma": 0.05, "batch": 0, "generations": 40}
    line = log_of(evolve(fitness=FITNESS, children=32, parents=1, elites=0, **options))[-1]
    first = log_of(evolve("again", fitness=FITNESS, children=32, parents=1, elites=0, **options))[0]
    assert line["train_loss"] < first["train_loss"] - 0.05


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fitness": f"improvement:{FITNESS}"}, "leave out the kind"),
        ({"sigma_search": 3}, "expected no --sigma-search"),
        ({"strategy": "random"}, "no member has any; use --strategy ga"),
        ({"strategy": "eggroll", "parents": 8, "children": 32, "elites": 0}, "no member has any; use --strategy ga"),
        ({"selection": "lexicase"}, "a fitness of single examples"),
    ],
)
def test_what_cannot_work_is_refused(evolve: Evolve, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        evolve(**({"fitness": FITNESS} | changes))


def test_a_task_without_a_gradient_is_refused(evolve: Evolve, clouds: Callable[[str], str]) -> None:
    with pytest.raises(UsageError, match="expected a network and a task with a gradient"):
        evolve(task=clouds("return loss.detach()"), fitness=FITNESS)


def test_a_gradient_of_nan_fails_the_children(evolve: Evolve, clouds: Callable[[str], str]) -> None:
    from galab.errors import NoViableChildError

    with pytest.raises(NoViableChildError, match="not one of 6 children has a finite fitness"):
        evolve(task=clouds("return loss * float('nan')"), fitness=FITNESS)
