"""What Ctrl-C promises: a resume where there is one, and else what was written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

FLAGS = ["--task", "digits", "--hidden", "4", "--parents", "3", "--children", "6", "--threads", "1"]


@pytest.fixture
def interrupted(galab: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``interrupted("module.function", "analyze", ...)`` is the sentence after Ctrl-C in that function."""

    def call(where: str, *arguments: Any) -> str:
        def stop(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(where, stop)
            lines: list[str] = galab(*arguments, code=130).err.splitlines()
        return lines[-1]

    return call


RESUMABLE = (
    "galab: interrupted; `galab list` shows what was begun, `galab resume` continues from its last checkpoint"
)


def test_runs_and_trials_can_be_resumed(interrupted: Any, evolve: Any) -> None:
    run = evolve()
    start, resume = "galab.training.start_or_resume.start", "galab.training.start_or_resume.resume"
    assert interrupted(start, "run", *FLAGS) == RESUMABLE
    assert interrupted(resume, "resume", run) == RESUMABLE
    sweep = ["sweep", "--grid", "elites=0,1", *FLAGS]
    assert interrupted("galab.training.trials.sweep.run_cells", *sweep) == RESUMABLE


def test_an_analysis_says_whether_it_wrote_anything(interrupted: Any, evolve: Any) -> None:
    run = evolve()
    said = interrupted("galab.analysis.base.open_saved", "analyze", "replay", run)
    assert said == "galab: interrupted; nothing was written; the same command starts again"
    assert not (run / "analysis").exists()
    said = interrupted("galab.analysis.base.csv_text", "analyze", "replay", run)
    assert said.startswith(f"galab: interrupted; some of the files '{run}/analysis/replay")
    assert said.endswith("*' may be missing or of an earlier time; the same command makes them")


def test_a_report_a_comparison_and_all_others_say_that_they_wrote_nothing(interrupted: Any, evolve: Any) -> None:
    run = evolve()
    before = sorted(run.rglob("*"))
    page, again = "galab.analysis.report.report._of_run", "the same command starts again"
    assert interrupted(page, "report", run) == f"galab: interrupted; no report was written; {again}"
    assert "the analyses that were done are in" in interrupted(page, "report", run, "--analyses", "replay")
    for place in (run.parent / "compare.png", Path("own.png")):
        said = interrupted("galab.analysis.report.compare.draw", "compare", run, "--figure", place)
        assert said == "galab: interrupted; no figure was written"
        assert not place.exists()
    events = "galab.analysis.report.compare.EventFile"
    said = interrupted(events, "compare", run, "--tensorboard", "board")
    assert said == "galab: interrupted; 'runs/compare.png' was written, and 'board' is not whole"
    nothing = "galab: interrupted; nothing was written"
    assert interrupted("galab.doctor.benchmark.benchmark_of_run", "bench", run) == nothing
    assert interrupted("galab.saved_runs.export._state_dict", "export", run, "-o", "out.pt") == nothing
    assert not Path("out.pt").exists()
    assert interrupted("galab.saved_runs.saved_run.evaluate", "evaluate", run) == nothing
    assert sorted(path for path in run.rglob("*") if path.name != ".lock") == [
        path for path in before if path.name != ".lock"
    ]


def test_a_question_script_goes_on_with_the_same_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from galab.analysis.questions.question import Condition, Question
    from galab.cli.question_script import ask

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("galab.analysis.questions.trials.run_question", stop)
    monkeypatch.setattr(sys, "argv", ["why.py"])
    conditions = (Condition("one", {}), Condition("two", {"elites": 1}))
    with pytest.raises(SystemExit, match="130"):
        ask(Question(name="why", title="Why?", conditions=conditions), arguments=[])
    assert capsys.readouterr().err.endswith("galab: interrupted; the same command goes on from here\n")
