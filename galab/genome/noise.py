"""Exact noise: raw Philox bits looked up in shipped quantile tables.

Only the raw bit stream of ``numpy.random.Philox`` is used, which NumPy guarantees across versions; never a
distribution of NumPy or torch, whose streams change with version, device and size. Philox4x64-10 is from Salmon et
al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.errors import GalabError, UsageError, closest
from galab.genome.scratch import scratch


class Stream(IntEnum):
    """Keeps the purposes of random bits apart. Numbers are part of the genome's meaning and never change."""

    FOUNDER = 1
    WEIGHTS = 2
    STEP_SIZE = 3
    MASK = 4
    CHOICE = 5
    #: Streams below are indexed by generation or epoch instead of by birth.
    BATCH = 16
    TIES = 17
    BREEDING = 18


#: SHA-256 of every shipped table; ``make_tables.py`` tells how they came about.
TABLE_HASHES = {
    "normal": "8babbcaf96568f10165a1eab530c0e5c92d04de96761b6dbb3dadfa94baba37f",
    "laplace": "64a5ed3940992f28445261c8d69c8e26fa4c06211e8692747f312d1e60172861",
    "uniform": "466d9848fb9d7b05ceba11f0a71b73b167f163f6dc0c31dd6d23b35e9fdd798c",
    "sign": "c9e690197cd3e1a0e72d65e857be7a87d0c1bfc394a87b2ed854589cf1a6eee4",
}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A distribution as 65,536 quantiles of unit variance.

    Attributes:
        name: the distribution's name.
        quantiles: (65536,) float32.
        peak: largest magnitude in the table.
        sha256: hash of the table's bytes.
    """

    name: str
    quantiles: NDArray[np.float32]
    peak: float
    sha256: str


@cache
def table(name: str) -> Table:
    """The built-in quantile table of a distribution.

    Raises:
        UsageError: no such distribution.
        GalabError: the shipped file is not the one that this version of galab was released with.
    """
    if name not in TABLE_HASHES:
        known = list(TABLE_HASHES)
        raise UsageError(f"no distribution is called '{name}'.{closest(name, known)} Known: {', '.join(known)}.")
    data = resources.files("galab.genome").joinpath("tables", f"{name}.f32").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != TABLE_HASHES[name]:
        raise GalabError(
            f"expected the quantile table '{name}' to have hash {TABLE_HASHES[name][:12]}, got {digest[:12]}: the "
            "installed file was changed, and genomes would mean other networks; reinstall galab"
        )
    quantiles = np.frombuffer(data, dtype="<f4").astype(np.float32)
    return Table(name, quantiles, float(np.abs(quantiles).max()), digest)


def words(run_key: int, index: int, stream: Stream, n: int) -> NDArray[np.uint64]:
    """``n`` raw 64-bit words.

    Args:
        run_key: the run's key, 64 bits.
        index: the birth, generation or epoch whose bits these are.
        stream: what they are for.
        n: how many.
    """
    raw: NDArray[np.uint64] = _SOURCE.at(run_key, index, int(stream)).random_raw(n)
    return raw


class _Source(threading.local):
    """One generator a thread, set to the place that is wanted.

    Making a generator asks the system for entropy first, which takes longer than the noise of a small network.
    """

    def __init__(self) -> None:
        self._generator = np.random.Philox(key=[0, 0], counter=[0, 0, 0, 0])
        # As of a new generator: nothing of the last block is left over.
        self._state: Any = self._generator.state
        self._place: Any = self._state["state"]

    def at(self, run_key: int, index: int, stream: int) -> np.random.Philox:
        """The generator ``Philox(key=[run_key, stream], counter=[0, 0, index, 0])``."""
        self._place["key"][0], self._place["key"][1], self._place["counter"][2] = run_key, stream, index
        self._generator.state = self._state
        return self._generator


_SOURCE = _Source()


def codes(run_key: int, birth: int, stream: Stream, n: int) -> NDArray[np.uint16]:
    """``n`` uniform 16-bit codes, read from the raw words in little-endian order."""
    raw = words(run_key, birth, stream, -(-n // 4)).astype("<u8", copy=False)
    return raw.view("<u2")[:n]


def draw(
    law: Table, run_key: int, birth: int, stream: Stream, n: int, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """``n`` independent float32 numbers of unit variance from a table, in ``out`` if it is given."""
    indices = scratch("indices", n, np.intp)
    # Widened here, into memory that is used again, because `take` would do it into fresh memory.
    np.copyto(indices, codes(run_key, birth, stream, n), casting="safe")
    # mode="wrap" skips the bounds check: a 16-bit code cannot leave a table of 65,536 entries.
    return law.quantiles.take(indices, out=out, mode="wrap")


def draw_all(law: Table, run_key: int, births: Sequence[int], stream: Stream, n: int) -> NDArray[np.float32]:
    """What :func:`draw` gives for each of several births, in one array that the next call on this thread overwrites.

    Returns:
        (P, n) float32.
    """
    count, width = len(births), -(-n // 4)
    raw = scratch("raw", count * width, np.uint64).reshape(count, width)
    for row, birth in enumerate(births):
        raw[row] = words(run_key, birth, stream, width)
    indices = scratch("all indices", count * n, np.intp)
    np.copyto(indices.reshape(count, n), raw.astype("<u8", copy=False).view("<u2")[:, :n], casting="safe")
    z = law.quantiles.take(indices, out=scratch("all z", count * n, np.float32), mode="wrap")
    return z.reshape(count, n)


def below(bound: int, run_key: int, index: int, stream: Stream, n: int) -> NDArray[np.int64]:
    """``n`` whole numbers from 0 to ``bound - 1``, by the integer rule (32 high bits x bound) >> 32.

    The rule is our own because the methods of ``numpy.random.Generator`` may change; its bias is below bound / 2^32.
    """
    high = words(run_key, index, stream, n) >> np.uint64(32)
    return ((high * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


def permutation(size: int, run_key: int, index: int, stream: Stream) -> NDArray[np.int64]:
    """A random order of ``size`` things: the stable argsort of raw words."""
    return np.argsort(words(run_key, index, stream, size), kind="stable")
