"""The checkpoint format, version 1: plain data in a ``.pkl`` that any Python opens and that cannot run code.

A file is a pickle of protocol 5 made of dicts, lists, texts, numbers and arrays as bytes, followed by a trailer of 40
bytes: a magic word and the SHA-256 of all before it. ``pickle.load`` stops before the trailer; :func:`load` checks it
first, and then reads with :mod:`galab.store.opcodes`, which knows no classes.
"""

from __future__ import annotations

import hashlib
import stat
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from galab.errors import CheckpointError
from galab.store.arrays import NotPlain
from galab.store.files import write_atomic
from galab.store.opcodes import Reader, Writer

#: The version of the format; another one is refused.
FORMAT = 1
#: The word between the data and its SHA-256.
MAGIC = b"galab\x00ck"
#: Bytes after the pickle: the magic word and the SHA-256.
TRAILER_BYTES = 40
#: The largest file that is read unless the caller allows more.
MAX_BYTES = 4 * 2**30

_MIN_BYTES = 6 + TRAILER_BYTES  # an empty dict


def dump(value: dict[str, Any], path: Path) -> None:
    """Write plain data as a checkpoint, whole or not at all.

    The keys ``format`` and ``galab_version`` are written by this function, first. Tuples come back as lists, and
    NumPy scalars as Python numbers.

    Args:
        value: dicts with text keys, lists, texts, ints, floats, bools, None and arrays of numbers.
        path: the file to make or to replace.

    Raises:
        CheckpointError: something in ``value`` is not plain data; the message names the place.
        RunFolderError: the disk is full, or the folder is missing or read-only.
    """
    writer = Writer()
    stamp = {"format": FORMAT, "galab_version": _galab_version()}
    try:
        chunks = writer.write({**stamp, **value, **stamp})
    except NotPlain as problem:
        place = "".join(writer.trail).lstrip(".") or "the top"
        raise CheckpointError(
            f"expected plain data for '{path}', got {problem} at {place}; convert it to dicts, lists, numbers or arrays"
        ) from None
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    write_atomic(Path(path), [*chunks, MAGIC, digest.digest()])


def load(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read a checkpoint, even a stranger's.

    Args:
        path: the file.
        max_bytes: larger files are refused before they are read.

    Returns:
        What was given to :func:`dump`, with ``format`` and ``galab_version``; the arrays are fresh and writable.

    Raises:
        CheckpointError: the file is missing, damaged, hostile or of another format.
    """
    path = Path(path)
    reader: Reader | None = None
    try:
        payload = _checked_payload(path, max_bytes)
        reader = Reader(payload)
        return _of_this_format(reader.read(), path)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"expected a checkpoint at '{path}', got '{error.strerror or error}'") from error
    except NotPlain as problem:
        if reader is not None and "format" in reader.top:
            _of_this_format(reader.top, path)  # a later format may use more opcodes: its version explains more
        raise CheckpointError(f"expected plain data in '{path}', got {problem}; use another checkpoint") from None
    except Exception as error:  # whatever a hostile file provokes, the answer is one sentence
        raise CheckpointError(
            f"expected plain data in '{path}', got what no checkpoint holds ({type(error).__name__}); use another one"
        ) from error


def _checked_payload(path: Path, max_bytes: int) -> memoryview:
    """The bytes before the trailer, once size and SHA-256 are right."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
        raise CheckpointError(f"expected a checkpoint file at '{path}', got a folder or a device")
    size = status.st_size
    if size < _MIN_BYTES:
        raise CheckpointError(
            f"expected a galab checkpoint in '{path}', got {size} bytes, fewer than the smallest has; "
            "it was cut short, so use another checkpoint"
        )
    if size > max_bytes:
        raise CheckpointError(
            f"expected at most {max_bytes:,} bytes in '{path}', got {size:,}; allow more only if you trust the file"
        )
    with path.open("rb") as handle:
        content = memoryview(handle.read(size))
    trailer = bytes(content[-TRAILER_BYTES:])
    if trailer[: len(MAGIC)] != MAGIC:
        raise CheckpointError(
            f"expected a galab checkpoint in '{path}', got a file without galab's trailer; "
            "it was cut short or is another kind of file, so use another checkpoint"
        )
    payload = content[:-TRAILER_BYTES]
    if hashlib.sha256(payload).digest() != trailer[len(MAGIC) :]:
        raise CheckpointError(
            f"expected the SHA-256 at the end of '{path}' to fit its content, got another one; "
            "the file is damaged, so use another checkpoint"
        )
    return payload


def _of_this_format(value: dict[str, Any], path: Path) -> dict[str, Any]:
    found = value.get("format")
    if type(found) is int and found == FORMAT:
        return value
    author = str(value.get("galab_version", "an unknown version"))[:40]
    raise CheckpointError(
        f"expected checkpoint format {FORMAT} in '{path}', got {str(found)[:40]}, written by galab {author}; "
        "open it with that version"
    )


def _galab_version() -> str:
    try:
        return version("galab")
    except PackageNotFoundError:  # a source tree that was never installed
        return "unknown"
