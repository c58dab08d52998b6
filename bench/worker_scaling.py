"""How much faster a run's generations are when workers share its members: processes, or actors in a Ray cluster."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import tempfile
from typing import Any

from timing import Row, interleaved

import galab
from galab.config import RunConfig
from galab.errors import UsageError
from galab.evaluation.executors.ray_workers import import_ray

_WORKERS = (0, 1, 2)
_CHILDREN, _IMAGES = 256, 4096
#: Generations of a run, and how many of them, the first, are left out: processes start and caches fill.
_GENERATIONS, _FIRST = 12, 3


def worker_rows(rounds: int) -> list[Row]:
    """Wall time of generations with no, one and two workers, a thread each; no rows where a run cannot have workers."""
    if "workers" not in {field.name for field in dataclasses.fields(RunConfig)}:
        return []
    sides = {str(workers): functools.partial(_run, workers=workers, children=_CHILDREN) for workers in _WORKERS}
    times = interleaved(sides, rounds)
    title = f"GA (8, {_CHILDREN}), {_IMAGES:,} images, float32"
    rows = [Row(f"{title}: {workers} workers", spent, "ms") for workers, spent in times.items()]
    return [*rows, Row(f"{title}: two workers against one", times["1"] / times["2"], "x", kind="least")]


def cluster_rows(rounds: int) -> list[Row]:
    """Two workers in a Ray cluster on this machine beside one process and beside two; a thread each.

    A long chunk takes some 100 ms.
    """
    try:
        ray = import_ray()
    except UsageError as error:
        return [Row("20 long chunks: efficiency of two workers, Ray", None, "", 0.85, "least", str(error))]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)  # once: every run that follows finds it
    try:
        there: dict[str, dict[str, Any]] = {"processes": {"workers": 2}, "Ray": {"workers": 2, "executor": "ray"}}
        long = {"children": 80, "chunk": 4, "hidden": "512,256", "batch": 1600}
        sides = {"one process": {}, **there}
        times = interleaved({name: functools.partial(_run, **long, **side) for name, side in sides.items()}, rounds)
        rows = [Row(f"20 long chunks: {name}", spent, "ms") for name, spent in times.items()]
        for name, bar in (("processes", None), ("Ray", 0.85)):
            share = times["one process"] / 2 / times[name]
            rows.append(Row(f"20 long chunks: efficiency of two workers, {name}", share, "", bar, "least"))
        short = {"children": 32, "chunk": 4, "batch": 64, "hidden": "16", "generations": 300}
        times = interleaved({name: functools.partial(_run, **short, **side) for name, side in there.items()}, rounds)
        rows += [Row(f"8 short chunks: {name}", spent, "ms") for name, spent in times.items()]
        return [*rows, Row("8 short chunks: Ray, more than processes", times["Ray"] - times["processes"], "ms", 10.0)]
    finally:
        ray.shutdown()


def _run(**changes: Any) -> float:
    """Milliseconds of a generation, by the log of a whole run."""
    lines: list[dict[str, Any]] = []
    options: dict[str, Any] = {"parents": 8, "crossover": "none", "batch": _IMAGES, "seed": 1, "threads": 1}
    options |= {"precision": "float32", "generations": _GENERATIONS}
    with tempfile.TemporaryDirectory() as folder:
        galab.run(runs=folder, hooks=[lines.append], **options | changes)
    return 1e3 * statistics.median(line["generation_seconds"] for line in lines[_FIRST:])
