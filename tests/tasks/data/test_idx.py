"""The IDX reader gives back what was written, and says what is wrong with a damaged file."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from galab.errors import DataError
from galab.tasks.data import parse_idx, read_idx


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(5,), (4, 3, 2), (0, 7)])
@pytest.mark.parametrize("gzipped", [True, False])
def test_what_was_written_is_read(tmp_path, idx_bytes, dtype, shape, gzipped):
    array = (np.arange(np.prod(shape)) - 3).astype(dtype).reshape(shape)
    content = idx_bytes(array)
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(content) if gzipped else content)
    result = read_idx(path)
    assert result.dtype == np.dtype(dtype)
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "expected IDX data in 'x', got a start of b''"),
        (b"PNG\n....", "expected IDX data in 'x'"),
        (b"\0\0\x0a\x01\0\0\0\0", "expected IDX data in 'x'"),
        (b"\0\0\x08\x03\0\0\0\x01", "expected an IDX header of 16 bytes in 'x', got 8 bytes"),
        (b"\0\0\x08\x01\0\0\0\x04abc", r"expected 12 bytes in 'x' \(shape \(4,\) of uint8\), got 11"),
        (b"\0\0\x08\x01\0\0\0\x04abcde", r"expected 12 bytes in 'x' \(shape \(4,\) of uint8\), got 13"),
    ],
)
def test_damage_is_a_sentence(content, sentence):
    with pytest.raises(DataError, match=sentence):
        parse_idx(content, "x")


@pytest.mark.parametrize("damage", [lambda c: c[:-5], lambda c: c[:20], lambda c: c[:15] + b"\xff\xff" + c[17:]])
def test_damaged_gzip_names_the_file(tmp_path, idx_bytes, damage):
    path = tmp_path / "array.gz"
    path.write_bytes(damage(gzip.compress(idx_bytes(np.arange(100, dtype=np.uint8)))))
    with pytest.raises(DataError, match=r"expected whole gzip data in '.*array.gz', got a damaged stream; replace"):
        read_idx(path)


def test_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"expected to read '.*nothing', got No such file"):
        read_idx(tmp_path / "nothing")
