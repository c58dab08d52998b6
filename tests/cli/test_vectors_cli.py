"""Strategies over weight vectors on the command line: galab's own with options in brackets, and a user's class."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SMALL = [
    "--task", "digits", "--hidden", "4", "--batch", "32", "--threads", "1", "--generations", "4", "--save-every", "2",
    "--report-every", "2", "--population", "8",
]  # fmt: skip
OWN = """
from galab.strategies.snes import SNES
class Own(SNES): ...
"""
#: A strategy that keeps what it likes to itself.
WITHOUT_SIGMA = """
import numpy as np

class Walk:
    def __init__(self, start, *, run_key, population, sigma, share=0.5):
        if not 0 < share <= 1:
            raise ValueError(f"expected a share above 0 and at most 1, got {share}")
        self.generation, self.centre, self._population = 0, start, population

    def ask(self):
        grid = np.linspace(-0.1, 0.1, self._population, dtype=np.float32)
        return self.centre + grid[:, None]

    def tell(self, fitness):
        self.centre = self.ask()[np.nanargmax(fitness)]
        self.generation += 1

    def state_dict(self):
        return {"generation": self.generation, "centre": self.centre}

    def load_state_dict(self, state):
        self.generation, self.centre = state["generation"], state["centre"]
"""


def test_a_run_is_shown_verified_and_listed_by_its_name(galab: Any) -> None:
    said = galab("run", *SMALL, "--strategy", "snes(lr_sigma=0.2)", "--seed", 5)
    assert "snes(lr_sigma=0.2), population 8, sigma 0.02" in said.err
    assert "1,024 evaluations (members x examples)" in said.out
    assert "centre of generation 4: test accuracy" in said.out
    run = Path("runs/digits-snes")
    shown = galab("show", run).out
    assert "score log: 4 updates" in shown
    assert not re.search(r"^ +\*? *(parents|children|rank|lr|distribution) ", shown, re.MULTILINE)
    assert "snes(lr_sigma=0.2)" in galab("list").out
    assert "every checkpoint follows from the seed and the scores" in galab("verify", run).out
    assert json.loads(galab("evaluate", run, "-f", "json").out)["member"] == "centre"
    galab("resume", run, "--generations", 6, "-q")
    assert json.loads((run / "log.jsonl").read_text().splitlines()[-1])["generation"] == 6


def test_a_sweep_compares_them_with_others_and_with_a_class_from_a_file(galab: Any) -> None:
    Path("own.py").write_text(OWN)
    grid = ["--grid", "strategy=pgpe,own.py:Own,sgd", "--seeds", "0"]
    galab("sweep", *grid, *SMALL[:-2], "--jobs", 1, "--name", "swept", "-q")
    out = galab("compare", "runs/swept", "--by", "strategy").out
    for name in ("strategy pgpe", "strategy own.py:Own()", "strategy sgd (gradients)"):
        assert name in out


def test_one_without_a_step_size_runs_and_its_line_says_nothing_of_it(galab: Any, sentence: Any) -> None:
    Path("walk.py").write_text(WITHOUT_SIGMA)
    said = galab("run", *SMALL, "--strategy", "walk.py:Walk", "--name", "walk")
    assert "generation 1 | fitness" in said.err
    assert "step" not in re.search(r"generation 1 \|.*", said.err)[0]
    assert "every checkpoint follows from the seed and the scores" in galab("verify", "runs/walk").out
    refused = sentence("run", *SMALL, "--strategy", "walk.py:Walk(share=7)", "--name", "no", code=2)
    assert "expected a share above 0 and at most 1, got 7" in refused


def test_refusals(galab: Any, sentence: Any) -> None:
    said = sentence("run", "--strategy", "snes(lr_sgima=1)", "--generations", 1, code=2)
    assert "got 'lr_sgima'. Did you mean 'lr_sigma'" in said
    assert "expected --strategy eggroll without arguments" in sentence("run", "--strategy", "eggroll(rank=2)", code=2)
    assert not Path("runs").exists()
