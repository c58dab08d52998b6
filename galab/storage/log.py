"""The log of a run: ``log.jsonl``, one JSON object a generation, appended; the source of truth for every figure."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from galab.errors import RunFolderError
from galab.storage.files import append_whole, folder_error, json_text

_BLOCK = 1 << 20
#: A line is shorter: what follows in a file without ends of lines is not read.
_MOST_BYTES = 1 << 26


class LogFile:
    """A log that is being written; opening it drops a last line that a kill left unfinished.

    Its SHA-256 is kept up to date, so that a checkpoint can say which lines it counts on.

    Args:
        path: the file, made when it is missing.

    Raises:
        RunFolderError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self._handle = FileIO(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+")
            self._bytes = _end_of(self._handle, lambda line: _object(line) is not None)
            self._handle.truncate(self._bytes)
            self._hash, self._lines = _hash_of(self._handle, self._bytes)
        except OSError as error:
            raise folder_error(self.path, error) from error

    @property
    def mark(self) -> dict[str, Any]:
        """What the file holds so far, for a checkpoint: ``lines``, ``bytes`` and ``sha256``; asking is cheap."""
        return {"lines": self._lines, "bytes": self._bytes, "sha256": self._hash.hexdigest()}

    def append(self, line: dict[str, Any]) -> None:
        """Add one line and hand it to the operating system. NaN and the infinities become null.

        Args:
            line: plain data or NumPy values, with a whole number ``generation`` that never goes down.

        Raises:
            ValueError: there is no ``generation``, by which :func:`cut_log` searches.
            RunFolderError: the disk is full or fails.
        """
        if _generation(line) is None:
            raise ValueError(f"expected a line for '{self.path}' with a whole number 'generation', got {line!r:.200}")
        data = (json_text(line) + "\n").encode("utf-8", "backslashreplace")
        append_whole(self._handle, data, self.path)
        self._hash.update(data)
        self._bytes += len(data)
        self._lines += 1

    def sync(self) -> None:
        """Wait until all lines survive a power cut; needed before a checkpoint that counts on them.

        Raises:
            RunFolderError: the disk is full or fails.
        """
        try:
            os.fsync(self._handle.fileno())
        except OSError as error:
            raise folder_error(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Every line of a log, oldest first; a missing file has none, and an unfinished last line is left out.

    Raises:
        RunFolderError: the file cannot be read, or a line before the last is not a JSON object.
    """
    found: list[dict[str, Any]] = []
    number, wrong = 0, b""
    try:
        with open(path, "rb") as handle:
            while line := handle.readline(_MOST_BYTES):
                if number and wrong:
                    raise _no_line(path, number, wrong)
                number, value = number + 1, _object(line)
                wrong = line if value is None else b""
                if value is not None:
                    found.append(value)
                elif len(line) == _MOST_BYTES:
                    raise _no_line(path, number, line)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunFolderError(f"expected a log at '{path}', got '{error.strerror or error}'") from error
    return found


def _no_line(path: Path, number: int, line: bytes) -> RunFolderError:
    return RunFolderError(
        f"expected a JSON object with a generation in line {number} of '{path}', got {line[:40]!r}; delete that line "
        "to go on"
    )


def last_line(path: Path, *, having: str | None = None) -> dict[str, Any] | None:
    """The newest finished line of a log, read from its end; None when there is none.

    Args:
        path: the log, which may be written at this moment.
        having: only lines with this field.

    Raises:
        RunFolderError: the file cannot be read.
    """
    found: dict[str, Any] | None = None

    def wanted(line: bytes) -> bool:
        nonlocal found
        found = _object(line)
        return found is not None and (having is None or having in found)

    try:
        with open(path, "rb", buffering=0) as handle:
            return found if _end_of(handle, wanted) else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunFolderError(f"expected a log at '{path}', got '{error.strerror or error}'") from error


def cut_log(path: Path, generation: int) -> int | None:
    """Drop the lines after ``generation``, and an unfinished one, by shortening the file: nothing is rewritten.

    The file is read from its end, so the time depends on what is dropped and not on the length of the log.

    Returns:
        The generation of the last line that stays, or None for an empty or missing log. Less than ``generation``
        means that lines are missing.

    Raises:
        RunFolderError: the file cannot be shortened.
    """
    last: int | None = None

    def stays(line: bytes) -> bool:
        """Whether a line is whole and not after the generation."""
        nonlocal last
        value = _object(line)
        number = _generation(value) if value is not None else None
        if number is None or number > generation:
            return False
        last = number
        return True

    try:
        with open(path, "r+b", buffering=0) as handle:
            handle.truncate(_end_of(handle, stays))
            os.fsync(handle.fileno())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise folder_error(Path(path), error) from error
    return last


def check_log(path: Path, mark: dict[str, Any]) -> None:
    """Refuse a log that does not begin with what a checkpoint counts on; the file is left untouched.

    Args:
        path: the log.
        mark: see :attr:`LogFile.mark`.

    Raises:
        RunFolderError: lines are missing or were changed, or the file cannot be read.
    """
    try:
        with open(path, "rb", buffering=0) as handle:
            digest, lines = _hash_of(handle, mark["bytes"])
    except FileNotFoundError:
        digest, lines = hashlib.sha256(), 0
    except OSError as error:
        raise RunFolderError(f"expected a log at '{path}', got '{error.strerror or error}'") from error
    if digest.hexdigest() != mark["sha256"]:
        raise RunFolderError(
            f"expected the first {mark['lines']} lines of '{path}' as they were when the checkpoint was written, got "
            f"{lines} whose SHA-256 is another one: lines were lost or changed; restore the file from a copy, or start "
            "a new run from the checkpoint with `galab run --from`"
        )


def _hash_of(handle: FileIO, length: int) -> tuple[hashlib._Hash, int]:
    """SHA-256 of the first bytes of a file, and how many lines they are; read in blocks."""
    digest, lines = hashlib.sha256(), 0
    handle.seek(0)
    while length > 0 and (block := handle.read(min(length, _BLOCK))):
        digest.update(block)
        lines += block.count(b"\n")
        length -= len(block)
    return digest, lines


def _end_of(handle: FileIO, stays: Callable[[bytes], bool]) -> int:
    """Where the last line that is finished and stays ends, in bytes; searched from the end of the file."""
    if handle.seek(0, os.SEEK_END) == 0:  # an empty file cannot be mapped
        return 0
    with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = content.rfind(b"\n") + 1
        while end > 0:
            start = content.rfind(b"\n", 0, end - 1) + 1
            if stays(content[start:end]):
                return end
            end = start
    return 0


def _object(line: bytes) -> dict[str, Any] | None:
    """The line of a log, a JSON object with a generation and with numbers for what was spent; or None."""
    try:
        value = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or (_generation(value) or 0) < 0 or _generation(value) is None:
        return None
    spent = [value.get(name, 0) for name in ("evaluations", "seconds")]
    good = all(type(one) in (int, float) and 0 <= one < math.inf for one in spent)
    return value if good else None


def _no_constant(word: str) -> None:
    """NaN and the infinities are not JSON, and galab writes none."""


def _generation(line: dict[str, Any]) -> int | None:
    number = line.get("generation")
    return int(number) if isinstance(number, (int, np.integer)) and not isinstance(number, bool) else None
