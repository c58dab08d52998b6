"""Turns on a clock that the test winds itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from galab.doctor.interleaved_timing import MOST_ROUNDS, Timing, median_timing, speedup, time_in_turns


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class TimedRun:
    """Takes so many seconds for a generation; while the machine is slow, twice as many."""

    name: str
    clock: Clock
    seconds: float
    order: list[str] = field(default_factory=list)
    slow: tuple[float, float] = (0.0, 0.0)

    def prepare_process(self) -> None:
        self.order.append(f"{self.name} settles")

    def time_generation(self) -> Timing:
        seconds = self.seconds * (2 if self.slow[0] <= self.clock.now < self.slow[1] else 1)
        self.clock.now += seconds
        self.order.append(self.name)
        return Timing(0.25 * seconds, 0.5 * seconds, 0.25 * seconds, 100)


def two(one: float, other: float, **more: object) -> tuple[dict[str, TimedRun], Clock, list[str]]:
    clock, order = Clock(), []
    tried = {name: TimedRun(name, clock, s, order, **more) for name, s in (("a", one), ("b", other))}  # type: ignore[arg-type]
    return tried, clock, order


def test_sides_take_turns() -> None:
    tried, clock, order = two(1.0, 1.1)
    time_in_turns(tried, until=4.0, clock=clock)
    assert order == ["a settles", "a", "b settles", "b"] * 3  # the least number of rounds, though the time was over


def test_a_turn_of_short_generations_has_many_of_them() -> None:
    tried, clock, order = two(0.01, 1.0)
    timings = time_in_turns(tried, until=0.0, clock=clock)
    assert order[:7] == ["a settles", *["a"] * 5, "b settles"]
    assert [timing.seconds for timing in timings["a"]] == pytest.approx([0.01] * 3)


def test_who_is_clearly_slower_stops_early_and_the_race_with_it() -> None:
    tried, clock, _ = two(1.0, 1.3)
    assert {
        name: len(timings) for name, timings in time_in_turns(tried, until=1e9, clock=clock, keep=["a"]).items()
    } == {
        "a": 3,
        "b": 3,
    }
    tried, clock, _ = two(1.0, 1.2)
    assert len(time_in_turns(tried, until=1e9, clock=clock, keep=["a"])["b"]) == MOST_ROUNDS
    tried, clock, _ = two(1.3, 1.0)
    timings = time_in_turns(tried, until=20.0, clock=clock, keep=["a"])
    assert len(timings["a"]) == len(timings["b"]) > 3, "who is to be kept goes on although it lost"


def test_a_duel_of_two_that_are_kept_goes_on() -> None:
    tried, clock, _ = two(1.0, 2.0)
    assert len(time_in_turns(tried, until=30.0, clock=clock, keep=tried)["b"]) == 10


def test_a_slow_spell_of_the_machine_does_not_change_the_ratio() -> None:
    tried, clock, _ = two(1.0, 0.5, slow=(9.0, 1e9))
    timings = time_in_turns(tried, until=60.0, clock=clock, keep=tried)
    found = speedup(timings["a"], timings["b"])
    assert found.median == pytest.approx(2.0)
    assert found.low == pytest.approx(2.0)
    assert found.high == pytest.approx(2.0)
    assert max(timing.seconds for timing in timings["a"]) == 2.0, "the spell was there"


def test_a_ratio_is_of_the_rounds_that_both_have() -> None:
    def timing(seconds: float) -> Timing:
        return Timing(0.0, seconds, 0.0, 1)

    slow = [timing(s) for s in (2, 2, 2, 100, 100)]
    found = speedup(slow, [timing(s) for s in (1, 2, 4)])
    assert (found.low, found.median, found.high) == (0.5, 1.0, 2.0)
    assert median_timing(slow).seconds == 2
