"""``--strategy sgd`` and ``adam``: training by backpropagation, through everything that a run is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import GRADIENTS, log_of, merged, newest_state, outcome
from strategy_names import POPULATIONS
from torch import nn

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.config.traits import plans_its_end
from galab.errors import NoViableChildError, UsageError
from galab.evaluation.blocks import Minibatches
from galab.saved_runs.export import export
from galab.saved_runs.saved_run import evaluate, open_saved
from galab.saved_runs.verify import conclusion, verify
from galab.storage import checkpoints, pickle_format
from galab.storage.log import read_log
from galab.storage.run_folder import RunFolder
from galab.training.build import build, network_and_task
from galab.training.compose import compose
from galab.training.resolve import resolve
from galab.training.start_or_resume import resume, start
from galab.training.trials.trials import start_trials

STEPS = 12
#: Hyperparameters here, and what makes the same optimiser of torch.
PLAIN: dict[str, tuple[dict[str, Any], Any]] = {
    "sgd": ({"strategy": "sgd", "optimizer": "sgd", "lr": 0.3}, lambda p: torch.optim.SGD(p, lr=0.3)),
    "momentum": ({"strategy": "sgd"}, lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
    "decay": (
        {"strategy": "sgd", "optimizer": "sgd(momentum=0.5, nesterov=True)", "lr": 0.1, "weight_decay": 0.01},
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5, nesterov=True, weight_decay=0.01),
    ),
    "adam": ({"strategy": "adam"}, lambda p: torch.optim.Adam(p, lr=0.001)),
    "adamw": (
        {"strategy": "adam", "optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    ),
}
UNDIFFERENTIABLE = """
import torch
from torch import nn

class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(10, 64))

    def forward(self, x):
        return (x.flatten(1) @ self.weight.detach().T)
