"""How much faster a generation is when worker processes share its members, where galab has them."""

from __future__ import annotations

import dataclasses
import time

import genetic
from sides import experiment, generation, images
from timing import Row, interleaved

from galab.config import RunConfig

_WORKERS = (0, 1, 2)
_CHILDREN, _IMAGES = 256, 4096


def worker_rows(rounds: int) -> list[Row]:
    """Whole generations with no, one and two workers, a thread each; no rows where a run cannot have workers."""
    if "workers" not in {field.name for field in dataclasses.fields(RunConfig)}:
        return []
    examples = images(_IMAGES)
    options = {"children": _CHILDREN, "threads": 1, "precision": "float32"}
    runs = {n: experiment(genetic.CONFIG, examples, workers=n, **options) for n in _WORKERS}
    try:
        times = interleaved({str(n): generation(one) for n, one in runs.items()}, rounds, time.perf_counter)
    finally:
        for one in runs.values():
            getattr(one.executor, "close", lambda: None)()
    title = f"GA (8, {_CHILDREN}), {len(examples):,} images, float32"
    rows = [Row(f"{title}: {n} workers", spent, "ms") for n, spent in times.items()]
    return [*rows, Row(f"{title}: two workers against one", times["1"] / times["2"], "x", kind="least")]
