"""Analyses of many runs at once: groups and paths in, files beside the first of them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from galab.analysis.base import takes_many
from galab.config.registry import ANALYSES


def test_a_parameter_called_runs_takes_many() -> None:
    assert takes_many(ANALYSES.load("variance"))
    assert not takes_many(ANALYSES.load("memory"))


@pytest.mark.slow
def test_a_group_of_seeds_is_one_answer(galab: Any, evolve: Any, sentence: Any) -> None:
    for seed in (1, 2, 3):
        evolve(f"seed_{seed}", "--seed", seed)
    said = galab("analyze", "variance", "runs", "--early", "20", "-q")
    assert said.out.startswith("In 3 runs of one configuration over 5 generations")
    found = json.loads(Path("runs/analysis/variance.json").read_text())
    assert (found["runs"], found["answer"]) == (3, said.out.strip())
    assert "RUNS..." in galab("analyze", "variance", "--help").out
    # The folder that an analysis leaves behind is no run of the group.
    assert galab("analyze", "variance", "runs", "--early", "20").out == said.out
    assert "at least 3 runs" in sentence("analyze", "variance", "runs/seed_1", code=2)
    assert "found none" in sentence("analyze", "variance", "runs/absent")
    Path("runs/seed_2/log.jsonl").write_text("")
    assert "expected" in sentence("analyze", "variance", "runs", code=2)
