"""Which settings are the fastest for one configuration on this machine: one setting after the other, in turns.

Settings change how fast a run is and not what it searches for. Candidates and the clock are given, so nothing here
imports torch or looks at the time.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig, flag
from galab.config.strategy_kinds import kind_of
from galab.doctor.interleaved_timing import (
    LEAST_ROUNDS,
    Clock,
    Speedup,
    TimedRun,
    Timing,
    median_timing,
    speedup,
    time_in_turns,
)
from galab.errors import GalabError, UsageError, closest
from galab.training.resolve import SPEED_SETTINGS

_FEW_CORES = 4
Changes = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """What decides which values are worth trying.

    Attributes:
        cores: that this process may use.
        fast_bfloat16: whether there are units for it.
        compiler: whether forwards can be compiled.
    """

    cores: int
    fast_bfloat16: bool
    compiler: bool


def parse_settings(text: str) -> tuple[str, ...]:
    """Names of settings, separated by commas.

    Raises:
        UsageError: one of them is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names or ("",):
        if name not in SPEED_SETTINGS:
            hint = closest(name, list(SPEED_SETTINGS))
            raise UsageError(f"expected --vary to name some of {', '.join(SPEED_SETTINGS)}, got '{name}'.{hint}")
    return names


def values_to_try(
    name: str, config: RunConfig, numerics: Mapping[str, Any], machine: Machine, *, asked: bool = False
) -> list[Changes]:
    """What to try in addition to a configuration's own value of a setting.

    Args:
        name: one of :data:`SPEED_SETTINGS`.
        config: the best configuration so far.
        numerics: its ``chunk`` and ``compiled``, as they really are, and the ``members`` of a generation.
        machine: where it runs.
        asked: whether the setting was asked for by name; then slow values are tried too.
    """
    if name == "precision":
        other = "float32" if config.precision == "bfloat16" else "bfloat16"
        return [{name: other}] if asked or machine.fast_bfloat16 or other == "float32" else []
    if name == "compile":
        if not (machine.compiler or config.device == "cuda"):
            return []
        return [{name: "off" if config.compile == "on" else "on"}]
    if name == "workers" and config.executor != "processes":
        return []  # how many there may be is another machine's matter
    if name == "workers":
        # None is this process alone; a single one would only wait for its orders.
        wanted = [0, *counts_up_to(machine.cores)[1:]]
        found = [{name: count, "threads": max(1, machine.cores // max(1, count))} for count in wanted]
        for changes in found:
            share = -(-numerics["members"] // max(1, changes[name]))
            if share < numerics["chunk"]:  # else some would have nothing to do
                changes["chunk"] = share + (share % 2 if kind_of(config.strategy).estimates else 0)
        return [changes for changes in found if changes[name] != getattr(config, name)]
    if name == "threads":
        # With worker processes, threads are those of each.
        most = max(1, machine.cores // max(1, config.workers))
        return [{name: count} for count in counts_up_to(most) if count != config.threads]
    return [{name: chunk} for chunk in _chunks(config, numerics["chunk"], numerics["members"])]


def counts_up_to(most: int) -> list[int]:
    """1 to as many as there are, or powers of two and that number where there are many."""
    if most <= _FEW_CORES:
        return list(range(1, most + 1))
    return sorted({*(1 << power for power in range(most.bit_length())), most})


def _chunks(config: RunConfig, chunk: int, members: int) -> list[int]:
    """A half, a quarter and twice of a chunk, within what a generation fills."""
    wanted = {-(-chunk // 4), -(-chunk // 2), min(2 * chunk, members)}
    if kind_of(config.strategy).estimates:  # pairs lie in one chunk
        wanted = {one + one % 2 for one in wanted}
    return sorted(wanted - {chunk})


def settings_text(config: RunConfig, numerics: Mapping[str, Any]) -> str:
    """A configuration's settings in words, such as "chunk 40, float32, 2 threads"."""
    parts = [f"chunk {numerics['chunk']}", config.precision]
    parts.append("compiled" if numerics.get("compiled") else "eager")
    parts += [f"{config.workers} workers"] if config.workers else []
    return ", ".join([*parts, f"{config.threads} thread{'s' if config.threads > 1 else ''}"])


def changes_of(config: RunConfig, default: RunConfig) -> Changes:
    """The settings in which a configuration differs from the default one."""
    return {name: getattr(config, name) for name in SPEED_SETTINGS if getattr(config, name) != getattr(default, name)}


def flags_of(changes: Mapping[str, Any]) -> list[str]:
    """Changes as they are typed."""
    return [word for name, value in changes.items() for word in (flag(name), str(value))]


logger = logging.getLogger("galab")
#: How far the losses of one generation may lie from the default's, as a share of the largest.
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
#: Less than this gain is noise, or not worth a change.
WORTH = 1.05
#: Less than this is no reason to go on with another setting than the one before.
_BETTER = 1.02
#: The share of the time that is kept for the last duel, and its rounds.
_FINAL_SHARE, _FINAL_ROUNDS = 0.25, 7
#: What compiling is taken to cost before it was tried.
_COMPILING_SECONDS = 10.0
DEFAULT = "default"


class Candidate(TimedRun, Protocol):
    """A configuration that can be measured."""

    @property
    def numerics(self) -> Mapping[str, Any]:
        """``chunk``, ``compiled`` and the like as they really are, and ``members``, those of a generation."""
        ...

    @property
    def profile(self) -> dict[str, Any]:
        """The numeric profile."""
        ...

    def first_losses(self) -> NDArray[np.float64]:
        """Carry out the first generation, which is slow: (P,) the loss of its members, NaN for failures."""
        ...

    def peak(self) -> float | None:
        """Multiplications and additions a second of one large product of matrices; None without such layers."""
        ...

    @property
    def operations(self) -> int:
        """Multiplications and additions for one (member, example) pair, were all members dense."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


@dataclass(frozen=True, slots=True)
class SettingResult:
    """One setting, measured.

    Attributes:
        changes: against the default.
        setting: all settings in words.
        timing: medians of a generation.
        gain: how many times as fast as the default it is; None for the default itself.
        peak: see :meth:`Candidate.peak`.
        operations: see :attr:`Candidate.operations`.
        rounds: laps behind it.
    """

    changes: Changes
    setting: str
    timing: Timing
    gain: Speedup | None
    peak: float | None
    operations: int
    rounds: int

    @property
    def name(self) -> str:
        """What is other than in the default, as flags."""
        return " ".join(flags_of(self.changes)) or DEFAULT


@dataclass(slots=True)
class TuningResult:
    """What a search for the best settings found.

    Attributes:
        default: the configuration as it was.
        rows: by setting, in the order of trial; the default first, with the medians of all its laps.
        best: the row of the best one, measured in a last duel with the default; the default's own if nothing else won.
        profile: the numeric profile of the best one.
        notes: what was not tried, and why.
    """

    default: RunConfig
    rows: list[SettingResult]
    best: SettingResult
    profile: dict[str, Any]
    notes: list[str]

    def seconds(self, row: SettingResult) -> float:
        """Of a generation under a row's settings, had it been measured when the default was.

        The machine itself is slower and faster at times, so only the ratio to the default is carried over.
        """
        return self.rows[0].timing.seconds / (1.0 if row.gain is None else row.gain.median)

    @property
    def worth(self) -> bool:
        """Whether the best settings are worth a change: the gain is clear of what the rounds differ by, and of 5 %."""
        gain = self.best.gain
        return gain is not None and gain.median >= WORTH and gain.low > 1

    @property
    def changes(self) -> Changes:
        """What should be changed; nothing where the default is as good."""
        return self.best.changes if self.worth else {}


def same_losses(found: NDArray[np.float64], expected: NDArray[np.float64], precision: str) -> bool:
    """Whether losses are the same but for rounding.

    Args:
        found: (P,) of a candidate.
        expected: (P,) of the default.
        precision: the coarser one of both.
    """
    if found.shape != expected.shape:
        return False
    finite = np.abs(expected[np.isfinite(expected)])
    scale = float(finite.max(initial=0.0))
    return bool(np.allclose(found, expected, rtol=0.0, atol=TOLERANCE[precision] * scale, equal_nan=True))


@dataclass(slots=True)
class _Tried:
    config: RunConfig
    candidate: Candidate


@dataclass(slots=True)
class Tuner:
    """Looks for the best settings, coordinate by coordinate.

    Args:
        default: a resolved configuration.
        make: makes a candidate of a configuration.
        machine: where it runs.
        settings: which to vary, in this order.
        asked: which of them were asked for by name.
        until: when to end, on the clock, roughly.
        clock: gives seconds.
        progress: called with what is done.
    """

    default: RunConfig
    make: Callable[[RunConfig], Candidate]
    machine: Machine
    settings: Collection[str]
    asked: Collection[str]
    until: float
    clock: Clock
    progress: Callable[[str], None] = lambda sentence: None
    _rows: dict[str, SettingResult] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)
    _losses: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _seconds: dict[str, float] = field(default_factory=dict)
    _defaults: list[Timing] = field(default_factory=list)
    _generation_seconds: float = 0.0

    def search(self) -> TuningResult:
        """Measure.

        Raises:
            GalabError: the default configuration cannot be carried out.
        """
        self.progress("making the default ready")
        began = self.clock()
        base = best = _Tried(self.default, self.make(self.default))
        try:
            self._losses = base.candidate.first_losses()
            # The first time the compiler itself has to get ready, which is about half of it.
            self._seconds[self.default.compile] = (self.clock() - began) / (2 if self.default.compile == "on" else 1)
            left = max(0.0, self.until - self.clock())
            self._generation_seconds = base.candidate.time_generation().seconds
            ends = self.until - min(max(_FINAL_SHARE * left, _FINAL_ROUNDS * 2 * self._generation_seconds), left / 2)
            for place, name in enumerate(self.settings):
                now = self.clock()
                share = max(0.0, ends - now) / (len(self.settings) - place)
                best = self._vary(name, base, best, now + share, ends)
            return self._compare_with_default(base, best)
        finally:
            for one in (base, best):
                one.candidate.close()

    def _vary(self, name: str, base: _Tried, best: _Tried, until: float, ends: float) -> _Tried:
        """The best side after one setting was varied, until its share of the time is over; none may go beyond ends."""
        tried = {DEFAULT: base}
        if best is not base:
            tried[self._name(best.config)] = best
        known = set(tried)
        asked = name in self.asked
        for changes in values_to_try(name, best.config, best.candidate.numerics, self.machine, asked=asked):
            # What goes with a setting stays where it is not to be varied.
            own = {key: value for key, value in changes.items() if key == name or key in self.settings}
            config = dataclasses.replace(best.config, **own)
            if self._name(config) not in {*self._rows, *tried}:
                # One is tried in any case, if the time of those after it allows it.
                rounds = LEAST_ROUNDS * (len(tried) + 1) * self._generation_seconds
                one = self._prepare(config, (ends if set(tried) == known else until) - rounds)
                tried |= {self._name(config): one} if one else {}
        if set(tried) == known:
            return best
        self.progress(f"{name}: {len(tried)} settings in turn")
        timings = time_in_turns(
            {key: one.candidate for key, one in tried.items()}, until=until, clock=self.clock, keep=known
        )
        self._record(tried, timings)
        before = DEFAULT if best is base else self._name(best.config)
        # Who lost early is compared by the rounds that it had.
        gains = {key: speedup(timings[before], timings[key]) for key in tried if key not in known}
        better = [key for key, gain in gains.items() if gain.median > _BETTER and gain.low > 1]
        chosen = tried[max(better, key=lambda key: gains[key].median)] if better else best
        for one in tried.values():
            if one not in (base, chosen):
                one.candidate.close()
        return chosen

    def _prepare(self, config: RunConfig, until: float) -> _Tried | None:
        """A candidate whose losses are the default's, or None with a note."""
        name = self._name(config)
        unknown = max(self._seconds.values()) + (_COMPILING_SECONDS if config.compile == "on" else 0.0)
        cost = self._seconds.get(config.compile, unknown)
        if self.clock() + cost > until:
            self._notes.append(f"{name}: not tried, as the time was over; give it more with --budget")
            return None
        self.progress(f"making {name} ready")
        began = self.clock()
        try:
            candidate = self.make(config)
            found = candidate.first_losses()
        except (GalabError, RuntimeError, MemoryError) as error:
            self._notes.append(f"{name}: not possible here: {str(error).splitlines()[0] if str(error) else 'memory'}")
            return None
        self._seconds[config.compile] = self.clock() - began
        coarser = "bfloat16" if "bfloat16" in (config.precision, self.default.precision) else "float32"
        if config.compile == "on" and not candidate.numerics.get("compiled", True):
            self._notes.append(f"{name}: not possible here: the forward could not be compiled")
        elif not same_losses(found, self._losses, coarser):
            self._notes.append(f"{name}: left out, as its losses differ from the default's by more than rounding does")
        else:
            return _Tried(config, candidate)
        candidate.close()
        return None

    def _record(self, tried: dict[str, _Tried], timings: dict[str, list[Timing]]) -> None:
        self._defaults += timings[DEFAULT]
        for key, one in tried.items():
            self._rows[key] = self._row(one, timings[DEFAULT], self._defaults if key == DEFAULT else timings[key])

    def _row(self, one: _Tried, reference: list[Timing], timings: list[Timing]) -> SettingResult:
        changes, candidate = changes_of(one.config, self.default), one.candidate
        gain = speedup(reference, timings) if changes else None
        candidate.prepare_process()
        setting = settings_text(one.config, candidate.numerics)
        return SettingResult(
            changes, setting, median_timing(timings), gain, candidate.peak(), candidate.operations, len(timings)
        )

    def _compare_with_default(self, base: _Tried, best: _Tried) -> TuningResult:
        """The best against the default once more: the best of many measurements flatters itself."""
        tried = {self._name(one.config): one for one in (base, best)}
        self.progress("the best against the default" if best is not base else "the default once more")
        # Alone there is nothing to compare, and a few rounds do.
        until, least = (self.until, _FINAL_ROUNDS) if best is not base else (self.clock(), LEAST_ROUNDS)
        if best is not base or DEFAULT not in self._rows:
            runners = {key: one.candidate for key, one in tried.items()}
            timings = time_in_turns(runners, until=until, clock=self.clock, keep=tried, least=least)
            self._record(tried, timings)
        rows = [self._rows.pop(DEFAULT), *self._rows.values()]
        row = next(row for row in rows if row.changes == changes_of(best.config, self.default))
        return TuningResult(self.default, rows, row, best.candidate.profile, self._notes)

    def _name(self, config: RunConfig) -> str:
        return " ".join(flags_of(changes_of(config, self.default))) or DEFAULT
