"""Hostile and damaged files, thousands of them, made from small real runs; always the same ones.

Each :class:`Case` replaces one file of a run, a group, a genome or a file of weights. What must not happen with any of
them is in ``hostile_driver.py``.
"""

from __future__ import annotations

import base64
import copy
import functools
import hashlib
import io
import json
import pickle
import random
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hostile_pickles import ARRAYS, HOSTILE, array, top
from lab_outcome import ENGINE, EPISODES, EVOLUTION, GRADIENTS, INTEGER, VECTORS, merged
from small_runs import SMALL

from galab.config import RunConfig
from galab.saved_runs.export import export
from galab.saved_runs.saved_run import open_saved
from galab.storage import pickle_format
from galab.training.start_or_resume import start
from galab.training.trials.sweep import sweep
from galab.training.trials.trials import start_trials

#: The kinds of runs that are damaged, each with a state of its own in its checkpoints.
KINDS: dict[str, dict[str, Any]] = {
    "plain": {}, "genes": ENGINE["genes"], "memories": ENGINE["memories"], "eggroll": EVOLUTION["eggroll"],
    "snes": VECTORS["snes"], "sgd": GRADIENTS["sgd"], "gesmr": ENGINE["gesmr"], "mates": ENGINE["mates"],
    "binary": ENGINE["binary"], "egg": INTEGER["egg"], "episodes": EPISODES["episodes"],
}  # fmt: skip
#: Bidirectional overrides, the escape of a terminal, its eight-bit form, a bell, and half of a letter.
CONTROLS = "\x1b[31mred\x07\x9b1m\u202egnp.exe\x7f\ud800"
NAMES = (
    "../other", "..", ".", "", "/etc", "/tmp/away", "a/b", "seed_0/../../other", "a\\b", "C:away", "\x00", "x" * 300,
    "-rf", ".hidden", CONTROLS, "seed_0/", "~/x", " ", None, 3, ["seed_0"],
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile or damaged file.

    Attributes:
        name: what was done.
        source: which run, group or file it was done to.
        file: the file in it that is replaced; empty for a source that is a file.
        make: gives its new content; None where that would be the old one, or cannot be written.
        sealed: whether a checkpoint's seal was made anew, so that only its content can tell.
        place: where in the content something was changed.
    """

    name: str
    source: str
    file: str
    make: Callable[[], bytes | None]
    sealed: bool = False
    place: str = ""


def of(content: bytes) -> Callable[[], bytes]:
    """What gives a content that is there already."""
    return lambda: content


def make_sources(root: Path) -> None:
    """Small real runs of several kinds, a group, a sweep, genomes and a file of weights."""
    for name, changes in KINDS.items():
        start(RunConfig(**merged(SMALL, changes)), name=name, runs=root)
    short = RunConfig(**merged(SMALL, {"generations": 2, "seed": None}))
    start_trials(short, [0, 1], name="group", runs=root, jobs=1)
    sweep(short, {"sigma": [0.01, 0.02]}, [0], name="sweep", runs=root, jobs=1)
    for name in ("plain", "genes"):
        export(open_saved(root / name), "genome", root / f"{name}.json")
        export(open_saved(root / name), "genome", root / f"{name}-keyframe.json", keyframe=True)
    export(open_saved(root / "plain"), "torch", root / "weights.pt")


def cases(root: Path) -> Iterator[Case]:
    """All cases, from sources that :func:`make_sources` made."""
    for number, kind in enumerate(KINDS):
        newest = f"checkpoints/gen_{5:06d}.pkl"
        yield from _pickles(root, kind, newest, number)
        yield from _pickles(root, kind, "founders.pkl", number, few=True)
    for kind, record in (("plain", "lineage.bin"), ("genes", "lineage.bin"), ("eggroll", "scores.bin")):
        yield from _bytes_of(kind, record, (root / kind / record).read_bytes(), 40)
        yield from _logs(root, kind)
    for kind in ("plain", "eggroll"):
        for file in ("config.json", "status.json"):
            yield from _json(root / kind / file, kind, file)
    for group in ("group", "sweep"):
        yield from _json(root / group / "group.json", group, "group.json")
        yield from _names(root / group / "group.json", group)
    for genome in ("plain", "plain-keyframe", "genes", "genes-keyframe"):
        yield from _json(root / f"{genome}.json", f"{genome}.json", "")
        yield from _bombs(root / f"{genome}.json")
    yield from _weights(root / "weights.pt")


def seal(payload: bytes) -> bytes:
    """A checkpoint whose seal is right, whatever its content."""
    return payload + pickle_format.MAGIC + hashlib.sha256(payload).digest()


def sealed(state: dict[str, Any]) -> bytes | None:
    """A changed state as a checkpoint; None where it is no plain data."""
    try:
        return seal(b"".join(pickle_format.encode(state)))
    except (pickle_format.NotPlain, ValueError, RecursionError):
        return None


def leaves_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each value in plain data, of dicts and lists too; of long lists the first ones."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves_of(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value[:3]):
            yield from leaves_of(item, (*path, number))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Plain data with another value at a place; without it where that is :data:`GONE`."""
    whole = copy.deepcopy(value)
    part = whole
    for step in path[:-1]:
        part = part[step]
    if new is GONE:
        del part[path[-1]]
    else:
        part[path[-1]] = new
    return whole


GONE = object()


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _values(old: Any, *, arrays: bool) -> dict[str, Any]:
    """What is put in the place of a value."""
    found: dict[str, Any] = {
        "gone": GONE, "nothing": None, "true": True, "minus": -1, "large": 2**62, "huge": 2**500, "half": 1.5,
        "nan": float("nan"), "infinite": float("inf"), "text": "text", "controls": CONTROLS, "list": [], "dict": {},
        "deep": _nested(40), "long": "x" * 200_000, "many": [0] * 5000,
    }  # fmt: skip
    if type(old) is int:
        found |= {"next": old + 1, "negative": -old - 1, "as text": str(old), "as float": float(old)}
    if type(old) is str:
        found |= {"longer": old + "x", "half of it": old[: len(old) // 2], "path": "../../etc/passwd"}
    if isinstance(old, list):
        found |= {"twice": old + old, "but the last": old[:-1], "reversed": old[::-1]}
    if arrays:
        found |= {"array": np.zeros(3), "rows": np.zeros(2, dtype=[("a", "<i4")]), "no axis": np.float32(1).reshape(())}
        found |= {"wide": np.zeros((0, 2**40), dtype=np.int32)}
    if isinstance(old, np.ndarray):
        found |= {"row more": np.concatenate([old, old])} if old.ndim else {}
        found |= {"empty": old[:0], "turned": old.T.copy(), "flat": old.ravel()} if old.ndim else {}
        if old.dtype.names is None:
            found |= {"doubles": old.astype(np.float64), "bytes": old.astype(np.uint8), "ends": np.full_like(old, 120)}
        else:
            for name in old.dtype.names:
                other = old.copy()
                other[name] = 120
                found[f"{name} 120"] = other
    return found


def _pickles(root: Path, source: str, file: str, number: int, *, few: bool = False) -> Iterator[Case]:
    """A checkpoint: damaged, cut, with opcodes that run code, and with each leaf changed and sealed again."""
    content = (root / source / file).read_bytes()
    yield from _bytes_of(source, file, content, 15 if few else 60)
    payload, state = content[: -pickle_format.TRAILER_BYTES], pickle_format.load(root / source / file)
    draw = random.Random(number)
    for place in range(10 if few else 40):
        damaged = bytearray(payload)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        yield Case(f"sealed flip {place}", source, file, of(seal(bytes(damaged))), True, "anywhere")
    if not few or number < 2:
        for name, opcodes in HOSTILE.items():
            yield Case(f"opcode {name}", source, file, of(seal(top("x", opcodes))), True)
            inside = payload[:-1] + _key("x") + opcodes + b"u."
            yield Case(f"opcode {name} in its place", source, file, of(seal(inside)), True)
        for name, parts in ARRAYS.items():
            yield Case(f"array {name}", source, file, of(seal(top("weights", array(*parts)))), True)
        for protocol in range(6):
            exploit = pickle.dumps({**state, "x": Exploit(str(root.parent / "touched"))}, protocol=protocol)
            yield Case(f"code in protocol {protocol}", source, file, of(seal(exploit)), True)
    for at, path in enumerate(leaves_of(state)):
        old = _at(state, path)
        offered = list(_values(old, arrays=True).items())
        count = 1 if path[0] == "hyperparameters" else 10 if isinstance(old, np.ndarray) else 4
        for turn in range(min(count, len(offered))):
            name, new = offered[(at * 7 + number * 5 + turn * 3) % len(offered)]
            place, make = ".".join(map(str, path)), functools.partial(_resealed, state, path, new, content)
            yield Case(f"{place} {name}", source, file, make, True, place)


def _resealed(state: dict[str, Any], path: tuple[Any, ...], new: Any, content: bytes) -> bytes | None:
    data = sealed(changed(state, path, new))
    return None if data == content else data


def _key(word: str) -> bytes:
    return b"(" + b"\x8c" + bytes([len(word)]) + word.encode()


class Exploit:
    """Touches a file through the shell when an ordinary unpickler reads it."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, (f"touch {self.target}",)


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _bytes_of(source: str, file: str, content: bytes, count: int) -> Iterator[Case]:
    """Flipped bits, cuts, zeros and insertions in the bytes of a file."""
    draw = random.Random(f"{source} {file}")
    for number in range(count):
        damaged, place = bytearray(content), draw.randrange(len(content))
        kind = number % 4
        if kind == 0:
            damaged[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del damaged[place:]
        elif kind == 2:
            damaged[place:place] = draw.randbytes(draw.randint(1, 64))
        else:
            damaged[place : place + 32] = bytes(len(damaged[place : place + 32]))
        if bytes(damaged) != content:
            yield Case(f"{('flip', 'cut', 'more', 'zeros')[kind]} at {place}", source, file, of(bytes(damaged)))
    yield Case("empty", source, file, of(b""))
    yield Case("only zeros", source, file, of(bytes(len(content))))


def _json(path: Path, source: str, file: str) -> Iterator[Case]:
    """A JSON file: damaged, nested deeply, too large, and with each leaf changed."""
    content = path.read_bytes()
    yield from _bytes_of(source, file, content, 24)
    value = json.loads(content)
    texts = {
        "deep": b"[" * 200_000, "deep and closed": b"[" * 50_000 + b"]" * 50_000, "deep dicts": b'{"a":' * 100_000,
        "many": b"[" + b"[]," * 3_000_000 + b"[]]", "a number": b"3", "a list": b"[]", "nothing": b"null",
        "digits": b"9" * 100_000, "no UTF-8": b'{"a": "\xff\xfe"}', "NaN": b"NaN", "twice": content + content,
        "key twice": content.rstrip()[:-1] + b', "kind": "other"}', "bom": b"\xef\xbb\xbf" + content,
    }  # fmt: skip
    for name, text in texts.items():
        yield Case(f"text {name}", source, file, of(text))
    for at, place in enumerate(leaves_of(value)):
        offered = list(_values(_at(value, place), arrays=False).items())
        for turn in range(2):
            name, new = offered[(at * 5 + turn * 7) % len(offered)]
            make = functools.partial(_dumped, value, place, new)
            yield Case(f"{'.'.join(map(str, place))} {name}", source, file, make)


def _dumped(value: Any, place: tuple[Any, ...], new: Any) -> bytes:
    return json.dumps(changed(value, place, new)).encode()


def _names(path: Path, source: str) -> Iterator[Case]:
    """A group that names what is not in it."""
    value = json.loads(path.read_bytes())
    for name in NAMES:
        sweep_of = {"kind": "sweep", "cells": [name]}
        yield Case(f"cell {name!r:.20}", source, "group.json", of(json.dumps(sweep_of).encode()))
        if "seeds" in value:
            yield Case(f"seed {name!r:.20}", source, "group.json", of(json.dumps(value | {"seeds": [name]}).encode()))
    for seeds in ([], [0, 0], [-1], [2**70], [True], [0.0], ["0"], "0", {"0": 0}, None, list(range(200_000))):
        yield Case(f"seeds {seeds!r:.20}", source, "group.json", of(json.dumps(value | {"seeds": seeds}).encode()))


def _logs(root: Path, source: str) -> Iterator[Case]:
    """A log with lines that are others, or none."""
    path = root / source / "log.jsonl"
    yield from _bytes_of(source, "log.jsonl", path.read_bytes(), 24)
    lines = path.read_bytes().splitlines(keepends=True)
    value = json.loads(lines[2])
    for name in value:
        for new in ("text", -1, 1e999, [1], CONTROLS, None):
            text = json.dumps(value | {name: new}).encode() + b"\n"
            yield Case(f"line.{name} {new!r:.10}", source, "log.jsonl", of(b"".join([*lines[:2], text, *lines[3:]])))
    warned = json.dumps(value | {"warnings": [CONTROLS], "champion": CONTROLS}).encode() + b"\n"
    for name, text in (("warned", warned), ("deep", b"[" * 100_000 + b"\n"), ("list", b"[]\n"), ("bytes", b"\xff\n")):
        yield Case(f"line {name}", source, "log.jsonl", of(b"".join([*lines[:2], text, *lines[3:]])))
    yield Case("reversed", source, "log.jsonl", of(b"".join(lines[::-1])))


@functools.cache
def _bomb() -> str:
    """A text of 1.4 MB that unpacks to a gigabyte."""
    packer, zeros = zlib.compressobj(9), bytes(2**24)
    first, again = (packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return base64.b64encode(first + 63 * again).decode()


def _bombs(path: Path) -> Iterator[Case]:
    """A genome whose texts unpack to far more than they should, and one of a gigantic network."""
    value = json.loads(path.read_bytes())
    bomb = _bomb()
    places = [(name,) for name in ("weights", "log_sigma", "quantiles") if name in value]
    places += [("founders", "given")] if "founders" in value else []
    for place in places:
        yield Case(f"bomb in {'.'.join(place)}", path.name, "", functools.partial(_dumped, value, place, bomb))
    buffers = {"x": ["float32", [2**28], bomb]}
    yield Case("bomb in a buffer", path.name, "", of(json.dumps(value | {"buffers": buffers}).encode()))
    for width in (5 * 10**4, 10**5, 10**7, 10**9):
        shapes = [[width, 64], [width], [10, width], [10]]
        wide = value | {"layout": value["layout"] | {"shapes": shapes}}
        wide["hyperparameters"] = value["hyperparameters"] | {"hidden": str(width)}
        if "founders" in value:
            laws = [[law[0], shape, *law[2:]] for law, shape in zip(value["founders"]["laws"], shapes, strict=True)]
            wide["founders"] = value["founders"] | {"laws": laws}
        if "weights" in value:
            wide["weights"] = bomb
        yield Case(f"a network of {width}", path.name, "", of(json.dumps(wide).encode()))
    if "births" in value:
        many = [[birth, [], 0, 0, -100, 0, 0] for birth in range(50_000)]
        yield Case("many births", path.name, "", of(json.dumps(value | {"births": many}).encode()))
        for field in range(7):
            births = copy.deepcopy(value["births"])
            for name, new in {"minus": -1, "large": 2**70, "text": "x", "own": births[-1][0], "list": [2**40]}.items():
                births[-1][field] = new
                yield Case(f"birth.{field} {name}", path.name, "", of(json.dumps(value | {"births": births}).encode()))


def _weights(path: Path) -> Iterator[Case]:
    """A file of weights for ``--init``."""
    content = path.read_bytes()
    yield from _bytes_of(path.name, "", content, 200)
    good = torch.load(path, weights_only=True)
    first = next(iter(good))
    like = good[first]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's of sparse and quantized tensors
        odd = {"csr": like.to_sparse_csr(), "quantized": torch.quantize_per_tensor(like, 0.1, 0, torch.qint8)}
    objects: dict[str, Any] = {
        **{name: good | {first: value} for name, value in odd.items()},
        "integer keys": {1: like, **good}, "a list": [like], "a tensor": like, "a number": 3, "nothing": None,
        "empty": {}, "keys gone": dict(list(good.items())[1:]), "sparse": good | {first: like.to_sparse()},
        "meta": good | {first: like.to("meta")}, "complex": good | {first: like.to(torch.complex64)},
        "wrong shape": good | {first: like[:1]}, "nan": good | {first: like * float("nan")},
        "infinite": good | {first: like / 0}, "stretched": good | {first: torch.zeros(1).expand(2**40)},
        "text": good | {first: "text"}, "many keys": {f"p{i}": like[:1] for i in range(5000)}, "deep": _nested(900),
        "controls": {CONTROLS[:-1]: like}, "code": {"x": Exploit(str(path.parent.parent / "touched"))},
        "whole": good | {first: like.to(torch.int8)},
    }  # fmt: skip
    for name, value in objects.items():
        for old in (False, True):
            buffer = io.BytesIO()
            try:
                torch.save(value, buffer, _use_new_zipfile_serialization=not old)
            except Exception:
                continue
            yield Case(f"{name}{', old format' if old else ''}", path.name, "", of(buffer.getvalue()))
    for name, level in (("stored", zipfile.ZIP_STORED), ("packed", zipfile.ZIP_DEFLATED)):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", level) as archive:
            archive.writestr("a/data.pkl", pickle.dumps(Exploit(str(path.parent.parent / "touched"))))
            archive.writestr("a/data/0", bytes(2**20 if level == zipfile.ZIP_STORED else 2**28))
        yield Case(f"a zip file, {name}", path.name, "", of(buffer.getvalue()))
