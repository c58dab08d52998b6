"""Scores members of the EGG network by ``egg.c``, compiled once for this processor, or by torch without a compiler.

Both give the same bits: everything is a whole number. Members are computed eight rows at a time, so neither the size of
a chunk nor the number of threads or workers can change a score.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray

from galab.evaluation.batched.compiled import compiler
from galab.integer.arithmetic import (
    Centre,
    Factors,
    Members,
    division_tables,
    logarithm_thresholds,
    power_table,
    scaling,
)
from galab.models.egg import Egg, score
from galab.operators.integer_noise import NoiseConfig, TensorNoise

logger = logging.getLogger("galab")
#: Rows that are computed together.
ROWS = 8
_SOURCE = Path(__file__).with_name("egg.c")
_FLAGS = ("-O3", "-march=native", "-shared", "-fPIC", "-x", "c")
_MATRICES = ("wf", "uf", "wh", "uh", "up", "down")
_VECTORS = ("norm1", "bf", "bh", "norm2")


class _Sizes(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int32)
        for name in ("width", "layers", "length", "rank", "noise_shift", "wide", "scale_narrow", "scale_wide")
    )


class _Matrix(ctypes.Structure):
    _fields_ = (
        ("weights", ctypes.c_void_p), ("b", ctypes.c_void_p), ("a", ctypes.c_void_p), ("n", ctypes.c_int32),
        ("m", ctypes.c_int32),
    )  # fmt: skip


class _Vector(ctypes.Structure):
    _fields_ = (("weights", ctypes.c_void_p), ("noise", ctypes.c_void_p))


class _Tables(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_void_p) for name in ("shift", "magic", "power", "threshold"))


@cache
def library() -> Any:
    """The compiled ``egg.c``; None without a compiler, or where the compiled one does not compute what torch does."""
    path = _built()
    if path is None:
        return None
    try:
        found = ctypes.CDLL(str(path))
    except OSError as error:
        logger.warning("the compiled step of egg cannot be loaded (%s): torch computes it, ten times as slow", error)
        return None
    found.egg_block.restype = None
    pointer = ctypes.c_void_p
    found.egg_block.argtypes = (*[pointer] * 8, ctypes.c_int, pointer, pointer)
    return found


def _built() -> Path | None:
    """Where the compiled file lies, made at first use: its name is of the source, the flags and the machine."""
    command = compiler()
    if command is None or os.environ.get("GALAB_EGG") == "torch":
        return None
    flags = " ".join((command, *_FLAGS, platform.machine(), platform.processor(), _features()))
    digest = hashlib.sha256(_SOURCE.read_bytes() + flags.encode()).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("galab"))
    path = folder / f"egg-{digest}.so"
    if path.exists():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as made:
            part = Path(made) / path.name
            subprocess.run(
                [command, *_FLAGS, str(_SOURCE), "-o", str(part)], check=True, capture_output=True, timeout=120
            )
            part.replace(path)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("the step of egg could not be compiled (%s): torch computes it, ten times as slow", error)
        return None
    return path


def _features() -> str:
    """What the processor can do: a folder may be shared by several."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


