"""The checkpoint format: what goes in comes out, in any Python, and nothing is written by halves."""

import builtins
import errno
import math
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from galab.errors import CheckpointError, RunFolderError
from galab.storage import pickle_format
from galab.storage.pickle_format import ARRAY_KEY, ELEMENT_TYPES, OPCODES, NotPlain, Reader, element_type, encode

BIRTH = np.dtype([("id", "<i8"), ("parents", "<i8", (2,)), ("generation", "<u4"), ("log_sigma", "<i2")])


def encoded(value: dict[str, Any]) -> bytes:
    return b"".join(encode(value))


def same(left: object, right: object) -> bool:
    """Equality that tells 1, 1.0 and True apart, and knows arrays and NaN."""
    if isinstance(left, np.ndarray):
        return (
            isinstance(right, np.ndarray)
            and left.dtype == right.dtype
            and left.shape == right.shape
            and (left.tobytes() == right.tobytes())
        )
    if isinstance(left, dict):
        return isinstance(right, dict) and list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and math.isnan(left):
        return isinstance(right, float) and math.isnan(right)
    return type(left) is type(right) and left == right


def as_plain_pickle(value: object) -> object:
    """What ``pickle.load`` must see: arrays as dicts."""
    if isinstance(value, np.ndarray):
        fields = value.dtype.fields
        kind = value.dtype.str if fields is None else [[name, fields[name][0].str] for name in value.dtype.names or ()]
        return {ARRAY_KEY: kind, "shape": list(value.shape), "data": value.tobytes()}
    if isinstance(value, dict):
        return {key: as_plain_pickle(item) for key, item in value.items()}
    return [as_plain_pickle(item) for item in value] if isinstance(value, list) else value


arrays = hnp.arrays(
    st.sampled_from([np.dtype(name) for name in sorted(ELEMENT_TYPES)] + [np.dtype([("id", "<i8"), ("step", "<f4")])]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
scalars = (
    st.none() | st.booleans() | st.integers() | st.integers(-(2**1000), 2**1000) | st.floats() | st.text() | arrays
)
names = st.text().filter(lambda name: name != ARRAY_KEY)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=12)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.dictionaries(names, values, max_size=5))
def test_plain_data_comes_back_as_it_went_in_and_is_a_legal_pickle(value: dict[str, Any]) -> None:
    payload = encoded(value)
    assert same(value, Reader(payload).read())
    assert same(as_plain_pickle(value), pickle.loads(payload))


def test_a_file_comes_back_with_format_and_version(tmp_path: Path) -> None:
    births = np.zeros(3, BIRTH)
    births["parents"] = [[1, 2], [3, 4], [5, 6]]
    path = tmp_path / "a.pkl"
    pickle_format.dump({"births": births, "scalar": np.float64(0.5), "pair": (1, 2), "zero_d": np.array(7)}, path)
    found = pickle_format.load(path)
    assert found["format"] == 1
    assert isinstance(found["galab_version"], str)
    assert same(found["births"], births)
    assert found["scalar"] == 0.5
    assert type(found["scalar"]) is float
    assert found["pair"] == [1, 2]
    assert found["zero_d"].shape == ()
    assert found["zero_d"] == 7
    found["births"]["id"] = 9  # fresh and writable
    assert found["births"].flags.aligned
    pickle_format.dump(found, path)  # what was loaded can be saved again
    assert pickle_format.load(path)["births"]["id"].tolist() == [9, 9, 9]


