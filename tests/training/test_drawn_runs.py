"""Runs on tasks whose data is made from the run's key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from galab.saved_runs.saved_run import evaluate
from galab.training.log_fields import TIMING
from galab.training.start_or_resume import resume

STORE: dict[str, Any] = {"task": "memorize(points=6, dims=8, classes=2)", "batch": 0}
MIXED: dict[str, Any] = {"task": "mixed(points=8, examples=64)", "batch": 0}
LEARN: dict[str, Any] = {"task": "plasticity(points=8)", "model": "hebbian", "fitness": "loss", "batch": 16}


def lines_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def test_a_run_ends_when_all_points_are_stored(evolve: Any) -> None:
    run = evolve("stored", **STORE, target=1.0, generations=400, children=30, sigma=0.3, report_every=1)
    status = json.loads((run / "status.json").read_text())
    assert status["generation"] < 400
    assert status["result"]["validation_accuracy"] == 1
    assert evaluate(run, split="train")["train_accuracy"] == 1
    assert evaluate(run)["examples"] == 64


@pytest.mark.slow
@pytest.mark.parametrize("changes", [STORE, MIXED, LEARN])
def test_resuming_and_workers_change_nothing(evolve: Any, changes: dict[str, Any]) -> None:
    whole, parts = evolve("whole", **changes), evolve("parts", **changes, generations=3)
    resume(parts, {"generations": 5})
    assert lines_of(parts) == lines_of(whole)
    if changes is not MIXED:
        assert lines_of(evolve("many", **changes, workers=1)) == lines_of(whole)


def test_both_parts_of_a_mixed_task_are_seen_in_the_log(evolve: Any) -> None:
    run = evolve("mixed", **MIXED)
    reports = [line for line in lines_of(run) if "champion" in line]
    assert reports
    for line in reports:
        assert line["train_noise_accuracy"] * 8 == pytest.approx(round(line["train_noise_accuracy"] * 8))
        assert 0 <= line["train_function_accuracy"] <= 1
    found = evaluate(run, split="train")
    whole = 8 * found["train_noise_accuracy"] + 64 * found["train_function_accuracy"]
    assert whole == pytest.approx(72 * found["train_accuracy"])
    assert "train_noise_accuracy" not in evaluate(run)
