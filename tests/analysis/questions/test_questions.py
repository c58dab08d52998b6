"""The frame of a question script: what is run, what is read, what is answered, what is written."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galab.analysis.questions import trials as running
from galab.analysis.questions.answer import answer, sentence, write
from galab.analysis.questions.question import RARE, Condition, Question
from galab.analysis.questions.trials import home, read_question, run_question
from galab.cli.main import main
from galab.cli.question_script import command_of
from galab.errors import UsageError
from galab.stats.intervals import median_interval
from galab.storage.log import read_log
from galab.training.trials.trials import resume_trials

INF = float("inf")
QUESTION = Question(
    name="do_children_help",
    title="Do children help?",
    conditions=(Condition("4 children", {"children": 4}), Condition("Many children (9)", {"children": 9})),
    common={"task": "linear-regression", "model": "linear", "batch": 8, "parents": 3, "fitness": "loss", "threads": 1},
    generations=4,
    seeds="0-1",
    factor=-1.0,
    unit="training loss",
    lower_is_better=True,
)


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., Any]:
    """``asked(question, seeds, generations)`` runs what is missing, in this process, and reads it."""

    def go(question: Question = QUESTION, seeds: tuple[int, ...] = (0, 1), generations: int = 4) -> Any:
        trials = run_question(question, seeds=seeds, generations=generations, runs=tmp_path, jobs=1)
        return read_question(question, trials, generations)

    return go


def logs(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("log.jsonl"))}


def test_trials_lie_by_condition_and_curves_are_the_log_times_the_factor(asked: Any, tmp_path: Path) -> None:
    reads = asked()
    place = home(QUESTION, tmp_path)
    assert place == tmp_path / "questions" / "do_children_help"
    assert [one.path.relative_to(place).as_posix() for one in reads] == [
        "4_children/seed_0", "4_children/seed_1", "many_children_9/seed_0", "many_children_9/seed_1",
    ]  # fmt: skip
    assert [one.condition for one in reads] == [0, 0, 1, 1]
    log = read_log(reads[2].path / "log.jsonl")
    assert reads[2].generations.tolist() == [1, 2, 3, 4]
    assert reads[2].values.tolist() == [-line["fitness_best"] for line in log]
    assert all("champion" not in line for line in log), "records are rare"
    assert QUESTION.options(QUESTION.conditions[0])["save_every"] == RARE


@pytest.mark.slow
def test_asked_again_nothing_runs_and_fewer_generations_read_a_part(asked: Any, tmp_path: Path) -> None:
    whole = asked()
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("status.json")}
    again, part = asked(), asked(generations=2, seeds=(1,))
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("status.json")} == before
    assert [one.values.tolist() for one in again] == [one.values.tolist() for one in whole]
    assert [(one.seed, one.generations.tolist()) for one in part] == [(1, [1, 2]), (1, [1, 2])]
    assert part[0].values.tolist() == whole[1].values[:2].tolist()
    assert [len(one.values) for one in asked()] == [4] * 4, "the longer trials are still there"


@pytest.mark.slow
def test_more_seeds_and_generations_add_to_what_is_there(asked: Any, tmp_path: Path) -> None:
    asked(seeds=(0,), generations=2)
    more = asked(seeds=(0, 1), generations=4)
    assert [len(one.values) for one in more] == [4] * 4
    once = dataclasses.replace(QUESTION, name="at_once")
    for grown, alone in zip(more, asked(once), strict=True):
        assert grown.values.tolist() == alone.values.tolist(), "as if asked for at once"


def test_half_done_trials_go_on(asked: Any, tmp_path: Path) -> None:
    asked(generations=2)
    folder = home(QUESTION, tmp_path) / "4_children" / "seed_0"
    (folder / "status.json").write_text('{"state": "running", "generation": 1, "message": ""}')
    (folder / "log.jsonl").write_text("")
    (folder / "checkpoints" / "gen_000002.pkl").unlink()
    assert [len(one.values) for one in asked(generations=2)] == [2] * 4
    assert {one.state for one in resume_trials(home(QUESTION, tmp_path), jobs=1).trials} == {"finished"}


def test_other_hyperparameters_are_refused_with_both_values(asked: Any, tmp_path: Path) -> None:
    asked()
    before = logs(tmp_path)
    other = dataclasses.replace(QUESTION, common={**QUESTION.common, "sigma": 0.5})
    with pytest.raises(UsageError, match=r"--sigma 0\.0199906\), got --sigma 0\.5; delete '.*' to ask anew"):
        asked(other)
    assert logs(tmp_path) == before


def test_conditions_that_cannot_work_are_all_named_first(asked: Any, tmp_path: Path) -> None:
    wrong = (Condition("none", {"children": 0}), Condition("no such", {"childrn": 3}), QUESTION.conditions[0])
    with pytest.raises(UsageError, match=r"got 2 of 3 that are not \(none: .*no_such: .*; correct their options"):
        asked(dataclasses.replace(QUESTION, conditions=wrong))
    assert not (tmp_path / "questions").exists()


def test_an_unknown_field_is_answered_with_those_that_there_are(asked: Any) -> None:
    with pytest.raises(UsageError, match=r"got 'fitness_bst'. Did you mean 'fitness_best'"):
        asked(dataclasses.replace(QUESTION, follow="fitness_bst"))


def test_a_question_that_cannot_be_asked_is_refused() -> None:
    one = QUESTION.conditions[0]
    for changes, words in (
        ({"conditions": ()}, "to have a condition"),
        ({"conditions": (one, one)}, "'4 children' 2 times"),
        ({"conditions": (one, Condition("4  children!", {}))}, "'4_children' 2 times"),
        ({"measure": "first"}, "a level for the last"),
        ({"measure": "mean"}, "end, best, first"),
        ({"common": {"seed": 3}}, "got seed among the options"),
        ({"name": "a/b"}, "plain word"),
    ):
        with pytest.raises(UsageError, match=words):
            dataclasses.replace(QUESTION, **changes)


def test_the_answer_compares_ends_bests_and_first_generations(asked: Any) -> None:
    reads = asked()
    found = answer(QUESTION, reads, 4)
    ends = [one.values[-1] for one in reads]
    assert found.values("4 children").tolist() == ends[:2]
    assert found.intervals == (median_interval(ends[:2]), median_interval(ends[2:]))
    assert found.comparison.best == int(np.mean(ends[2:]) < np.mean(ends[:2]))
    assert found.findings[0].best == min(reads[0].values)
    # A level that one trial alone reaches, and that at its end.
    level = min(one.values.min() for one in reads)
    first = dataclasses.replace(QUESTION, measure="first", level=float(level))
    judged = answer(first, reads, 4)
    assert judged.reached is not None
    assert sum(one.count for one in judged.reached) == 1
    assert sorted(one.first for one in judged.findings)[1:] == [INF] * 3
    assert "never" in sentence(judged)
    assert "first generation with training loss of" in sentence(judged)


def test_failed_trials_are_left_out_and_said(asked: Any) -> None:
    reads = asked()
    lost = dataclasses.replace(reads[0], state="failed", message="out of memory", generations=reads[0].generations[:2])
    late = dataclasses.replace(reads[1], state="failed")
    found = answer(QUESTION, [lost, late, *reads[2:]], 4)
    assert [one.seed for one in found.findings if one.condition == "4 children"] == [1], "it failed after what counts"
    assert "Left out: 1 trials that failed (the first: out of memory)." in sentence(found)
    nothing = [dataclasses.replace(one, state="failed", message="lethal", generations=np.empty(0)) for one in reads]
    with pytest.raises(UsageError, match=r"got none \(lethal\)"):
        answer(QUESTION, nothing, 4)


@pytest.mark.slow
def test_files_hold_every_seed_and_every_curve(asked: Any, tmp_path: Path) -> None:
    found = answer(dataclasses.replace(QUESTION, level=-9.0), asked(), 4)
    image, table, curves = write(found, tmp_path / "deep" / "answer.png")
    assert image.read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["condition"], row["seed"], row["first"]) for row in rows[:2]] == [
        ("4 children", "0", "inf"), ("4 children", "1", "inf"),
    ]  # fmt: skip
    assert float(rows[3]["end"]) == found.findings[3].end
    lines = list(csv.DictReader(curves.read_text().splitlines()))
    assert len(lines) == 2 * 4
    assert float(lines[3]["median"]) == pytest.approx(found.intervals[0].median)
    with pytest.raises(UsageError, match="name of an image"):
        write(found, tmp_path / "answer.nonsense")


@pytest.mark.slow
def test_a_script_runs_draws_answers_and_exits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def script(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([*arguments], command_of(QUESTION), "do_children_help.py")
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    place = ["--runs", str(tmp_path), "--jobs", "1", "-q"]
    code, out, _ = script(*place, "--generations", "2")
    assert code == 0
    assert len(out.splitlines()) == 1
    assert out.startswith("training loss at the end, 2 generations, median over 2 seeds")
    folder = tmp_path / "questions" / "do_children_help"
    assert (folder / "do_children_help.png").exists()
    assert (folder / "do_children_help.csv").exists()
    assert script(*place, "--generations", "2", "--output", str(tmp_path / "docs" / "a.png"))[1] == out
    assert (tmp_path / "docs" / "a_curves.csv").exists()
    for wrong, words in ((["--seeds", "x"], "whole numbers"), (["-o", str(tmp_path / "a")], "add .png")):
        code, out, err = script(*place, *wrong)
        assert (code, out) == (2, "")
        assert words in err
    assert "4 children, Many children (9)" in script("--help")[1]


@pytest.mark.slow
def test_questions_of_the_same_runs_run_and_read_them_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("run_question", "read_question"):
        done = getattr(running, name)
        monkeypatch.setattr(running, name, lambda *a, _n=name, _f=done, **k: (calls.append(_n), _f(*a, **k))[1])
    low, high = dataclasses.replace(QUESTION, measure="first", level=9.0).at(3, 0.5)
    test = dataclasses.replace(low, follow="fitness_mean")
    with pytest.raises(SystemExit) as stop:
        main(["--runs", str(tmp_path), "--jobs", "1", "-q"], command_of(low, high, test, QUESTION), "twice.py")
    assert not stop.value.code
    assert calls == ["run_question", "read_question", "read_question"]
    said = capsys.readouterr()
    assert [line.split(", 4 gen")[0] for line in said.out.splitlines()] == [
        "first generation with training loss of 3", "first generation with training loss of 0.5",
        "first generation with training loss of 3", "training loss at the end",
    ]  # fmt: skip
    assert said.err.count("wrote") == 1
    other = dataclasses.replace(QUESTION, common={**QUESTION.common, "sigma": 0.5})
    assert not other.has_runs_of(QUESTION)
