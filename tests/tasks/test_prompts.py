"""Prompts as a task: their data, their rewards, and files of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from galab.errors import DataError, UsageError
from galab.tasks import load_task
from galab.tasks.prompts import Prompt, PromptTask, conciseness, minus_length_difference


def task_of(reward: Any) -> PromptTask:
    return PromptTask("own", [Prompt("one", "1")], [Prompt("two", "2")], reward)


@pytest.mark.parametrize("prompts", ["words", "sums"])
def test_conciseness_has_two_prompts_and_eight_to_test_by(prompts: str) -> None:
    task = conciseness(prompts)
    assert (len(task.train), len(task.validation), len(task.test)) == (2, 2, 8)
    assert task.validation is task.train
    assert not set(task.train.targets.tolist()) & set(task.test.targets.tolist())
    assert len({prompt.text for prompt in task.prompts}) == 10
    assert task.description == "conciseness, 2 prompts, and 8 to test by"


def test_sums_are_right() -> None:
    for prompt in conciseness("sums").prompts:
        assert str(sum(map(int, prompt.text.rstrip("=").split("+")))) == prompt.target


@pytest.mark.parametrize(("answer", "target", "reward"), [("8", "8", 0), ("it is 8.", "8", -7), ("", "Paris", -5)])
def test_the_reward_is_minus_the_difference_of_the_lengths(answer: str, target: str, reward: float) -> None:
    assert minus_length_difference(answer, target) == reward


def test_an_answer_is_right_if_it_contains_the_target() -> None:
    task = conciseness()
    assert task.is_right(0, "The answer is 8.")
    assert task.is_right(1, "no, they cannot")
    assert not task.is_right(0, "9")


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        (lambda answer, target: 1 / 0, "got ZeroDivisionError: division by zero; correct it"),
        (lambda answer, target: None, "got TypeError: "),
        (lambda answer, target: float("nan"), "expected a finite reward for the answer 'x' to 'one', got nan"),
    ],
)
def test_a_reward_that_fails_says_for_which_answer(reward: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        task_of(reward).grade(0, "x")
    assert said in str(caught.value)


def test_what_is_asked_changes_the_fingerprint() -> None:
    one = PromptTask("own", [Prompt("one", "1")], [Prompt("two", "2")], minus_length_difference)
    other = PromptTask("own", [Prompt("one", "2")], [Prompt("two", "2")], minus_length_difference)
    moved = PromptTask(
        "own", [Prompt("one", "1")], [Prompt("two", "2")], minus_length_difference, validation=[Prompt("two", "2")]
    )
    assert len({one.fingerprint, other.fingerprint, moved.fingerprint}) == 3


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("grading.py").write_text("def exact(answer, target):\n    return float(answer == target)\n\nnumber = 3\n")
    rows = [{"prompt": "1+1=", "target": "2"}, {"prompt": "2+2=", "target": "4", "split": "test"}]
    Path("mine.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return tmp_path


def test_prompts_of_a_file(own: Path) -> None:
    task = load_task("prompts(file=mine.jsonl, reward=grading.py:exact)")
    assert isinstance(task, PromptTask)
    assert [prompt.text for prompt in task.prompts] == ["1+1=", "2+2="]
    assert (task.grade(0, "2"), task.grade(0, "3")) == (1.0, 0.0)
    assert task.name == "mine"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "expected JSON in line 1 of 'mine.jsonl', got '{'"),
        ('{"prompt": "a"}', "expected 'prompt', 'target' and perhaps 'split' (train, validation, test) as texts"),
        ('{"prompt": "a", "target": 3}', "as texts in line 1 of 'mine.jsonl'"),
        ('{"prompt": "a", "target": "b", "split": "dev"}', "as texts in line 1"),
        ("[]", "as texts in line 1"),
        ('{"prompt": "a", "target": "b"}', "expected prompts to train on and to test by, got 1 and 0"),
    ],
)
def test_a_line_that_is_none_is_refused(own: Path, line: str, said: str) -> None:
    Path("mine.jsonl").write_text(line)
    with pytest.raises(UsageError) as caught:
        load_task("prompts(file=mine.jsonl, reward=grading.py:exact)")
    assert said in str(caught.value)


def test_what_is_not_there_is_said(own: Path) -> None:
    with pytest.raises(DataError, match="expected prompts in 'none.jsonl', a file of at most 256 MB, got none"):
        load_task("prompts(file=none.jsonl, reward=grading.py:exact)")
    with pytest.raises(UsageError, match="expected a reward such as my.py:function, got 'exact'"):
        load_task("prompts(file=/dev/zero, reward=exact)")
    with pytest.raises(DataError, match="in '/dev/zero', a file of at most 256 MB, got no regular file"):
        load_task("prompts(file=/dev/zero, reward=grading.py:exact)")
    with pytest.raises(UsageError, match="expected a function as reward, got int; name one"):
        load_task("prompts(file=mine.jsonl, reward=grading.py:number)")
    with pytest.raises(UsageError, match="prompts=words or prompts=sums, got 'x'"):
        conciseness("x")
