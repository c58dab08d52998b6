"""The answer to a question: a row per seed, a comparison of the conditions, one sentence, and the files of all that."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.base import Analysis
from galab.analysis.questions.question import AnalysisNumber, Question
from galab.analysis.questions.trials import TrialCurve
from galab.config.registry import ANALYSES
from galab.errors import UsageError
from galab.saved_runs.saved_run import open_saved
from galab.stats.curves import (
    Reached,
    at_generations,
    band_of,
    best_so_far,
    compare_first,
    first_reaching,
    reached,
    spread_out,
    stays_ahead_from,
)
from galab.stats.intervals import Comparison, Interval, compare, median_interval, p_text
from galab.stats.plots import Band, Row, draw_question
from galab.storage.files import output_place


def compared_pairs(question: Question, labels: Sequence[str]) -> list[tuple[str, str]]:
    """The label of each condition but the first, after that of the condition it is compared with."""
    return [(labels[0], one) for one in labels[1:]] if question.crossings == "first" else list(pairwise(labels))


def crossings_of(
    question: Question, reads: Sequence[TrialCurve], labels: Sequence[str], until: float
) -> tuple[Reached, ...]:
    """From where on each condition was ahead of the one that it is compared with, over the seeds that both have.

    Args:
        question: what is asked.
        reads: trials that count.
        labels: of the conditions that have an answer.
        until: where trials are judged, in generations or evaluations as the question's axis is.
    """
    curves = {(question.conditions[one.condition].label, one.seed): one for one in reads}
    found = []
    for before, label in compared_pairs(question, labels):
        seeds = [seed for name, seed in curves if name == label and (before, seed) in curves]
        places = [_ahead_from(question, curves[before, seed], curves[label, seed], until) for seed in seeds]
        found.append(reached(places) if places else Reached(0, Interval(0, math.inf, math.nan, math.nan)))
    return tuple(found)


def _ahead_from(question: Question, first: TrialCurve, second: TrialCurve, until: float) -> float:
    cut = []
    for one in (first, second):
        places = one.along(question.axis)
        cut.append((places[places <= until], one.values[places <= until]))
    return stays_ahead_from(cut[0], cut[1], lower_is_better=question.lower_is_better)


@dataclass(frozen=True, slots=True)
class Finding:
    """One trial.

    Attributes:
        condition: its label.
        seed: its key.
        state: how it stands; only finished ones count.
        generation: the last one with a value that counts.
        evaluations: spent by then.
        end: the value then.
        best: the best value up to then.
        first: where the question's level was first reached, in generations or evaluations as the question's axis is;
            infinity is never, None where there is no level.
        path: its run folder.
    """

    condition: str
    seed: int
    state: str
    generation: int
    evaluations: float
    end: float
    best: float
    first: float | None
    path: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the trials of a question have measured, and their comparison.

    Attributes:
        question: what was asked.
        generations: of each trial, but for its condition's length.
        until: where trials are judged, in generations or evaluations as the question's axis is.
        findings: one per trial that has a value.
        reads: the curves behind them.
        labels: of the conditions that have a value, in order.
        comparison: of the conditions.
        reached: who reached the level, and when; None without a level.
        crossings: of each condition but the first, from where on it was ahead of the one that it is compared with;
            empty unless asked for.
        failed: trials without a result, and why.
    """

    question: Question
    generations: int
    until: float
    findings: tuple[Finding, ...]
    reads: tuple[TrialCurve, ...]
    labels: tuple[str, ...]
    comparison: Comparison
    reached: tuple[Reached, ...] | None
    crossings: tuple[Reached, ...]
    failed: tuple[TrialCurve, ...]

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """Median and interval of each condition's measure."""
        return self.comparison.intervals

    def values(self, label: str) -> NDArray[np.float64]:
        """(n,) each seed's measure in one condition."""
        own = [one for one in self.findings if one.condition == label]
        return np.array([getattr(one, self.question.measure) for one in own], dtype=np.float64)


