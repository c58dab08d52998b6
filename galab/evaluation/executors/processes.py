"""Worker processes of this machine, and their links to the pool.

A process starts with a fresh interpreter (spawn). A terminal sends Ctrl-C to all processes of a run; the parent alone
acts on it, and its children ignore it from their start on. The parent notices a death by the closed pipe.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from multiprocessing.connection import wait
from typing import Any

import multiprocess
from multiprocess import resource_tracker

from galab.errors import UsageError
from galab.evaluation.executors.link import GOODBYE_SECONDS, LinkClosedError, Message, packed, receive, send, unpacked
from galab.evaluation.executors.worker import work
from galab.storage.streams import outlive_readers

logger = logging.getLogger("galab")

#: Ctrl-C, and what a scheduler or a container sends to all processes of a run; the parent acts on them for all.
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
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


def end_with_parent() -> None:
    """A worker has nothing to save: when its parent is killed it ends at once, also in the middle of a chunk."""
    parent = multiprocess.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)




class ProcessLink:
    """See :class:`galab.evaluation.executors.link.Link`."""

    place = ""

    def __init__(self) -> None:
        self.ready = False
        self.sent = self.received = 0
        self._process = WorkerProcess(serve, logger.getEffectiveLevel(), daemon=True)

    @property
    def connection(self) -> Any:
        """This end of its pipe."""
        return self._process.connection

    def send(self, *message: Any) -> None:
        """See :class:`galab.evaluation.executors.link.Link`."""
        self.send_packed(packed(message))

    def send_packed(self, content: bytes) -> None:
        """See :class:`galab.evaluation.executors.link.Link`."""
        self.sent += len(content)
        with contextlib.suppress(OSError):
            self.connection.send_bytes(content)

    def send_data(self, task: Any) -> None:
        """See :class:`galab.evaluation.executors.link.Link`."""
        self.send("data", task)

    def poll(self) -> list[Message]:
        """See :class:`galab.evaluation.executors.link.Link`."""
        found: list[Message] = []
        try:
            while self.connection.poll():
                content = self.connection.recv_bytes()
                self.received += len(content)
                found.append(unpacked(content))
        except (EOFError, OSError) as error:
            if not found:  # else the next call says so
                raise LinkClosedError from error
        return found

    def fate(self) -> str:
        """See :class:`galab.evaluation.executors.link.Link`."""
        self._process.ready = self.ready
        return self._process.fate()

    def end(self, seconds: float) -> None:
        """See :class:`galab.evaluation.executors.link.Link`."""
        self._process.end(seconds)


class ProcessLinks:
    """Worker processes of this machine; see :class:`galab.evaluation.executors.link.Links`."""

    #: What kills one here while it starts would kill the next one too.
    attempts = 1

    def start(self) -> ProcessLink:
        """See :class:`galab.evaluation.executors.link.Links`."""
        return ProcessLink()

    def wait(self, links: Collection[ProcessLink], seconds: float | None) -> list[ProcessLink]:
        """See :class:`galab.evaluation.executors.link.Links`."""
        by_connection = {link.connection: link for link in links}
        return [by_connection[connection] for connection in wait(list(by_connection), seconds)]

    def crowded(self, workers: int) -> str | None:
        """See :class:`galab.evaluation.executors.link.Links`."""
        if workers <= cores():
            return None
        return (
            f"{workers} workers share {cores()} core{'s' * (cores() > 1)} and get into each other's way, each with the "
            f"data in its own memory: --workers {cores()} is as fast"
        )

    def close(self) -> None:
        """See :class:`galab.evaluation.executors.link.Links`."""


def serve(connection: Any, level: int) -> None:
    """Run a worker until its pipe closes.

    Args:
        connection: its end of the pipe.
        level: the level of the parent's log.
    """
    ignore_interrupts()
    outlive_readers()
    threading.Thread(target=end_with_parent, daemon=True).start()
    # Asked for before anything else: what is sent along with a process that dies at once blocks its parent for ever.
    work(connection, level, "")
