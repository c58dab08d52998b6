"""Timing that can be trusted on a busy machine: contenders take turns, A B A B, and are compared round by round.

Both sides of a comparison then see the same neighbours, and a median does not hear of a single interruption.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Clock = Callable[[], float]

#: A turn repeats generations until they have taken this long, so that short ones are not lost in the change of sides.
TURN_SECONDS = 0.05
#: A contender whose best turn is slower than this many of the leader's medians has lost.
LOST = 1.25
LEAST_ROUNDS, MOST_ROUNDS = 3, 40


@dataclass(frozen=True, slots=True)
class Lap:
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


class Runner(Protocol):
    """Who can carry out generations."""

    def settle(self) -> None:
        """Make the process as this contender wants it; not timed."""
        ...

    def lap(self) -> Lap:
        """Carry out one generation."""
        ...


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast as another one a contender is, over the rounds that both took part in.

    Attributes:
        median: of the rounds.
        low: a quarter of the rounds is below.
        high: a quarter is above.
    """

    median: float
    low: float
    high: float


def race(
    sides: Mapping[str, Runner],
    *,
    until: float,
    clock: Clock,
    keep: Collection[str] = (),
    least: int = LEAST_ROUNDS,
    most: int = MOST_ROUNDS,
) -> dict[str, list[Lap]]:
    """Laps by contender, one a round; the laps of who has lost end earlier.

    Args:
        sides: the contenders by name.
        until: when to end, on the clock, if the least number of rounds is over.
        clock: gives seconds.
        keep: names of those who go on whatever happens; when only they are left the race is over.
        least: rounds in any case.
        most: rounds at most.
    """
    laps: dict[str, list[Lap]] = {name: [] for name in sides}
    running = list(sides)
    for number in range(1, most + 1):
        for name in running:
            laps[name].append(_turn(sides[name]))
        if number < least:
            continue
        leader = min(median_lap(laps[name]).seconds for name in running)
        running = [name for name in running if name in keep or fastest(laps[name]) <= LOST * leader]
        if clock() >= until or (len(sides) > len(keep) and set(running) <= set(keep)):
            break
    return laps


def _turn(side: Runner) -> Lap:
    """The mean of as many generations as fill a turn."""
    side.settle()
    done = [side.lap()]
    while sum(lap.seconds for lap in done) < TURN_SECONDS:
        done.append(side.lap())
    return _each(done, statistics.fmean)


def fastest(laps: Sequence[Lap]) -> float:
    """Seconds of the fastest lap."""
    return min(lap.seconds for lap in laps)


def median_lap(laps: Sequence[Lap]) -> Lap:
    """The median of each part of the laps."""
    return _each(laps, statistics.median)


def ratio(reference: Sequence[Lap], laps: Sequence[Lap]) -> Ratio:
    """How many times as fast as the reference laps are, by the rounds that both have."""
    ratios = sorted(before.seconds / after.seconds for before, after in zip(reference, laps, strict=False))
    quarter = (len(ratios) - 1) // 4
    return Ratio(statistics.median(ratios), ratios[quarter], ratios[-1 - quarter])


def _each(laps: Sequence[Lap], middle: Callable[[list[float]], float]) -> Lap:
    names = ("prepare", "evaluate", "tell", "evaluations")
    return Lap(*(middle([getattr(lap, name) for lap in laps]) for name in names))