def answer(question: Question, reads: Sequence[TrialCurve], generations: int) -> Answer:
    """Compare the conditions.

    Args:
        question: what is asked.
        reads: what its trials measured.
        generations: of each trial, but for its condition's length.

    Raises:
        UsageError: no trial has a value.
    """
    # What failed later than it was asked for has what was asked for.
    wanted = [one.generations(generations) for one in question.conditions]
    failed = [
        one for one in reads if one.state == "failed" and not (one.generations[-1:] >= wanted[one.condition]).any()
    ]
    good = [one for one in reads if one not in failed and len(one.values)]
    lengths = _lengths(question, good, wanted)
    # Where all conditions still are: no trial is judged by what it had more time for than others.
    until = min(lengths.values(), default=0.0) if question.until is None else question.until
    if until == math.inf:  # All have what they looked for.
        until = max(float(one.along(question.axis)[-1]) for one in good)
    counted = [one for one in good if lengths[one.condition] >= until]
    findings = tuple(found for one in counted if (found := _finding(question, one, until)) is not None)
    present = {one.condition for one in findings}
    labels = tuple(one.label for one in question.conditions if one.label in present)
    if not labels:
        why = next((one.message for one in reads if one.message), "nothing was logged")
        raise UsageError(f"expected trials of '{question.name}' with a result, got none ({why}); correct its options")
    groups = {label: [one for one in findings if one.condition == label] for label in labels}
    judged = [[getattr(one, question.measure) for one in own] for own in groups.values()]
    if question.measure == "first":
        comparison = compare_first(judged)
    else:
        comparison = compare(judged, lower_is_better=question.lower_is_better)
    firsts = [[one.first for one in own if one.first is not None] for own in groups.values()]
    levels = None if question.level is None else tuple(reached(own) for own in firsts)
    crossings = crossings_of(question, counted, labels, until) if question.crossings else ()
    return Answer(
        question, generations, until, findings, tuple(counted), labels, comparison, levels, crossings, tuple(failed)
    )


def _lengths(question: Question, good: Sequence[TrialCurve], wanted: Sequence[int]) -> dict[int, float]:
    """How far the trials of each condition reach along the question's axis.

    Args:
        question: what is asked.
        good: trials that count.
        wanted: generations of each condition's trials.
    """
    lengths: dict[int, float] = {}
    for one in good:
        last = wanted[one.condition] if question.axis == "generation" else float(one.evaluations[-1])
        if not one.at_target:  # What looks for nothing more stands for longer trials.
            lengths[one.condition] = min(lengths.get(one.condition, math.inf), last)
        lengths.setdefault(one.condition, math.inf)
    on = {number: last for number, last in lengths.items() if not question.conditions[number].converges}
    return {number: last if number in on or not on else math.inf for number, last in lengths.items()}


def _finding(question: Question, one: TrialCurve, until: float) -> Finding | None:
    """What counts of a trial; None where it had measured nothing by then."""
    lower, level = question.lower_is_better, question.level
    places = one.along(question.axis)
    count = int(np.searchsorted(places, until, side="right"))
    if not count:
        return None
    values = one.values[:count]
    first = None
    if level is not None:
        first = first_reaching(places[:count], values, level, lower_is_better=lower)
    return Finding(
        condition=question.conditions[one.condition].label,
        seed=one.seed,
        state=one.state,
        generation=int(one.generations[count - 1]),
        evaluations=float(one.evaluations[count - 1]),
        end=float(values[-1]),
        best=float(best_so_far(values, lower_is_better=lower)[-1]),
        first=first,
        path=one.path.as_posix(),
    )


