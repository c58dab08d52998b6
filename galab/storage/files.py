"""Writing files so that a kill, a power cut or a full disk never leaves half of one; JSON that is always valid."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import math
import os
import secrets
import stat
from collections.abc import Iterable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from galab.errors import RunFolderError

#: Temporary files are hidden and end so; the process that holds the lock of a run folder may delete them.
TEMPORARY_SUFFIX = ".galab-part"

#: The largest JSON file that is read unless the caller allows more, and the values in it.
MAX_JSON_BYTES, MAX_JSON_VALUES = 16 * 2**20, 500_000

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def folder_error(path: Path, error: OSError) -> RunFolderError:
    """The sentence for a file that could not be written."""
    if error.errno in _FULL:
        advice = "free some space on that disk and try again"
    elif error.errno in _FORBIDDEN:
        advice = "make its folder writable or choose another one"
    else:
        advice = "check that its folder is still there and that the disk works"
    return RunFolderError(f"expected to write '{path}', got '{error.strerror or error}'; {advice}")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut; a file system that cannot do it is left alone."""
    if os.name == "nt":  # Windows has no handle for a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_atomic(path: Path, chunks: Iterable[bytes | bytearray | memoryview]) -> None:
    """Write a whole file or nothing: readers see the old content until the new one is safe on the disk.

    Args:
        path: the file to make or to replace.
        chunks: its content, in order.

    Raises:
        RunFolderError: the disk is full or the folder is missing or read-only; the older file is untouched.
    """
    # In the same folder, since a rename is atomic within one file system only.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "xb") as handle:
            handle.writelines(chunks)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise folder_error(path, error) from error
        raise


def append_whole(handle: FileIO, data: bytes | memoryview, path: Path) -> None:
    """Append all of ``data`` to an unbuffered file, or take back the part that was written.

    Raises:
        RunFolderError: the disk is full or fails.
    """
    end: int | None = None
    try:
        end = handle.seek(0, os.SEEK_END)
        rest = memoryview(data)
        while rest:
            rest = rest[handle.write(rest) or 0 :]
    except OSError as error:
        if end is not None:
            with contextlib.suppress(OSError):
                handle.truncate(end)
        raise folder_error(path, error) from error


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Valid JSON for plain data and NumPy values; NaN and the infinities, which JSON lacks, become null."""
    return json.dumps(_without_nan(value), indent=indent, allow_nan=False, ensure_ascii=False)


def write_json_atomic(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all.

    Raises:
        RunFolderError: the file cannot be written.
    """
    write_atomic(path, [json_text(value, indent=2).encode("utf-8", "backslashreplace"), b"\n"])


def read_json(path: Path, *, max_bytes: int = MAX_JSON_BYTES, max_values: int = MAX_JSON_VALUES) -> Any:
    """The content of a JSON file that anybody may have written.

    Args:
        path: the file.
        max_bytes: a longer file is refused before it is read.
        max_values: one with more commas and brackets is refused before it is parsed: a byte of text can cost a hundred
            of memory.

    Raises:
        RunFolderError: the file is missing, unreadable, too large or not JSON.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise RunFolderError(f"expected a JSON file at '{path}', got a folder or a device; restore the file")
        if status.st_size > max_bytes:
            raise RunFolderError(
                f"expected at most {max_bytes:,} bytes in '{path}', got {status.st_size:,}; restore the file"
            )
        content = path.read_bytes()
        values = sum(map(content.count, (b",", b"[", b"{")))
        if values > max_values:
            raise RunFolderError(
                f"expected at most {max_values:,} values in '{path}', got {values:,}; restore the file"
            )
        return json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except OSError as error:
        raise RunFolderError(f"expected to read '{path}', got '{error.strerror or error}'") from error
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"expected JSON in '{path}', got text that is not ({error}); restore the file") from error


def _no_constant(word: str) -> None:
    """NaN and the infinities are not JSON, and galab writes none; null stands for them."""


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if hasattr(value, "tolist"):  # a NumPy array or scalar
        return _without_nan(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, with a header of all their names."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
