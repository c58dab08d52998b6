"""Worker processes: the process as the parent sees it, the messages, and the loop that a worker runs.

A process starts with a fresh interpreter (spawn). A terminal sends Ctrl-C to all processes of a run; the parent alone
acts on it, and its children ignore it from their start on. The parent notices a death by the closed pipe.

Messages to a worker, each a tuple:

- ``("build", call)``: ``call()`` makes its :class:`WorkerSearch`;
- ``("state", state, records)``: restore the search to where the main one is;
- ``("observed", sums)``: what policies have seen so far, where they normalise it;
- ``("score", generation, update, parts)``: prepare for the generation and score these parts;
- ``("result", result)``: what the search needs of the generation's fitness, if it needs it before the next update.

Its answers: ``("hello",)`` when its process runs; ``("ready",)`` when the search is built; ``("begun",)`` when it is
prepared for a generation; ``("scored", number, scores)`` for each part; ``("lost", generation)`` if its search is not
where the update says; ``("log", level, text, key)``; and ``("error", kind, sentence, traceback)`` if it cannot go on.
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
import numpy as np
from multiprocess import resource_tracker
from numpy.typing import NDArray

from galab.errors import UsageError, pass_interrupts
from galab.evaluation.executors.local import LocalExecutor
from galab.evaluation.numeric_profile import KEY
from galab.evaluation.sources import Part
from galab.storage.streams import outlive_readers

#: Ctrl-C, and what a scheduler or a container sends to all processes of a run; the parent acts on them for all.
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: For a process that was told to end, before it is killed.
GOODBYE_SECONDS = 30.0
#: A process imports the script that started it, which must not start the whole again.
GUARD = "`if __name__ == '__main__':`"


class WorkerProcess:
    """A child process, seen from the parent.

    Args:
        target: what it runs; a function of its end of the pipe and of the arguments.
        arguments: sent with it.
        daemon: whether it ends with this process at the latest; such a process may have no children of its own.

    Attributes:
        connection: this end of the pipe.
        ready: whether it has sent ``ready``.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any, daemon: bool) -> None:
        context = multiprocess.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(theirs, *arguments), daemon=daemon)
        with _hold_signals():
            self._process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.ready = False

    def send(self, *message: Any) -> None:
        """Send a message; nothing happens if the process has ended."""
        with contextlib.suppress(OSError):
            send(self.connection, *message)

    def receive(self) -> tuple[Any, ...]:
        """Its next message.

        Raises:
            EOFError, OSError: the process has ended.
        """
        return receive(self.connection)

    def fate(self) -> str:
        """Why it has ended, in words."""
        self.end(GOODBYE_SECONDS)
        code = self._process.exitcode
        killed = code is not None and code < 0
        words = f"its process was killed by signal {-code}" if killed else f"its process ended with code {code}"
        if self.ready or killed:
            return words if self.ready else f"{words} before it was ready"
        return f"{words} before it was ready; a script that computes in processes must do so under {GUARD}"

    def end(self, seconds: float) -> None:
        """Close its pipe, wait so many seconds for it to end, and kill it then."""
        self.connection.close()
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def send(connection: Any, *message: Any) -> None:
    """Send a message made of plain data and galab's own values."""
    # Python's own pickle is several times as fast as the one that multiprocess uses to send code.
    connection.send_bytes(pickle.dumps(message, protocol=5))


def receive(connection: Any) -> tuple[Any, ...]:
    """The next message at one end of a pipe.

    Raises:
        EOFError, OSError: the other end is closed.
    """
    message: tuple[Any, ...] = pickle.loads(connection.recv_bytes())
    return message


@contextlib.contextmanager
def _hold_signals() -> Iterator[None]:
    """Block the signals to stop for this thread and for a process that it starts meanwhile, which inherits the mask."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started on demand, it would let Ctrl-C through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_interrupts() -> None:
    """Called first by a child: ignore the signals to stop, and unblock them."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


