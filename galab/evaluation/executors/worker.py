"""What a worker does: it follows a search from generation to generation and scores the parts that it is given.

Messages to it, each a tuple: ``("build", call)`` makes, when called, all that it computes with; ``("state", state)``
puts it where the search is; ``("score", generation, news, parts)`` asks for the scores of some parts; ``("hear",
heard)`` is what a search hears of a generation, if workers need it early. Its answers: ``("hello",)`` when its process
runs; ``("ready",)``; ``("scored", number, scores)`` for each part; ``("lost", generation)`` if it is not where the news
say it is; ``("log", level, text, key)``; and ``("error", kind, sentence, traceback)`` if it cannot go on.

A process that computes for this one, seen from both ends.

It begins with a fresh interpreter (spawn). A terminal sends Ctrl-C to everybody, and the parent alone acts on it; so a
child never hears it, not even while it starts. A child that dies is found out by its end of the pipe.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import multiprocess
from multiprocess import resource_tracker

from galab.errors import UsageError
from galab.evaluation.executors.local import Here
from galab.evaluation.numeric_profile import KEY
from galab.evaluation.sources import Part

#: Ctrl-C, and what a scheduler or a container sends to all processes of a run; the parent acts on them for all.
_REQUESTS = (signal.SIGINT, signal.SIGTERM)
#: For a process that was told to end, before it is killed.
GOODBYE_SECONDS = 30.0
#: A process imports the script that started it, which must not start the whole again.
GUARD = "`if __name__ == '__main__':`"


class Child:
    """One process, seen from the parent.

    Args:
        target: what it does; a function of its end of the pipe and of the arguments.
        arguments: sent with it.
        daemon: whether it ends with this process at the latest; such a process may have no children of its own.

    Attributes:
        connection: this end of the pipe.
        ready: whether it has said that it is.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any, daemon: bool) -> None:
        context = multiprocess.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(theirs, *arguments), daemon=daemon)
        with _unheard():
            self._process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.ready = False

    def send(self, *message: Any) -> None:
        """Send a message; one who died does not mind."""
        with contextlib.suppress(OSError):
            send(self.connection, *message)

    def hear(self) -> tuple[Any, ...]:
        """Its next message.

        Raises:
            EOFError, OSError: it is no more.
        """
        return receive(self.connection)

    def fate(self) -> str:
        """Why it is no more, in words."""
        self.end(GOODBYE_SECONDS)
        code = self._process.exitcode
        killed = code is not None and code < 0
        words = f"its process was killed by signal {-code}" if killed else f"its process ended with code {code}"
        if self.ready or killed:
            return words if self.ready else f"{words} before it was ready"
        return f"{words} before it was ready; a script that computes in processes must do so under {GUARD}"

    def end(self, seconds: float) -> None:
        """Let it go: it has so many seconds to end by itself, and is killed then."""
        self.connection.close()
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def send(connection: Any, *message: Any) -> None:
    """Send a message, which is made of plain data and of galab's own values."""
    # Python's own pickle, which is several times as fast as the one that multiprocess takes for code that travels.
    connection.send_bytes(pickle.dumps(message, protocol=5))


def receive(connection: Any) -> tuple[Any, ...]:
    """The next message at one end of a pipe.

    Raises:
        EOFError, OSError: there is nobody at the other end.
    """
    message: tuple[Any, ...] = pickle.loads(connection.recv_bytes())
    return message


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Hold back requests to stop for this thread and for a process that it starts meanwhile, which inherits that."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started on demand, it would let Ctrl-C through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _REQUESTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_interrupts() -> None:
    """What a child does first: from now on requests to stop are ignored, and need not be held back any more."""
    for number in _REQUESTS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _REQUESTS)


def require_children(option: str, way_out: str) -> None:
    """Refuse to start processes in one that may not have any.

    Args:
        option: what asks for them, as it was typed.
        way_out: what to type instead.

    Raises:
        UsageError: this process is daemonic, or is one that still imports the script which started it.
    """
    if getattr(multiprocess.current_process(), "_inheriting", False):
        raise UsageError(f"expected {GUARD} around what a script computes in processes, got none; add it")
    if multiprocess.current_process().daemon:
        raise UsageError(
            f"expected {way_out} in a daemonic process, which may not start others, got {option}; use {way_out}, or "
            "start the run from a process that is no daemon"
        )


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
