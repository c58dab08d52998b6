"""n generations equal k generations and resuming to n; and when a run stops."""

from pathlib import Path
from typing import Any

import pytest
from lab_outcome import ENGINE, EVOLUTION, generations_of, log_of, newest_state, outcome

from galab.errors import GalabError
from galab.storage.log import read_log
from galab.training.start_or_resume import resume
from galab.training.stop import StopRules


class Crash(Exception):
    """Stands for a kill between a checkpoint and what follows it."""


def crash_at(generation: int) -> Any:
    def hook(line: dict[str, Any]) -> None:
        if line["generation"] == generation:
            raise Crash

    return hook


VARIANTS = [
    {},
    {"elites": 1},
    {"survival": "plus"},
    {"survival": "plus", "batch": 0},
    {"elites": 2, "batch": 0},
    {"batch": 0, "precision": "float32", "fitness": "accuracy", "ties": "random"},
    {"step_size": "fixed"},
    {"step_size": "three-point"},
    {"step_size": "log-normal", "step_size_rate": 2.0},
    {"distribution": "sign", "cache_mb": 1},
    {"model": "conv", "hidden": "8"},
    ENGINE["genes"],
    *(pytest.param(changes, marks=pytest.mark.slow) for kind, changes in ENGINE.items() if kind != "genes"),
]


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda changes: ",".join(f"{k}={v}" for k, v in changes.items()))
def test_run_to_five_and_resume_to_twelve(evolve: Any, changes: dict[str, Any]) -> None:
    unbroken = evolve("unbroken", **changes | {"generations": 12})
    evolve("broken", **changes | {"generations": 5})
    resume(unbroken.parent / "broken", {"generations": 12})
    assert outcome(unbroken.parent / "broken") == outcome(unbroken)