def sentence(found: Answer) -> str:
    """The answer in one line, with numbers and how sure they are."""
    question = found.question
    parts = []
    for place, label in enumerate(found.labels):
        part = f"{label}: {_interval(found.intervals[place])}"
        if found.reached is not None:
            part += f" ({found.reached[place].count} of {len(found.values(label))} reached {question.level:g})"
        parts.append(part)
    counts = sorted({len(found.values(label)) for label in found.labels})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    text = f"{measured(question)}, {_amount(found)}, median over {seeds} seeds"
    text += f" [bootstrap 95 %]: {'; '.join(parts)}. {_verdict(found) if question.ranked else ''}".rstrip()
    if found.crossings:
        text += f" {_ahead(found)}"
    if found.failed:
        text += f" Left out: {len(found.failed)} trials that failed (the first: {found.failed[0].message})."
    return text


def measured(question: Question, end: str = "end") -> str:
    """What the trials of a question are judged by, in words.

    Args:
        question: what is asked.
        end: what the last place that counts is called.
    """
    if question.measure == "first":
        where = "generation" if question.axis == "generation" else f"number of {question.cost}"
        return f"first {where} with {question.unit} of {question.level:g}"
    return f"{question.unit} at the {end if question.measure == 'end' else 'best'}"


def _amount(found: Answer) -> str:
    if found.question.axis == "evaluations":
        return f"{_number(found.until)} {found.question.cost}"
    return f"{found.until:,.0f} generations"


def _ahead(found: Answer) -> str:
    """Which condition passes another, and where."""
    parts = []
    for (before, label), one in zip(compared_pairs(found.question, found.labels), found.crossings, strict=True):
        if not one.count:
            parts.append(f"{label} never passes {before} for good")
            continue
        where = f"{found.question.axis} {_interval(one.interval)}"
        parts.append(f"{label} is ahead of {before} for good from {where} on (in {one.count} of {one.interval.count})")
    return f"{'; '.join(parts)}."


def _verdict(found: Answer) -> str:
    """Which condition is best, and how sure that is."""
    best, others = found.labels[found.comparison.best], found.comparison.against_best
    if len(set(_medians(found))) == 1 and len(found.labels) > 1:
        return "The medians are equal."
    if not others:
        return f"Best median: {best}; no test is possible." if len(found.labels) > 1 else ""
    tests = ", ".join(f"{found.labels[place]} p = {p_text(test.p)}" for place, test in others.items())
    rule = ", Holm" if len(others) > 1 else ""
    return f"Best median: {best}; against it (Mann-Whitney{rule}): {tests}."


def _medians(found: Answer) -> list[float]:
    return [interval.median for interval in found.intervals]