def test_plain_pickle_load_ignores_the_trailer(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    pickle_format.dump({"weights": np.arange(3, dtype=np.int32)}, path)
    with open(path, "rb") as handle:
        found = pickle.load(handle)
        assert len(handle.read()) == pickle_format.TRAILER_BYTES
    assert found["weights"] == {ARRAY_KEY: "<i4", "shape": [3], "data": np.arange(3, dtype="<i4").tobytes()}


def test_the_same_value_is_the_same_bytes(tmp_path: Path) -> None:
    shared = ["x"]
    assert encoded({"a": shared, "b": shared}) == encoded({"a": ["x"], "b": ["x"]})
    big, strided = np.arange(12, dtype=">i4"), np.arange(24, dtype="<i4")[::2] // 2
    assert encoded({"a": big}) == encoded({"a": strided}) == encoded({"a": big.astype("<i4")})


def test_padding_is_not_stored() -> None:
    padded = np.dtype([("a", "u1"), ("b", "<i8")], align=True)
    rows = np.zeros(2, padded)
    rows["b"] = [5, 6]
    found = Reader(encoded({"rows": rows})).read()["rows"]
    assert found.dtype.itemsize == 9
    assert found["b"].tolist() == [5, 6]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"state": {"law": [0, object()]}}, "object of type builtins.object at state.law[1]"),
        ({"law": len}, "builtin_function_or_method"),
        ({"raw": b"bytes"}, "builtins.bytes"),
        ({"names": np.array(["a"])}, "array of <U1"),
        ({"things": np.array([None])}, "array of object"),
        ({"complex": np.zeros(2, complex)}, "complex128"),
        ({"empty": np.zeros(2, np.dtype([]))}, "unknown element type"),
        ({"masked": np.ma.masked_array([1.0])}, "MaskedArray"),
        ({"table": {7: "x"}}, "key 7"),
        ({"table": {ARRAY_KEY: "x"}}, ARRAY_KEY),
        ({"huge": 1 << 2040}, "whole number of 256 bytes"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_place(value: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected plain data for") as caught:
        pickle_format.dump(value, tmp_path / "a.pkl")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_contains_itself_is_refused(tmp_path: Path) -> None:
    loop: dict[str, Any] = {}
    loop["again"] = [loop]
    with pytest.raises(CheckpointError, match="nested deeper than 64"):
        pickle_format.dump(loop, tmp_path / "a.pkl")


def test_reader_and_writer_have_the_same_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    def nested(depth: int) -> dict[str, Any]:
        value: object = np.zeros(1, BIRTH)
        for _ in range(depth):
            value = [value]
        return {"a": value}

    deepest = max(depth for depth in range(64) if _fits(nested(depth)))
    assert deepest > 50
    assert same(Reader(encoded(nested(deepest))).read(), nested(deepest))
    monkeypatch.setattr(pickle_format, "MAX_VALUES", 20)
    most = max(count for count in range(64) if _fits({"a": [1] * count, "b": np.zeros(2)}))
    assert len(Reader(encoded({"a": [1] * most, "b": np.zeros(2)})).read()["a"]) == most


def _fits(value: dict[str, Any]) -> bool:
    try:
        encoded(value)
    except NotPlain:
        return False
    return True


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_failed_write_leaves_the_older_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path = tmp_path / "gen_000100.pkl"
    pickle_format.dump({"generation": 1}, path)
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(builtins if call == "open" else os, call, fail)
        with pytest.raises(RunFolderError) as caught:
            pickle_format.dump({"generation": 2}, path)
    assert str(path) in str(caught.value)
    assert os.strerror(code) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_in_mid_write_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pkl"
    pickle_format.dump({"generation": 1}, path)
    real = builtins.open

    def small_disk(*args: object, **options: object) -> object:
        handle = real(*args, **options)  # type: ignore[call-overload]

        class Full:
            def __enter__(self) -> "Full":
                return self

            def __exit__(self, *_: object) -> None:
                handle.close()

            def writelines(self, chunks: list[bytes]) -> None:
                handle.write(chunks[0][:10])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return Full()

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", small_disk)
        with pytest.raises(RunFolderError, match="free some space"):
            pickle_format.dump({"generation": 2}, path)
    assert pickle_format.load(path)["generation"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_ctrl_c_in_mid_write_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pickle_format.dump({}, tmp_path / "a.pkl")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="check that its folder is still there"):
        pickle_format.dump({}, tmp_path / "gone" / "a.pkl")


def test_element_types_are_exactly_the_allowed_ones() -> None:
    for name in ELEMENT_TYPES:
        assert element_type(name).str == name
    assert element_type([["id", "<i8"], ["parents", "<i8", [2]]]) == np.dtype([("id", "<i8"), ("parents", "<i8", (2,))])


def test_a_later_format_is_refused_with_its_author(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pkl"
    monkeypatch.setattr(pickle_format, "FORMAT", 2)
    monkeypatch.setattr(pickle_format, "version", lambda _: "9.1")
    pickle_format.dump({"later": 1}, path)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"expected checkpoint format 1 in .*a.pkl', got 2, written by galab 9.1"):
        pickle_format.load(path)


def golden() -> dict[str, Any]:
    births = np.zeros(3, BIRTH)
    births["id"], births["parents"] = [0, 1, 2], [[-1, -1], [0, -1], [0, 1]]
    constants = {"yes": True, "no": False, "none": None, "pi": math.pi, "large": 2**63, "small": -1, "text": "größe"}
    return {
        "constants": constants,
        "births": births,
        "weights": np.arange(-3, 3, dtype=np.int32).reshape(2, 3),
        "l": [[]],
    }


def test_only_the_opcodes_of_the_reader_are_written() -> None:
    value = {"one": [1], "two": {"a": None}, "many": list(range(3000)), "keys": {str(n): n for n in range(3000)}}
    numbers = {"large": 2**63, "negative": -5, "share": 0.5, "array": np.zeros(50_000), "again": "one", "yes": True}
    written = {opcode.name for opcode, _, _ in pickletools.genops(encoded({**value, **numbers}))}
    assert written <= OPCODES
    assert not {"MEMOIZE", "BINGET", "GLOBAL", "STACK_GLOBAL"} & OPCODES


def test_large_arrays_are_written_without_a_copy() -> None:
    weights = np.arange(100_000, dtype="<f4")
    chunk = max(encode({"weights": weights}), key=len)
    assert np.shares_memory(np.frombuffer(chunk, "<f4"), weights)


def test_a_checkpoint_of_format_1_means_the_same_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Path(__file__).with_name("format_1.pkl")
    found = pickle_format.load(stored)
    assert same({"format": 1, "galab_version": "0.1.0", **golden()}, found)
    monkeypatch.setattr(pickle_format, "version", lambda _: "0.1.0")
    pickle_format.dump(golden(), tmp_path / "again.pkl")
    assert same(pickle_format.load(tmp_path / "again.pkl"), found)
    assert pickle.loads((tmp_path / "again.pkl").read_bytes()) == pickle.loads(stored.read_bytes())
