"""Opcodes that a checkpoint must not hold, written by hand, each to be put into a file with a right trailer."""

import struct

from galab.storage.pickle_format import ARRAY_KEY


def text(word: str) -> bytes:
    return b"\x8c" + bytes([len(word)]) + word.encode()


def top(key: str, value: bytes) -> bytes:
    """A checkpoint with one entry, given as opcodes."""
    return b"\x80\x05}(" + text("format") + b"J\x01\x00\x00\x00" + text(key) + value + b"u."


def array(kind: bytes, shape: bytes, data: bytes) -> bytes:
    return b"}(" + text(ARRAY_KEY) + kind + text("shape") + shape + text("data") + data + b"u"


LONG = struct.pack("<I", 2**31)
HOSTILE = {
    "GLOBAL": b"cos\nsystem\n",
    "STACK_GLOBAL": b"\x93",
    "REDUCE": b"R",
    "BUILD": b"b",
    "INST": b"ios\nsystem\n",
    "OBJ": b"(o",
    "NEWOBJ": b"\x81",
    "NEWOBJ_EX": b"\x92",
    "EXT1": b"\x82\x01",
    "EXT4": b"\x84\x01\x00\x00\x00",
    "PERSID": b"Pid\n",
    "BINPERSID": b"Q",
    "PUT": b"p99999999999\n",
    "BINPUT": b"q\x00",
    "LONG_BINPUT memo bomb": b"r\xff\xff\xff\xff",
    "MEMOIZE": b"\x94",
    "GET": b"g0\n",
    "BINGET": b"h\x00",
    "DUP": b"2",
    "POP": b"0",
    "FRAME": b"\x95" + struct.pack("<Q", 2**60),
    "LONG4": b"\x8b\x10\x00\x00\x00" + b"\x01" * 16,
    "LONG4 of 2 GiB": b"\x8b" + LONG,
    "INT as text": b"I" + b"9" * 5000 + b"\n",
    "LONG as text": b"L" + b"9" * 5000 + b"L\n",
    "FLOAT as text": b"F1.0\n",
    "UNICODE as text": b"Vabc\n",
    "BYTEARRAY8": b"\x96" + struct.pack("<Q", 2**60),
    "NEXT_BUFFER": b"\x97",
    "EMPTY_SET": b"\x8f",
    "EMPTY_TUPLE": b")",
    "BINUNICODE of 2 GiB": b"X" + LONG,
    "BINUNICODE8 of an exbyte": b"\x8d" + struct.pack("<Q", 2**60),
    "broken UTF-8": b"\x8c\x02\xff\xff",
    "bytes outside an array": b"B\x01\x00\x00\x00x",
    "unknown opcode": b"\xff",
    "deep lists": b"](" * 100_000 + b"e" * 100_000,
    "deep dicts": (b"}(" + text("a")) * 100_000,
    "deep tuples": b"(" * 100_000,
    "end without a mark": b"]Ne",
    "append to a dict": b"}Na",
    "item set in a list": b"]" + text("a") + b"Ns",
    "append below the last mark": b"](Na",
    "item set below the last mark": b"}" + text("a") + b"(Ns",
    "bytes in a list": b"]C\x01xa",
    "bytes in a dict": b"}" + text("data") + b"C\x01xs",
    "one more item for an array": array(text("|u1"), b"]K\x01a", b"C\x01x") + text("a") + b"Ns",
    "deep lists without marks": b"]" * 1000 + b"a" * 999,
    "frame longer than the rest": b"\x95" + struct.pack("<Q", 4) + b"N",
    "second protocol": b"\x80\x05N",
    "list without an end": b"](",
    "key that is a number": b"}(J\x01\x00\x00\x00Nu",
    "key that is a list": b"}(](eNu",
    "key without a value": b"}(" + text("a") + b"u",
    "key twice": b"}(" + text("a") + b"N" + text("a") + b"Nu",
    "nothing": b"",
}
ARRAYS = {
    "bytes of 2**60": (text("<f4"), b"](e", b"\x8e" + struct.pack("<Q", 2**60)),
    "huge shape": (text("<f4"), b"](" + b"\x8a\x06" + (2**47).to_bytes(6, "little") + b"e", b"B\x00\x00\x00\x00"),
    "impossible shape": (text("<f4"), b"](\x8a\x08" + (2**62).to_bytes(8, "little") + b"e", b"B\x00\x00\x00\x00"),
    "huge empty shape": (
        text("<f4"),
        b"](" + (b"\x8a\x07" + (2**48).to_bytes(7, "little")) * 3 + b"J\x00\x00\x00\x00e",
        b"B\x00\x00\x00\x00",
    ),
    "negative shape": (text("<f4"), b"](J\xff\xff\xff\xffe", b"B\x00\x00\x00\x00"),
    "truth as shape": (text("|b1"), b"](\x88e", b"B\x01\x00\x00\x00\x01"),
    "too many axes": (text("|b1"), b"](" + b"J\x01\x00\x00\x00" * 40 + b"e", b"B\x01\x00\x00\x00\x01"),
    "bytes that do not fit": (text("<i4"), b"](J\x02\x00\x00\x00e", b"B\x04\x00\x00\x00abcd"),
    "object type": (text("|O"), b"](J\x01\x00\x00\x00e", b"B\x08\x00\x00\x00" + b"\x41" * 8),
    "object type by another name": (text("O8"), b"](J\x01\x00\x00\x00e", b"B\x08\x00\x00\x00" + b"\x41" * 8),
    "text type": (text("<U2"), b"](J\x01\x00\x00\x00e", b"B\x08\x00\x00\x00" + b"\x41" * 8),
    "big-endian type": (text(">i4"), b"](J\x01\x00\x00\x00e", b"B\x04\x00\x00\x00abcd"),
    "comma type": (text("i4,O"), b"](e", b"B\x00\x00\x00\x00"),
    "number as type": (b"J\x01\x00\x00\x00", b"](e", b"B\x01\x00\x00\x00x"),
    "no fields": (b"](e", b"](e", b"B\x00\x00\x00\x00"),
    "field of objects": (b"](](" + text("a") + text("|O") + b"ee", b"](e", b"B\x08\x00\x00\x00" + b"\x41" * 8),
    "field without a name": (b"](](N" + text("<i4") + b"ee", b"](e", b"B\x04\x00\x00\x00abcd"),
    "field twice": (
        b"](" + (b"](" + text("a") + text("|u1") + b"e") * 2 + b"e",
        b"](e",
        b"B\x02\x00\x00\x00ab",
    ),
    "field that is gigantic": (
        b"](](" + text("a") + text("|u1") + b"](" + (b"\x8a\x07" + (2**48).to_bytes(7, "little")) * 2 + b"eee",
        b"](J\x00\x00\x00\x00e",
        b"B\x00\x00\x00\x00",
    ),
    "shape that is text": (text("<i4"), text("4"), b"B\x04\x00\x00\x00abcd"),
    "data that is text": (text("<i4"), b"](e", text("abcd")),
}
