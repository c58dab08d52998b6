"""The clock of both sides: wall time, or the processor time of the process that computes.

On one core the second is what the first would be if nobody else used the machine, but for caches that others fill.
"""

from __future__ import annotations

import os
import time

#: The environment's variable that both processes read: ``wall`` (also when absent) or ``processor``.
VARIABLE = "GALAB_BENCH_CLOCK"


def now() -> float:
    """Seconds since some moment."""
    return time.process_time() if os.environ.get(VARIABLE) == "processor" else time.perf_counter()
