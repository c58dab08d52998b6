"""Runs of integer EGGROLL: the same bits whatever computes them, killed or not, and nothing that it cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import log_of, newest_state

import galab
from galab.config.run_config import RunConfig
from galab.errors import CheckpointError, UsageError
from galab.saved_runs.export import export
from galab.saved_runs.saved_run import open_saved
from galab.saved_runs.verify import conclusion, verify
from galab.storage import checkpoints, pickle_format
from galab.storage.run_folder import RunFolder
from galab.training.start_or_resume import resume, start

RUN: dict[str, Any] = {
    "task": "counting(length=8)", "model": "egg(width=32)", "strategy": "integer-eggroll", "population": 24, "seed": 3,
    "batch": 4, "generations": 6, "save_every": 2, "report_every": 2, "threads": 1, "move_share": "inverse:0.1",
}  # fmt: skip


@pytest.fixture
def climb(tmp_path: Path, no_waiting_for_the_disk: None, forked_processes: None) -> Any:
    def make(name: str = "first", **changes: Any) -> Path:
        start(RunConfig(**RUN | changes), name=name, runs=tmp_path)
        return tmp_path / name

    return make


def outcome(folder: Path) -> Any:
    lines = [{key: value for key, value in line.items() if key != "recompilations"} for line in log_of(folder)]
    state = newest_state(folder)
    return lines, state["weights"].tobytes(), (folder / "scores.bin").read_bytes()


#: What the run above comes to, on every machine: bits a byte on validation at each report, and hashes.
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "integer_run.json").read_text())


def test_it_is_the_golden_run(climb: Any) -> None:
    import hashlib

    lines, weights, record = outcome(climb())
    assert hashlib.sha256(record).hexdigest() == GOLDEN["record"]
    assert hashlib.sha256(weights).hexdigest() == GOLDEN["weights"]
    found = {str(line["generation"]): line["validation_bits"] for line in lines if "validation_bits" in line}
    assert found == GOLDEN["validation_bits"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"chunk": 2}, {"chunk": 7}, {"chunk": 64}, {"threads": 2}, {"workers": 1, "chunk": 8},
                {"workers": 3, "chunk": 6}]
)  # fmt: skip
def test_nothing_that_computes_it_changes_a_bit(climb: Any, changes: dict[str, Any]) -> None:
    assert outcome(climb("here")) == outcome(climb("there", **changes))


@pytest.mark.slow
def test_torch_computes_the_same_run(climb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = outcome(climb("compiled"))
    monkeypatch.setattr("galab.evaluation.egg_kernel.library", lambda: None)
    assert outcome(climb("torch")) == expected


@pytest.mark.parametrize(
    "changes",
    [{}, {"hidden_state": "reset"}, {"fast_fitness": "on", "use_clt": "off", "rank": 4, "noise_reuse": 2},
     {"update_threshold": 20, "move_share": "inverse:0.02", "integer_step": 2, "weight_clip": 4.0},
     {"move_share": "0.2"}],
)  # fmt: skip
def test_it_continues_exactly_and_is_verified(climb: Any, changes: dict[str, Any], tmp_path: Path) -> None:
    whole = climb("whole", **changes)
    half = climb("half", generations=3, **changes)
    resume(half, {"generations": 6})
    assert outcome(half) == outcome(whole)
    assert "every checkpoint follows from the seed and the factors" in conclusion(verify(RunFolder(half)))
    network = galab.load(half)
    export(open_saved(half), "torch", tmp_path / "egg.pt")
    state = torch.load(tmp_path / "egg.pt", weights_only=True)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all((value * 16 == (value * 16).round()).all() for value in state.values())
    top = 16 * changes.get("weight_clip", 127 / 16)
    assert max(float(value.abs().max()) * 16 for value in state.values()) <= max(top, 64)


def test_it_learns(climb: Any) -> None:
    lines = log_of(climb(generations=40, population=256, report_every=40, move_share="inverse:0.2"))
    first, last = lines[0], lines[-1]
    assert last["fitness_mean"] > first["fitness_mean"] + 2
    assert last["validation_bits"] < 6.5
    assert 0 < last["moved_share"] < first["moved_share"]
    assert last["vote_threshold"] > first["vote_threshold"] == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "gru"}, "expected --model egg with a task of bytes, .* --strategy integer-eggroll .* --model gru"),
        ({"model": "integer-linear"}, "expected --model egg with a task of bytes, .*--task counting"),
        ({"task": "digits", "model": "mlp"}, "expected a task of bytes with --model egg"),
        ({"task": "linear-regression", "model": "integer-linear(scale=3)"}, "expected scale as a power of two, or 0"),
        ({"rank": 2}, "expected --rank 1, 4 or 16 with integers"),
        ({"noise_reuse": 0}, "--noise-reuse"),
        ({"freeze": "head"}, "expected no --freeze with --strategy integer-eggroll, got head: it moves all weights"),
        ({"precision": "bfloat16"}, "expected no --precision with --strategy integer-eggroll, got bfloat16"),
        ({"sigma_shift": 6}, "expected --sigma-shift between 0 and 5, got 6"),
        ({"move_share": "0"}, "expected --move-share as a number above 0 and at most 1, or inverse:RATE"),
        ({"move_share": "decay:0.1"}, "expected --move-share as a number"),
        ({"sigma": 0.1}, "expected no --sigma with --strategy integer-eggroll, got 0.1"),
        ({"lr": 0.2}, "expected no --lr with --strategy integer-eggroll"),
        ({"optimizer": "adam"}, "expected no --optimizer with --strategy integer-eggroll"),
        ({"population": 25}, "expected an even --population with --strategy integer-eggroll, got 25"),
        ({"batch": 3000}, "expected parts longer than a sequence of 8 bytes"),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_sentence(climb: Any, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        climb(**changes)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_other_numbers_is_refused(climb: Any) -> None:
    folder = climb()
    path = checkpoints.list_checkpoints(folder / "checkpoints")[-1][1]
    whole = pickle_format.load(path)
    for change in ({"weights": whole["weights"] + np.float32(0.01)}, {"weights": whole["weights"] + np.float32(16)},
                   {"hidden": np.zeros((3, 1, 32), np.int8)}, {"hidden": 5}):  # fmt: skip
        pickle_format.dump(whole | change, path)
        with pytest.raises(CheckpointError):
            open_saved(path)


def test_seeds_have_other_weights_and_no_distribution_of_torch_has_a_part_in_them(climb: Any) -> None:
    torch.manual_seed(5)
    one = newest_state(climb("one", generations=1))["weights"]
    torch.manual_seed(6)
    again = newest_state(climb("again", generations=1))["weights"]
    other = newest_state(climb("other", generations=1, seed=4))["weights"]
    assert np.array_equal(one, again)
    assert (one != other).mean() > 0.5
    assert one.std() == pytest.approx(1.0, abs=0.05)
