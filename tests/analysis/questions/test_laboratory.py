"""The laboratory's question scripts: each can be asked as it stands, and follows what its runs log."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galab.analysis.questions.answer import numbers_of_trials, numbers_sentence, write
from galab.analysis.questions.question import AnalysisNumber, Question
from galab.analysis.questions.trials import read_question, run_question
from galab.config.strategy_kinds import kind_of
from galab.training.compose import compose
from galab.training.trials.trials import prepared_config

FOLDER = Path(__file__).resolve().parents[3] / "analysis"
#: Whatever data is at hand: some questions want all of a set that has to be fetched.
ANYWHERE = {"data": "auto"}
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if "import ask" in path.read_text())


def questions_of(script: Path) -> list[Question]:
    """What a script asks, in the order of its text."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [value for value in vars(module).values() if isinstance(value, Question)]


def uncompiled(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a condition, without a compiler where there may be one."""
    compiles = kind_of(options.get("strategy", "ga")).name == "evolution"
    return {**options, **ANYWHERE, "generations": 9, **({"compile": "off"} if compiles else {})}


def test_all_observations_of_the_laboratory_are_asked() -> None:
    assert len(SCRIPTS) >= 15


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_named_as_its_question_and_says_how_to_ask_it(script: Path) -> None:
    text = script.read_text()
    first = text.split("\n")[0].removeprefix('"""')
    assert first.endswith("?")
    assert f"Command: python analysis/{script.name}" in text
    question = questions_of(script)[0]
    assert question.name == script.stem
    assert f"--generations {question.generations}]" in text
    assert f"--seeds {question.seeds}]" in text


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_condition_can_be_carried_out(script: Path) -> None:
    for one in questions_of(script):
        configs = [compose(uncompiled(one.options(condition))) for condition in one.conditions]
    # Building one takes most of a second, so the simplest and the last, which has most of everything.
    for config in (configs[0], configs[-1]):
        prepared_config(config, 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_is_followed_is_logged(script: Path, tmp_path: Path) -> None:
    question = dataclasses.replace(questions_of(script)[0], numbers=())
    first = question.conditions[0]
    small: dict[str, Any] = {"report_every": 1, "threads": 1, **ANYWHERE}
    if kind_of(question.options(first).get("strategy", "ga")).breeds:
        small |= {"parents": 2, "children": 4, "islands": 1}
    small_one = dataclasses.replace(first, options={**first.options, **small}, length=1.0)
    asked = dataclasses.replace(question, conditions=(small_one,), name="small")
    trials = run_question(asked, seeds=[0], generations=2, runs=tmp_path, jobs=1)
    (read,) = read_question(asked, trials, 2)
    assert read.generations.tolist() == [1, 2]
    assert np.isfinite(read.values).all()


@pytest.mark.slow
def test_runs_are_looked_at_through_an_analysis(tmp_path: Path) -> None:
    (question,) = questions_of(FOLDER / "what_does_one_planted_memory_break.py")
    numbers = (*question.numbers, AnalysisNumber("never", "memory", "no.such.value"))
    asked = dataclasses.replace(question, numbers=numbers)
    trials = run_question(asked, seeds=[0, 1], generations=3, runs=tmp_path, jobs=1)
    reads = read_question(asked, trials, 3)
    found = numbers_of_trials(asked.numbers, reads)
    assert [len(values) for values in found.values()] == [2, 2, 2, 2, 0]
    assert (found["before"] == [round(read.values.max()) for read in reads]).all()
    text = numbers_sentence(found)
    assert text.startswith("In 2 finished trials, medians [bootstrap 95 %]: before:")
    assert "never" not in text
    files = write(_answer(asked, reads), tmp_path / "figure.png", found)
    assert [file.name for file in files] == ["figure.png", "figure.csv", "figure_curves.csv", "figure_looks.csv"]
    assert "planted with length 1" in files[-1].read_text()


def _answer(question: Question, reads: Any) -> Any:
    from galab.analysis.questions.answer import answer

    return answer(question, reads, 3)
