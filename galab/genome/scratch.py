"""Buffers that a thread uses again for every child.

Fresh memory of this size comes from the operating system page by page at each use; measured, that was half the time
of decoding a child of 100,000 weights.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.buffers: dict[str, NDArray[Any]] = {}


_SCRATCH = _Scratch()


def scratch(name: str, n: int, dtype: type[Scalar]) -> NDArray[Scalar]:
    """An array of ``n`` arbitrary values; the same memory comes back for the same name on the same thread.

    Args:
        name: what it is for; two buffers in use at once need two names.
        n: length.
        dtype: type of the elements.
    """
    buffer = _SCRATCH.buffers.get(name)
    if buffer is None or len(buffer) < n or buffer.dtype != dtype:
        buffer = _SCRATCH.buffers[name] = np.empty(n, dtype=dtype)
    return buffer[:n]
