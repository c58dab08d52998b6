"""The lineage file: rows appended, digests kept, and cut back to a checkpoint."""

import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from galab.errors import CheckpointError, RunFolderError
from galab.storage.lineage import LineageFile, read_rows

ROW = np.dtype([("id", "<i8"), ("parents", "<i8", (2,)), ("log_sigma", "<i2")])


def rows(start: int, stop: int) -> np.ndarray:
    found = np.zeros(stop - start, ROW)
    found["id"] = np.arange(start, stop)
    found["parents"][:, 0] = found["id"] // 2
    return found


def test_rows_come_back_and_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lineage.bin"
    with LineageFile(path, ROW) as lineage:
        assert lineage.length == 0
        assert lineage.digest == hashlib.sha256().hexdigest()
        lineage.append(rows(0, 3))
        lineage.append(rows(3, 3))
        lineage.append(rows(0, 20)[3:20:2])
        lineage.sync()
        assert lineage.length == 12
        assert np.array_equal(lineage.read()["id"], [0, 1, 2, *range(3, 20, 2)])
        digest = lineage.digest
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    with LineageFile(path, ROW) as again:
        assert (again.length, again.digest) == (12, digest)


def test_cut_goes_back_to_a_checkpoint_and_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    with LineageFile(tmp_path / "a.bin", ROW) as straight, LineageFile(tmp_path / "b.bin", ROW) as resumed:
        for lineage in (straight, resumed):
            lineage.append(rows(0, 5))
        length, digest = resumed.length, resumed.digest
        resumed.append(rows(90, 99))
        resumed.cut(length, digest)
        for lineage in (straight, resumed):
            lineage.append(rows(5, 8))
        assert straight.digest == resumed.digest
        resumed.cut(0, hashlib.sha256().hexdigest())
        assert resumed.length == 0
        assert resumed.read().shape == (0,)
    assert (tmp_path / "b.bin").stat().st_size == 0


def test_a_row_that_a_kill_left_unfinished_is_cut_by_the_writer_and_skipped_by_readers(tmp_path: Path) -> None:
    path = tmp_path / "lineage.bin"
    path.write_bytes(rows(0, 4).tobytes() + b"torn row")
    assert read_rows(path, ROW)["id"].tolist() == [0, 1, 2, 3]
    assert path.stat().st_size == 4 * ROW.itemsize + 8  # readers change nothing
    with LineageFile(path, ROW) as lineage:
        assert lineage.length == 4
        assert path.stat().st_size == 4 * ROW.itemsize
        lineage.append(rows(4, 5))
        assert lineage.read()["id"].tolist() == [0, 1, 2, 3, 4]


def test_lost_rows_and_other_rows_are_sentences_and_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lineage.bin"
    with LineageFile(path, ROW) as lineage:
        lineage.append(rows(0, 4))
        before, digest = path.read_bytes(), lineage.digest
        with pytest.raises(CheckpointError, match=r"expected at least 5 rows in .*lineage.bin', got 4"):
            lineage.cut(5, digest)
        with pytest.raises(CheckpointError, match=r"first 3 rows of .*lineage.bin' to have the SHA-256"):
            lineage.cut(3, digest)
        assert path.read_bytes() == before
        assert lineage.length == 4
        assert lineage.digest == digest


def test_a_full_disk_takes_back_the_half_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "lineage.bin"
    with LineageFile(path, ROW) as lineage:
        lineage.append(rows(0, 2))
        digest, real = lineage.digest, lineage._handle

        class Full:
            def __init__(self) -> None:
                self.seek, self.truncate, self.close = real.seek, real.truncate, real.close
                self.written = 0

            def write(self, data: memoryview) -> int:
                if self.written:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self.written = real.write(data[:10])
                return self.written

        lineage._handle = Full()  # type: ignore[assignment]
        with pytest.raises(RunFolderError, match=r"lineage.bin.*free some space"):
            lineage.append(rows(2, 9))
        lineage._handle = real
        assert path.stat().st_size == 2 * ROW.itemsize
        assert lineage.digest == digest
        lineage.append(rows(2, 3))
        assert lineage.read()["id"].tolist() == [0, 1, 2]


def test_types_are_checked(tmp_path: Path) -> None:
    for dtype in (np.dtype([("a", "u1"), ("b", "<i8")], align=True), np.dtype(">i4"), np.dtype([("a", "O")])):
        with pytest.raises(ValueError, match="without padding"):
            LineageFile(tmp_path / "a.bin", dtype)
    with LineageFile(tmp_path / "a.bin", ROW) as lineage, pytest.raises(ValueError, match="expected rows of"):
        lineage.append(np.zeros(3))


def test_files_that_cannot_be_opened_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunFolderError, match=r"lineage.bin"):
        LineageFile(tmp_path / "gone" / "lineage.bin", ROW)
    with pytest.raises(CheckpointError, match=r"lineage.bin"):
        read_rows(tmp_path / "lineage.bin", ROW)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with LineageFile(tmp_path / "lineage.bin", ROW) as lineage, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(RunFolderError, match="that the disk works"):
            lineage.sync()
