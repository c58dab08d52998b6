"""Writing files so that a kill, a power cut or a full disk never leaves half of one; JSON that is always valid."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import math
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from galab.errors import RunFolderError, UsageError

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


@contextlib.contextmanager
def output_place(path: Path, *, named: bool = True) -> Iterator[Path]:
    """A path to write to, whose content is at ``path`` afterwards: the whole of it, or what was there before.

    A symbolic link is written through, as a shell does. A character device, and a descriptor such as ``/dev/stdout``,
    gets the bytes.

    Args:
        path: the file.
        named: whether a person named it. Else it lies in the folder of a run, which may come from a stranger: a link
            is replaced, and no folder is made.

    Raises:
        UsageError: it is a folder, a FIFO, a socket or a block device, or its links lead in a circle.
        RunFolderError: the file cannot be written.
    """
    path, linked = Path(path), Path(path).is_symlink()
    name = f".{secrets.token_hex(4)}{TEMPORARY_SUFFIX}{path.suffix}"
    try:
        plainly = _takes_bytes(path) if named or not linked else False
        target = Path(os.path.realpath(path)) if named and linked and not plainly else path
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) if plainly else target.parent
            if named:
                folder.mkdir(parents=True, exist_ok=True)
            stack.callback((folder / name).unlink, missing_ok=True)
            yield folder / name
            if plainly:
                _pour(folder / name, path)
            else:
                _move(folder / name, target)
    except OSError as error:
        raise folder_error(path, error) from error
    except RunFolderError as error:
        if name not in str(error) or not isinstance(error.__cause__, OSError):
            raise
        raise folder_error(path, error.__cause__) from error  # in the name that was given


#: Names of this process's own descriptors, which may lead to a file, a pipe or a terminal.
_DESCRIPTOR = re.compile(r"/dev/(stdout|stderr)|(?:/dev/fd|/proc/self/fd)/(\d+)")


def _takes_bytes(path: Path) -> bool:
    """Whether a path is a device or a descriptor, to which bytes are written one after the other.

    Raises:
        UsageError: it can be neither written to nor replaced.
    """
    if _DESCRIPTOR.fullmatch(str(path)):
        return True
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UsageError(f"expected a file to write, got '{path}', whose links lead in a circle; name one") from None
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a disk"}
    if (kind := kinds.get(stat.S_IFMT(mode))) is not None:
        raise UsageError(f"expected a file to write, got '{path}', which is {kind}; name a file")
    return stat.S_ISCHR(mode)


def _pour(temporary: Path, path: Path) -> None:
    """Write a file's bytes to a device or a descriptor."""
    number = _DESCRIPTOR.fullmatch(str(path))
    place: int | Path = path
    if number is not None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # Not opened by its name: a file behind it would be emptied, and what is printed later would overwrite this.
        place = os.dup(int(number[2]) if number[2] else 1 if number[1] == "stdout" else 2)
    with open(temporary, "rb") as content, open(place, "wb") as handle:
        shutil.copyfileobj(content, handle)


def _move(temporary: Path, target: Path) -> None:
    """Put a finished file into its place, with the permissions of the one before."""
    if target.is_file() and not target.is_symlink():
        os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
    with open(temporary, "rb") as handle:
        os.fsync(handle.fileno())
    os.replace(temporary, target)
    sync_folder(target.parent)


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
