"""The search for the best settings, over candidates that only say how long they would take."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.doctor.fastest_settings import (
    Machine,
    Tuner,
    TuningResult,
    counts_up_to,
    parse_settings,
    same_losses,
    settings_text,
    values_to_try,
)
from galab.doctor.interleaved_timing import Timing
from galab.errors import GalabError, UsageError

GA = RunConfig(seed=1, threads=2, chunk=32, precision="float32", device="cpu", compile="off")
ES = RunConfig(seed=1, strategy="eggroll", threads=2, precision="float32", device="cpu", compile="off")
TWO = Machine(cores=2, fast_bfloat16=False, compiler=True)


class World:
    """Contenders whose generations take what a function of their configuration says, and a clock that counts it."""

    def __init__(self, seconds: Callable[[RunConfig], float], *, build: float = 0.1) -> None:
        self.seconds, self.build, self.now = seconds, build, 0.0
        self.made: list[RunConfig] = []
        self.closed: list[RunConfig] = []
        self.refuses: Callable[[RunConfig], str | None] = lambda config: None
        self.losses: Callable[[RunConfig], list[float]] = lambda config: [2.0, 1.0, float("nan")]

    def make(self, config: RunConfig) -> Fake:
        self.now += self.build
        self.made.append(config)
        reason = self.refuses(config)
        if reason:
            raise GalabError(reason)
        return Fake(self, config)

    def search(
        self, config: RunConfig = GA, *, budget: float = 100.0, machine: Machine = TWO, **more: Any
    ) -> TuningResult:
        options: dict[str, Any] = {"settings": ("precision", "threads", "chunk"), "asked": ()} | more
        return Tuner(config, self.make, machine, until=budget, clock=lambda: self.now, **options).search()


class Fake:
    operations = 1000

    def __init__(self, world: World, config: RunConfig) -> None:
        self.world, self.config = world, config

    @property
    def numerics(self) -> Mapping[str, Any]:
        chunk = self.config.chunk or 64
        return {"chunk": chunk, "compiled": self.config.compile == "on", "members": 32}

    @property
    def profile(self) -> dict[str, Any]:
        return {"threads": self.config.threads, "chunk": self.config.chunk}

    def prepare_process(self) -> None: ...

    def first_losses(self) -> NDArray[np.float64]:
        self.time_generation()
        return np.array(self.world.losses(self.config))

    def time_generation(self) -> Timing:
        seconds = self.world.seconds(self.config)
        self.world.now += seconds
        return Timing(0.1 * seconds, 0.8 * seconds, 0.1 * seconds, 6400.0)

    def peak(self) -> float | None:
        return 1e9

    def close(self) -> None:
        self.world.closed.append(self.config)


def names(found: TuningResult) -> list[str]:
    return [row.name for row in found.rows]


def test_it_finds_the_fastest_combination_coordinate_by_coordinate() -> None:
    world = World(lambda c: 0.1 * (1 if c.threads == 1 else 1.5) * (1 if c.chunk == 16 else 1.2))
    found = world.search()
    assert found.changes == {"threads": 1, "chunk": 16}
    assert found.best.gain is not None
    assert found.best.gain.median == pytest.approx(1.8)
    assert found.best.setting == "chunk 16, float32, eager, 1 thread"
    assert found.profile == {"threads": 1, "chunk": 16}
    # Chunks were tried with the threads that had won, and not in a full product.
    assert names(found) == ["default", "--threads 1", "--threads 1 --chunk 8", "--threads 1 --chunk 16"]
    assert sorted(map(id, {id(c): c for c in world.closed}.values())) == sorted(map(id, world.made)), "one stays open"


def test_a_gain_below_five_per_cent_is_no_reason_to_change() -> None:
    found = World(lambda c: 0.1 if c.threads == 1 else 0.104).search()
    assert found.best.name == "--threads 1"
    assert not found.worth
    assert found.changes == {}


def test_the_default_is_best_where_nothing_is_faster() -> None:
    found = World(lambda c: 0.1 if c == GA else 0.2).search()
    assert found.best.name == "default"
    assert found.best.gain is None
    assert {row.rounds for row in found.rows if row.name != "default"} == {3}, "clear losers stopped early"


def test_luck_in_one_comparison_does_not_survive_the_duel() -> None:
    world = World(lambda c: 0.1)
    # One thread is fast while it is looked at first, and never again.
    world.seconds = lambda c: 0.05 if c.threads == 1 and world.now < 20 else 0.1
    found = world.search()
    assert found.best.name == "--threads 1"
    assert not found.worth


def test_times_of_another_hour_are_put_beside_those_of_the_default() -> None:
    world = World(lambda c: 0.1)
    # While threads are looked at the machine is three times as fast as later.
    world.seconds = lambda c: (0.1 if world.now < 25 else 0.3) / (2 if c.threads == 1 and c.chunk == 32 else 1)
    found = world.search(settings=("threads", "chunk"))
    one = next(row for row in found.rows if row.name == "--threads 1")
    assert found.seconds(one) == pytest.approx(found.rows[0].timing.seconds / 2)
    other = next(row for row in found.rows if row.name == "--threads 1 --chunk 8")
    assert found.seconds(other) == pytest.approx(found.rows[0].timing.seconds)


def test_other_losses_are_left_out_and_said() -> None:
    world = World(lambda c: 0.01 if c.chunk == 8 else 0.1)
    world.losses = lambda c: [2.0, 1.001 if c.chunk == 8 else 1.00001, float("nan")]
    found = world.search()
    assert "--chunk 8" not in names(found)
    assert any(note.startswith("--chunk 8: left out") for note in found.notes)
    assert not any("--chunk 16" in note for note in found.notes)


def test_what_cannot_be_made_is_said_and_the_rest_goes_on() -> None:
    world = World(lambda c: 0.1)
    world.refuses = lambda c: "no memory for\nit" if c.chunk == 16 else None
    found = world.search()
    assert "--chunk 16: not possible here: no memory for it" in found.notes
    assert "--chunk 8" in names(found)
    world.refuses = lambda c: "the default is wrong"
    with pytest.raises(GalabError, match="the default is wrong"):
        world.search()


def test_what_there_is_no_time_for_is_named() -> None:
    world = World(lambda c: 0.1, build=10.0)
    found = world.search(budget=35.0)
    assert names(found) == ["default", "--threads 1"]
    assert [note.split(":")[0] for note in found.notes] == ["--chunk 8", "--chunk 16"]
    assert world.now < 40
    alone = World(lambda c: 0.1, build=10.0).search(budget=12.0)
    assert names(alone) == ["default"]
    assert alone.best is alone.rows[0]


def test_compiling_is_taken_to_be_dear_until_it_was_tried() -> None:
    world = World(lambda c: 0.1, build=1.0)
    found = world.search(settings=("compile",), budget=12.0)
    assert found.notes == ["--compile on: not tried, as the time was over; give it more with --budget"]
    assert names(world.search(settings=("compile",), budget=world.now + 40.0)) == ["default", "--compile on"]


def test_a_forward_that_did_not_compile_is_no_candidate() -> None:
    class Eager(Fake):
        @property
        def numerics(self) -> Mapping[str, Any]:
            return {"chunk": 64, "compiled": False, "members": 256}

    world = World(lambda c: 0.1)
    world.make = lambda config: Eager(world, config)  # type: ignore[method-assign]
    found = world.search(ES, settings=("compile",))
    assert found.notes == ["--compile on: not possible here: the forward could not be compiled"]


def test_precision_is_held_to_its_own_tolerance() -> None:
    losses = np.array([2.0, np.nan])
    assert same_losses(losses + 1e-5, losses, "float32")
    assert not same_losses(losses + 1e-3, losses, "float32")
    assert same_losses(losses + 1e-3, losses, "bfloat16")
    assert not same_losses(losses + 0.2, losses, "bfloat16")
    assert not same_losses(np.array([2.0, 1.0]), losses, "bfloat16"), "who failed there must fail here"
    assert not same_losses(np.array([np.nan, np.nan]), losses, "bfloat16")


@pytest.mark.parametrize(
    ("name", "config", "machine", "wanted"),
    [
        ("precision", GA, TWO, []),
        ("precision", GA, dataclasses.replace(TWO, fast_bfloat16=True), [{"precision": "bfloat16"}]),
        ("precision", dataclasses.replace(GA, precision="bfloat16"), TWO, [{"precision": "float32"}]),
        ("compile", dataclasses.replace(GA, compile="off"), TWO, [{"compile": "on"}]),
        ("compile", ES, TWO, [{"compile": "on"}]),
        ("compile", ES, dataclasses.replace(TWO, compiler=False), []),
        ("compile", dataclasses.replace(ES, compile="on"), TWO, [{"compile": "off"}]),
        ("threads", GA, TWO, [{"threads": 1}]),
        ("threads", GA, dataclasses.replace(TWO, cores=12), [{"threads": count} for count in (1, 4, 8, 12)]),
        ("chunk", GA, TWO, [{"chunk": 8}, {"chunk": 16}]),
        ("chunk", dataclasses.replace(GA, chunk=10), TWO, [{"chunk": 3}, {"chunk": 5}, {"chunk": 20}]),
        ("chunk", dataclasses.replace(ES, chunk=10), TWO, [{"chunk": 4}, {"chunk": 6}, {"chunk": 20}]),
    ],
)
def test_what_is_tried(name: str, config: RunConfig, machine: Machine, wanted: list[dict[str, Any]]) -> None:
    assert values_to_try(name, config, {"chunk": config.chunk or 64, "members": 32}, machine) == wanted


def test_workers_are_tried_with_their_share_of_the_cores_and_of_the_members() -> None:
    four = dataclasses.replace(TWO, cores=4)
    found = values_to_try("workers", GA, {"chunk": 32, "members": 32}, four)
    shares = [(one["workers"], one["threads"], one.get("chunk")) for one in found]
    assert shares == [(2, 2, 16), (3, 1, 11), (4, 1, 8)]


def test_bfloat16_is_tried_without_units_for_it_when_it_is_asked_for() -> None:
    assert values_to_try("precision", GA, {}, TWO, asked=True) == [{"precision": "bfloat16"}]
    found = World(lambda c: 0.1).search(settings=("precision",), asked=("precision",))
    assert names(found) == ["default", "--precision bfloat16"]


def test_words() -> None:
    assert counts_up_to(3) == [1, 2, 3]
    assert counts_up_to(6) == [1, 2, 4, 6]
    assert settings_text(ES, {"chunk": 64, "compiled": True}) == "chunk 64, float32, compiled, 2 threads"
    assert parse_settings("chunk, threads,chunk") == ("chunk", "threads")
    for text in ("chunks", ""):
        with pytest.raises(UsageError, match="expected --vary to name some of .*chunk, compile, got"):
            parse_settings(text)
