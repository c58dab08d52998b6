"""Random data that is made from a run's key: the same numbers on every machine and with every version of NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError
from galab.genome.noise import Stream, draw, scaled, table, words

#: Fixed data lies beyond all generations, which a task that makes fresh examples counts from 1 in the same stream.
FIXED = 1 << 48


def normals(run_key: int, part: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal numbers.

    Args:
        run_key: the run's key.
        part: which of the task's own sequences, from 0.
        shape: of the array.
    """
    return draw(table("normal"), run_key, FIXED + part, Stream.EXAMPLES, int(np.prod(shape))).reshape(shape)


def whole_numbers(bound: int, run_key: int, part: int, count: int) -> NDArray[np.int64]:
    """(count,) whole numbers from 0 to ``bound - 1``."""
    return scaled(raw(run_key, part, count), bound)


def order(count: int, run_key: int, part: int) -> NDArray[np.int64]:
    """(count,) the numbers from 0 to ``count - 1`` in random order."""
    return np.argsort(raw(run_key, part, count), kind="stable")


def raw(run_key: int, part: int, count: int) -> NDArray[np.uint64]:
    """(count,) random 64-bit words."""
    return words(run_key, FIXED + part, Stream.EXAMPLES, count)


def at_least(task: str, least: int, **values: float) -> None:
    """Refuse sizes that are too small.

    Raises:
        UsageError: a value is below ``least``.
    """
    for name, value in values.items():
        if value < least:
            raise UsageError(f"task '{task}': expected {name} of at least {least}, got {value}; name a larger one")
