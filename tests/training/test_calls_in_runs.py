"""Runs whose task, model and operators are named with arguments, and tasks whose data is made from the run's key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import galab
from galab.config import RunConfig
from galab.config.resolve import decide
from galab.config.traits import is_low_rank
from galab.errors import CheckpointError, UsageError
from galab.genome.random import table
from galab.saved_runs.export import export
from galab.saved_runs.saved_run import evaluate, open_saved
from galab.strategies.build import mutation, rank_of
from galab.training.build import network_and_task
from galab.training.search import SharedByTrials
from galab.training.start_or_resume import resume, start
from galab.training.trials.curves import read_curves
from galab.training.trials.trials import resume_trials, start_trials

OWN = """
import numpy as np
import torch
from torch import nn
from galab.operators.mutation.dense import Dense
from galab.tasks import Classification

def points(run_key, size: int = 60, noise: float = 0.1) -> Classification:
    random = np.random.default_rng(run_key + SHIFT)
    side = random.integers(0, 2, size)
    inputs = random.normal(0, noise, (size, 2)) + side[:, None]
    data = (inputs, side)
    return Classification(name="points", train=data, validation=data, test=data, classes=2)

class Net(nn.Module):
    def __init__(self, input_shape, outputs, width: int = 2, run_key=0):
        super().__init__()
        self.first, self.last = nn.Linear(input_shape[0], width), nn.Linear(width, outputs)
        self.register_buffer("shift", torch.full((1,), float(run_key)))

    def forward(self, x):
        return self.last(torch.tanh(self.first(x) + 0 * self.shift))

class Jump(Dense):
    def __init__(self, run_key, law, jump: int = 1):
        super().__init__(run_key, law)
"""
CHANGES: dict[str, Any] = {"hidden": None, "batch": 0}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A file with a task, a network and an operator."""
    path = tmp_path / "own (1).py"
    path.write_text(OWN.replace("SHIFT", "0"))
    return path


def test_a_run_of_calls_resumes_evaluates_and_exports(evolve: Any, own: Path, tmp_path: Path) -> None:
    named = CHANGES | {
        "task": f"{own}:points(size=40)", "model": f"{own}:Net(width=5)", "mutate": f"{own}:Jump(jump=3):0.5,layer:0.5",
    }  # fmt: skip
    whole, parts = evolve("whole", **named), evolve("parts", **named, generations=3)
    resume(parts, {"generations": 5})
    lines = [[json.loads(line) for line in (one / "log.jsonl").read_text().splitlines()] for one in (whole, parts)]
    assert [line["fitness_best"] for line in lines[0]] == [line["fitness_best"] for line in lines[1]]
    assert f"selection_operator_{own}:Jump" in lines[0][0]
    assert evaluate(whole)["examples"] == 40
    network = galab.load(whole)
    assert network.first.weight.shape == (5, 2)
    assert network.state_dict()["shift"].item() == 5  # the seed
    export(open_saved(whole), "genome", tmp_path / "genome.json")
    assert torch.equal(galab.load(tmp_path / "genome.json").state_dict()["first.weight"], network.first.weight)


def test_a_stranger_s_code_does_not_run_whatever_its_arguments(
    evolve: Any, own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = evolve("run", **CHANGES, task=f"{own}:points(size=40)", model=f"{own}:Net(width=5)")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "nobody"))
    with pytest.raises(UsageError, match="expected code that you have run before for --task"):
        evaluate(folder)
    with pytest.raises(UsageError, match="expected code that you have run before for --model"):
        galab.load(folder)
    assert evaluate(folder, trust=True)["examples"] == 40


