"""Plain data as pickle opcodes, and back, with the fifteen opcodes that plain data needs.

The text is a legal pickle of protocol 5, so that ``pickle.load`` reads it anywhere. Reading does not use ``pickle``:
this reader knows values, lists and dicts and nothing else. It has no memo (so no value is shared and nothing can
multiply), no stack that could underflow, and no way to name a class or to call anything.

Arrays as plain data: a dict of element type, shape and raw little-endian bytes.

An element type is one of twelve names such as ``"<f4"``, or, for a structured array, a list of ``[name, type]`` pairs
(``[name, type, shape]`` for a field that is itself a small array).

The checkpoint format, version 1: plain data in a ``.pkl`` that any Python opens and that cannot run code.

A file is a pickle of protocol 5 made of dicts, lists, texts, numbers and arrays as bytes, followed by a trailer of 40
bytes: a magic word and the SHA-256 of all before it. ``pickle.load`` stops before the trailer; :func:`load` checks it
first, and then reads with :mod:`galab.storage.pickle_format`, which knows no classes.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import stat
import struct
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.errors import CheckpointError
from galab.storage.files import write_atomic

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


#: Lists and dicts inside each other; the reader and the writer recurse this deep.
MAX_DEPTH = 64
#: Values in one checkpoint, an array being three or more. Bounded, since a byte of file can cost a hundred of memory.
MAX_VALUES = 1_000_000
#: Bytes of the longest whole number.
_MAX_INTEGER = 255
_START = pickle.PROTO + b"\x05"
_BIG = 1 << 16


class Writer:
    """Turns one value into chunks of opcodes; the bytes of large arrays are referred to, not copied."""

    def __init__(self) -> None:
        self.trail: list[str] = []  # where in the value the writer is, for messages
        self._chunks: list[bytes | bytearray | memoryview] = []
        self._open = bytearray()
        self._values = 0

    def write(self, value: dict[str, Any]) -> list[bytes | bytearray | memoryview]:
        """The chunks for ``value``.

        Raises:
            NotPlain: something in it is not plain data; ``trail`` then names the place.
        """
        self._open += _START
        self._value(value, 0)
        self._open += pickle.STOP
        return [*self._chunks, self._open]

    def _value(self, value: Any, depth: int) -> None:
        self._count()
        kind = type(value)
        if value is None:
            self._open += pickle.NONE
        elif kind is bool or isinstance(value, np.bool_):
            self._open += pickle.NEWTRUE if value else pickle.NEWFALSE
        elif kind is int or isinstance(value, np.integer):
            self._integer(int(value))
        elif kind is float or isinstance(value, (np.float64, np.float32, np.float16)):
            self._open += pickle.BINFLOAT + struct.pack(">d", value)
        elif kind is str:
            self._text(value)
        elif kind is dict:
            self._dict(value, depth + 1)
        elif kind is list or kind is tuple:
            self._list(value, depth + 1)
        elif kind is np.ndarray:
            self._array(value, depth)
        else:
            raise NotPlain(f"an object of type {kind.__module__}.{kind.__qualname__}")

    def _count(self) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise NotPlain(f"more than {MAX_VALUES:,} values (store long lists of numbers as arrays)")

    def _integer(self, value: int) -> None:
        if -(2**31) <= value < 2**31:
            self._open += pickle.BININT + struct.pack("<i", value)
            return
        size = value.bit_length() // 8 + 1
        if size > _MAX_INTEGER:
            raise NotPlain(f"a whole number of {size} bytes")
        self._open += pickle.LONG1 + bytes([size]) + value.to_bytes(size, "little", signed=True)

    def _text(self, value: str) -> None:
        data = value.encode("utf-8", "surrogatepass")
        if len(data) >= 2**32:
            raise NotPlain(f"a text of {len(data)} bytes")
        short = len(data) < 256
        head = (
            pickle.SHORT_BINUNICODE + bytes([len(data)]) if short else pickle.BINUNICODE + struct.pack("<I", len(data))
        )
        self._open += head + data

    def _dict(self, value: dict[Any, Any], depth: int) -> None:
        _check_depth(depth)
        self._open += pickle.EMPTY_DICT + pickle.MARK
        for key, item in value.items():
            # Text keys only: its hash is salted, whereas crafted numbers all collide and make reading take for ever.
            if type(key) is not str or key == MARK:
                raise NotPlain(f"a dict with the key {key!r:.80} (expected text other than '{MARK}')")
            self.trail.append(f".{key:.80}")
            self._text(key)
            self._value(item, depth)
            self.trail.pop()
        self._open += pickle.SETITEMS

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> None:
        _check_depth(depth)
        self._open += pickle.EMPTY_LIST + pickle.MARK
        for index, item in enumerate(value):
            self.trail.append(f"[{index}]")
            self._value(item, depth)
            self.trail.pop()
        self._open += pickle.APPENDS

    def _array(self, value: np.ndarray[Any, Any], depth: int) -> None:
        _check_depth(depth + 1)
        description, shape, data = packed(value)
        self._open += pickle.EMPTY_DICT + pickle.MARK
        for key, item in ((MARK, description), ("shape", shape)):
            self._text(key)
            self._value(item, depth + 1)
        self._text("data")
        self._count()  # as the reader counts
        big = len(data) >= 2**32
        self._open += pickle.BINBYTES8 if big else pickle.BINBYTES
        self._open += struct.pack("<Q" if big else "<I", len(data))
        if len(data) < _BIG:
            self._open += data
        else:
            self._chunks += [self._open, data]
            self._open = bytearray()
        self._open += pickle.SETITEMS


class Reader:
    """Turns opcodes back into the value, trusting nothing.

    Attributes:
        top: the outermost dict, filled as the reader goes: what is in it is there even when the rest is refused.
    """

    def __init__(self, payload: memoryview) -> None:
        self.top: dict[str, Any] = {}
        self._payload = payload
        self._at = 0
        self._values = 0

    def read(self) -> dict[str, Any]:
        """The value.

        Raises:
            NotPlain: an opcode that plain data does not need, or a structure that galab does not write.
        """
        if self._take(2) != _START:
            raise NotPlain("no pickle of protocol 5")
        self._expect(pickle.EMPTY_DICT)
        self._dict(self.top, 1)
        self._expect(pickle.STOP)
        if self._at != len(self._payload):
            raise NotPlain("bytes after the end of its data")
        return self.top

    def _take(self, size: int) -> memoryview:
        if size > len(self._payload) - self._at:
            raise NotPlain(f"a value of {size} bytes where {len(self._payload) - self._at} are left")
        self._at += size
        return self._payload[self._at - size : self._at]

    def _expect(self, opcode: bytes) -> None:
        found = bytes(self._take(1))
        if found != opcode:
            raise NotPlain(refusal(found))

    def _ends(self, opcode: bytes) -> bool:
        """Whether the list or dict ends here; steps over the end."""
        found = self._payload[self._at : self._at + 1] == opcode
        self._at += found
        return found

    def _value(self, depth: int, key: str = "") -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise NotPlain(f"more than {MAX_VALUES:,} values")
        opcode = bytes(self._take(1))
        if opcode in (pickle.SHORT_BINUNICODE, pickle.BINUNICODE):
            return self._text(opcode)
        if opcode == pickle.BININT:
            return int.from_bytes(self._take(4), "little", signed=True)
        if opcode == pickle.BINFLOAT:
            return struct.unpack(">d", self._take(8))[0]
        if opcode == pickle.EMPTY_DICT:
            return self._dict({}, depth + 1)
        if opcode == pickle.EMPTY_LIST:
            return self._list(depth + 1)
        if opcode == pickle.LONG1:
            return int.from_bytes(self._take(self._take(1)[0]), "little", signed=True)
        if opcode in _CONSTANTS:
            return _CONSTANTS[opcode]
        # Bytes have one place only: they are the content of an array.
        if opcode in (pickle.BINBYTES, pickle.BINBYTES8) and key == "data":
            return self._take(int.from_bytes(self._take(4 if opcode == pickle.BINBYTES else 8), "little"))
        raise NotPlain(refusal(opcode))

    def _text(self, opcode: bytes) -> str:
        size = int.from_bytes(self._take(1 if opcode == pickle.SHORT_BINUNICODE else 4), "little")
        return str(self._take(size), "utf-8", "surrogatepass")

    def _dict(self, items: dict[str, Any], depth: int) -> Any:
        _check_depth(depth)
        self._expect(pickle.MARK)
        while not self._ends(pickle.SETITEMS):
            opcode = bytes(self._take(1))
            if opcode not in (pickle.SHORT_BINUNICODE, pickle.BINUNICODE):
                raise NotPlain(f"a dict key that is not text ({refusal(opcode)})")
            key = self._text(opcode)
            if key in items:
                raise NotPlain(f"the key '{key:.80}' twice in one dict")
            items[key] = self._value(depth, key)
        if MARK in items:
            return unpacked(items)
        if isinstance(items.get("data"), memoryview):
            raise NotPlain("bytes that belong to no array")
        return items

    def _list(self, depth: int) -> list[Any]:
        _check_depth(depth)
        self._expect(pickle.MARK)
        items: list[Any] = []
        while not self._ends(pickle.APPENDS):
            items.append(self._value(depth))
        return items


_CONSTANTS = {pickle.NONE: None, pickle.NEWTRUE: True, pickle.NEWFALSE: False}


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotPlain(f"lists or dicts nested deeper than {MAX_DEPTH}")


def refusal(opcode: bytes) -> str:
    """The words for an opcode out of place."""
    import pickletools

    names = {known.code: known.name for known in pickletools.opcodes}
    name = names.get(opcode.decode("latin-1"), f"0x{opcode.hex()}")
    return f"the pickle opcode {name} where plain data has none: it could run code or eat the memory, so it is refused"


#: The version of the format; another one is refused.
FORMAT = 1
#: The word between the data and its SHA-256.
MAGIC = b"galab\x00ck"
#: Bytes after the pickle: the magic word and the SHA-256.
TRAILER_BYTES = 40
#: The largest file that is read unless the caller allows more.
MAX_BYTES = 4 * 2**30
_MIN_BYTES = 6 + TRAILER_BYTES  # an empty dict


def dump(value: dict[str, Any], path: Path) -> None:
    """Write plain data as a checkpoint, whole or not at all.

    The keys ``format`` and ``galab_version`` are written by this function, first. Tuples come back as lists, and
    NumPy scalars as Python numbers.

    Args:
        value: dicts with text keys, lists, texts, ints, floats, bools, None and arrays of numbers.
        path: the file to make or to replace.

    Raises:
        CheckpointError: something in ``value`` is not plain data; the message names the place.
        RunFolderError: the disk is full, or the folder is missing or read-only.
    """
    writer = Writer()
    stamp = {"format": FORMAT, "galab_version": _galab_version()}
    try:
        chunks = writer.write({**stamp, **value, **stamp})
    except NotPlain as problem:
        place = "".join(writer.trail).lstrip(".") or "the top"
        raise CheckpointError(
            f"expected plain data for '{path}', got {problem} at {place}; convert it to dicts, lists, numbers or arrays"
        ) from None
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    write_atomic(Path(path), [*chunks, MAGIC, digest.digest()])


def load(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read a checkpoint, even a stranger's.

    Args:
        path: the file.
        max_bytes: larger files are refused before they are read.

    Returns:
        What was given to :func:`dump`, with ``format`` and ``galab_version``; the arrays are fresh and writable.

    Raises:
        CheckpointError: the file is missing, damaged, hostile or of another format.
    """
    path = Path(path)
    reader: Reader | None = None
    try:
        payload = _checked_payload(path, max_bytes)
        reader = Reader(payload)
        return _of_this_format(reader.read(), path)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"expected a checkpoint at '{path}', got '{error.strerror or error}'") from error
    except NotPlain as problem:
        if reader is not None and "format" in reader.top:
            _of_this_format(reader.top, path)  # a later format may use more opcodes: its version explains more
        raise CheckpointError(f"expected plain data in '{path}', got {problem}; use another checkpoint") from None
    except Exception as error:  # whatever a hostile file provokes, the answer is one sentence
        raise CheckpointError(
            f"expected plain data in '{path}', got what no checkpoint holds ({type(error).__name__}); use another one"
        ) from error


