"""Keeps freed memory in the process.

The C library hands large freed blocks back to the operating system at once and fetches them again, page by page, at
the next use. An evaluation frees and takes the same few megabytes hundreds of times a second.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_BYTES = 1 << 30


@cache
def keep_freed_memory() -> bool:
    """Ask glibc to keep blocks below 1 GiB; anywhere else nothing happens.

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