def test_the_folder_of_a_run_is_named_without_arguments(own: Path, small: dict[str, Any], tmp_path: Path) -> None:
    config = RunConfig(**small | CHANGES | {"task": f"{own}:points(size=40)", "generations": 1})
    assert start(config, runs=tmp_path / "runs").folder.name == "points-ga"
    assert start_trials(config, (1,), runs=tmp_path / "runs", jobs=1).path.name == "points-ga-2"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "digits(size=3)"}, "expected task 'digits' without arguments, got 'size'"),
        ({"task": "digits(data=full)"}, "without 'data' in brackets, which galab gives itself; use --data"),
        ({"model": "mlp(hidden=[3])"}, "without 'hidden' in brackets, which galab gives itself; use --hidden"),
        ({"model": "mlp(width=3)"}, "expected model 'mlp' without arguments, got 'width'"),
        ({"mutate": "dense(run_key=3)"}, "without 'run_key' in brackets, which galab gives itself; use --seed"),
        ({"mutate": "weights(cuont=3)"}, "with arguments out of count, got 'cuont'. Did you mean 'count'"),
        ({"mutate": "weights(count=x)"}, "expected mutation 'weights' with count of type int, got 'x'"),
        ({"mutate": "weights(count=0)"}, "expected --mutate-count at least 1, got 0"),
        ({"mutate": "weights(count=99999)"}, "expected --mutate-count at most 310, .*, got 99999"),
        ({"mutate": "momentum(beta=2)", "crossover": "none"}, "expected --momentum between 0.0 and 1.0, got 2"),
    ],
)
def test_what_cannot_be_called_is_refused_before_a_folder_is_made(
    evolve: Any, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        evolve("refused", **changes)
    assert not (tmp_path / "refused").exists()


def test_arguments_of_operators_come_before_the_options_of_the_run() -> None:
    config = decide(RunConfig(
        mutate="weights,low-rank,momentum", crossover="none", mutate_count=7, mutate_rank=3, momentum=0.25
    ))  # fmt: skip
    law = table("normal")
    assert mutation("weights(count=9)", 1, law, config)._count == 9  # type: ignore[attr-defined]
    assert mutation("low-rank(rank=2)", 1, law, config)._rank == 2  # type: ignore[attr-defined]
    assert mutation("momentum(beta=0.5)", 1, law, config)._share == 32_768  # type: ignore[attr-defined]
    one = decide(RunConfig(mutate="low-rank(rank=2)", crossover="none"))
    assert is_low_rank(one)
    assert rank_of(one) == 2
    assert not is_low_rank(decide(RunConfig(mutate="low-rank(rank=2),low-rank(rank=3)", crossover="none")))


def test_the_same_operator_twice_has_two_lines_in_the_log(evolve: Any) -> None:
    run = evolve("twice", mutate="weights(count=1),weights(count=9)", sigma=0.5)
    line = json.loads((run / "log.jsonl").read_text().splitlines()[0])
    shares = [line["selection_operator_weights"], line["selection_operator_weights-2"]]
    assert sum(share for share in shares if share is not None) == pytest.approx(1)


def test_low_rank_families_of_a_call_are_those_of_the_option(evolve: Any) -> None:
    runs = [evolve(str(number), crossover="none", **changes) for number, changes in enumerate(
        [{"mutate": "low-rank(rank=2)"}, {"mutate": "low-rank", "mutate_rank": 2}]
    )]  # fmt: skip
    best = [[json.loads(line)["fitness_best"] for line in (run / "log.jsonl").read_text().splitlines()] for run in runs]
    assert best[0] == best[1]


@pytest.mark.slow
def test_data_made_from_the_key_is_every_trial_s_own_and_still_compared(
    own: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    config = RunConfig(**small | CHANGES | {"task": f"{own}:points", "generations": 2})
    done = start_trials(config, (1, 2), name="group", runs=tmp_path, jobs=1)
    assert [one.state for one in done.trials] == ["finished", "finished"]
    saved = [json.loads((one.path / "config.json").read_text())["data"] for one in done.trials]
    assert [data["run_key"] for data in saved] == [1, 2]
    assert saved[0]["fingerprint"] != saved[1]["fingerprint"]
    assert saved[0]["description"] == saved[1]["description"] == done.data
    resume_trials(done.path, {"generations": 3}, jobs=1)
    found = read_curves([done.path])
    assert (len(found.curves), found.data) == (2, done.data)
    for name, changes in (("noisier", {"task": f"{own}:points(noise=0.5)"}), ("other", {"task": "digits"})):
        other = start_trials(RunConfig(**config.to_dict() | changes), (3,), name=name, runs=tmp_path, jobs=1).path
        with pytest.raises(UsageError, match="expected runs on the same data"):
            read_curves([done.path, other])


def test_the_same_key_with_other_data_is_other_data(own: Path, small: dict[str, Any], tmp_path: Path) -> None:
    config = RunConfig(**small | CHANGES | {"task": f"{own}:points", "generations": 2})
    first = start_trials(config, (1, 2), name="first", runs=tmp_path, jobs=1).path
    own.write_text(OWN.replace("SHIFT", "7"))
    second = start_trials(config, (2,), name="second", runs=tmp_path, jobs=1).path
    with pytest.raises(UsageError, match="expected runs on the same data"):
        read_curves([first, second])
    with pytest.raises(CheckpointError, match="expected the data of .* fingerprint"):
        resume(first / "seed_1", {"generations": 4}, trust=True)


def test_trials_share_a_task_unless_it_is_made_from_the_key(own: Path, small: dict[str, Any]) -> None:
    shared = SharedByTrials()

    def task(name: str, seed: int) -> Any:
        return network_and_task(RunConfig(**small | CHANGES | {"task": name, "seed": seed}), shared)[1]

    assert task("digits", 1) is task("digits", 2)
    keyed = f"{own}:points"
    assert task(keyed, 1) is task(keyed, 1)
    assert task(keyed, 1) is not task(keyed, 2)
    assert task(f"{keyed}(size=40)", 1) is not task(keyed, 1)