"""


def network(config: RunConfig) -> nn.Sequential:
    """The 64-4-10 network of the small runs, made of nothing but torch, from where such a run begins."""
    components = build(config, *network_and_task(config))
    centre = components.search.candidates()[1][0].floats()
    net = nn.Sequential(nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 10))
    assert components.layout.size == sum(one.numel() for one in net.parameters())
    nn.utils.vector_to_parameters(torch.from_numpy(centre.copy()), net.parameters())
    return net


@pytest.mark.parametrize("kind", PLAIN)
def test_steps_are_those_of_torch(evolve: Any, small: dict[str, Any], kind: str) -> None:
    values, make = PLAIN[kind]
    config = resolve(RunConfig(**merged(small, values | {"generations": STEPS})))
    net, losses = network(config), []
    task = network_and_task(config)[1]
    minibatches = Minibatches(task.train, 32, 5)
    optimizer = make(net.parameters())
    for step in range(1, STEPS + 1):
        examples = minibatches.of(step)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(examples.inputs.flatten(1)), examples.targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    folder = evolve(generations=STEPS, **values)
    weights = nn.utils.parameters_to_vector(net.parameters()).detach().numpy()
    lines = read_log(RunFolder(folder).log_path)
    assert [-line["fitness_best"] for line in lines] == pytest.approx(losses, rel=1e-5)
    # A wrong step is off by a thousandth; where in memory a batch lies changes the last bit of a product.
    assert np.abs(newest_state(folder)["weights"][0] - weights).max() < 1e-6


def test_the_first_step_is_minus_the_learning_rate_times_the_gradient(evolve: Any) -> None:
    folder = evolve(generations=1, keep="all", strategy="sgd", optimizer="sgd", lr=0.25)
    saved = [path for _, path in checkpoints.list_checkpoints(folder / "checkpoints")]
    before, after = (pickle_format.load(path)["weights"][0] for path in saved)
    (line,) = log_of(folder)
    assert line["estimate_change"] == pytest.approx(0.25 * line["gradient_norm"], rel=1e-4)
    assert np.linalg.norm((after - before).astype(np.float64)) == pytest.approx(line["estimate_change"], rel=1e-5)


def test_clip_shortens_long_gradients(evolve: Any) -> None:
    line, *_ = log_of(evolve(generations=1, strategy="sgd", optimizer="sgd", lr=1.0, clip=0.01))
    assert line["gradient_norm"] > 0.1
    assert line["estimate_change"] == pytest.approx(0.01, rel=1e-3)


def test_log_fields(evolve: Any) -> None:
    lines = log_of(evolve(strategy="adam", lr_schedule="decay:0.5"))
    assert [line["evaluations"] for line in lines] == [32, 64, 96, 128, 160]
    assert [line["gradient_evaluations"] for line in lines] == [32, 64, 96, 128, 160]
    assert [line["learning_rate"] for line in lines] == [0.001 * 0.5**step for step in range(5)]
    for line in lines:
        assert line["fitness_best"] == line["fitness_mean"] == line["fitness_worst"] == -line["train_loss"]
        assert (line["fitness_std"], line["failures"]) == (0, 0)
        assert 0 <= line["train_accuracy"] <= 1
        assert ("weights_norm" in line) == ("validation_accuracy" in line) == (line["generation"] % 2 == 0)
        assert not {"step_size", "estimate_norm", "estimate_pairs"} & set(line)


@pytest.mark.slow
@pytest.mark.parametrize("kind", GRADIENTS)
def test_broken_off_and_resumed_is_unbroken(evolve: Any, tmp_path: Path, kind: str) -> None:
    def crash(line: dict[str, Any]) -> None:
        if line["generation"] == 7:
            raise RuntimeError("crash")

    values = {"generations": 12, **GRADIENTS[kind]}
    unbroken = outcome(evolve("unbroken", **values))
    with pytest.raises(RuntimeError, match="crash"):
        evolve("broken", hooks=[crash], **values)
    resume(tmp_path / "broken")
    assert outcome(tmp_path / "broken") == unbroken
    assert unbroken["verified"]


def test_a_longer_run_continues_a_shorter_one(evolve: Any) -> None:
    long, short = evolve("long", generations=9, strategy="adam"), evolve("short", generations=5, strategy="adam")
    resume(short, {"generations": 9})
    assert np.array_equal(newest_state(long)["weights"], newest_state(short)["weights"])
    assert log_of(long) == log_of(short)


def test_verify_computes_again_and_finds_a_changed_weight(evolve: Any) -> None:
    folder = evolve(strategy="sgd", keep="all", lr_schedule="cosine")
    verdicts = verify(RunFolder.open(folder))
    assert [verdict.generation for verdict in verdicts] == [0, 2, 4, 5]
    assert conclusion(verdicts) == "every checkpoint follows from the seed and the data"
    path = folder / "checkpoints" / "gen_000004.pkl"
    state = pickle_format.load(path)
    state["weights"] = np.array(state["weights"])
    state["weights"][0, 3] += 1e-6
    pickle_format.dump(state, path)
    bad = [verdict for verdict in verify(RunFolder.open(folder)) if not verdict.good]
    assert [(one.generation, one.weights - one.identical) for one in bad] == [(4, 1)]
    assert conclusion(bad) == "a checkpoint does not follow from the seed and the data"


def test_the_centre_is_evaluated_exported_and_handed_on(evolve: Any, tmp_path: Path) -> None:
    folder = evolve(strategy="sgd")
    found = evaluate(folder, split="validation")
    assert (found["member"], found["generation"]) == ("centre", 5)
    assert found["validation_accuracy"] == newest_state(folder)["champion"]["metrics"]["validation_accuracy"]
    saved = open_saved(folder)
    export(saved, "torch", tmp_path / "centre.pt")
    weights = torch.cat([value.flatten() for value in torch.load(tmp_path / "centre.pt").values()])
    assert np.array_equal(weights.numpy(), saved.state["weights"][0])
    with pytest.raises(UsageError, match="expected --to torch or safetensors for the centre of sgd, got genome"):
        export(saved, "genome", tmp_path / "genome.json")


@pytest.mark.parametrize(("was", "wanted"), [("sgd", "ga"), ("ga", "sgd"), ("eggroll", "adam"), ("sgd", "adam")])
def test_a_run_begins_where_one_of_another_kind_has_come(evolve: Any, tmp_path: Path, was: str, wanted: str) -> None:
    kind = {"eggroll": {"population": 8, "optimizer": "adam", "lr": 0.3}, "ga": {}}.get(was, {"batch": 50})
    folder = evolve(strategy=was, compile="off", **kind)
    config = decide(compose({"strategy": wanted, "origin": str(folder), "generations": 1, "seed": 1, "threads": 1}))
    usual = decide(RunConfig(strategy=wanted))
    assert (config.lr, config.optimizer) == (usual.lr, usual.optimizer)
    assert (config.batch, config.hidden) == (kind.get("batch", 32), "4")
    start(config, name="next", runs=tmp_path)
    begun = pickle_format.load(tmp_path / "next" / "checkpoints" / "gen_000000.pkl")["weights"][0]
    scale = 1.0 if begun.dtype.kind == "f" else 2.0**-24
    reached = newest_state(folder)["weights"][0]
    old = reached * (1.0 if reached.dtype.kind == "f" else 2.0**-24)
    assert np.abs(begun * scale - old).max() <= 2**-24


def test_a_batch_that_nobody_chose_is_not_handed_on(small: dict[str, Any], evolve: Any) -> None:
    folder = evolve(strategy="sgd", batch=64)
    assert decide(compose({"strategy": "ga", "origin": str(folder)})).batch == 2048
    assert compose({"origin": str(folder)}).batch == 64


def test_many_trials_side_by_side_are_those_alone(evolve: Any, small: dict[str, Any], tmp_path: Path) -> None:
    config = RunConfig(**merged(small, {"strategy": "adam"}))
    trials = start_trials(config, [5, 6], name="many", runs=tmp_path, jobs=1)
    assert not trials.failed
    assert log_of(tmp_path / "many" / "seed_5") == log_of(evolve("alone", strategy="adam"))


def test_a_descent_that_diverges_keeps_its_last_good_checkpoint(evolve: Any, tmp_path: Path) -> None:
    with pytest.raises(NoViableChildError, match="the descent cannot go on .*; the last good checkpoint is kept: try"):
        evolve("wild", strategy="sgd", lr=1e6, weight_decay=1e6, generations=50)
    folder = RunFolder(tmp_path / "wild")
    assert (folder.read_status() or {})["state"] == "failed"
    assert np.isfinite(newest_state(folder.path)["weights"]).all()
    evaluate(folder.path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fitness": "wrong"}, "expected a fitness with a gradient with --strategy sgd, got --fitness wrong; use"),
        ({"fitness": "tilldeath"}, "got --fitness tilldeath; use cross-entropy or loss, or a strategy that needs no"),
        ({"fitness": "cross-entropy,accuracy"}, "expected a fitness with a gradient with --strategy sgd"),
        ({"fitness": "improvement"}, "expected a fitness with a gradient with --strategy sgd"),
        ({"population": 8}, f"got 8: only --strategy {POPULATIONS} understands it; drop it"),
        ({"children": 8}, "got 8: only the genetic algorithm (--strategy ga) understands it; drop it"),
        ({"sigma": 0.5}, "expected no --sigma with --strategy sgd, got 0.5"),
        ({"mutate": "layer"}, "expected no --mutate with --strategy sgd, got layer"),
        ({"optimizer": "adam"}, "expected --optimizer sgd with --strategy sgd, got adam: a run is called by what it "
                                "does; use --strategy adam"),
        ({"optimizer": "muon"}, "expected --optimizer sgd with --strategy sgd, got muon: a run is called by"),
        ({"workers": 2}, "expected no --workers with --strategy sgd, got 2"),
        ({"precision": "bfloat16"}, "expected no --precision with --strategy sgd, got bfloat16"),
        ({"compile": "on"}, "expected no --compile with --strategy sgd, got on"),
        ({"chunk": 8}, "expected no --chunk with --strategy sgd, got 8"),
        ({"norm_penalty": 0.1}, "use --weight-decay"),
        ({"lr_schedule": "cosine"}, "expected --generations with --lr-schedule cosine, got none"),
    ],
)  # fmt: skip
def test_what_belongs_to_others_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        RunConfig(**{"strategy": "sgd"} | changes)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_network_without_a_gradient_is_refused_before_anything_is_written(evolve: Any, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(UNDIFFERENTIABLE)
    with pytest.raises(UsageError, match="expected a task and a network with a gradient with --strategy sgd, got task"):
        evolve("none", strategy="sgd", model=f"{tmp_path}/net.py:Steps", hidden=None)
    assert not (tmp_path / "none").exists()


def test_defaults_hang_on_the_strategy_and_old_configurations_read_as_before() -> None:
    found = {name: decide(RunConfig(strategy=name)) for name in ("ga", "eggroll", "sgd", "adam")}
    assert {name: (one.lr, one.batch, one.optimizer) for name, one in found.items()} == {
        "ga": (0.1, 2048, "sgd"), "eggroll": (0.1, 2048, "sgd"), "sgd": (0.05, 64, "sgd(momentum=0.9)"),
        "adam": (0.001, 64, "adam"),
    }  # fmt: skip
    for one in found.values():
        assert RunConfig.from_saved(json.loads(json.dumps(one.to_dict()))) == one
    assert RunConfig(strategy="sgd", lr=0.1, batch=2048).lr == 0.1
    assert dataclasses.replace(found["sgd"], lr=0.2).batch == 64


@pytest.mark.parametrize(
    ("values", "planned"),
    [
        ({"strategy": "sgd"}, False),
        ({"strategy": "sgd", "lr_schedule": "cosine"}, True),
        ({"strategy": "eggroll", "lr_schedule": "decay:0.9"}, False),
        ({"strategy": "eggroll", "sigma_schedule": "linear:0.1"}, True),
        ({"strategy": "ga", "step_size": "schedule", "sigma_schedule": "0:0.02,9:0.01"}, False),
    ],
)
def test_who_plans_the_end(values: dict[str, Any], planned: bool) -> None:
    assert plans_its_end(RunConfig(generations=9, **values)) == planned
