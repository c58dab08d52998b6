"""Runs with every fitness: what the log and the champion say, what is refused, and exact resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galab.config import RunConfig
from galab.config.parsing import BASES, DIRECTIONAL, EPISODIC, INTRINSIC, PROMPTED
from galab.errors import UsageError
from galab.training.build import build, network_and_task
from galab.training.champion import ChampionSelector
from galab.training.log_fields import TIMING
from galab.training.resolve import resolve
from galab.training.start_or_resume import resume

REGRESSION = """
import torch
from galab.contracts import Examples


class Regression:
    name, description, fingerprint = "line", "a line", "0" * 64
    input_shape, outputs = (2,), 1
    train = validation = test = Examples(torch.linspace(-1, 1, 20).reshape(10, 2), torch.linspace(0, 1, 10))

    def measure(self, outputs, targets):
        loss = (outputs[..., 0] - targets).square().sum(1)
        return {"loss": loss, "correct": (loss < 1).float()}


def line():
    return Regression()
"""


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of the log but for their timing."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


@pytest.mark.parametrize(
    "fitness", [*sorted(set(BASES) - {*INTRINSIC, *DIRECTIONAL, *EPISODIC, *PROMPTED}), "wrong,cross-entropy"]
)
def test_a_run_says_what_its_fitness_found_and_resumes_exactly(evolve: Any, fitness: str) -> None:
    whole = evolve("whole", fitness=fitness)
    parts = evolve("parts", fitness=fitness, generations=2)
    resume(parts, {"generations": 5})
    lines = log_of(whole)
    assert log_of(parts) == lines
    for line in lines:
        value = {
            "cross-entropy": -line["train_loss"],
            "accuracy": line["train_accuracy"],
            "wrong": 32 * (line["train_accuracy"] - 1),
            "expected-accuracy": line.get("train_expected_accuracy"),
            "sampled-accuracy": line.get("train_sampled_accuracy"),
            "tilldeath": line.get("train_tilldeath"),
            "loss": -line["train_loss"],
        }[fitness.partition(",")[0]]
        assert line["fitness_best"] == pytest.approx(value)
    # Chance has no place in choosing the champion.
    softmax = fitness in ("expected-accuracy", "sampled-accuracy")
    assert ("validation_expected_accuracy" in lines[-2]) == ("test_expected_accuracy" in lines[-2]) == softmax
    assert "validation_sampled_accuracy" not in lines[-2]


@pytest.mark.parametrize(
    ("fitness", "name", "sign"),
    [
        ("improvement", "validation_loss", -1),
        ("inherited:wrong,cross-entropy", "validation_accuracy", 1),
        ("sampled-accuracy", "validation_expected_accuracy", 1),
    ],
)
def test_the_champion_is_best_by_the_first_base(small: dict[str, Any], fitness: str, name: str, sign: int) -> None:
    config = resolve(RunConfig(**small | {"fitness": fitness, "sigma": 0.3}))
    module, task = network_and_task(config)
    components = build(config, module, task)
    ids = components.strategy.parents.tolist()
    members = [components.search.decoder.decode(birth) for birth in ids]
    selector = ChampionSelector(config, module, components.founders.layout, task)
    alone = [selector.score(member, "validation")[name] for member in members]
    found = selector.select(ids, members, test=False)
    assert found.place == int(np.argmax(np.multiply(alone, sign)))
    assert found.metrics[name] == pytest.approx(alone[found.place])


@pytest.mark.parametrize(("fitness", "again"), [("wrong", 0), ("sampled-accuracy", 2), ("wrong,sampled-accuracy", 2)])
def test_on_fixed_data_only_scores_that_hang_on_coins_are_taken_again(
    small: dict[str, Any], fitness: str, again: int
) -> None:
    config = resolve(RunConfig(**small | {"fitness": fitness, "batch": 0, "elites": 2}))
    components = build(config, *network_and_task(config))
    components.strategy.tell(components.executor.score(components.strategy.ask()))
    assert len(components.strategy.ask().births) == config.children + again


def test_the_norm_is_logged_where_it_is_punished(evolve: Any) -> None:
    plain, punished = log_of(evolve("plain")), log_of(evolve("punished", norm_penalty=2.0))
    assert "train_norm" not in plain[0]
    line = punished[0]
    assert line["fitness_best"] == pytest.approx(-line["train_loss"] - 2 * line["train_norm"] ** 2)


@pytest.mark.parametrize("fitness", ["expected-accuracy", "sampled-accuracy", "improvement:wrong,expected-accuracy"])
def test_a_task_without_class_numbers_is_refused_before_anything_is_written(
    evolve: Any, tmp_path: Path, fitness: str
) -> None:
    (tmp_path / "line.py").write_text(REGRESSION)
    task = f"{tmp_path / 'line.py'}:line"
    with pytest.raises(UsageError, match=f"--fitness {fitness} needs class numbers: .*integer dtype, got float32"):
        evolve("run", task=task, fitness=fitness, batch=0)
    assert not (tmp_path / "run").exists()
    assert (evolve("run", task=task, fitness="wrong,cross-entropy", batch=0) / "status.json").exists()