def _checked_payload(path: Path, max_bytes: int) -> memoryview:
    """The bytes before the trailer, once size and SHA-256 are right."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
        raise CheckpointError(f"expected a checkpoint file at '{path}', got a folder or a device")
    size = status.st_size
    if size < _MIN_BYTES:
        raise CheckpointError(
            f"expected a galab checkpoint in '{path}', got {size} bytes, fewer than the smallest has; "
            "it was cut short, so use another checkpoint"
        )
    if size > max_bytes:
        raise CheckpointError(
            f"expected at most {max_bytes:,} bytes in '{path}', got {size:,}; allow more only if you trust the file"
        )
    with path.open("rb") as handle:
        content = memoryview(handle.read(size))
    trailer = bytes(content[-TRAILER_BYTES:])
    if trailer[: len(MAGIC)] != MAGIC:
        raise CheckpointError(
            f"expected a galab checkpoint in '{path}', got a file without galab's trailer; "
            "it was cut short or is another kind of file, so use another checkpoint"
        )
    payload = content[:-TRAILER_BYTES]
    if hashlib.sha256(payload).digest() != trailer[len(MAGIC) :]:
        raise CheckpointError(
            f"expected the SHA-256 at the end of '{path}' to fit its content, got another one; "
            "the file is damaged, so use another checkpoint"
        )
    return payload


def _of_this_format(value: dict[str, Any], path: Path) -> dict[str, Any]:
    found = value.get("format")
    if type(found) is int and found == FORMAT:
        return value
    author = str(value.get("galab_version", "an unknown version"))[:40]
    raise CheckpointError(
        f"expected checkpoint format {FORMAT} in '{path}', got {str(found)[:40]}, written by galab {author}; "
        "open it with that version"
    )


def _galab_version() -> str:
    try:
        return version("galab")
    except PackageNotFoundError:  # a source tree that was never installed
        return "unknown"