class EggScorer:
    """Scores members of an EGG network.

    Args:
        model: says its sizes.
        config: of the noise.
        threads: that share the members.
    """

    def __init__(self, model: Egg, config: NoiseConfig, *, threads: int = 1) -> None:
        self._model = model
        self._config = config
        self._threads = threads
        self._library = library()
        shifts, magic = division_tables()
        self._tables = [shifts, magic, power_table(), logarithm_thresholds()]

    @property
    def compiled(self) -> bool:
        """Whether ``egg.c`` computes, and not torch."""
        return self._library is not None

    def scores(
        self,
        weights: Mapping[str, NDArray[np.int8]],
        noise: Mapping[str, TensorNoise],
        sequences: NDArray[np.uint8],
        states: NDArray[np.int8],
    ) -> NDArray[np.int32]:
        """(2 P,) log-likelihoods of the members of P pairs, in 1/16 bit: plus and minus of a pair are neighbours.

        Args:
            weights: name to int8 array.
            noise: of the P pairs.
            sequences: (P, T + 1) bytes that each pair reads.
            states: (2 P, L, D) where they begin; overwritten with where they end.
        """
        if self._library is None:
            members = members_of(weights, noise, self._config)
            rows = torch.from_numpy(np.repeat(sequences, 2, axis=0))
            likelihoods, after = score(self._model, members, rows, torch.from_numpy(states).to(torch.int32))
            states[:] = after.to(torch.int8).numpy()
            return likelihoods.numpy()
        pairs = len(sequences)
        missing = -pairs % (ROWS // 2)
        if missing:
            noise = {name: _padded(part, missing) for name, part in noise.items()}
            sequences = np.concatenate([sequences, np.zeros((missing, sequences.shape[1]), np.uint8)])
        every = np.concatenate([states, np.zeros((2 * missing, *states.shape[1:]), np.int8)]) if missing else states
        found = np.zeros(2 * (pairs + missing), dtype=np.int32)
        self._run(_Arguments(self._model, self._config, weights, noise, self._tables, sequences), every, found)
        if missing:
            states[:] = every[: len(states)]
        return found[: 2 * pairs]

    def _run(self, arguments: _Arguments, states: NDArray[np.int8], found: NDArray[np.int32]) -> None:
        assert states.flags.c_contiguous
        starts = range(0, len(found) // 2, ROWS // 2)
        share = -(-len(starts) // self._threads)

        def blocks(first: int) -> None:
            for pair in starts[first : first + share]:
                self._library.egg_block(*arguments.pointers, pair, _at(states), _at(found))

        if self._threads == 1:
            blocks(0)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(blocks, range(0, len(starts), share)))


def members_of(
    weights: Mapping[str, NDArray[np.int8]], noise: Mapping[str, TensorNoise], config: NoiseConfig
) -> Members:
    """The numbers of members, for torch."""
    factors = {
        name: Factors(torch.from_numpy(part.a), torch.from_numpy(part.b))
        for name, part in noise.items()
        if part.a is not None
    }
    products = {name: torch.from_numpy(part.b) for name, part in noise.items() if part.a is None}
    return Members({name: torch.from_numpy(value) for name, value in weights.items()}, factors, products, config.shift)


def centre_of(weights: Mapping[str, NDArray[np.int8]]) -> Centre:
    """The numbers of the centre, for torch."""
    return Centre({name: torch.from_numpy(value) for name, value in weights.items()})


class _Arguments:
    """What ``egg_block`` is given, and the memory that it points to."""

    def __init__(
        self,
        model: Egg,
        config: NoiseConfig,
        weights: Mapping[str, NDArray[np.int8]],
        noise: Mapping[str, TensorNoise],
        tables: list[NDArray[np.int32]],
        sequences: NDArray[np.uint8],
    ) -> None:
        self._kept: list[Any] = [weights, noise, tables, np.ascontiguousarray(sequences)]
        width, rank = model.width, config.rank
        # With n inputs a sum of noise may reach 127^3 n r.
        wide = 127**3 * 4 * width * rank >= 2**31
        sizes = _Sizes(
            width, model.layers, sequences.shape[1] - 1, rank, 4 + config.shift, int(wide), scaling(width),
            scaling(4 * width),
        )  # fmt: skip
        names = [f"blocks.{number}.{name}" for number in range(model.layers) for name in _MATRICES] + ["head"]
        matrices = (_Matrix * len(names))(*(self._matrix(weights[name], noise[name]) for name in names))
        names = [f"blocks.{number}.{name}" for number in range(model.layers) for name in _VECTORS] + ["norm"]
        vectors = (_Vector * len(names))(*(_Vector(_at(weights[name]), _at(noise[name].b)) for name in names))
        embedding = noise["embedding"]
        assert embedding.a is not None
        self.pointers = (
            ctypes.byref(sizes), ctypes.byref(_Tables(*map(_at, tables))), _at(weights["embedding"]), _at(embedding.a),
            _at(embedding.b), matrices, vectors, _at(self._kept[3]),
        )  # fmt: skip
        self._kept += [sizes, matrices, vectors]

    def _matrix(self, weights: NDArray[np.int8], noise: TensorNoise) -> _Matrix:
        m, n = weights.shape
        assert noise.a is not None
        above = (weights.astype(np.int16) + 128).astype(np.uint8).reshape(m // 16, 16, n // 4, 4)
        blocked = np.ascontiguousarray(above.transpose(0, 2, 1, 3))
        self._kept.append(blocked)
        return _Matrix(_at(blocked), _at(noise.b), _at(noise.a), n, m)


def _at(array: NDArray[Any]) -> int:
    assert array.flags.c_contiguous
    return array.ctypes.data


def _padded(part: TensorNoise, missing: int) -> TensorNoise:
    def longer(values: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([values, np.zeros((missing, *values.shape[1:]), values.dtype)])

    return TensorNoise(longer(part.b), None if part.a is None else longer(part.a))
