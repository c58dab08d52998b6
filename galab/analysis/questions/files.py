"""The files of an answer: a figure, a row per seed, and the curves of the conditions."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.questions.answer import Answer, measured
from galab.analysis.questions.trials import TrialCurve
from galab.errors import UsageError
from galab.stats.curves import at_generations, band_of, spread_out
from galab.stats.intervals import median_interval
from galab.stats.plots import Band, Row, draw_question

_AXES = {"generation": "generation", "evaluations": "evaluations (children x examples)"}


def write(found: Answer, image: Path, numbers: Mapping[str, NDArray[np.float64]] | None = None) -> tuple[Path, ...]:
    """Write the figure, the row of each seed beside it, and the curves.

    Args:
        found: the answer.
        image: the figure's file.
        numbers: what analyses found in the trials, label to (n,); the right panel then shows these.

    Returns:
        The files written.

    Raises:
        OSError: a file cannot be written.
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
    end = "dashed line" if unequal else "end"
    try:
        draw_question(
            image,
            bands,
            _rows(found, numbers or {}),
            labels=(_AXES[axis], question.unit, question.unit if numbers else measured(question, end)),
            title=f"{question.title} Medians over seeds with bootstrap 95 % intervals.",
            level=question.level,
            until=found.until if unequal else None,
            logarithmic=(axis == "evaluations", question.logarithmic, question.logarithmic and not numbers),
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
        OSError: the file cannot be written.
    """
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
