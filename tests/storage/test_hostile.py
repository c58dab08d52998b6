"""Damaged and hostile checkpoints: one sentence each, nothing is run, and the memory stays small."""

import contextlib
import hashlib
import os
import pickle
import random
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hostile_pickles import ARRAYS, HOSTILE, array, text, top

from galab.errors import CheckpointError
from galab.storage import pickle_format

EXECUTED: list[str] = []


class Exploit:
    """Runs :func:`boom` when an ordinary unpickler reads it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return boom, ("run",)


def boom(word: str) -> str:
    EXECUTED.append(word)
    return word


class Shell:
    """Touches a file through the shell when an ordinary unpickler reads it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


def seal(path: Path, payload: bytes) -> Path:
    """A file whose trailer is right, whatever the payload."""
    path.write_bytes(payload + pickle_format.MAGIC + hashlib.sha256(payload).digest())
    return path


def refused(path: Path, **options: int) -> str:
    with pytest.raises(CheckpointError) as caught:
        pickle_format.load(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600
    return message


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.pkl"
    state = {"weights": np.arange(500, dtype=np.int32), "config": {"task": "mnist", "sigma": 0.02}, "ids": [1, 2**40]}
    pickle_format.dump(state, path)
    return path


def damage(content: bytes, draw: random.Random) -> bytes:
    """One random accident; never the original."""
    kind, position = draw.randrange(4), draw.randrange(len(content))
    size = draw.randint(1, 64)
    damaged = bytearray(content)
    if kind == 0:
        damaged[position] ^= 1 << draw.randrange(8)
    elif kind == 1:
        del damaged[position:]
    elif kind == 2:
        damaged[position:position] = draw.randbytes(size)
    else:
        damaged[position : position + size] = bytes(len(damaged[position : position + size]))
        if damaged == content:
            damaged[position] ^= 255
    return bytes(damaged)


def test_500_random_corruptions_are_each_refused(good: Path, tmp_path: Path) -> None:
    content, path = good.read_bytes(), tmp_path / "bad.pkl"
    for seed in range(500):
        path.write_bytes(damage(content, random.Random(seed)))
        refused(path)


@pytest.mark.slow
def test_random_payloads_under_a_right_trailer_never_raise_anything_else(good: Path, tmp_path: Path) -> None:
    content, path = good.read_bytes()[: -pickle_format.TRAILER_BYTES], tmp_path / "bad.pkl"
    for seed in range(1500):
        seal(path, damage(content, random.Random(seed)))
        try:
            found = pickle_format.load(path)
        except CheckpointError:
            continue
        assert found["format"] == 1  # a changed number is legal, as the trailer vouches for it


@pytest.mark.parametrize("size", [0, 1, 39, 40, 45])
def test_too_short_a_file(tmp_path: Path, size: int) -> None:
    path = tmp_path / "short.pkl"
    path.write_bytes(b"x" * size)
    assert f"got {size} bytes" in refused(path)


def test_files_that_are_no_checkpoints(tmp_path: Path, good: Path) -> None:
    ordinary = tmp_path / "ordinary.pkl"
    ordinary.write_bytes(pickle.dumps({"weights": list(range(100))}, protocol=5))
    assert "without galab's trailer" in refused(ordinary)
    good.write_bytes(good.read_bytes()[:-1])
    assert "cut short" in refused(good)
    assert "No such file" in refused(tmp_path / "missing.pkl")
    assert "folder or a device" in refused(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pkl")
    assert "folder or a device" in refused(tmp_path / "pipe.pkl")


def test_too_large_a_file_is_refused_before_it_is_read(good: Path) -> None:
    assert "expected at most 100 bytes" in refused(good, max_bytes=100)


def test_a_sparse_giant_is_refused_without_reading(tmp_path: Path) -> None:
    path = tmp_path / "giant.pkl"
    with open(path, "wb") as handle:
        handle.truncate(5 * 2**30)
    assert "expected at most 4,294,967,296 bytes" in refused(path)


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_pickle_is_not_run(tmp_path: Path, protocol: int) -> None:
    touched = tmp_path / "touched"
    for number, exploit in enumerate([Exploit(), Shell(touched)]):
        payload = pickle.dumps({"format": 1, "x": exploit}, protocol=protocol)
        path = seal(tmp_path / f"evil{number}.pkl", payload)
        refused(path)
    assert EXECUTED == []
    assert not touched.exists()
    pickle.loads(pickle.dumps(Exploit(), protocol=protocol))  # the exploit does work on an ordinary unpickler
    assert EXECUTED == ["run"]
    EXECUTED.clear()


@pytest.mark.parametrize("protocol", [2, 5])
def test_code_spliced_into_galabs_own_grammar_is_not_run(tmp_path: Path, protocol: int) -> None:
    call = pickle.dumps(Exploit(), protocol=2)[2:-1]
    message = refused(seal(tmp_path / "evil.pkl", top("x", call)))
    assert "GLOBAL" in message
    assert "could run code" in message
    assert "refused" in message
    assert EXECUTED == []


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_opcodes_are_refused_in_little_memory(tmp_path: Path, value: bytes) -> None:
    path = seal(tmp_path / "evil.pkl", top("x", value))
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("parts", ARRAYS.values(), ids=ARRAYS.keys())
def test_hostile_arrays_are_refused_in_little_memory(tmp_path: Path, parts: tuple[bytes, bytes, bytes]) -> None:
    path = seal(tmp_path / "evil.pkl", top("x", array(*parts)))
    tracemalloc.start()
    try:
        assert "expected plain data" in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_a_billion_laughs_are_refused(tmp_path: Path) -> None:
    lists = b"](" + text("ha") + b"e\x94" + b"".join(b"](" + bytes([104, i]) * 10 + b"e\x94" for i in range(30))
    assert "MEMOIZE" in refused(seal(tmp_path / "evil.pkl", top("x", b"](" + lists + b"e")))


@pytest.mark.slow
def test_very_many_values_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    path = seal(tmp_path / "evil.pkl", top("x", b"](" + b"](e" * 3_000_000 + b"e"))
    assert "more than 1,000,000 values" in refused(path)


@pytest.mark.parametrize(
    "payload",
    [b"\x80\x05].", b"\x80\x05N.", b"\x80\x04}(u.", b"}(u.", top("x", b"N")[:-1], top("x", b"N") + b"N."],
    ids=["a list", "none", "protocol 4", "no protocol", "no end", "two values"],
)
def test_other_structures_are_refused(tmp_path: Path, payload: bytes) -> None:
    refused(seal(tmp_path / "odd.pkl", payload.ljust(6, b".")))


@pytest.mark.parametrize("found", [0, 2, True, 1.0, "1", None, [1], {"a": 1}, np.zeros(3)])
def test_another_format_is_named_with_its_author(tmp_path: Path, found: object) -> None:
    payload = b"".join(pickle_format.encode({"format": found, "galab_version": "7.7"}))
    message = refused(seal(tmp_path / "later.pkl", payload))
    assert "expected checkpoint format 1" in message
    assert "written by galab 7.7" in message


def test_no_format_and_a_later_format_with_new_opcodes(tmp_path: Path) -> None:
    assert "expected checkpoint format 1" in refused(seal(tmp_path / "none.pkl", b"\x80\x05}(" + text("a") + b"Nu."))
    later = b"\x80\x05}(" + text("format") + b"J\x02\x00\x00\x00" + text("galab_version") + text("9.0")
    message = refused(seal(tmp_path / "later.pkl", later + text("new") + b"\x8fu."))
    assert "got 2, written by galab 9.0" in message


def test_a_reader_deep_in_the_callers_stack_still_answers_with_a_sentence(good: Path) -> None:
    def sink(depth: int) -> None:
        if depth:
            return sink(depth - 1)
        with contextlib.suppress(CheckpointError):
            pickle_format.load(good)
        return None

    frame, used = sys._getframe(), 0
    while frame:
        frame, used = frame.f_back, used + 1  # type: ignore[assignment]
    for spare in range(25, 60):
        sink(sys.getrecursionlimit() - used - spare)
