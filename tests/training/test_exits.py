"""Code of the user's own that raises what would end the program: it is an error of that code, with a reason."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_outcome import ENGINE, EVOLUTION, log_of, merged

from galab.errors import GalabError, UsageError
from galab.training.trials.trials import start_trials

#: Some members fail, wherever they are; the last is nobody's idea of an error.
SOME = "if (outputs[:, 0, 0] > 0).any():\n    raise {}\nreturn loss"
RAISED = {
    "SystemExit(0)": "SystemExit: 0",
    "GeneratorExit('leave')": "GeneratorExit: leave",
    "type('Odd', (BaseException,), {})('odd')": "Odd: odd",
}
STRATEGY = """
import numpy as np

class Still:
    def __init__(self, start, *, run_key, population, sigma):
        self.generation, self.centre, self.population = 0, start, population
        self.leave("made")

    def leave(self, when):
        if when == "{when}":
            raise SystemExit(3)

    def ask(self):
        self.leave("ask")
        return np.stack([self.centre] * self.population)

    def tell(self, fitness):
        self.leave("tell")
        self.generation += 1

    def state_dict(self):
        return {{"generation": self.generation}}

    def load_state_dict(self, state):
        self.generation = state["generation"]
"""
MODEL = """
import torch

class Leaves(torch.nn.Module):
    def __init__(self, input_shape, outputs):
        super().__init__()
        self.last = torch.nn.Linear(64, outputs)
        {constructor}

    def forward(self, inputs):
        {forward}
        return self.last(inputs.flatten(1))
"""


@pytest.mark.parametrize("raised", RAISED)
def test_a_member_whose_scoring_would_end_the_program_fails_alone(
    evolve: Any, clouds: Callable[[str], str], raised: str, caplog: Any
) -> None:
    caplog.set_level(logging.INFO, "galab")
    folder = evolve(task=clouds(SOME.format(raised)), batch=0, precision="float32", generations=8)
    assert 0 < sum(line["failures"] for line in log_of(folder)) < 8 * 6
    assert any(record.getMessage().endswith(f"a member failed: {RAISED[raised]}") for record in caplog.records)
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(
    "changes",
    [EVOLUTION["eggroll"], EVOLUTION["openai-es-adam"], ENGINE["low-rank"]],
    ids=["eggroll", "es", "low-rank"],
)
def test_so_does_one_of_another_kind_of_search(
    evolve: Any, clouds: Callable[[str], str], changes: dict[str, Any]
) -> None:
    own = {**changes, "task": clouds(SOME.format("SystemExit(0)")), "batch": 0, "precision": "float32"}
    log = log_of(evolve(**own, generations=8))
    assert len(log) == 8
    assert sum(line["failures"] for line in log) > 0


def test_a_gradient_that_would_end_the_program_is_a_sentence(evolve: Any, clouds: Callable[[str], str]) -> None:
    late = "global calls\ncalls += 1\nif calls > 40:\n    raise SystemExit(0)\nreturn loss"
    with pytest.raises(GalabError, match="SystemExit: 0"):
        evolve(task=clouds(late), strategy="sgd", generations=400, batch=16)


@pytest.mark.parametrize(
    ("source", "changes", "sentence"),
    [
        ("raise SystemExit(0)", {"task": "own.py:clouds"}, "{path}. to be a Python file that runs, got SystemExit: 0"),
        ("def clouds():\n    raise SystemExit(0)", {"task": "own.py:clouds"}, "to return a task, got SystemExit: 0"),
        ("raise SystemExit(0)", {"model": "own.py:Leaves"}, "to be a Python file that runs, got SystemExit: 0"),
        (MODEL.format(constructor="raise SystemExit(0)", forward=""), {"model": "own.py:Leaves"}, "got SystemExit: 0"),
        (MODEL.format(constructor="", forward="raise SystemExit(0)"), {"model": "own.py:Leaves"}, "got SystemExit: 0"),
        ("raise SystemExit(0)", {"mutate": "own.py:Odd"}, "to be a Python file that runs, got SystemExit: 0"),
        (STRATEGY.format(when="made"), {"strategy": "own.py:Still()"}, "to be made with start, .*, got SystemExit: 3"),
    ],
    ids=["task-file", "task", "model-file", "model", "forward", "mutation-file", "strategy"],
)  # fmt: skip
def test_what_would_end_the_program_while_a_run_is_built_is_a_sentence(
    evolve: Any, tmp_path: Path, source: str, changes: dict[str, str], sentence: str
) -> None:
    path = tmp_path / "own.py"
    path.write_text(source)
    changes = {name: value.replace("own.py", str(path)) for name, value in changes.items()}
    with pytest.raises(UsageError, match=sentence.format(path=path)):
        evolve(**changes | ({"hidden": None} if "model" in changes else {}))
    assert not (tmp_path / "first").exists()


@pytest.mark.parametrize("when", ["ask", "tell"])
def test_a_strategy_that_would_end_the_program_fails_its_run_and_says_so(
    evolve: Any, tmp_path: Path, when: str
) -> None:
    path = tmp_path / "own.py"
    path.write_text(STRATEGY.format(when=when))
    with pytest.raises(GalabError, match="your own code to return or to raise an ordinary error, got SystemExit: 3"):
        evolve(strategy=f"{path}:Still()", population=4)
    status = json.loads((tmp_path / "first" / "status.json").read_text())
    assert status["state"] == "failed"
    assert "got SystemExit: 3" in status["message"]


def test_trials_whose_code_would_end_the_program_fail_and_the_others_go_on(
    tmp_path: Path, small: dict[str, Any]
) -> None:
    from galab.config import RunConfig

    path = tmp_path / "own.py"
    source = STRATEGY.format(when="tell").replace("if when ==", "if self.key == 5 and when ==")
    path.write_text(source.replace("self.generation, self", "self.key = run_key; self.generation, self", 1))
    own = {"strategy": f"{path}:Still()", "population": 4}
    done = start_trials(RunConfig(**merged(small, own)), (5, 6), name="group", runs=tmp_path, jobs=1)
    assert [one.state for one in done.trials] == ["failed", "finished"]
    assert "got SystemExit: 3" in done.trials[0].message


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_processes")
def test_a_worker_whose_code_would_end_the_program_says_why(evolve: Any, clouds: Callable[[str], str]) -> None:
    task = clouds("return loss")
    source = Path(task.rpartition(":")[0])
    begin = "if __import__('multiprocess').parent_process() is not None:\n    raise SystemExit(0)\n"
    source.write_text(begin + source.read_text())
    with pytest.raises(GalabError, match="a Python file that runs, got SystemExit: 0"):
        evolve(task=task, batch=0, workers=1)
