"""Exact random numbers: raw Philox bits looked up in shipped quantile tables.

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

from galab.config.distribution import TABLE_HASHES, parse
from galab.errors import GalabError, UsageError
from galab.genome.weights import scratch

_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_INCREMENTS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_LOW = 0xFFFFFFFF
_WORD = 1 << 64


class Stream(IntEnum):
    """Keeps the purposes of random bits apart. Numbers are part of the genome's meaning and never change."""

    FOUNDER = 1
    WEIGHTS = 2
    STEP_SIZE = 3
    MASK = 4
    CHOICE = 5
    OPERATOR = 6
    HEAD = 7
    #: Streams below are indexed by generation or epoch instead of by birth.
    BATCH = 16
    TIES = 17
    BREEDING = 18
    SELECTION = 19
    MATING = 20
    CONTROL = 21
    COINS = 22
    #: Indexed by generation, tensor and block.
    PERTURBATION = 23
    EXAMPLES = 24
    #: The noise of integer networks; indexed as PERTURBATION is.
    INTEGERS = 25


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

    def to_bytes(self) -> bytes:
        """The table as a file holds it: little-endian float32."""
        return self.quantiles.astype("<f4").tobytes()


def table_of(name: str, data: bytes) -> Table:
    """A table from the bytes of its file.

    Args:
        name: the distribution's name.
        data: 65,536 little-endian float32 numbers; whose they are is for the caller to check by the hash.
    """
    quantiles = np.frombuffer(data, dtype="<f4").astype(np.float32)
    return Table(name, quantiles, float(np.abs(quantiles).max()), hashlib.sha256(data).hexdigest())


@cache
def table(name: str) -> Table:
    """The built-in quantile table of a distribution.

    Raises:
        UsageError: no such distribution, or one that is not built in.
        GalabError: the shipped file is not the one that this version of galab was released with.
    """
    if name not in TABLE_HASHES:
        source = parse(name).source
        raise UsageError(f"expected one of {', '.join(TABLE_HASHES)} here, got a {source} distribution; choose one")
    found = table_of(name, resources.files("galab.genome").joinpath("tables", f"{name}.f32").read_bytes())
    if found.sha256 != TABLE_HASHES[name]:
        raise GalabError(
            f"expected the quantile table '{name}' to have hash {TABLE_HASHES[name][:12]}, got {found.sha256[:12]}: "
            "the installed file was changed, and genomes would mean other networks; reinstall galab"
        )
    return found


def words(run_key: int, index: int, stream: Stream, n: int) -> NDArray[np.uint64]:
    """``n`` raw 64-bit words.

    Args:
        run_key: the run's key, 64 bits.
        index: the birth, generation or epoch whose bits these are.
        stream: what they are for.
        n: how many.
    """
    raw: NDArray[np.uint64] = _SOURCE.at(run_key, int(stream), (0, 0, index)).random_raw(n)
    return raw


def words_at(
    run_key: int, generation: int, tensor: int, stream: Stream, block: int, n: int
) -> NDArray[np.uint64]:
    """``n`` raw 64-bit words of one of many long sequences, from any place in it.

    Args:
        run_key: the run's key, 64 bits.
        generation: whose sequence.
        tensor: number of the parameter whose sequence it is.
        stream: what it is for.
        block: where to begin, in blocks of four words.
        n: how many.
    """
    raw: NDArray[np.uint64] = _SOURCE.at(run_key, int(stream), (block, tensor, generation)).random_raw(n)
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

    def at(self, run_key: int, stream: int, counter: tuple[int, int, int]) -> np.random.Philox:
        """The generator ``Philox(key=[run_key, stream], counter=[*counter, 0])``."""
        self._place["key"][0], self._place["key"][1] = run_key, stream
        self._place["counter"][:3] = counter
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


def below(
    bound: int | NDArray[np.int64], run_key: int, index: int, stream: Stream, n: int
) -> NDArray[np.int64]:
    """``n`` whole numbers from 0 to ``bound - 1``, by the integer rule (32 high bits x bound) >> 32.

    ``bound`` may be (n,) bounds, one for each number.

    The rule is our own because the methods of ``numpy.random.Generator`` may change; its bias is below bound / 2^32.
    """
    return scaled(words(run_key, index, stream, n), bound)


def scaled(raw: NDArray[np.uint64], bound: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Raw words as whole numbers from 0 to ``bound - 1``, by the rule of :func:`below`.

    Args:
        raw: words of any shape.
        bound: from 1 to 2^32; one for all, or an array that broadcasts to one for each word.
    """
    high = raw >> np.uint64(32)
    return ((high * np.asarray(bound, dtype=np.uint64)) >> np.uint64(32)).astype(np.int64)


def permutation(size: int, run_key: int, index: int, stream: Stream) -> NDArray[np.int64]:
    """A random order of ``size`` things: the stable argsort of raw words."""
    return np.argsort(words(run_key, index, stream, size), kind="stable")
