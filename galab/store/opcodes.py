"""Plain data as pickle opcodes, and back, with the fifteen opcodes that plain data needs.

The text is a legal pickle of protocol 5, so that ``pickle.load`` reads it anywhere. Reading does not use ``pickle``:
this reader knows values, lists and dicts and nothing else. It has no memo (so no value is shared and nothing can
multiply), no stack that could underflow, and no way to name a class or to call anything.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any

import numpy as np

from galab.store.arrays import MARK, NotPlain, packed, unpacked

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
