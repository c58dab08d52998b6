"""One generation's evaluation, handed to whoever computes it: alone, or together with those of other trials.

A run is a generator. It yields a :class:`Turn`, is sent a :class:`Scored`, and returns its result at the end; so the
same code runs one trial by itself and many side by side, and what a trial computes cannot depend on its company.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from galab.contracts import Cohort, Scores
from galab.lab.experiment import Experiment

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn:
    """A cohort that waits for its scores.

    Attributes:
        experiment: the trial's parts, its executor among them.
        cohort: who is to be evaluated.
    """

    experiment: Experiment
    cohort: Cohort


@dataclass(frozen=True, slots=True)
class Scored:
    """The answer to a turn.

    Attributes:
        scores: of the turn's cohort.
        seconds: the trial's share of the time that scoring took.
    """

    scores: Scores
    seconds: float


def drive(steps: Generator[Turn, Scored, T]) -> T:
    """Run one trial alone to its end."""
    try:
        turn = next(steps)
        while True:
            began = time.perf_counter()
            try:
                scores = turn.experiment.executor.score(turn.cohort)
            except BaseException as error:
                turn = steps.throw(error)
            else:
                turn = steps.send(Scored(scores, time.perf_counter() - began))
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()
