"""The lineage file: every birth that was ever selected, as rows of one fixed size, appended and never changed.

The file has no header: its content is rows. A checkpoint remembers how many there were and their SHA-256, and
resuming cuts the file back to exactly that.
"""

from __future__ import annotations

import hashlib
import os
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from galab.errors import CheckpointError
from galab.storage.files import append_whole, folder_error
from galab.storage.pickle_format import NotPlain, describe, element_type

_BLOCK = 1 << 20


class LineageFile:
    """The lineage of a run that is being written. Readers of a living run use :func:`read_rows` instead.

    Opening makes the file when it is missing, and cuts a row that a kill left unfinished.

    Args:
        path: the file.
        dtype: structured type of a row, little-endian and without padding.

    Raises:
        ValueError: ``dtype`` has padding, another byte order or fields that are not numbers.
        RunFolderError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        # Padding bytes are not defined: two equal lineages would have two digests.
        if not _is_packed(dtype):
            raise ValueError(f"expected a little-endian dtype of numbers without padding for '{path}', got {dtype}")
        self.path = Path(path)
        self.dtype = dtype
        try:
            self._handle = FileIO(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+")
            self._length = self._handle.seek(0, os.SEEK_END) // dtype.itemsize
            self._handle.truncate(self._length * dtype.itemsize)
        except OSError as error:
            raise folder_error(self.path, error) from error
        self._hash = self._hash_of(self._length)

    @property
    def length(self) -> int:
        """Number of rows."""
        return self._length

    @property
    def digest(self) -> str:
        """SHA-256 of all rows so far, in hexadecimal; kept up to date by :meth:`append`, so asking is cheap."""
        return self._hash.hexdigest()

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows at the end, all of them or none; they reach the disk for certain with :meth:`sync`.

        Args:
            rows: (n,) rows of the file's dtype.

        Raises:
            ValueError: the rows have another dtype.
            RunFolderError: the disk is full or fails.
        """
        if rows.dtype != self.dtype:
            raise ValueError(f"expected rows of {self.dtype} for '{self.path}', got {rows.dtype}")
        data = rows.tobytes()
        append_whole(self._handle, data, self.path)
        self._hash.update(data)
        self._length += rows.size

    def sync(self) -> None:
        """Wait until all rows survive a power cut; needed before a checkpoint that counts on them.

        Raises:
            RunFolderError: the disk is full or fails.
        """
        try:
            os.fsync(self._handle.fileno())
        except OSError as error:
            raise folder_error(self.path, error) from error

    def cut(self, length: int, digest: str) -> None:
        """Go back to the first ``length`` rows, which must be those that ``digest`` was taken of.

        Raises:
            CheckpointError: there are fewer rows, or they are other rows; the file is left as it was.
            RunFolderError: the disk fails.
        """
        if self._length < length:
            raise _lost(self.path, length, self._length)
        prefix = self._hash_of(length)
        if prefix.hexdigest() != digest:
            raise _changed(self.path, length, digest, prefix.hexdigest())
        try:
            self._handle.truncate(length * self.dtype.itemsize)
        except OSError as error:
            raise folder_error(self.path, error) from error
        self._length, self._hash = length, prefix
        self.sync()

    def read(self) -> NDArray[Any]:
        """(length,) all rows."""
        return read_rows(self.path, self.dtype)

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _hash_of(self, length: int) -> hashlib._Hash:
        """SHA-256 of the first rows, read in blocks."""
        digest, left = hashlib.sha256(), length * self.dtype.itemsize
        try:
            self._handle.seek(0)
            while left > 0 and (block := self._handle.read(min(left, _BLOCK))):
                digest.update(block)
                left -= len(block)
        except OSError as error:
            raise folder_error(self.path, error) from error
        return digest


def _is_packed(dtype: np.dtype[Any]) -> bool:
    try:
        return element_type(describe(dtype)) == dtype
    except NotPlain:
        return False


def read_rows(path: Path, dtype: np.dtype[Any], most: int | None = None) -> NDArray[Any]:
    """All whole rows of a lineage file, which is left untouched: a row in the middle of being written is not read.

    Args:
        path: the file.
        dtype: structured type of a row.
        most: so many rows from the beginning at the most; no memory is taken for others.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        with open(path, "rb", buffering=0) as handle:
            whole = os.fstat(handle.fileno()).st_size // dtype.itemsize
            rows = np.empty(whole if most is None else min(whole, most), dtype)
            view, got = rows.view(np.uint8).data, 0
            while got < len(view) and (more := handle.readinto(view[got:])):
                got += more
            return rows[: got // dtype.itemsize]
    except OSError as error:
        raise CheckpointError(f"expected a lineage file at '{path}', got '{error.strerror or error}'") from error


def read_counted(path: Path, dtype: np.dtype[Any], length: int, digest: str) -> NDArray[Any]:
    """The first rows of a lineage file, which must be those that ``digest`` was taken of; the file is left untouched.

    Raises:
        CheckpointError: the file cannot be read, there are fewer rows, or they are other rows.
    """
    rows = read_rows(path, dtype, length)
    if len(rows) < length:
        raise _lost(path, length, len(rows))
    found = hashlib.sha256(rows.tobytes()).hexdigest()
    if found != digest:
        raise _changed(path, length, digest, found)
    return rows


def _lost(path: Path, expected: int, got: int) -> CheckpointError:
    return CheckpointError(
        f"expected at least {expected} rows in '{path}', got {got}; rows were lost, so use an older checkpoint"
    )


def _changed(path: Path, length: int, expected: str, got: str) -> CheckpointError:
    return CheckpointError(
        f"expected the first {length} rows of '{path}' to have the SHA-256 {expected[:12]}..., got {got[:12]}...; it "
        "is another run's or damaged, so use an older checkpoint"
    )
