"""What a worker does: it follows a search from generation to generation and scores the parts that it is given.

Messages to it, each a tuple: ``("build", call)`` makes, when called, all that it computes with; ``("state", state)``
puts it where the search is; ``("score", generation, news, parts)`` asks for the scores of some parts; ``("hear",
heard)`` is what a search hears of a generation, if workers need it early. Its answers: ``("hello",)`` when its process
runs; ``("ready",)``; ``("scored", number, scores)`` for each part; ``("lost", generation)`` if it is not where the news
say it is; ``("log", level, text, key)``; and ``("error", kind, sentence, traceback)`` if it cannot go on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import traceback
from collections.abc import Sequence
from typing import Any, Protocol

import multiprocess

from galab.evaluation.child import ignore_interrupts, receive, send
from galab.evaluation.here import Here
from galab.evaluation.parts import Part
from galab.evaluation.tracebacks import KEY

logger = logging.getLogger("galab")


class Leader(Protocol):
    """A search as its workers are told of it, in plain data."""

    def state(self) -> Any:
        """Everything, as a checkpoint has it: for a worker that begins."""
        ...

    def news(self) -> Any:
        """What a worker has to know in every generation beside the members: births and checks, never weights."""
        ...

    def heard(self, fitness: Any) -> Any:
        """What a worker needs of a generation's fitness, (P,), to be where the search will be; None for nothing."""
        ...


class Follower(Protocol):
    """The same search in a worker."""

    @property
    def executor(self) -> Here:
        """Scores parts."""
        ...

    def restore(self, state: Any) -> None:
        """Be where the leader is."""
        ...

    def follow(self, news: Any, parts: Sequence[Part]) -> bool:
        """Go on to the generation of the news and get ready for these parts; False if it is another search by now."""
        ...

    def settle(self) -> None:
        """Do what can wait until the parts are scored."""
        ...

    def hear(self, heard: Any) -> None:
        """See :meth:`Leader.heard`."""
        ...


def serve(connection: Any, level: int) -> None:
    """A worker's life, until its pipe ends.

    Args:
        connection: its end of the pipe.
        level: of the messages that the parent's log shows.
    """
    ignore_interrupts()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    handler = _Forward(connection)
    logger.handlers, logger.propagate = [handler], False
    try:
        # Asked for here: what is sent along with a process that dies at once blocks its parent for ever.
        _say(connection, "hello")
        _, build = _hear(connection)
        # The parent has built the same things, and has said what there is to say about them.
        logger.setLevel(logging.CRITICAL)
        follower: Follower = build()
        logger.setLevel(level)
        _say(connection, "ready")
        while True:
            kind, *values = _hear(connection)
            if kind == "state":
                follower.restore(*values)
            elif kind == "hear":
                follower.hear(*values)
            else:
                _score(connection, follower, *values)
    except _GoneError:
        return  # the parent has no more work
    except Exception as error:
        with contextlib.suppress(OSError):
            send(connection, "error", type(error).__name__, str(error), traceback.format_exc())


def _score(connection: Any, follower: Follower, generation: int, news: Any, parts: Sequence[Part]) -> None:
    if not follower.follow(news, parts):
        _say(connection, "lost", generation)
        return
    for part, scores in zip(parts, follower.executor.scored(parts), strict=True):
        _say(connection, "scored", part.number, scores)
    follower.settle()


class _GoneError(Exception):
    """The parent's end of the pipe is closed."""


def _say(connection: Any, *message: Any) -> None:
    try:
        send(connection, *message)
    except OSError as error:
        raise _GoneError from error


def _hear(connection: Any) -> tuple[Any, ...]:
    try:
        return receive(connection)
    except (EOFError, OSError) as error:
        raise _GoneError from error


def _end_with_parent() -> None:
    """A worker has nothing to save: when its parent is killed it ends at once, also in the middle of a chunk."""
    parent = multiprocess.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Forward(logging.Handler):
    """Sends what is logged to the parent, who alone writes to the terminal."""

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            send(self._connection, "log", record.levelno, record.getMessage(), getattr(record, KEY, None))
