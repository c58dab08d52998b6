"""Warnings: each condition fires, once until it ends, and a resumed run warns where an unbroken one does."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from lab_outcome import log_of, newest_state, outcome

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.contracts import Scores
from galab.training.log_fields import Totals, conditions, warnings_for
from galab.training.start_or_resume import resume

NOBODY_FAILED = Scores(np.zeros(8))
#: A population that nobody needs to hear of.
HEALTHY = {
    "generation": 1000, "step_size_at_floor": 0.4, "selection_success_rate": 0.1, "selection_age_best": 49,
    "diversity_common_ancestor": 160, "diversity_distance": 0.01,
}  # fmt: skip


def config(**changes: Any) -> RunConfig:
    return decide(RunConfig(**{"sigma_floor": 0.001, "elites": 1} | changes))


def names(changes: dict[str, Any], scores: Scores = NOBODY_FAILED, **options: Any) -> list[str]:
    """Conditions that hold."""
    return [name for name, sentence in conditions(config(**options), HEALTHY | changes, scores, 8).items() if sentence]


@pytest.mark.parametrize(
    ("changes", "options", "name"),
    [
        ({"step_size_at_floor": 0.5}, {}, "floor"),
        ({"selection_success_rate": 0.0}, {}, "no-success"),
        ({"selection_age_best": 50}, {}, "stale"),
        ({"diversity_common_ancestor": 161}, {}, "apart"),
        ({"diversity_common_ancestor": None}, {}, "apart"),
        ({"diversity_common_ancestor": None}, {"islands": 2, "elites": 2}, "apart"),
        ({"diversity_distance": 0.0}, {}, "alike"),
    ],
)
def test_each_condition_alone(changes: dict[str, Any], options: dict[str, Any], name: str) -> None:
    assert names({}) == []
    assert names(changes, **options) == [name]
    sentence = conditions(config(**options), HEALTHY | changes, NOBODY_FAILED, 8)[name]
    assert sentence is not None
    assert " --" in sentence  # it says what to try


def test_failing_children() -> None:
    def failing(count: int) -> Scores:
        return Scores(np.zeros(9), failures=dict.fromkeys((*range(count), 8), "fitness was nan"))

    assert names({}, failing(3)) == []  # the ninth is no child
    assert names({}, failing(4)) == ["failures"]
    sentence = conditions(config(), HEALTHY, failing(4), 8)["failures"]
    assert sentence is not None
    assert sentence.startswith("4 of 8 children have no finite fitness (fitness was nan)")


def test_no_alarm_where_a_person_asked_for_it_or_nothing_is_known() -> None:
    held = {"step_size_at_floor": 1.0}
    assert names(held, step_size="fixed") == []
    assert names(held, step_size="schedule", sigma_schedule="0:0.02,9:0.002") == []
    assert names(held, sigma_floor=0.02, sigma_ceiling=0.02) == []
    assert names({"diversity_common_ancestor": None, "generation": 160}) == []
    alone = {"diversity_common_ancestor": 0, "diversity_distance": 0.0}
    assert names(alone, parents=1) == []
    assert set(conditions(config(), {"generation": 1}, NOBODY_FAILED, 8)) == {"failures"}


def test_a_warning_is_said_once_until_its_condition_ends(caplog: pytest.LogCaptureFixture) -> None:
    totals = Totals()
    ages = [49, 50, 51, 52, 0, 1, 50, 51]
    with caplog.at_level(logging.WARNING, "galab"):
        said = [
            warnings_for(config(), HEALTHY | {"generation": place, "selection_age_best": age}, NOBODY_FAILED, 8, totals)
            for place, age in enumerate(ages, 1)
        ]
    assert [list(found) for found in said] == [[], ["warnings"], [], [], [], [], ["warnings"], []]
    assert "born 50 generations ago" in said[1]["warnings"][0]
    assert [record.message for record in caplog.records] == [
        f"generation {place}: {said[place - 1]['warnings'][0]}" for place in (2, 7)
    ]
    assert (totals.began, totals.warned) == ({"stale": 7}, ["stale"])


def test_some_conditions_must_hold_for_a_while_and_unmeasured_generations_do_not_end_them() -> None:
    totals = Totals()
    said = []
    for generation in range(1, 401):
        line: dict[str, Any] = {"generation": generation}
        if generation % 50 == 0:
            line["selection_success_rate"] = 0.1 if generation == 100 else 0.0
        if warnings_for(config(), line, NOBODY_FAILED, 8, totals):
            said.append(generation)
    assert said == [250]  # zero at 50 alone, then from 150 on


STUCK = {"sigma": 8.0, "step_size": "fixed", "elites": 1, "batch": 0, "generations": 70}


@pytest.mark.slow
@pytest.mark.parametrize("broken", [20, 60])
def test_a_resumed_run_warns_as_an_unbroken_one(evolve: Any, broken: int, caplog: pytest.LogCaptureFixture) -> None:
    """Steps far too large: the best of the first generations stays for ever."""
    unbroken = evolve("unbroken", **STUCK)
    caplog.clear()
    evolve("broken", **STUCK | {"generations": broken})
    resume(unbroken.parent / "broken", {"generations": 70})
    assert outcome(unbroken.parent / "broken") == outcome(unbroken)
    lines = [line for line in log_of(unbroken) if any("best parent" in said for said in line.get("warnings", ()))]
    assert len(lines) == 1
    assert lines[0]["selection_age_best"] == 50
    assert sum("best parent" in record.message for record in caplog.records) == 1
    assert "stale" in newest_state(unbroken)["totals"]["warned"]
