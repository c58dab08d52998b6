"""Which condition passes which: from where on one is ahead of another for good."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from galab.analysis.statistics import Interval
from galab.analysis.trials import Reached, passing, reached
from galab.questions.question import Question
from galab.questions.running import Read


def watched(question: Question, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Whom each condition but the first is watched passing, and its own label."""
    return [(labels[0], one) for one in labels[1:]] if question.crossings == "first" else list(pairwise(labels))


def crossings_of(question: Question, reads: Sequence[Read], labels: Sequence[str], until: float) -> tuple[Reached, ...]:
    """From where on each condition was ahead of the one that it is watched passing, over the seeds that both have.

    Args:
        question: what is asked.
        reads: trials that count.
        labels: of the conditions that have an answer.
        until: where trials are judged, in generations or evaluations as the question's axis is.
    """
    curves = {(question.conditions[one.condition].label, one.seed): one for one in reads}
    found = []
    for before, label in watched(question, labels):
        seeds = [seed for name, seed in curves if name == label and (before, seed) in curves]
        places = [_passing(question, curves[before, seed], curves[label, seed], until) for seed in seeds]
        found.append(reached(places) if places else Reached(0, Interval(0, math.inf, math.nan, math.nan)))
    return tuple(found)


def _passing(question: Question, first: Read, second: Read, until: float) -> float:
    cut = []
    for one in (first, second):
        places = one.along(question.axis)
        cut.append((places[places <= until], one.values[places <= until]))
    return passing(cut[0], cut[1], lower_is_better=question.lower_is_better)
