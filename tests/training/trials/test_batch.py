"""Runs by the turn: alone, side by side, and what an error or an end of one does to the others."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from galab.contracts import Scores
from galab.training.loop import EvaluationRequest, EvaluationResult, run_to_end
from galab.training.tensorboard import Stopwatch
from galab.training.trials.processes import run_side_by_side, score_one_by_one


class Double:
    """An executor whose scores are twice the cohort, which is a number here."""

    def score(self, cohort: int) -> Scores:
        if cohort < 0:
            raise ValueError(f"cohort {cohort}")
        return Scores(np.array([2.0 * cohort]))


class Parts:
    executor = Double()


def run(*cohorts: int, closed: list[int] | None = None) -> Generator[EvaluationRequest, EvaluationResult, list[float]]:
    heard = []
    try:
        for cohort in cohorts:
            scored = yield EvaluationRequest(Parts(), cohort)  # type: ignore[arg-type]
            heard.append(float(scored.scores.fitness[0]))
        return heard
    finally:
        if closed is not None:
            closed.append(len(heard))


def test_a_run_alone_hears_its_scores_and_its_errors() -> None:
    assert run_to_end(run(1, 2, 3)) == [2.0, 4.0, 6.0]
    assert run_to_end(run()) == []
    closed: list[int] = []
    with pytest.raises(ValueError, match="cohort -1"):
        run_to_end(run(5, -1, 7, closed=closed))
    assert closed == [1]


def test_runs_side_by_side_end_each_in_its_own_time_with_its_own_scores() -> None:
    ended = dict(run_side_by_side({"a": run(1, 2, 3), "b": run(4), "c": run()}))
    assert ended == {"a": [2.0, 4.0, 6.0], "b": [8.0], "c": []}
    assert [key for key, _ in run_side_by_side({"a": run(1, 2, 3), "b": run(4), "c": run()})] == ["c", "b", "a"]


def test_an_error_ends_one_run_alone() -> None:
    ended: dict[str, Any] = dict(run_side_by_side({"a": run(1, -2, 3), "b": run(4, 5)}))
    assert str(ended["a"]) == "cohort -2"
    assert ended["b"] == [8.0, 10.0]


def test_runs_that_are_abandoned_are_closed() -> None:
    closed: list[int] = []

    def interrupt(requests: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dict(run_side_by_side({"a": run(1, closed=closed), "b": run(2, closed=closed)}, interrupt))
    assert closed == [0, 0]


def test_each_run_is_told_its_share_of_the_time() -> None:
    shares = []

    def waits() -> Generator[EvaluationRequest, EvaluationResult, None]:
        shares.append((yield EvaluationRequest(Parts(), 1)).seconds)  # type: ignore[arg-type]

    def slow(requests: Any) -> Any:
        time.sleep(0.05)
        return score_one_by_one(requests)

    dict(run_side_by_side({n: waits() for n in range(5)}, slow))
    assert len(set(shares)) == 1
    assert shares[0] >= 0.01


def test_a_clock_does_not_count_the_time_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    clock = Stopwatch()
    now += 1
    clock.pause()
    now += 50
    clock.resume(0.25)
    now += 2
    assert clock.split() == 3.25
    now += 4
    assert clock.split() == 4
