"""Reader of the IDX format: a big-endian header with type and shape, then the numbers, row by row.

Source: "The IDX file format", Y. LeCun, C. Cortes, C. Burges, http://yann.lecun.com/exdb/mnist/ (1998).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
#: Type code in the third byte of the header to the type of the numbers.
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an IDX file, gzipped or raw.

    Raises:
        DataError: the file cannot be read or is damaged.
    """
    return parse_idx(read_payload(path), str(path))


def read_payload(path: Path) -> bytes:
    """The decompressed content of a file that may or may not be gzipped.

    Raises:
        DataError: the file cannot be read, or its gzip stream is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"expected to read '{path}', got {error.strerror or error}; check the file") from error
    return decompress(content, str(path))


def decompress(content: bytes, name: str) -> bytes:
    """``content`` itself, or what it holds when it starts like a gzip file.

    Raises:
        DataError: the gzip stream is damaged or cut off.
    """
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"expected whole gzip data in '{name}', got a damaged stream; replace the file") from error


def parse_idx(payload: bytes, name: str) -> NDArray[Any]:
    """The array in the decompressed bytes of an IDX file, in this machine's byte order.

    Args:
        payload: header and numbers.
        name: what to call the data in messages.

    Raises:
        DataError: the header is not one of IDX, or the length is not the one that it announces.
    """
    if len(payload) < 4 or payload[:2] != b"\0\0" or payload[2] not in _TYPES:
        raise DataError(f"expected IDX data in '{name}', got a start of {payload[:4]!r}; replace the file")
    kind, axes = np.dtype(_TYPES[payload[2]]), payload[3]
    start = 4 + 4 * axes
    if len(payload) < start:
        raise DataError(
            f"expected an IDX header of {start} bytes in '{name}', got {len(payload)} bytes; replace the file"
        )
    shape = struct.unpack(f">{axes}I", payload[4:start])
    expected = start + math.prod(shape) * kind.itemsize
    if len(payload) != expected:
        raise DataError(
            f"expected {expected:,} bytes in '{name}' (shape {shape} of {kind.name}), got {len(payload):,}; "
            "replace the file"
        )
    return np.frombuffer(payload, dtype=kind, offset=start).reshape(shape).astype(kind.newbyteorder("="), copy=False)
