"""Standard output and standard error of a process whose reader may go away while it computes.

A pipe to a program that has ended, a terminal that was hung up or a closed descriptor must not end a run: what is
written from then on is dropped, and the run's ``status.json`` says so.
"""

from __future__ import annotations

import codecs
import datetime
import errno
import io
import os
import sys
from dataclasses import dataclass
from typing import Any

#: What a write says when nobody can read it any more; any other error, such as a full disk, loses what was asked for.
_GONE = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET}
_NAMES = {1: "standard output", 2: "standard error"}


@dataclass(frozen=True, slots=True)
class LostOutput:
    """From when on a stream of this process reaches nobody.

    Attributes:
        stream: its name.
        reason: why, in the system's words.
        since: date and time.
        reader_left: whether its reader went away; else the file that it was written to failed.
    """

    stream: str
    reason: str
    since: str
    reader_left: bool

    def __str__(self) -> str:
        return f"{self.stream} was lost from {self.since} on ({self.reason})"


_lost: dict[int, LostOutput] = {}


def lost_output() -> tuple[LostOutput, ...]:
    """The streams of this process that reach nobody any more."""
    return tuple(_lost[number] for number in sorted(_lost))


def outlive_readers() -> None:
    """Let this process write to its standard streams whatever becomes of their readers.

    A closed descriptor is opened on nothing, or the next file that is opened would take its number and get what a
    library writes to standard error. Streams that are no descriptors, such as those of a notebook, stay as they are.
    """
    _occupy()
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            _note(number, OSError(errno.EBADF, "it was closed at the start"))
            setattr(sys, name, _over(number, "utf-8", _ERRORS, line_buffering=True))
        elif type(stream) is io.TextIOWrapper and _descriptor(stream) == number:
            if isinstance(getattr(stream.buffer, "raw", None), _Patient):
                continue
            stream.flush()
            # Nobody means ASCII who has an ASCII locale today, and click takes it for UTF-8 too.
            encoding = "utf-8" if codecs.lookup(stream.encoding).name == "ascii" else stream.encoding
            setattr(sys, name, _over(number, encoding, _ERRORS, line_buffering=stream.line_buffering))


def _shown(error: UnicodeError) -> tuple[str | bytes, int]:
    """The bytes of a file's name as they are, so that it can be pasted; letters that the encoding lacks as escapes."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)


_ERRORS = "galab-shown"
codecs.register_error(_ERRORS, _shown)


class _Patient(io.FileIO):
    """A descriptor that is written to; when that fails it leads nowhere from then on."""

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        """Write some bytes, or drop them."""
        try:
            return super().write(data)
        except OSError as error:
            number = self.fileno()
            _note(number, error)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)  # for libraries and processes that write to it themselves
            os.close(nowhere)
            return memoryview(data).nbytes


def _over(number: int, encoding: str, errors: str, *, line_buffering: bool) -> io.TextIOWrapper:
    raw = _Patient(number, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=line_buffering or number == 2)


def _occupy() -> None:
    """Open the standard descriptors that are closed on nothing."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            found = os.open(os.devnull, os.O_RDWR)
            if found != number:
                os.dup2(found, number)
                os.close(found)


def _descriptor(stream: io.TextIOWrapper) -> int:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return -1


def _note(number: int, error: OSError) -> None:
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    reason = error.strerror or str(error)
    _lost.setdefault(number, LostOutput(_NAMES[number], reason, since, error.errno in _GONE))
