"""Turns on a clock that the test winds itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from galab.doctor.interleaved_timing import MOST_ROUNDS, Lap, median_lap, race, ratio


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Runner:
    """Takes so many seconds for a generation; while the machine is slow, twice as many."""

    name: str
    clock: Clock
    seconds: float
    order: list[str] = field(default_factory=list)
    slow: tuple[float, float] = (0.0, 0.0)

    def settle(self) -> None:
        self.order.append(f"{self.name} settles")

    def lap(self) -> Lap:
        seconds = self.seconds * (2 if self.slow[0] <= self.clock.now < self.slow[1] else 1)
        self.clock.now += seconds
        self.order.append(self.name)
        return Lap(0.25 * seconds, 0.5 * seconds, 0.25 * seconds, 100)


def two(one: float, other: float, **more: object) -> tuple[dict[str, Runner], Clock, list[str]]:
    clock, order = Clock(), []
    sides = {name: Runner(name, clock, s, order, **more) for name, s in (("a", one), ("b", other))}  # type: ignore[arg-type]
    return sides, clock, order


def test_sides_take_turns() -> None:
    sides, clock, order = two(1.0, 1.1)
    race(sides, until=4.0, clock=clock)
    assert order == ["a settles", "a", "b settles", "b"] * 3  # the least number of rounds, though the time was over


def test_a_turn_of_short_generations_has_many_of_them() -> None:
    sides, clock, order = two(0.01, 1.0)
    laps = race(sides, until=0.0, clock=clock)
    assert order[:7] == ["a settles", *["a"] * 5, "b settles"]
    assert [lap.seconds for lap in laps["a"]] == pytest.approx([0.01] * 3)


def test_who_is_clearly_slower_stops_early_and_the_race_with_it() -> None:
    sides, clock, _ = two(1.0, 1.3)
    assert {name: len(laps) for name, laps in race(sides, until=1e9, clock=clock, keep=["a"]).items()} == {
        "a": 3,
        "b": 3,
    }
    sides, clock, _ = two(1.0, 1.2)
    assert len(race(sides, until=1e9, clock=clock, keep=["a"])["b"]) == MOST_ROUNDS
    sides, clock, _ = two(1.3, 1.0)
    laps = race(sides, until=20.0, clock=clock, keep=["a"])
    assert len(laps["a"]) == len(laps["b"]) > 3, "who is to be kept goes on although it lost"


def test_a_duel_of_two_that_are_kept_goes_on() -> None:
    sides, clock, _ = two(1.0, 2.0)
    assert len(race(sides, until=30.0, clock=clock, keep=sides)["b"]) == 10


def test_a_slow_spell_of_the_machine_does_not_change_the_ratio() -> None:
    sides, clock, _ = two(1.0, 0.5, slow=(9.0, 1e9))
    laps = race(sides, until=60.0, clock=clock, keep=sides)
    found = ratio(laps["a"], laps["b"])
    assert found.median == pytest.approx(2.0)
    assert found.low == pytest.approx(2.0)
    assert found.high == pytest.approx(2.0)
    assert max(lap.seconds for lap in laps["a"]) == 2.0, "the spell was there"


def test_a_ratio_is_of_the_rounds_that_both_have() -> None:
    def lap(seconds: float) -> Lap:
        return Lap(0.0, seconds, 0.0, 1)

    slow = [lap(s) for s in (2, 2, 2, 100, 100)]
    found = ratio(slow, [lap(s) for s in (1, 2, 4)])
    assert (found.low, found.median, found.high) == (0.5, 1.0, 2.0)
    assert median_lap(slow).seconds == 2