def _number(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _interval(one: Interval) -> str:
    around = "" if math.isnan(one.low) else f" [{_number(one.low)}, {_number(one.high)}]"
    return _number(one.median) + around


def numbers_of_trials(numbers: Sequence[AnalysisNumber], reads: Sequence[TrialCurve]) -> dict[str, NDArray[np.float64]]:
    """What analyses find in the finished trials.

    Args:
        numbers: which numbers of which analyses.
        reads: the trials.

    Returns:
        label to (n,) numbers, those of trials that have none left out.

    Raises:
        UsageError: an analysis is unknown, or cannot be made of these runs.
    """
    found: dict[str, list[float]] = {number.label: [] for number in numbers}
    for read in reads:
        if read.state != "finished":
            continue
        saved, made = open_saved(read.path), dict[str, Analysis]()
        for number in numbers:
            if number.analysis not in made:
                made[number.analysis] = ANALYSES.load(number.analysis)(saved, lambda what, share: None)
            value = _value(made[number.analysis].values, number.value)
            if isinstance(value, (int, float)):
                found[number.label].append(float(value))
    return {label: np.array(values, dtype=np.float64) for label, values in found.items()}


def numbers_sentence(found: dict[str, NDArray[np.float64]]) -> str:
    """Medians and intervals of all numbers, in one line."""
    parts = [f"{label}: {_words(median_interval(values))}" for label, values in found.items() if len(values)]
    seeds = max((len(values) for values in found.values()), default=0)
    return f"In {seeds} finished trials, medians [bootstrap 95 %]: {'; '.join(parts)}."


def _value(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _words(one: Interval) -> str:
    return f"{one.median:.4g} [{one.low:.4g}, {one.high:.4g}]" if one.count > 1 else f"{one.median:.4g}"


def write(found: Answer, image: Path, numbers: Mapping[str, NDArray[np.float64]] | None = None) -> tuple[Path, ...]:
    """Write the figure, the row of each seed beside it, and the curves.

    Args:
        found: the answer.
        image: the figure's file.
        numbers: what analyses found in the trials, label to (n,); the right panel then shows these.

    Returns:
        The files written.

    Raises:
        RunFolderError: a file cannot be written.
        UsageError: the suffix of the image names no known format.
    """
    curves, bands = [], []
    axis = found.question.axis
    for label in found.labels:
        own = [one for one in found.reads if found.question.conditions[one.condition].label == label]
        places = _places(found, own)
        rows = band_of([at_generations(one.along(axis), one.values, places) for one in own])
        bands.append(Band(f"{label} ({len(own)} seeds)", places.astype(np.float64), rows[0], rows[1], rows[2]))
        for place, row in zip(places.tolist(), rows.T.tolist(), strict=True):
            curves.append({"condition": label, axis: place, "median": row[0], "low": row[1], "high": row[2]})
    question, unequal = found.question, len({band.x[-1] for band in bands}) > 1
    # Of two trials one may well need ten times the evaluations of the other.
    by_ratio = axis == "evaluations" and question.measure == "first"
    end = "dashed line" if unequal else "end"
    try:
        with output_place(image) as place:
            draw_question(
                place,
                bands,
                _rows(found, numbers or {}),
                labels=(_along(question), question.unit, question.unit if numbers else measured(question, end)),
                title=f"{question.title} Medians over seeds with bootstrap 95 % intervals.",
                level=question.level,
                until=found.until if unequal else None,
                logarithmic=(
                    axis == "evaluations", question.logarithmic, (question.logarithmic or by_ratio) and not numbers,
                ),
            )
    except ValueError as error:
        raise UsageError(f"expected --output as the name of an image such as answer.png, got: {error}") from None
    table, along = image.with_suffix(".csv"), image.with_name(f"{image.stem}_curves.csv")
    write_csv(table, [asdict(one) for one in found.findings])
    write_csv(along, curves)
    if not numbers:
        return image, table, along
    seen = image.with_name(f"{image.stem}_looks.csv")
    write_csv(seen, [{"look": label, "value": value} for label, values in numbers.items() for value in values.tolist()])
    return image, table, along, seen


def _along(question: Question) -> str:
    """What the axis of the curves is called."""
    if question.axis == "generation":
        return "generation"
    return "evaluations (children x examples)" if question.cost == "evaluations" else question.cost


def _places(found: Answer, own: Sequence[TrialCurve]) -> NDArray[np.int64]:
    """Where the curve of a condition is drawn: to where its trials were to go, even if they were done before."""
    if found.question.axis == "generation":
        return spread_out(found.question.conditions[own[0].condition].generations(found.generations))
    ends = [(int(one.evaluations[0]), int(one.evaluations[-1])) for one in own]
    return spread_out(max(last for _, last in ends), first=max(1, min(first for first, _ in ends)))


def _rows(found: Answer, numbers: Mapping[str, NDArray[np.float64]]) -> list[Row]:
    """A row of each condition, or of each number that analyses found."""
    if numbers:
        return [Row(label, values, median_interval(values)) for label, values in numbers.items() if len(values)]
    return [Row(label, found.values(label), found.intervals[place]) for place, label in enumerate(found.labels)]


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows that share their keys; there is at least one.

    Raises:
        RunFolderError: the file cannot be written.
    """
    with output_place(path) as place, place.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
