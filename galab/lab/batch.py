"""Many trials in one process, generation by generation, each with its own run key, minibatch and chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TypeVar

from galab.contracts import Scores
from galab.lab.turns import Scored, Turn

Key = TypeVar("Key")
T = TypeVar("T")
Steps = Generator[Turn, Scored, T]
#: Scores several cohorts; a trial that fails gets its error in the place of its scores.
ScoreAll = Callable[[Sequence[Turn]], Sequence[Scores | Exception]]


def one_by_one(turns: Sequence[Turn]) -> list[Scores | Exception]:
    """Scores of every cohort, one after the other."""
    found: list[Scores | Exception] = []
    for turn in turns:
        try:
            found.append(turn.experiment.executor.score(turn.cohort))
        except Exception as error:
            found.append(error)
    return found


def together(trials: Mapping[Key, Steps[T]], score: ScoreAll = one_by_one) -> Iterator[tuple[Key, T | Exception]]:
    """Step trials side by side until each has ended.

    Args:
        trials: runs by the turn, see :mod:`galab.lab.turns`.
        score: computes the scores of one turn of each.

    Yields:
        Each trial as soon as it ends: its key, with its result or with the error that ended it. An error ends one
        trial and not the others.
    """
    waiting: dict[Key, Turn] = {}
    try:
        for key, steps in trials.items():
            ended = _advance(waiting, key, lambda steps=steps: next(steps))  # type: ignore[misc]
            if ended is not None:
                yield key, ended[0]
        while waiting:
            began = time.perf_counter()
            answers = score(list(waiting.values()))
            share = (time.perf_counter() - began) / len(waiting)
            for key, answer in zip(list(waiting), answers, strict=True):
                steps = trials[key]
                if isinstance(answer, Exception):
                    ended = _advance(waiting, key, lambda: steps.throw(answer))  # noqa: B023
                else:
                    ended = _advance(waiting, key, lambda: steps.send(Scored(answer, share)))  # noqa: B023
                if ended is not None:
                    yield key, ended[0]
    finally:
        for steps in trials.values():
            steps.close()


def _advance(waiting: dict[Key, Turn], key: Key, move: Callable[[], Turn]) -> tuple[T | Exception] | None:
    """Bring one trial to its next turn; how it ended, in a tuple of one, if it did."""
    try:
        waiting[key] = move()
    except StopIteration as end:
        waiting.pop(key, None)
        return (end.value,)
    except Exception as error:
        waiting.pop(key, None)
        return (error,)
    return None
