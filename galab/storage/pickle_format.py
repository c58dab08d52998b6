"""The checkpoint format, version 1: plain data in a ``.pkl`` that any Python opens and that cannot run code.

A file is a pickle of protocol 5 made of dicts, lists, texts, numbers and arrays as bytes, followed by a trailer of 40
bytes: a magic word and the SHA-256 of all before it. ``pickle.load`` stops before the trailer.

A checkpoint may be hostile, and ``pickle.load`` runs what a pickle names. :func:`load` therefore builds the value
itself from the opcodes that ``pickletools.genops`` parses. It has these rules, each for a reason:

* The size is checked before the file is read, and the SHA-256 before a byte is parsed: damage is found at once.
* Only the opcodes of :data:`OPCODES` are known. None of them names a class or calls anything. None of them reads a
  memo, so no value is shared and a short file cannot multiply.
* No second parser reads the bytes. A checker beside an unpickler protects only where the two agree on every byte.
* Keys are text. The hash of a text is salted, whereas crafted numbers all collide and make a dict take for ever.
* A key comes once in a dict, since two readers could disagree on which of two values counts.
* Depth and number of values are bounded: callers recurse, and a byte of file can cost a hundred of memory.
* Bytes are the content of an array and nothing else. Element types are listed by name: NumPy's own type for objects
  would turn bytes into pointers.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import pickletools
import stat
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from galab.errors import CheckpointError
from galab.storage.files import write_atomic

#: The version of the format; another one is refused.
FORMAT = 1
#: The word between the data and its SHA-256.
MAGIC = b"galab\x00ck"
#: Bytes after the pickle: the magic word and the SHA-256.
TRAILER_BYTES = 40
#: The largest file that is read unless the caller allows more.
MAX_BYTES = 4 * 2**30
#: Lists and dicts inside each other.
MAX_DEPTH = 64
#: Values in one checkpoint. The keys of dicts count, and an array is seven or more.
MAX_VALUES = 1_000_000
#: The key by which a dict is known to hold an array; no other dict may have it.
ARRAY_KEY = "__array__"
#: The only element types that a checkpoint holds: no objects, no text, no dates.
ELEMENT_TYPES = frozenset(["|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"])

_START = pickle.PROTO + b"\x05"
_MIN_BYTES = 6 + TRAILER_BYTES  # an empty dict as earlier writers of format 1 put it
_MAX_INTEGER_BYTES = 255
_MAX_LETTERS = 2**30  # at most 4 GiB as UTF-8
_MAX_FIELDS = 64
_MAX_AXES = 16
_MAX_LENGTH = 2**48
_FRAME_BYTES = 9  # the opcode and its length
_LONG_BYTES = 1 << 12

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TEXTS = ("SHORT_BINUNICODE", "BINUNICODE")
_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_BYTES = ("SHORT_BINBYTES", "BINBYTES", "BINBYTES8")
_WITH_VALUE = frozenset([*_TEXTS, *_NUMBERS, *_BYTES])
_SINGLE = {"APPEND": 1, "SETITEM": 2}  # how many values of the stack it takes
_STRUCTURE = frozenset(["EMPTY_DICT", "EMPTY_LIST", "MARK", "APPEND", "APPENDS", "SETITEM", "SETITEMS"])
#: The opcodes of plain data.
OPCODES = frozenset([*_CONSTANTS, *_WITH_VALUE, *_STRUCTURE, "PROTO", "FRAME", "STOP"])


class NotPlain(Exception):
    """Something that is not plain data; the text says what. It never leaves the package.

    Attributes:
        place: where in the value it is, such as ``.state.law[1]``.
    """

    place = ""


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
    stamp = {"format": FORMAT, "galab_version": _galab_version()}
    try:
        chunks = encode({**stamp, **value, **stamp})
    except NotPlain as problem:
        place = problem.place.lstrip(".") or "the top"
        raise CheckpointError(
            f"expected plain data for '{path}', got {problem} at {place}; convert it to dicts, lists, numbers or arrays"
        ) from None
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    write_atomic(Path(path), [*chunks, MAGIC, digest.digest()])


def load(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read a checkpoint, even one from an unknown person.

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
        reader = Reader(_checked_content(path, max_bytes))
        return _of_this_format(reader.read(), path)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"expected a checkpoint at '{path}', got '{error.strerror or error}'") from error
    except NotPlain as problem:
        if reader is not None and "format" in (top := reader.top()):
            _of_this_format(top, path)  # a later format may use more opcodes: its version explains more
        raise CheckpointError(f"expected plain data in '{path}', got {problem}; use another checkpoint") from None
    except Exception as error:  # whatever a hostile file provokes, the answer is one sentence
        raise CheckpointError(
            f"expected plain data in '{path}', got what no checkpoint holds ({type(error).__name__}); use another one"
        ) from error


def encode(value: dict[str, Any]) -> list[memoryview]:
    """The pickle of plain data, in chunks; those of large arrays refer to the arrays' own memory.

    Raises:
        NotPlain: something in ``value`` is not plain data.
    """
    chunks = _Chunks()
    pickler = pickle.Pickler(chunks, protocol=5)
    # No memo: equal values are the same bytes, and nothing refers back to what the reader does not keep. Python's
    # documentation deprecates the mode since it loops on a value that holds itself; the bound on depth excludes those.
    pickler.fast = True
    pickler.dump(_PlainData().of(value, 0))
    return chunks


class _Chunks(list[memoryview]):
    """The file that the pickler writes to: large arrays stay single chunks, and nothing is copied."""

    def write(self, chunk: bytes | pickle.PickleBuffer) -> None:
        self.append(memoryview(chunk))


class _PlainData:
    """Turns a value into dicts, lists, numbers, texts and bytes, and refuses what the reader would."""

    def __init__(self) -> None:
        self._values = 0

    def of(self, value: Any, depth: int) -> Any:
        """The value as plain data, once it and all below it are checked."""
        self._count(1)
        kind = type(value)
        if value is None or kind is bool or kind is float:
            return value
        if kind is int:
            return _bounded(value)
        if kind is str and len(value) <= _MAX_LETTERS:
            return value
        if kind is dict:
            return self._dict(value, depth + 1)
        if kind is list or kind is tuple:
            return self._list(value, depth + 1)
        if kind is np.ndarray:
            return self._array(value, depth + 1)
        if isinstance(value, np.bool_):
            return bool(value)
        if isinstance(value, np.integer):
            return _bounded(int(value))
        if isinstance(value, (np.float64, np.float32, np.float16)):
            return float(value)
        raise NotPlain(f"an object of type {kind.__module__}.{kind.__qualname__}")

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise NotPlain(f"more than {MAX_VALUES:,} values (store long lists of numbers as arrays)")

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        _check_depth(depth)
        self._count(len(value))  # the keys
        found: dict[str, Any] = {}
        for key, item in value.items():
            if type(key) is not str or key == ARRAY_KEY:
                raise NotPlain(f"a dict with the key {key!r:.80} (expected text other than '{ARRAY_KEY}')")
            try:
                found[key] = self.of(item, depth)
            except NotPlain as problem:
                problem.place = f".{key:.80}{problem.place}"
                raise
        return found

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        _check_depth(depth)
        found: list[Any] = []
        for item in value:
            try:
                found.append(self.of(item, depth))
            except NotPlain as problem:
                problem.place = f"[{len(found)}]{problem.place}"
                raise
        return found

    def _array(self, value: NDArray[Any], depth: int) -> dict[str, Any]:
        _check_depth(depth)
        description = describe(value.dtype)
        # Little-endian, row by row, without padding between fields: the same numbers are the same bytes everywhere.
        packed = np.asarray(value, dtype=element_type(description), order="C").reshape(-1).view(np.uint8)
        self._count(4)  # three keys, and the bytes
        return {
            ARRAY_KEY: self.of(description, depth),
            "shape": self.of(list(value.shape), depth),
            "data": pickle.PickleBuffer(packed.data.toreadonly()),  # pickled as bytes, and large ones without a copy
        }


class _Source:
    """The file that ``genops`` reads: long pieces are views of the pickle, so that arrays are copied once."""

    def __init__(self, pickled: bytes) -> None:
        stream = io.BytesIO(pickled)  # shares the bytes
        self._view, self._read, self._seek = memoryview(pickled), stream.read, stream.seek
        self.tell, self.readline = stream.tell, stream.readline

    def read(self, size: int) -> bytes | memoryview:
        """The next ``size`` bytes; long ones without a copy."""
        if size < _LONG_BYTES:
            return self._read(size)
        start = self.tell()
        piece = self._view[start : start + size]
        self._seek(start + len(piece))
        return piece


class Reader:
    """Builds the value of a pickle from its opcodes, trusting nothing.

    Args:
        pickled: the pickle, without the trailer.
    """

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._values = 0

    def read(self) -> dict[str, Any]:
        """The value.

        Raises:
            NotPlain: an opcode that plain data does not need, or a structure that galab does not write.
            ValueError: bytes that are no opcodes.
        """
        if not self._pickled.startswith(_START):
            raise NotPlain("no pickle of protocol 5")
        stream = _Source(self._pickled)
        for opcode, argument, position in pickletools.genops(cast(IO[bytes], stream)):
            name = opcode.name
            if name in _WITH_VALUE:
                self._push(argument)
            elif name in _CONSTANTS:
                self._push(_CONSTANTS[name])
            elif name in _STRUCTURE:
                self._structure(name)
            else:
                self._check_frame(name, argument, position or 0)
        if stream.tell() != len(self._pickled):
            raise NotPlain("bytes after the end of its data")
        if len(self._stack) != 1 or self._marks or type(self._stack[0]) is not dict:
            raise NotPlain("something other than one dict")
        _check_nesting(self._stack[0], 1)
        return self._stack[0]

    def top(self) -> dict[str, Any]:
        """The outermost dict as far as it was read, which says the format even when the rest is refused."""
        if not self._stack or type(self._stack[0]) is not dict:
            return {}
        pending = zip(self._stack[1::2], self._stack[2::2], strict=False)
        return {**{key: item for key, item in pending if type(key) is str}, **self._stack[0]}

    def _push(self, value: Any) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise NotPlain(f"more than {MAX_VALUES:,} values")
        self._stack.append(value)

    def _structure(self, name: str) -> None:
        if name == "MARK":
            self._marks.append(len(self._stack))
            _check_depth(len(self._marks))
        elif name.startswith("EMPTY"):
            self._push({} if name == "EMPTY_DICT" else [])
        elif name in _SINGLE:
            self._fill(name, len(self._stack) - _SINGLE[name])
        elif self._marks:
            self._fill(name, self._marks.pop())
        else:
            raise NotPlain("the end of a list or dict that has no beginning")

    def _fill(self, name: str, start: int) -> None:
        """Put what is on the stack from ``start`` into the list or dict below it."""
        lowest = self._marks[-1] if self._marks else 0
        items, target = self._stack[start:], self._stack[start - 1] if start > lowest else None
        del self._stack[start:]
        if name.startswith("APPEND") and type(target) is list:
            _check_no_bytes(items)
            target += items
        elif name.startswith("SETITEM") and type(target) is dict and len(items) % 2 == 0:
            self._stack[start - 1] = _with_items(target, items)
        else:
            raise NotPlain("items that fit no list or dict")

    def _check_frame(self, name: str, argument: Any, position: int) -> None:
        """Opcodes around the value. A frame tells an unpickler how far to read ahead, and this reader nothing."""
        if name == "FRAME" and argument > len(self._pickled) - position - _FRAME_BYTES:
            raise NotPlain(f"a frame of {argument} bytes where fewer are left")
        if name not in OPCODES or (name == "PROTO" and position > 0):
            raise NotPlain(
                f"the pickle opcode {name} where plain data has none: it could run code or eat the memory, "
                "so it is refused"
            )


def _with_items(target: dict[str, Any], items: list[Any]) -> Any:
    """The dict with more items, or the array that they describe."""
    for key, item in zip(items[::2], items[1::2], strict=True):
        if type(key) is not str:
            raise NotPlain("a dict key that is not text")
        if key in target:
            raise NotPlain(f"the key '{key:.80}' twice in one dict")
        target[key] = item
    if ARRAY_KEY in target:
        return _array_from(target)
    _check_no_bytes(items)
    return target


def _check_no_bytes(items: list[Any]) -> None:
    if not {bytes, memoryview}.isdisjoint(map(type, items)):
        raise NotPlain("bytes that belong to no array")


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotPlain(f"lists or dicts nested deeper than {MAX_DEPTH}")


def _check_nesting(value: dict[str, Any] | list[Any], depth: int) -> None:
    _check_depth(depth)
    for item in value.values() if type(value) is dict else value:
        if type(item) is dict or type(item) is list:
            _check_nesting(item, depth + 1)


def _bounded(value: int) -> int:
    if (size := value.bit_length() // 8 + 1) > _MAX_INTEGER_BYTES:
        raise NotPlain(f"a whole number of {size} bytes")
    return value


def describe(dtype: np.dtype[Any]) -> str | list[list[Any]]:
    """The plain description of an element type.

    Returns:
        A name such as ``"<f4"``, or, for a structured type, a list of ``[name, type]`` pairs (``[name, type, shape]``
        for a field that is itself a small array).

    Raises:
        NotPlain: the type is not among those that a checkpoint holds.
    """
    if dtype.names is None:
        name = dtype.newbyteorder("<").str
        if name not in ELEMENT_TYPES:
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
    """The element type behind a description that may be hostile.

    Raises:
        NotPlain: it is not the description of an allowed type.
    """
    if isinstance(description, str) and description in ELEMENT_TYPES:
        return np.dtype(description)
    if not isinstance(description, list) or not 1 <= len(description) <= _MAX_FIELDS:
        raise NotPlain("an array of an unknown element type")
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    for field in description:
        if not isinstance(field, list) or len(field) not in (2, 3) or not isinstance(field[0], str) or not field[0]:
            raise NotPlain("a structured array with a field that is not a name and a type")
        if not isinstance(field[1], str) or field[1] not in ELEMENT_TYPES:
            raise NotPlain("a structured array with a field of an unknown element type")
        fields.append((field[0], field[1], _axes(field[2]) if len(field) == 3 else ()))
    return np.dtype(fields)


def _array_from(header: dict[str, Any]) -> NDArray[Any]:
    """The array behind a dict with :data:`ARRAY_KEY`; a copy, so that it is aligned and writable.

    The bytes are compared with the shape before memory is taken for it.
    """
    if set(header) != {ARRAY_KEY, "shape", "data"} or type(header["data"]) not in (bytes, memoryview):
        raise NotPlain("an array without type, shape and bytes")
    dtype, shape, data = element_type(header[ARRAY_KEY]), _axes(header["shape"]), header["data"]
    expected = math.prod(shape) * dtype.itemsize
    if expected != len(data):
        raise NotPlain(f"an array of {len(data)} bytes whose shape needs {expected}")
    if not expected:
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _axes(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, list) or len(shape) > _MAX_AXES:
        raise NotPlain("an array without a list of lengths as its shape")
    if not all(type(length) is int and 0 <= length <= _MAX_LENGTH for length in shape):
        raise NotPlain("an array with an impossible length in its shape")
    return tuple(shape)


def _checked_content(path: Path, max_bytes: int) -> bytes:
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
        content, trailer = handle.read(size - TRAILER_BYTES), handle.read(TRAILER_BYTES)
    if trailer[: len(MAGIC)] != MAGIC:
        raise CheckpointError(
            f"expected a galab checkpoint in '{path}', got a file without galab's trailer; "
            "it was cut short or is another kind of file, so use another checkpoint"
        )
    if hashlib.sha256(content).digest() != trailer[len(MAGIC) :]:
        raise CheckpointError(
            f"expected the SHA-256 at the end of '{path}' to fit its content, got another one; "
            "the file is damaged, so use another checkpoint"
        )
    return content


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