@pytest.mark.slow
def test_resume_after_a_crash_with_lines_beyond_the_checkpoint(evolve: Any, tmp_path: Path) -> None:
    unbroken = evolve("unbroken", generations=12)
    with pytest.raises(Crash):
        evolve("broken", generations=12, hooks=[crash_at(7)])
    assert len(log_of(tmp_path / "broken")) == 7
    assert generations_of(tmp_path / "broken")[-1] == 6
    resume(tmp_path / "broken")
    assert outcome(tmp_path / "broken") == outcome(unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("kind", EVOLUTION)
def test_an_evolution_strategy_resumes_after_a_crash(evolve: Any, tmp_path: Path, kind: str) -> None:
    """A crash and not a smaller number of generations, with which some of their schedules would be others."""
    unbroken = evolve("unbroken", generations=12, **EVOLUTION[kind])
    with pytest.raises(Crash):
        evolve("broken", generations=12, hooks=[crash_at(7)], **EVOLUTION[kind])
    assert generations_of(tmp_path / "broken")[-1] == 6
    resume(tmp_path / "broken")
    found = outcome(tmp_path / "broken")
    assert found["verified"]
    assert found == outcome(unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["openai-es", "eggroll", "muon"])
def test_an_evolution_strategy_runs_to_five_and_resumes_to_twelve(evolve: Any, kind: str) -> None:
    unbroken = evolve("unbroken", generations=12, **EVOLUTION[kind])
    evolve("broken", generations=5, **EVOLUTION[kind])
    resume(unbroken.parent / "broken", {"generations": 12})
    # How long a run was meant to be is written beside the scores of each generation.
    expected, found = outcome(unbroken), outcome(unbroken.parent / "broken")
    assert found.pop("records") != expected.pop("records")
    assert found.pop("lineage")["births"] == expected.pop("lineage")["births"]
    assert found["verified"]
    assert found == expected


def test_a_finished_run_that_is_resumed_stays_as_it_is(evolve: Any) -> None:
    folder = evolve()
    before = outcome(folder), (folder / "log.jsonl").read_bytes(), newest_state(folder)
    assert resume(folder).reason == "nothing left to do, 5 generations done"
    assert (outcome(folder), (folder / "log.jsonl").read_bytes()) == before[:2]


def test_a_crash_is_told_by_the_status_and_the_files_are_closed(evolve: Any, tmp_path: Path) -> None:
    with pytest.raises(Crash):
        evolve("broken", hooks=[crash_at(3)])
    assert '"state": "failed"' in (tmp_path / "broken" / "status.json").read_text()


@pytest.mark.slow
def test_new_limits_outlive_a_kill(evolve: Any) -> None:
    """They are in the checkpoint that resuming writes, not only in the one after the next hundred generations."""
    folder = evolve(save_every=100)
    with pytest.raises(Crash):
        resume(folder, {"generations": 12}, hooks=[crash_at(8)])
    assert resume(folder).generation == 12
    assert outcome(folder) == outcome(evolve("unbroken", save_every=100, generations=12))


def test_stop_rules_replace_the_old_ones(evolve: Any) -> None:
    folder = evolve()
    result = resume(folder, {"seconds": 1e9, "target": 0.0})
    assert result.reason.startswith("validation accuracy")
    assert result.generation == 6  # the next report
    config = newest_state(folder)["hyperparameters"]
    assert (config["generations"], config["seconds"], config["target"]) == (None, 1e9, 0.0)


@pytest.mark.slow
def test_save_every_and_keep_may_change(evolve: Any) -> None:
    folder = evolve()
    resume(folder, {"generations": 12, "save_every": 3, "keep": "2"})
    assert generations_of(folder) == [0, 9, 12]
    assert log_of(folder) == log_of(evolve("unbroken", generations=12))


def test_seconds_count_over_all_sittings(evolve: Any) -> None:
    folder = evolve()
    spent = read_log(folder / "log.jsonl")[-1]["seconds"]
    assert newest_state(folder)["totals"]["seconds"] == pytest.approx(spent, abs=0.001)
    assert resume(folder, {"seconds": spent / 2}).generation == 5
    result = resume(folder, {"seconds": spent + 0.05})
    assert result.generation > 5
    lines = read_log(folder / "log.jsonl")
    assert lines[5]["seconds"] >= spent
    rounding = 0.0011  # the log has milliseconds
    assert lines[-1]["seconds"] >= spent + 0.05 - rounding
    assert lines[-2]["seconds"] < spent + 0.05 + rounding
    assert result.reason == f"{spent + 0.05:g} seconds spent"


@pytest.mark.slow
def test_a_target_stops_a_resumed_run_where_it_stops_an_unbroken_one(evolve: Any, tmp_path: Path) -> None:
    """A kill right after the checkpoint of the generation that reaches the target must not let the run go on."""
    reports = [line for line in log_of(evolve("open", generations=8)) if "validation_accuracy" in line]
    best = max(reports, key=lambda line: line["validation_accuracy"])
    reached, target = best["generation"], {"target": best["validation_accuracy"], "generations": 50}
    unbroken = evolve("unbroken", **target)
    expected = outcome(unbroken)
    assert newest_state(unbroken)["generation"] == reached
    for crash in (reached - 1, reached):
        with pytest.raises(Crash):
            evolve(f"broken-{crash}", **target, hooks=[crash_at(crash)])
        resume(tmp_path / f"broken-{crash}")
        assert outcome(tmp_path / f"broken-{crash}") == expected
    resume(unbroken)  # already there: it stops at once
    assert outcome(unbroken) == expected


@pytest.mark.parametrize("wrong", ["validation", "test"])
def test_a_target_means_validation_and_never_test(evolve: Any, tmp_path: Path, wrong: str) -> None:
    """All labels of one split are out of reach: its accuracy is 0 whatever the network answers."""
    (tmp_path / "lines.py").write_text(
        "import numpy as np\nfrom galab.tasks import Classification\n"
        "def lines() -> Classification:\n"
        "    x = np.linspace(-1, 1, 60).reshape(-1, 1)\n"
        "    y = (x[:, 0] > 0).astype(int)\n"
        "    never = np.full(60, 2)  # the third output is never the largest: its inputs are all zero\n"
        f"    return Classification(name='lines', train=(x, y), classes=3,\n"
        f"        **{{split: (x, never if split == '{wrong}' else y) for split in ('validation', 'test')}})\n"
    )
    (tmp_path / "net.py").write_text(
        "import torch\nclass Net(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.two = torch.nn.Linear(1, 2)\n"
        "    def forward(self, x):\n        two = self.two(x)\n"
        "        return torch.cat([two, two.amin(-1, keepdim=True) - 1], -1)\n"
    )
    folder = evolve(
        task=f"{tmp_path}/lines.py:lines", model=f"{tmp_path}/net.py:Net", hidden=None, target=0.8, generations=40,
        sigma=0.5,
    )  # fmt: skip
    last = log_of(folder)[-1]
    if wrong == "validation":
        assert (last["generation"], last["validation_accuracy"]) == (40, 0.0)
        assert last["test_accuracy"] >= 0.8
    else:
        assert last["generation"] < 40
        assert last["validation_accuracy"] >= 0.8
        assert last["test_accuracy"] == 0.0


def test_stop_rules_by_themselves() -> None:
    rules = StopRules(generations=10, seconds=5.0, target=0.9)
    assert rules.reason(9, 4.9, 0.89) is None
    assert rules.reason(9, 4.9, None) is None
    assert rules.reason(9, 4.9, float("nan")) is None
    assert rules.reason(10, 0.0, None) == "10 generations done"
    assert rules.reason(0, 5.0, None) == "5 seconds spent"
    assert rules.reason(0, 0.0, 0.9) == "validation accuracy 0.9000 reached the target 0.9"
    assert (rules.fraction(5, 1.0), rules.fraction(1, 4.0), rules.fraction(99, 0.0)) == (0.5, 0.8, 1.0)
    rules.interrupted.set()
    assert rules.reason(0, 0.0, None) == "interrupted"


def test_the_log_must_reach_the_checkpoint(evolve: Any) -> None:
    folder = evolve()
    lines = (folder / "log.jsonl").read_text().splitlines(keepends=True)
    (folder / "log.jsonl").write_text("".join(lines[:3]))
    with pytest.raises(GalabError, match="log"):
        resume(folder, {"generations": 7})
