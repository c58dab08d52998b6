"""Arrays as plain data: a dict of element type, shape and raw little-endian bytes.

An element type is one of twelve names such as ``"<f4"``, or, for a structured array, a list of ``[name, type]`` pairs
(``[name, type, shape]`` for a field that is itself a small array).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The key by which a dict is known to hold an array; no other dict may have it.
MARK = "__array__"
#: The only element types that a checkpoint holds: no objects, no text, no dates.
FORMATS = frozenset(["|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"])

_MAX_FIELDS = 64
_MAX_AXES = 16
_MAX_LENGTH = 2**48


class NotPlain(Exception):
    """Something that is not plain data; the text says what. Never leaves the store."""


def describe(dtype: np.dtype[Any]) -> str | list[list[Any]]:
    """The plain description of an element type.

    Raises:
        NotPlain: the type is not among those that a checkpoint holds.
    """
    if dtype.names is None:
        name = dtype.newbyteorder("<").str
        if name not in FORMATS:
            raise NotPlain(f"an array of {dtype}, which is not a number of fixed size")
        return name
    fields: list[list[Any]] = []
    for name in dtype.names:
        base, shape = dtype[name].base, dtype[name].shape
        if base.names is not None:
            raise NotPlain(f"a structured array whose field '{name}' is structured itself")
        fields.append([name, describe(base), list(shape)] if shape else [name, describe(base)])
    return fields


def element_type(description: object) -> np.dtype[Any]:
    """The element type behind a description that may come from a stranger.

    Raises:
        NotPlain: it is not the description of an allowed type.
    """
    if isinstance(description, str) and description in FORMATS:
        return np.dtype(description)
    if not isinstance(description, list) or not 1 <= len(description) <= _MAX_FIELDS:
        raise NotPlain("an array of an unknown element type")
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    for field in description:
        if not isinstance(field, list) or len(field) not in (2, 3) or not isinstance(field[0], str) or not field[0]:
            raise NotPlain("a structured array with a field that is not a name and a type")
        if not isinstance(field[1], str) or field[1] not in FORMATS:
            raise NotPlain("a structured array with a field of an unknown element type")
        fields.append((field[0], field[1], _axes(field[2]) if len(field) == 3 else ()))
    return np.dtype(fields)


def packed(array: NDArray[Any]) -> tuple[str | list[list[Any]], list[int], memoryview]:
    """Description, shape and bytes of an array, little-endian, row by row, without padding between fields."""
    description = describe(array.dtype)
    plain = np.asarray(array, dtype=element_type(description), order="C")
    return description, list(plain.shape), plain.reshape(-1).view(np.uint8).data


def unpacked(header: dict[str, Any]) -> NDArray[Any]:
    """The array behind a dict with :data:`MARK`; a copy, so that it is aligned, writable and frees the file's bytes.

    Raises:
        NotPlain: the header is not one that galab writes, or does not fit the bytes.
    """
    if set(header) != {MARK, "shape", "data"} or not isinstance(header["data"], memoryview):
        raise NotPlain("an array without type, shape and bytes")
    dtype, shape, data = element_type(header[MARK]), _axes(header["shape"]), header["data"]
    expected = math.prod(shape) * dtype.itemsize
    if expected != len(data):
        raise NotPlain(f"an array of {len(data)} bytes whose shape needs {expected}")
    if expected == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _axes(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, list) or len(shape) > _MAX_AXES:
        raise NotPlain("an array without a list of lengths as its shape")
    if not all(type(length) is int and 0 <= length <= _MAX_LENGTH for length in shape):
        raise NotPlain("an array with an impossible length in its shape")
    return tuple(shape)
