"""How much faster a run's generations are when worker processes share its members, where galab has them."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import tempfile
from typing import Any

from timing import Row, interleaved

import galab
from galab.config import RunConfig

_WORKERS = (0, 1, 2)
_CHILDREN, _IMAGES = 256, 4096
#: Generations of a run, and how many of them, the first, are left out: processes start and caches fill.
_GENERATIONS, _FIRST = 12, 3


def worker_rows(rounds: int) -> list[Row]:
    """Wall time of generations with no, one and two workers, a thread each; no rows where a run cannot have workers."""
    if "workers" not in {field.name for field in dataclasses.fields(RunConfig)}:
        return []
    times = interleaved({str(workers): functools.partial(_run, workers) for workers in _WORKERS}, rounds)
    title = f"GA (8, {_CHILDREN}), {_IMAGES:,} images, float32"
    rows = [Row(f"{title}: {workers} workers", spent, "ms") for workers, spent in times.items()]
    return [*rows, Row(f"{title}: two workers against one", times["1"] / times["2"], "x", kind="least")]


def _run(workers: int) -> float:
    """Milliseconds of a generation, by the log of a whole run."""
    lines: list[dict[str, Any]] = []
    options: dict[str, Any] = {"parents": 8, "children": _CHILDREN, "crossover": "none", "batch": _IMAGES, "seed": 1}
    options |= {"workers": workers, "threads": 1, "precision": "float32", "generations": _GENERATIONS}
    with tempfile.TemporaryDirectory() as folder:
        galab.run(runs=folder, hooks=[lines.append], **options)
    return 1e3 * statistics.median(line["generation_seconds"] for line in lines[_FIRST:])
