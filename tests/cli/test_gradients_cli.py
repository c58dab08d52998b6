"""Baselines by gradients on the command line: whatever names them says that they use gradients."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

SMALL = [
    "--task", "digits", "--hidden", "4", "--batch", "32", "--threads", "1", "--generations", "4", "--save-every", "2",
    "--report-every", "2",
]  # fmt: skip


def test_everything_says_that_gradients_are_used(galab: Any) -> None:
    said = galab("run", *SMALL, "--strategy", "sgd", "--seed", 5)
    assert "gradient descent, a baseline that uses gradients: sgd(momentum=0.9) with lr 0.05" in said.err
    assert "128 evaluations (examples forwards, and each of them backwards too)" in said.out
    assert "centre of generation 4: test accuracy" in said.out
    run = Path("runs/digits-sgd-gradients")
    shown = galab("show", run).out
    assert "sgd is a baseline that uses gradients: each generation is one step along one" in shown
    assert re.search(r"^  gradient_norm ", shown, re.MULTILINE)
    assert re.search(r"^    lr +0.05", shown, re.MULTILINE)
    assert re.search(r"^  \* batch +32", shown, re.MULTILINE)
    assert not re.search(r"^ +\*? *(population|sigma|rank|children) ", shown, re.MULTILINE)
    assert "the data makes every centre again" in shown
    assert "sgd (gradients)" in galab("list").out
    assert "baselines sgd and adam use gradients" in " ".join(galab("run", "--help-all").out.split())
    assert "every checkpoint follows from the seed and the data" in galab("verify", run).out


@pytest.mark.slow
def test_many_seeds_a_sweep_and_a_comparison(galab: Any) -> None:
    galab("run", *SMALL, "--strategy", "adam", "--seeds", "1-2", "--jobs", 1, "--name", "many", "-q")
    galab("sweep", "--grid", "strategy=sgd,adam", "--seeds", "0", *SMALL, "--jobs", 1, "--name", "swept", "-q")
    out = galab("compare", "runs/swept", "--by", "strategy").out
    assert "strategy sgd (gradients)" in out
    assert "equal evaluations (members x examples, of gradients backwards too)" in out


def test_evaluate_and_resume(galab: Any) -> None:
    galab("run", *SMALL, "--strategy", "adam", "--name", "run", "-q")
    assert json.loads(galab("evaluate", "runs/run", "-f", "json").out)["member"] == "centre"
    galab("resume", "runs/run", "--generations", 6, "-q")
    assert json.loads(Path("runs/run/log.jsonl").read_text().splitlines()[-1])["generation"] == 6


def test_refusals(galab: Any, sentence: Any) -> None:
    assert "expected a fitness with a gradient" in sentence("run", "--strategy", "sgd", "--fitness", "wrong", code=2)
    assert not Path("runs").exists()


def test_there_are_no_settings_to_find(galab: Any, sentence: Any) -> None:
    said = sentence("bench", *SMALL[:8], "--strategy", "sgd", "-q", code=2)
    assert "expected a search without gradients to find settings for, got --strategy sgd" in said


def test_tensorboard_tags(galab: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    galab("run", *SMALL, "--strategy", "sgd", "-q")
    tags = EventAccumulator("runs/digits-sgd-gradients").Reload().Tags()["scalars"]
    assert {"gradient/norm", "gradient/evaluations", "estimate/change", "fitness/best"} <= set(tags)
