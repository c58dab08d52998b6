"""Runs on a task that makes its own examples and knows its optimum."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from galab.config import RunConfig
from galab.errors import UsageError
from galab.saved_runs.saved_run import evaluate, open_saved
from galab.tasks.regression import LinearRegression
from galab.training.build import build, network_and_task
from galab.training.log_fields import TIMING
from galab.training.resolve import resolve
from galab.training.start_or_resume import resume
from galab.training.tensorboard import tag

LINE: dict[str, Any] = {"task": "linear-regression", "model": "linear", "hidden": None, "fitness": "loss"}


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of the log but for their timing."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


@pytest.mark.parametrize("batch", [0, 32])
def test_every_generation_is_scored_on_its_own_examples(small: dict[str, Any], batch: int) -> None:
    config = resolve(RunConfig(**small | LINE | {"elites": 2, "precision": "float32", "batch": batch}))
    module, task = network_and_task(config)
    assert isinstance(task, LinearRegression)
    components = build(config, module, task)
    for generation in (1, 2):
        cohort = components.strategy.ask()
        # Elites are scored again: no two generations see the same examples, with --batch 0 either.
        assert len(cohort.births) == 6 + 2
        scores = components.executor.score(cohort)
        examples = task.sample(5, generation, batch or 1024)
        for index, birth in enumerate(cohort.births["id"].tolist()):
            weight = torch.from_numpy(components.search.decoder.decode(birth).weights.reshape(16, 64)) * 2.0**-24
            loss = (examples.inputs @ weight.T - examples.targets).square().mean()
            assert scores.fitness[index] == pytest.approx(-float(loss), rel=1e-5)
        components.strategy.tell(scores)


@pytest.mark.parametrize("batch", [0, 32, 1500])
def test_a_run_resumes_exactly_and_says_how_far_it_is_from_the_optimum(evolve: Any, batch: int) -> None:
    whole = evolve("whole", **LINE, batch=batch)
    parts = evolve("parts", **LINE, batch=batch, generations=3)
    resume(parts, {"generations": 5})
    lines = log_of(whole)
    assert log_of(parts) == lines
    assert lines[0]["evaluations"] == 6 * (batch or 1024)
    assert ["weights_distance" in line for line in lines] == [False, True, False, True, False]
    for line in (lines[1], lines[3]):
        # Of 1,024 examples, so near the expectation: the squared distance over the number of outputs.
        assert line["validation_loss"] == pytest.approx(line["weights_distance"] ** 2 / 16, rel=0.1)


def test_the_distance_is_the_champions_wherever_it_is_shown(evolve: Any) -> None:
    folder = evolve(**LINE)
    saved = open_saved(folder)
    weight = saved.tensors(saved.member())["output.weight"]
    distance = math.dist(weight.flatten().tolist(), LinearRegression().matrix.flatten().tolist())
    status = json.loads((folder / "status.json").read_text())
    for split in ("train", "validation", "test"):
        found = evaluate(folder, split=split)
        assert found["weights_distance"] == pytest.approx(distance)
        assert f"{split}_loss" in found
    assert status["result"]["weights_distance"] == pytest.approx(distance)
    assert saved.state["champion"]["metrics"]["weights_distance"] == pytest.approx(distance)
    assert tag("weights_distance") == "weights/distance"


def test_networks_of_several_layers_have_no_distance(evolve: Any) -> None:
    folder = evolve(**LINE | {"model": "mlp", "hidden": "3"})
    assert not [name for line in log_of(folder) for name in line if name.startswith("weights_")]


def test_an_inspection_that_fails_is_one_sentence(evolve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LinearRegression, "inspect", lambda task, parameters: {"distance": "far"})
    with pytest.raises(UsageError, match=r"expected inspect.parameters. to return .* ValueError: .*; correct inspect"):
        evolve(**LINE)


def test_what_needs_class_numbers_or_right_answers_is_refused(evolve: Any) -> None:
    for fitness, said in (("accuracy", "to measure 'correct'"), ("tilldeath", "needs class numbers")):
        with pytest.raises(UsageError, match=said):
            evolve(**LINE | {"fitness": fitness})
