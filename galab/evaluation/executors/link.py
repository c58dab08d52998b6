"""A link to a worker, whatever carries it: the messages, how they are packed, and what the pool needs of a link.

Messages to a worker, each a tuple:

- ``("build", call)``: ``call(None)`` makes its
  :class:`galab.evaluation.executors.worker.WorkerSearch`;
- ``("data", task)``: the task, for a worker that has not got its data: ``call(task)`` makes the search;
- ``("state", state, records)``: restore the search to where the main one is;
- ``("observed", sums)``: what policies have seen so far, where they normalise it;
- ``("score", generation, members, update, parts, births)``: prepare for the generation and score these parts of a
  cohort of so many members, as :func:`packed_parts` packs them; with None for the update, further parts of the same;
- ``("drop", generation, numbers)``: others score these parts;
- ``("result", result)``: what the search needs of the generation's fitness, if it needs it before the next update.

Its answers:

- ``("hello", who)`` when it runs, ``("missing", sentence)`` where it has not got the task's data;
- ``("ready", different)`` when the search is built, with what it may compute otherwise, in words;
- ``("refused", sentence)`` where it computes other numbers than the run;
- ``("begun", generation)`` when it is prepared, and ``("scored", generation, seconds, number, scores)`` for each part;
- ``("dropped", generation, numbers)`` for parts that it will not score;
- ``("lost", generation)`` if its search is not where the update says;
- ``("log", level, text, key)``, and ``("error", kind, sentence, traceback)`` if it cannot go on.

In a generation births go out and scores come back; weights, networks and caches never do. A state, which holds the
parents' weights, is sent once to each worker, when it starts.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
from collections.abc import Collection, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Scores
from galab.evaluation.sources import Part

Message = tuple[Any, ...]
#: For a worker that was told to end, before it is killed.
GOODBYE_SECONDS = 30.0


class LinkClosedError(Exception):
    """The other end of a link is gone."""


class Link(Protocol):
    """A worker, seen from the pool.

    Attributes:
        ready: whether it has said ``ready``; the pool keeps it.
        place: where it runs, in words; empty for a process of this machine.
        sent: bytes that were sent.
        received: bytes that have come.
    """

    ready: bool
    place: str
    sent: int
    received: int

    def send(self, *message: Any) -> None:
        """Send a message; nothing happens if the worker is gone."""
        ...

    def send_packed(self, content: bytes) -> None:
        """Send a message that was packed once for many workers."""
        ...

    def send_data(self, task: Any) -> None:
        """Send ``data``, which is large and may be the same for many workers."""
        ...

    def poll(self) -> list[Message]:
        """What has come.

        Raises:
            LinkClosedError: the worker is gone.
        """
        ...

    def fate(self) -> str:
        """Why it is gone, in words."""
        ...

    def end(self, seconds: float) -> None:
        """Let it end by itself for so many seconds, and kill it then."""
        ...


L = TypeVar("L", bound=Link)


class Links(Protocol[L]):
    """Starts workers of one kind.

    Attributes:
        attempts: how often each worker may be started, if all of them die before one is ready.
    """

    attempts: int

    def start(self) -> L:
        """Start a worker; it may take long until it says ``hello``."""
        ...

    def wait(self, links: Collection[L], seconds: float | None) -> list[L]:
        """The links from which something has come, after so many seconds at most; None waits for ever."""
        ...

    def crowded(self, workers: int) -> str | None:
        """What to say of so many workers if there is not enough room for them."""
        ...

    def close(self) -> None:
        """Give back what the workers were started with."""
        ...


class Connection(Protocol):
    """A worker's end of a link. Both methods raise EOFError or OSError when the other end is gone."""

    def send_bytes(self, content: bytes) -> None:
        """Send a packed message."""
        ...

    def recv_bytes(self) -> bytes:
        """Wait for the next one."""
        ...

    def poll(self) -> bool:
        """Whether :meth:`recv_bytes` would return at once."""
        ...


class _Pickler(pickle.Pickler):
    """Plain data and galab's own values, with arrays and scores as small as they can be."""

    def reducer_override(self, value: Any) -> Any:
        """How a value is packed, where that differs from what pickle does."""
        if type(value) is np.ndarray and value.nbytes <= _SMALL and not value.dtype.hasobject:
            kind = value.dtype if value.dtype.names else value.dtype.str
            return _array, (kind, value.shape, value.tobytes())
        if type(value) is Scores:
            return _scores, ({name: it for name in _NAMES if _counts(it := getattr(value, name))},)
        return NotImplemented


#: Bytes of an array beyond which a second copy would cost more than its description saves.
_SMALL = 1 << 16
_NAMES = tuple(item.name for item in dataclasses.fields(Scores))


def _counts(value: Any) -> bool:
    """Whether a field of scores is worth sending: its default is nothing, 0 or empty."""
    return value is not None and (isinstance(value, np.ndarray) or bool(value))


def _array(dtype: Any, shape: tuple[int, ...], content: bytes) -> NDArray[Any]:
    return np.frombuffer(content, dtype=dtype).reshape(shape).copy()


def _scores(values: dict[str, Any]) -> Scores:
    return Scores(**values)


def packed(message: Message) -> bytes:
    """A message as bytes."""
    # Python's own pickle is several times as fast as the one that multiprocess uses to send code.
    file = io.BytesIO()
    _Pickler(file, protocol=5).dump(message)
    return file.getvalue()


def unpacked(content: bytes) -> Message:
    """The message in these bytes, which come from a process that this one has started."""
    message: Message = pickle.loads(content)
    return message


def send(connection: Any, *message: Any) -> None:
    """Send a message at one end of a pipe.

    Raises:
        OSError: the other end is closed.
    """
    connection.send_bytes(packed(message))


def receive(connection: Any) -> Message:
    """The next message at one end of a pipe.

    Raises:
        EOFError, OSError: the other end is closed.
    """
    return unpacked(connection.recv_bytes())


def packed_parts(parts: Sequence[Part]) -> tuple[NDArray[np.int32], NDArray[np.void] | None]:
    """Parts of one cohort as (N, 3) numbers, first places and sizes, and their births one after the other."""
    table = np.array([(part.number, part.first, len(part)) for part in parts], dtype=np.int32).reshape(-1, 3)
    return table, np.concatenate([part.births for part in parts]) if parts else None


def unpacked_parts(
    generation: int, members: int, table: NDArray[np.int32], births: NDArray[np.void] | None
) -> list[Part]:
    """What :func:`packed_parts` packed, of a cohort of so many members."""
    if births is None:
        return []
    stops = np.cumsum(table[:, 2]).tolist()
    return [
        Part(generation, number, first, births[stop - size : stop], members)
        for (number, first, size), stop in zip(table.tolist(), stops, strict=True)
    ]
