"""Parts of a cohort: chunks of members that are computed together, and what they scored, put together again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Cohort, Scores


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Members of a cohort that lie side by side and share floating-point products: always computed in one process.

    Attributes:
        generation: of the cohort.
        number: its place among the cohort's parts, from 0.
        first: place of its first member in the cohort.
        births: (P,) its rows of the cohort.
        members: of the whole cohort.
    """

    generation: int
    number: int
    first: int
    births: NDArray[np.void]
    members: int

    def __len__(self) -> int:
        return len(self.births)


def cut(cohort: Cohort, starts: Sequence[int]) -> list[Part]:
    """A cohort in parts that begin at these places, of which the first is 0."""
    count = len(cohort.births)
    bounds = zip(starts, [*starts[1:], count], strict=True)
    return [
        Part(cohort.generation, number, start, cohort.births[start:stop], count)
        for number, (start, stop) in enumerate(bounds)
    ]


def joined(parts: Sequence[Part], answers: Iterable[Scores]) -> Scores:
    """Scores of a cohort from those of its parts.

    Args:
        parts: all of them, in order.
        answers: the scores of each, with places counted from its first member.
    """
    found = list(answers)
    members = parts[0].members
    failures: dict[int, str] = {}
    lethal: dict[int, str] = {}
    metrics: dict[str, NDArray[np.float64]] = {}
    for part, own in zip(parts, found, strict=True):
        failures.update({part.first + place: reason for place, reason in own.failures.items()})
        lethal.update({part.first + place: parameter for place, parameter in own.lethal.items()})
        for name, values in own.metrics.items():
            metrics.setdefault(name, np.full(members, np.nan))[part.first : part.first + len(part)] = values
    return Scores(
        np.concatenate([own.fitness for own in found]),
        failures,
        lethal,
        metrics,
        sum(own.evaluations for own in found),
        _stacked([own.further for own in found]),
        _stacked([own.cases for own in found]),
        _stacked([own.behaviour for own in found]),
        _stacked([own.use for own in found]),
        sum(own.cache_hits for own in found),
        sum(own.cache_misses for own in found),
    )


def _stacked(rows: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """One after the other; None where they were not asked for."""
    present = [own for own in rows if own is not None]
    return np.concatenate(present) if present else None
