"""What conditions are compared along: generations or evaluations, of unequal lengths, and who passes whom."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from galab.analysis.questions.answer import answer, sentence, write
from galab.analysis.questions.question import CARTPOLE, SOLVED, Condition, Question
from galab.analysis.questions.trials import TrialCurve, read_question, run_question
from galab.errors import UsageError
from galab.stats.curves import spread_out, stays_ahead_from

INF, NAN = float("inf"), float("nan")
QUESTION = Question(
    name="do_large_batches_help",
    title="Do large batches help?",
    conditions=(
        Condition("8 examples", {"batch": 8}, length=2.0),
        Condition("24 examples", {"batch": 24}),
    ),
    common={
        "task": "linear-regression", "model": "linear", "parents": 2, "children": 4, "fitness": "loss", "threads": 1,
        "crossover": "none",
    },
    generations=4,
    seeds="0-1",
    factor=-1.0,
    unit="training loss",
    lower_is_better=True,
)  # fmt: skip
EVALUATIONS = dataclasses.replace(QUESTION, axis="evaluations")


def read(condition: int, seed: int, values: list[float], cost: float = 10.0) -> TrialCurve:
    """A trial that measured these values in its first generations, each of which cost so many evaluations."""
    generations = np.arange(1.0, len(values) + 1)
    return TrialCurve(condition, seed, Path(f"{condition}_{seed}"), "finished", "", generations, generations * cost,
                np.array(values))  # fmt: skip


def test_passing_is_the_place_after_the_last_where_the_second_was_not_ahead() -> None:
    places = [1, 2, 3, 4]
    assert stays_ahead_from((places, [5, 4, 3, 3]), (places, [9, 3, 4, 1]), lower_is_better=True) == 4
    assert stays_ahead_from((places, [5, 4, 3, 3]), (places, [9, 3, 2, 1]), lower_is_better=True) == 2
    assert stays_ahead_from((places, [5, 4, 3, 3]), (places, [1, 1, 1, 1]), lower_is_better=True) == 1
    # Equal is not ahead.
    assert stays_ahead_from((places, [5, 4, 3, 3]), (places, [1, 1, 1, 3]), lower_is_better=True) == INF
    assert stays_ahead_from((places, [1, 2, 3, 4]), (places, [0, 3, 4, 5])) == 2
    # Measured at other places: the last value counts, up to where both are. Ahead at 3 (5 against 4), behind at 2.
    assert stays_ahead_from(([1, 4], [4, 9]), ([2, 3, 8], [4, 5, 99])) == INF
    assert stays_ahead_from(([1, 5], [4, 9]), ([2, 3, 4], [4, 5, 6])) == 3
    assert stays_ahead_from(([], []), (places, [1, 1, 1, 1])) == INF


def test_curves_may_begin_later_than_at_one() -> None:
    found = spread_out(4000, first=100)
    assert (found[0], found[-1]) == (100, 4000)
    assert (np.diff(found) > 0).all()


@pytest.mark.slow
@pytest.mark.usefixtures("no_waiting_for_the_disk")
def test_conditions_have_lengths_and_are_judged_where_all_still_are(tmp_path: Path) -> None:
    trials = run_question(QUESTION, seeds=(0, 1), generations=4, runs=tmp_path, jobs=1)
    reads = read_question(QUESTION, trials, 4)
    assert [len(one.values) for one in reads] == [8, 8, 4, 4]
    assert reads[0].evaluations.tolist() == [32.0 * generation for generation in range(1, 9)]
    assert reads[2].evaluations.tolist() == [96.0, 192.0, 288.0, 384.0]
    assert [len(one.values) for one in read_question(QUESTION, trials, 2)] == [4, 4, 2, 2], "lengths are multiples"

    equal = answer(QUESTION, reads, 4)
    assert equal.until == 4
    assert equal.values("8 examples").tolist() == [one.values[3] for one in reads[:2]]
    assert "training loss at the end, 4 generations, median" in sentence(equal)

    spent = answer(EVALUATIONS, reads, 4)
    assert spent.until == 8 * 32
    assert spent.values("8 examples").tolist() == [one.values[7] for one in reads[:2]]
    assert spent.values("24 examples").tolist() == [one.values[1] for one in reads[2:]], "192 of 256 evaluations"
    assert [(one.generation, one.evaluations) for one in spent.findings] == [(8, 256)] * 2 + [(2, 192)] * 2
    assert "training loss at the end, 256 evaluations, median" in sentence(spent)

    image, table, curves = write(spent, tmp_path / "answer.png")
    assert image.read_bytes().startswith(b"\x89PNG")
    plain = dataclasses.replace(EVALUATIONS, logarithmic=True)
    other = write(dataclasses.replace(spent, question=plain), tmp_path / "logarithmic.png")[0]
    assert other.read_bytes() != image.read_bytes()
    assert [row["evaluations"] for row in csv.DictReader(table.read_text().splitlines())] == [
        "256.0", "256.0", "192.0", "192.0",
    ]  # fmt: skip
    lines = list(csv.DictReader(curves.read_text().splitlines()))
    ends = {one["condition"]: (one["evaluations"], float(one["median"])) for one in lines}
    assert ends["24 examples"] == ("384", pytest.approx(np.median([one.values[-1] for one in reads[2:]])))
    assert ends["8 examples"][0] == "256"


def test_trials_can_be_judged_at_a_place_which_leaves_shorter_conditions_out() -> None:
    reads = [read(0, 0, [8, 7, 6, 5, 4, 3, 2, 1]), read(0, 1, [8, 7, 6, 5, 4, 3, 2, 1]), read(1, 0, [3, 2, 1, 0])]
    found = answer(dataclasses.replace(QUESTION, until=6.0), reads, 4)
    assert found.labels == ("8 examples",)
    assert found.values("8 examples").tolist() == [3, 3]
    assert "expected" not in sentence(found)
    assert answer(dataclasses.replace(EVALUATIONS, until=30.0), reads, 4).values("24 examples").tolist() == [1]
    with pytest.raises(UsageError, match="with a result"):
        answer(dataclasses.replace(QUESTION, until=9.0), reads, 4)


def test_what_converged_stands_for_longer_trials() -> None:
    short = (QUESTION.conditions[0], dataclasses.replace(QUESTION.conditions[1], converges=True))
    asked = dataclasses.replace(EVALUATIONS, conditions=short)
    reads = [read(0, 0, [8, 7, 6, 5, 4, 3, 2, 1]), read(1, 0, [3, 2, 1, 0])]
    found = answer(asked, reads, 4)
    assert found.until == 80
    assert [one.end for one in found.findings] == [1, 0]
    assert answer(dataclasses.replace(asked, axis="generation"), reads, 4).until == 8
    alone = answer(dataclasses.replace(asked, conditions=short[1:]), [read(0, 0, [3, 2, 1, 0])], 4)
    assert alone.until == 40


def test_a_condition_that_had_measured_nothing_by_then_has_no_answer() -> None:
    reads = [read(0, 0, [8, 7, 6]), read(1, 0, [5, 4], cost=100.0)]
    found = answer(dataclasses.replace(EVALUATIONS, crossings="first"), reads, 4)
    assert found.labels == ("8 examples",)
    assert found.crossings == ()


def test_levels_are_reached_in_evaluations_too() -> None:
    reads = [read(0, 0, [8, 7, 6, 5, 4, 3, 2, 1]), read(1, 0, [9, 6, 3, 0], cost=20.0)]
    found = answer(dataclasses.replace(EVALUATIONS, measure="first", level=6.0), reads, 4)
    assert [one.first for one in found.findings] == [30, 40]
    assert sentence(found).startswith("first number of evaluations with training loss of 6, 80 evaluations")


def test_what_reached_its_target_stands_for_longer_trials(tmp_path: Path) -> None:
    asked = dataclasses.replace(EVALUATIONS, measure="first", level=6.0, cost="environment steps")
    early = dataclasses.replace(read(0, 0, [8, 6]), at_target=True)
    late = dataclasses.replace(read(1, 1, [9, 9, 9, 9, 9, 6], cost=20.0), at_target=True)
    reads = [early, read(0, 1, [8] * 12), read(1, 0, [9] * 5, cost=20.0), late]
    found = answer(asked, reads, 20)
    assert found.until == 100, "where the first trial ends that did not reach its target"
    assert [one.first for one in found.findings] == [20, INF, INF, INF]
    text = sentence(found)
    assert text.startswith("first number of environment steps with training loss of 6, 100 environment steps, median")
    assert "8 examples: never [20, never] (1 of 2 reached 6); 24 examples: never [never, never] (0 of 2" in text
    assert write(found, tmp_path / "answer.png")[0].read_bytes().startswith(b"\x89PNG")

    solved = answer(asked, [early, late], 20)
    assert solved.until == 120, "all have what they looked for"
    assert [one.first for one in solved.findings] == [20, 120]
    assert answer(dataclasses.replace(asked, axis="generation"), [early, late], 20).until == 6


@pytest.mark.usefixtures("no_waiting_for_the_disk")
def test_a_trial_that_stopped_at_its_target_is_known(tmp_path: Path) -> None:
    asked = Question(
        name="does_the_pole_stay_upright",
        title="Does the pole stay upright?",
        conditions=(Condition("a while", {"target": 1.0}), Condition("longer than it can", {"target": 501.0})),
        common={name: value for name, value in CARTPOLE.items() if name != "target"} | {"parents": 2, "children": 4},
        **SOLVED | {"level": 1.0},
    )
    trials = run_question(asked, seeds=(0,), generations=3, runs=tmp_path, jobs=1)
    for generations, early in ((3, [True, False]), (1, [False, False])):
        reads = read_question(asked, trials, generations)
        assert [one.at_target for one in reads] == early
    more = run_question(asked, seeds=(0,), generations=4, runs=tmp_path, jobs=1)
    reads = read_question(asked, more, 4)
    assert [len(one.values) for one in reads] == [1, 4], "asked for more, what was done is done"
    assert [one.at_target for one in reads] == [True, False]


def test_the_answer_says_who_passes_whom() -> None:
    same = tuple(Condition(label, {}) for label in ("large", "small", "tiny"))
    asked = dataclasses.replace(QUESTION, conditions=same, crossings="neighbour")
    reads = [read(0, seed, [8, 4, 4, 4]) for seed in (0, 1)]
    reads += [read(1, 0, [9, 5, 3, 2]), read(1, 1, [9, 3, 2, 1]), read(2, 0, [9, 9, 9, 9]), read(2, 1, [9, 9, 9, 9])]
    found = answer(asked, reads, 4)
    assert [one.count for one in found.crossings] == [2, 0]
    assert found.crossings[0].interval.median == 2.5
    text = sentence(found)
    assert "small is ahead of large for good from generation 2.5 [2, 3] on (in 2 of 2)" in text
    assert text.endswith("tiny never passes small for good.")
    first = sentence(answer(dataclasses.replace(asked, crossings="first"), reads, 4))
    assert "small is ahead of large for good from generation 2.5" in first
    assert first.endswith("tiny never passes large for good.")
    assert not answer(dataclasses.replace(asked, crossings=""), reads, 4).crossings


def test_where_nothing_is_better_nothing_is_called_best() -> None:
    reads = [read(0, seed, [8, 4, 4, 4] * 2) for seed in (0, 1)] + [read(1, seed, [1, 1, 1, 1]) for seed in (0, 1)]
    assert "Best median" in sentence(answer(QUESTION, reads, 4))
    text = sentence(answer(dataclasses.replace(QUESTION, ranked=False), reads, 4))
    assert text.endswith("24 examples: 1 [1, 1].")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"axis": "seconds"}, "generation, evaluations, got 'seconds'"),
        ({"crossings": "all"}, "neighbour, first, got 'all'"),
        ({"conditions": (Condition("none", {}, length=0.0),)}, "a length above 0, got 0.0"),
        ({"conditions": (Condition("all", {}, length=INF),)}, "a length above 0, got inf"),
        ({"conditions": (Condition("what", {}, length=NAN),)}, "a length above 0, got nan"),
    ],
)
def test_axes_and_lengths_that_there_are_not_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        dataclasses.replace(QUESTION, **changes)
