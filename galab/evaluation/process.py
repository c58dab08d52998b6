"""What a process needs before it evaluates: memory that stays, and mathematical functions that repeat."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

import torch

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
def settle_kernels() -> None:
    """Call each elementary function once on one number, before anything calls it on many.

    MKL chooses a kernel at a function's first call. When several threads make that call together, one of them may get a
    kernel of lower accuracy, once (pytorch issue 188792): about two processes in a thousand scored their first
    generation differently in the sixth digit, which broke exact resume.
    """
    for dtype in (torch.float32, torch.float64):
        one = torch.full((1,), 0.5, dtype=dtype)
        for name in _FUNCTIONS:
            getattr(torch, name)(one)
