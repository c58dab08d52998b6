"""How fast the memorisation laboratory's small networks evolve: whole runs, with everything that they record."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import time
from pathlib import Path
from typing import Any

from timing import Row, interleaved

from galab.config import RunConfig
from galab.training.build import RunComponents, build, network_and_task
from galab.training.resolve import resolve
from galab.training.trials.trials import cores, start_trials

_TRIALS = 16
#: Generations of a short and of a long group of trials, whose difference knows no start of processes.
_SHORT, _LONG = 10, 110
#: Generations after which decoding a cohort is timed.
_EARLY, _LATE = 50, 2000
_MIX = "memory-replace(heads=unused):0.3,memory-perturb:0.5,memory-target:0.2"
_COMMON: dict[str, Any] = {
    "task": "memorize", "model": "memory", "mutate": _MIX, "sigma": 1.0, "step_size": "fixed", "fitness": "wrong",
    "parents": 16, "children": 64, "batch": 0, "precision": "float32", "report_every": 1000, "save_every": 1000,
}  # fmt: skip


def memory_rows(rounds: int) -> list[Row]:
    """Trial-generations a second on all cores and of one trial alone; decoding late in a run against early."""
    rows = []
    title = f"64 memories, 64 points, (16, 64), {_TRIALS} trials"
    for crossover, bars in (("none", (300.0, 40.0)), ("row", (None, None))):
        config = RunConfig(**_COMMON, crossover=crossover, seed=0)
        kind = "one parent each" if crossover == "none" else "two parents each"
        together, alone = (_rate(config, trials, rounds) for trials in (_TRIALS, 1))
        rows.append(Row(f"{title}, {kind}: {cores()} cores", together, "generations/s", bars[0], "least"))
        rows.append(Row(f"the same, one trial alone, {kind}", alone, "generations/s", bars[1], "least"))
    early, late = _decoding(_EARLY), _decoding(_LATE)
    times = interleaved({"early": early, "late": late}, 9 * rounds)
    what = f"decoding 64 children of memories in generation {_LATE:,} against {_EARLY}"
    return [*rows, Row(what, times["late"] / times["early"], "x", 1.25, "most")]


def _rate(config: RunConfig, trials: int, rounds: int) -> float:
    """Generations of all trials a second."""
    times = interleaved({str(n): functools.partial(_run, config, trials, n) for n in (_SHORT, _LONG)}, rounds)
    return 1e3 * trials * (_LONG - _SHORT) / (times[str(_LONG)] - times[str(_SHORT)])


def _run(config: RunConfig, trials: int, generations: int) -> float:
    """Milliseconds of a group of trials, by the clock on the wall: they compute in other processes."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        one = dataclasses.replace(config, generations=generations)
        start_trials(one, range(trials), name="trials", runs=Path(folder))
        return (time.perf_counter() - began) * 1e3


def _decoding(generations: int) -> Any:
    """A call that decodes the next children of a run of so many generations, from the same cache each time."""
    config = resolve(RunConfig(**_COMMON, crossover="none", seed=0, generations=generations, threads=1))
    components: RunComponents = build(config, *network_and_task(config))
    search: Any = components.search
    search.initial_records()
    for _ in range(generations):
        cohort = search.strategy.ask()
        search.before_tell(cohort)
        search.after_tell(search.strategy.tell(search.executor.score(cohort)))
    births = search.strategy.ask().births["id"].tolist()

    def decode() -> None:
        search.decoder.discard(births)
        search.decoder.decode_all(births)

    return decode
