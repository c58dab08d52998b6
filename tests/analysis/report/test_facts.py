"""What a report says of a log: warnings, failures, a fall of validation that is more than noise, the estimate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from galab.analysis.report.facts import Facts, series, verdicts
from galab.training.compose import choices_of, command_of


def facts(log: list[dict[str, Any]], state: str = "finished", message: str = "", **others: Any) -> Facts:
    known = {"values": {}, "data": {}, "result": {}, "totals": {}, "versions": {}, "profile": {}, "saved": [],
             "origin": {}}  # fmt: skip
    lines = [{"generation": number, **line} for number, line in enumerate(log, start=1)]
    return Facts(path=Path("a"), folder=None, name="a", state=state, message=message, log=lines, **(known | others))


def said(found: Facts, good: bool) -> list[str]:
    return [one.say for one in verdicts(found) if one.good is good]


def reports(values: list[float]) -> list[dict[str, Any]]:
    return [{"validation_accuracy": value} for value in values]


def test_a_fall_counts_when_it_is_larger_than_changes_between_reports() -> None:
    # Changes are 0.02 in the median: the best by 0.05 is luck, a fall by 0.08 is not.
    noisy = [0.50, 0.52, 0.50, 0.55, 0.53, 0.52, 0.50]
    assert said(facts(reports(noisy)), good=False) == []
    fell = [0.50, 0.52, 0.54, 0.58, 0.56, 0.54, 0.50]
    (sentence,) = said(facts(reports(fell)), good=False)
    assert "best in generation 4, 58.00%, and ended at 50.00%" in sentence
    assert any("60.00% at the last report, generation 2: its best" in one for one in
               said(facts(reports([0.5, 0.6])), good=True))  # fmt: skip


def test_failures_are_counted_over_all_generations() -> None:
    log = [{"failures": 1, "members": 10, "failure_reasons": ["NaN"]}, {"failures": 3, "members": 20}]
    (sentence,) = said(facts(log), good=False)
    assert sentence == "20.00% of 20 members had no finite fitness; the first reason: NaN"


@pytest.mark.parametrize(
    ("state", "good", "words"),
    [("finished", True, "finished: why"), ("failed", False, "failed: why"), ("killed", False, "was killed"),
     ("new", False, "has not begun"), ("stopped", False, "stopped: why")],
)  # fmt: skip
def test_states(state: str, good: bool, words: str) -> None:
    (sentence,) = said(facts([], state, "why"), good=good)
    assert words in sentence


def test_the_estimate_is_compared_with_the_law_at_the_end() -> None:
    def log(measured: float) -> list[dict[str, Any]]:
        early = [{"estimate_cosine": 0.5, "estimate_cosine_predicted": 0.2}] * 6
        return early + [{"estimate_cosine": measured, "estimate_cosine_predicted": 0.2}] * 2

    assert any("0.190 at the end, 0.200" in one for one in said(facts(log(0.19)), good=True))
    assert any("0.140 at the end" in one for one in said(facts(log(0.14)), good=False))


def test_series_are_finite_numbers_alone() -> None:
    log = [{"generation": 1, "x": 2}, {"generation": 2, "x": None}, {"generation": 3, "x": float("nan")}, {"x": 1}]
    assert series(log, "x") == [(1, 2.0)]


def test_choices_are_what_differs_and_the_command_names_all_that_scores_hang_on() -> None:
    values = {"task": "digits", "children": 9, "parents": 8, "seed": 4, "sigma": 0.019990643486380577, "chunk": 9}
    own = {one.name: one.own for one in choices_of(values)}
    assert [name for name, chosen in own.items() if chosen] == ["task", "children"]
    command = command_of(values, "it's")
    for word in ("--task digits", "--children 9", "--seed 4", "--chunk 9", "--sigma 0.019990643486380577"):
        assert word in command
    assert command.endswith("""--name 'it'"'"'s'""")
    assert "--parents" not in command
    assert "population" not in {one.name for one in choices_of(values | {"population": 64})}
