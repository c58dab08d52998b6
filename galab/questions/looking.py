"""What analyses find in the finished trials of a question: a number for each trial and look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.statistics import Interval, median_interval
from galab.lab.rebuild import open_saved
from galab.questions.analysis import Analysis
from galab.questions.question import Look
from galab.questions.running import Read
from galab.registry import ANALYSES


def look_at(looks: Sequence[Look], reads: Sequence[Read]) -> dict[str, NDArray[np.float64]]:
    """The number of each look in each finished trial.

    Args:
        looks: what to look for.
        reads: the trials.

    Returns:
        label to (n,) numbers, those of trials that have none left out.

    Raises:
        UsageError: an analysis is unknown, or cannot be made of these runs.
    """
    found: dict[str, list[float]] = {look.label: [] for look in looks}
    for read in reads:
        if read.state != "finished":
            continue
        saved, made = open_saved(read.path), dict[str, Analysis]()
        for look in looks:
            if look.analysis not in made:
                made[look.analysis] = ANALYSES.load(look.analysis)(saved, lambda what, share: None)
            value = _value(made[look.analysis].values, look.value)
            if isinstance(value, (int, float)):
                found[look.label].append(float(value))
    return {label: np.array(values, dtype=np.float64) for label, values in found.items()}


def sentence(found: dict[str, NDArray[np.float64]]) -> str:
    """Medians and intervals of all looks, in one line."""
    parts = [f"{label}: {_words(median_interval(values))}" for label, values in found.items() if len(values)]
    seeds = max((len(values) for values in found.values()), default=0)
    return f"In {seeds} finished trials, medians [bootstrap 95 %]: {'; '.join(parts)}."


def _value(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _words(one: Interval) -> str:
    return f"{one.median:.4g} [{one.low:.4g}, {one.high:.4g}]" if one.count > 1 else f"{one.median:.4g}"
