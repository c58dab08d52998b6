"""Numerics of a process: the numeric profile, devices, precision, kernels, and the log of members that fail.

The profile is everything outside the genome that decides the last bits of a score. Tracebacks of failed members are
logged once for each error, however many members meet it; two errors are the same if they have one kind and come from
the same lines. The logged errors are known to the whole process, as a run has several evaluators, and workers report
theirs to it.
"""

from __future__ import annotations

import ctypes
import logging
import platform
import sys
import traceback
from functools import cache
from typing import Any

import numpy as np
import torch

from galab.errors import UsageError


def numeric_profile(
    *, device: str, precision: str, chunk: int, threads: int, forward: str, block: int,
    compiled: bool = False,
) -> dict[str, Any]:
    """The profile as plain data.

    Args:
        device: ``cpu`` or ``cuda``.
        precision: of the fitness.
        chunk: members evaluated at once.
        threads: CPU threads.
        forward: how the members are run, see :mod:`galab.evaluation.batched.dense`.
        block: examples evaluated at once.
        compiled: whether the forward is compiled.
    """
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "device": f"{device} ({name})",
        "cpu_capability": torch.backends.cpu.get_cpu_capability() + (" AMX" if _has_amx() else ""),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "precision": precision,
        "chunk": chunk,
        "threads": threads,
        "forward": forward,
        "block": block,
        "compiled": compiled,
        **({"cuda": f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"} if device == "cuda" else {}),
    }


def _has_amx() -> bool:
    """Whether oneDNN takes its matrix-tile kernels for bfloat16, which sum in another order."""
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe and probe())


def prepare_device(device: str) -> None:
    """Make float32 mean float32 on a GPU, and its kernels repeat."""
    if device == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def differences(saved: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """What differs between two profiles, in words; empty when scores agree to the bit."""
    keys = dict.fromkeys([*saved, *here])
    return [f"{key} {saved.get(key)} -> {here.get(key)}" for key in keys if saved.get(key) != here.get(key)]


def resolve_device(name: str) -> str:
    """``auto`` as ``cuda`` or ``cpu``.

    Raises:
        UsageError: CUDA was asked for and is not there.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("expected a CUDA device for --device cuda, found none; use --device cpu")
    return ("cuda" if available else "cpu") if name == "auto" else name


def resolve_precision(name: str, device: str) -> str:
    """``auto`` as ``bfloat16`` where matrix units for it make it several times as fast, else as ``float32``.

    Without such units bfloat16 is emulated and slower than float32 (3.5 times, measured on an AVX-512 machine).

    Args:
        name: ``auto`` or a precision.
        device: ``cpu`` or ``cuda``.
    """
    if name != "auto":
        return name
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else _has_amx()
    return "bfloat16" if fast else "float32"


def default_threads() -> int:
    """As many threads as torch would take on its own: one per core."""
    return torch.get_num_threads()


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_BYTES = 1 << 30
_FUNCTIONS = (
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sigmoid", "erf", "erfc", "erfinv"),
    *("sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "lgamma"),
)


@cache
def keep_freed_memory() -> bool:
    """Ask glibc to keep blocks below 1 GiB; anywhere else nothing happens.

    The C library hands large freed blocks back to the operating system at once and fetches them again, page by page,
    at the next use; an evaluation frees and takes the same few megabytes hundreds of times a second.

    Returns:
        Whether the C library understood. Results never depend on it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _BYTES) and mallopt(_M_TRIM_THRESHOLD, _BYTES))


@cache
def warm_up_kernels() -> None:
    """Call each elementary function once on one number, before anything calls it on many.

    MKL chooses a kernel at a function's first call. When several threads make that call together, one of them may get a
    kernel of lower accuracy, once (pytorch issue 188792): about two processes in a thousand scored their first
    generation differently in the sixth digit, which broke exact resume.
    """
    for dtype in (torch.float32, torch.float64):
        one = torch.full((1,), 0.5, dtype=dtype)
        for name in _FUNCTIONS:
            getattr(torch, name)(one)


logger = logging.getLogger("galab")
#: The attribute of a log record that holds its key, by which several processes log an error once.
KEY = "galab_key"
_logged: set[str] = set()


def log_member_failure(error: BaseException) -> None:
    """Log an error's traceback, unless one like it was logged before."""
    lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    key = repr((type(error).__name__, lines))
    if is_new_error(key):
        text = "".join(traceback.format_exception(error)).rstrip()
        logger.warning("a member failed; others that fail like it are only counted\n%s", text, extra={KEY: key})


def is_new_error(key: str) -> bool:
    """Whether this key is asked for the first time."""
    new = key not in _logged
    _logged.add(key)
    return new


def forget_logged_errors() -> None:
    """Forget the logged errors: another run logs its own."""
    _logged.clear()
