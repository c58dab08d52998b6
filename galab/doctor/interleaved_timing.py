"""Timing that can be trusted on a busy machine: candidates take turns, A B A B, and are compared round by round.

Both sides of a comparison then have the same other load, and a median ignores a single interruption.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Clock = Callable[[], float]

#: A turn repeats generations until they have taken this long, so that short ones are not lost in the change of sides.
TURN_SECONDS = 0.05
#: A candidate whose best turn is slower than this many of the leader's medians has lost.
GIVE_UP_RATIO = 1.25
LEAST_ROUNDS, MOST_ROUNDS = 3, 40


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a generation went, in seconds.

    Attributes:
        prepare: asking who is evaluated, and decoding genomes or drawing noise.
        evaluate: forwards and the measure of the task.
        tell: selection, or the update of the centre.
        evaluations: (member, example) pairs scored.
    """

    prepare: float
    evaluate: float
    tell: float
    evaluations: float

    @property
    def seconds(self) -> float:
        """The whole generation."""
        return self.prepare + self.evaluate + self.tell


class TimedRun(Protocol):
    """Who can carry out generations."""

    def prepare_process(self) -> None:
        """Make the process as this candidate wants it; not timed."""
        ...

    def time_generation(self) -> Timing:
        """Carry out one generation."""
        ...


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times as fast as another one a candidate is, over the rounds that both took part in.

    Attributes:
        median: of the rounds.
        low: a quarter of the rounds is below.
        high: a quarter is above.
    """

    median: float
    low: float
    high: float


def time_in_turns(
    tried: Mapping[str, TimedRun],
    *,
    until: float,
    clock: Clock,
    keep: Collection[str] = (),
    least: int = LEAST_ROUNDS,
    most: int = MOST_ROUNDS,
) -> dict[str, list[Timing]]:
    """Laps by candidate, one a round; a candidate that has lost has fewer.

    Args:
        tried: the candidates by name.
        until: when to end, on the clock, if the least number of rounds is over.
        clock: gives seconds.
        keep: names of those who go on whatever happens; when only they are left the race is over.
        least: rounds in any case.
        most: rounds at most.
    """
    timings: dict[str, list[Timing]] = {name: [] for name in tried}
    running = list(tried)
    for number in range(1, most + 1):
        for name in running:
            timings[name].append(_turn(tried[name]))
        if number < least:
            continue
        leader = min(median_timing(timings[name]).seconds for name in running)
        running = [name for name in running if name in keep or fastest(timings[name]) <= GIVE_UP_RATIO * leader]
        if clock() >= until or (len(tried) > len(keep) and set(running) <= set(keep)):
            break
    return timings


def _turn(one: TimedRun) -> Timing:
    """The mean of as many generations as fill a turn."""
    one.prepare_process()
    done = [one.time_generation()]
    while sum(timing.seconds for timing in done) < TURN_SECONDS:
        done.append(one.time_generation())
    return _each(done, statistics.fmean)


def fastest(timings: Sequence[Timing]) -> float:
    """Seconds of the fastest lap."""
    return min(timing.seconds for timing in timings)


def median_timing(timings: Sequence[Timing]) -> Timing:
    """The median of each part of the laps."""
    return _each(timings, statistics.median)


def speedup(reference: Sequence[Timing], timings: Sequence[Timing]) -> Speedup:
    """How many times as fast as the reference laps are, by the rounds that both have."""
    ratios = sorted(before.seconds / after.seconds for before, after in zip(reference, timings, strict=False))
    quarter = (len(ratios) - 1) // 4
    return Speedup(statistics.median(ratios), ratios[quarter], ratios[-1 - quarter])


def _each(timings: Sequence[Timing], middle: Callable[[list[float]], float]) -> Timing:
    names = ("prepare", "evaluate", "tell", "evaluations")
    return Timing(*(middle([getattr(timing, name) for timing in timings]) for name in names))