def require_children(option: str, way_out: str) -> None:
    """Refuse to start processes in one that may not start any.

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


class WorkerSearch(Protocol):
    """A search that worker processes share: each holds a copy, which moves on with the search of the main process."""

    @property
    def executor(self) -> LocalExecutor:
        """Scores parts of a cohort."""
        ...

    def restore(self, state: dict[str, Any], records: NDArray[Any]) -> None:
        """In a worker: continue from the state and the records of the main search."""
        ...

    def update_for_workers(self) -> dict[str, Any]:
        """In the main process: what workers need before they score members of the generation that was asked.

        Births and checks, never weights.
        """
        ...

    def result_for_workers(self, fitness: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """In the main process: what workers need of a generation's fitness, (P,); None if the next update is enough."""
        ...

    def prepare(self, update: dict[str, Any], births: Sequence[NDArray[np.void]]) -> bool:
        """In a worker: prepare to score parts of a cohort.

        Args:
            update: from :meth:`update_for_workers`.
            births: the rows of each part.

        Returns:
            False if the worker is somewhere else and has to be restored.
        """
        ...

    def observed(self) -> NDArray[np.float64] | None:
        """In the main process: (1 + 2 D,) what is known of observations, if they are normalised."""
        ...

    def receive_observed(self, sums: NDArray[np.float64]) -> None:
        """In a worker: use what :meth:`observed` gave."""
        ...

    def finish(self) -> None:
        """In a worker: do the work that can wait until its parts are scored."""
        ...

    def receive_result(self, result: NDArray[np.float64]) -> None:
        """In a worker: move on with what :meth:`result_for_workers` gave."""
        ...


def serve(connection: Any, level: int) -> None:
    """Run a worker until its pipe closes.

    Args:
        connection: its end of the pipe.
        level: the level of the parent's log.
    """
    ignore_interrupts()
    outlive_readers()
    threading.Thread(target=end_with_parent, daemon=True).start()
    handler = _LogToParent(connection)
    logger.handlers, logger.propagate = [handler], False
    try:
        # Asked for here: what is sent along with a process that dies at once blocks its parent for ever.
        _send(connection, "hello")
        _, build = _receive(connection)
        # The parent has built the same things and has logged the warnings about them.
        logger.setLevel(logging.CRITICAL)
        search: WorkerSearch = build()
        logger.setLevel(level)
        _send(connection, "ready")
        while True:
            kind, *values = _receive(connection)
            if kind == "state":
                search.restore(*values)
            elif kind == "observed":
                search.receive_observed(*values)
            elif kind == "result":
                search.receive_result(*values)
            else:
                _score(connection, search, *values)
    except _ParentGoneError:
        return  # the parent has no more work
    except BaseException as error:
        pass_interrupts(error)
        with contextlib.suppress(OSError):
            send(connection, "error", type(error).__name__, str(error), traceback.format_exc())


def _score(connection: Any, search: WorkerSearch, generation: int, update: Any, parts: Sequence[Part]) -> None:
    if not search.prepare(update, [part.births for part in parts]):
        _send(connection, "lost", generation)
        return
    _send(connection, "begun")
    for part, scores in zip(parts, search.executor.scored(parts), strict=True):
        _send(connection, "scored", part.number, scores)
    search.finish()


class _ParentGoneError(Exception):
    """The parent's end of the pipe is closed."""


def _send(connection: Any, *message: Any) -> None:
    try:
        send(connection, *message)
    except OSError as error:
        raise _ParentGoneError from error


def _receive(connection: Any) -> tuple[Any, ...]:
    try:
        return receive(connection)
    except (EOFError, OSError) as error:
        raise _ParentGoneError from error


def end_with_parent() -> None:
    """A worker has nothing to save: when its parent is killed it ends at once, also in the middle of a chunk."""
    parent = multiprocess.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _LogToParent(logging.Handler):
    """Sends log records to the parent, which alone writes to the terminal."""

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            send(self._connection, "log", record.levelno, record.getMessage(), getattr(record, KEY, None))
