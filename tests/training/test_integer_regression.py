"""Linear regression by whole numbers: against plain integers of Python, resumed, verified, and solved."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import log_of, outcome

import galab
from galab.config import RunConfig
from galab.errors import UsageError
from galab.evaluation.integer_linear import MatrixPairs, squared_errors
from galab.genome.weights import Layout
from galab.integer.arithmetic import stored
from galab.models.integer_linear import IntegerLinear
from galab.operators.integer_noise import IntegerNoise, NoiseConfig
from galab.saved_runs.verify import conclusion, verify
from galab.storage.run_folder import RunFolder
from galab.tasks.regression import LinearRegression
from galab.training.compose import compose
from galab.training.start_or_resume import resume, start

RUN: dict[str, Any] = {
    "task": "linear-regression", "strategy": "integer-eggroll", "population": 24, "seed": 3, "batch": 8,
    "generations": 6, "save_every": 2, "report_every": 2, "threads": 1,
}  # fmt: skip


@pytest.fixture
def climb(tmp_path: Path, no_waiting_for_the_disk: None, forked_processes: None) -> Any:
    def make(name: str = "first", **changes: Any) -> Path:
        start(RunConfig(**RUN | changes), name=name, runs=tmp_path)
        return tmp_path / name

    return make


@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize(("shift", "inputs"), [(0, 64), (4, 64), (2, 20)])
def test_scores_are_those_of_plain_integers(rank: int, shift: int, inputs: int) -> None:
    config = NoiseConfig(rank=rank, sigma_shift=shift)
    noise = IntegerNoise(Layout(("weight",), ((3, inputs),)), config, 5).of(2, 0, 4)["weight"]
    generator = np.random.default_rng(1)
    weights = generator.integers(-127, 128, (3, inputs)).astype(np.int8)
    x = generator.integers(-127, 128, (5, inputs)).astype(np.int8)
    targets = generator.integers(-300, 301, (5, 3))
    found = squared_errors(
        torch.from_numpy(weights), noise, torch.from_numpy(x), torch.from_numpy(targets), config.shift
    ).tolist()
    assert noise.a is not None
    for member in range(8):
        a, b, sign = noise.a[member // 2], noise.b[member // 2], 1 - 2 * (member % 2)
        total = 0
        for row, wanted in zip(x.tolist(), targets.tolist(), strict=True):
            for output in range(3):
                own = sum(value * int(weight) for value, weight in zip(row, weights[output], strict=True))
                added = sum(
                    sum(value * int(number) for value, number in zip(row, b[k], strict=True)) * int(a[k][output])
                    for k in range(rank)
                )
                answer = (own + (sign * added >> (4 + config.shift))) // (16 * math.isqrt(inputs))
                total += (max(-127, min(127, answer)) - wanted[output]) ** 2
        assert found[member] == total


def test_the_answers_are_those_of_the_matrix() -> None:
    task, model = LinearRegression(), IntegerLinear((64,), 16)
    with torch.no_grad():
        model.weight.copy_(stored(task.matrix).float() / 16)
    # Rounded inputs, weights and answers: answers are multiples of 1/2, rounded down.
    error = model(task.test.inputs) - task.test.targets
    assert float(error.mean()) == pytest.approx(-0.25, abs=0.02)
    assert float(error.square().mean()) == pytest.approx(0.125, abs=0.01)


def test_examples_are_whole_and_scores_are_minus_the_mean_squared_error() -> None:
    task, model, config = LinearRegression(), IntegerLinear((64,), 16), NoiseConfig(sigma_shift=16)
    pairs = MatrixPairs(model, task, 7, 32, config.shift)
    pairs.begin(3)
    layout = Layout(("weight",), ((16, 64),))
    weights = {"weight": stored(model.weight.detach()).numpy()}
    # Noise that is shifted away, but for the floor of the minus side.
    scores = pairs.scores(weights, IntegerNoise(layout, config, 7).of(2, 0, 2), 0, 2)
    fresh = task.sample(7, 3, 32)
    expected = -float((model(fresh.inputs) - fresh.targets).square().mean())
    assert scores.fitness[0] == pytest.approx(expected, rel=0.01)
    assert np.array_equal(scores.fitness * pairs.units, np.rint(scores.fitness * pairs.units))


def test_it_continues_exactly_and_is_verified(climb: Any) -> None:
    whole, half = climb("whole"), climb("half", generations=3)
    resume(half, {"generations": 6})
    assert outcome(half) == outcome(whole)
    assert "every checkpoint follows from the seed and the factors" in conclusion(verify(RunFolder(half)))
    assert isinstance(galab.load(half), IntegerLinear)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"chunk": 2}, {"chunk": 7}, {"workers": 2, "chunk": 8}])
def test_nothing_that_computes_it_changes_a_bit(climb: Any, changes: dict[str, Any]) -> None:
    here, there = outcome(climb("here")), outcome(climb("there", **changes))
    # What computes it is named in the checkpoint; nothing else differs.
    assert here.pop("numeric_profile") != there.pop("numeric_profile")
    assert here == there


def test_it_learns(climb: Any) -> None:
    lines = log_of(climb(generations=60, population=512, batch=64, report_every=60))
    assert lines[-1]["validation_loss"] < lines[0]["train_loss"] / 3


def test_the_network_follows_from_strategy_and_task_unless_it_is_named() -> None:
    assert compose({"strategy": "integer-eggroll", "task": "linear-regression"}).model == "mlp"  # until it is decided
    for task, model in (("linear-regression", "integer-linear"), ("tinystories", "egg")):
        with pytest.raises(UsageError, match=f'expected another --model with --strategy .*mlp; drop it, .* {model}'):
            compose({"strategy": "integer-eggroll", "task": task, "model": "mlp"})
