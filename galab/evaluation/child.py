"""A process that computes for this one, seen from both ends.

It begins with a fresh interpreter (spawn). A terminal sends Ctrl-C to everybody, and the parent alone acts on it; so a
child never hears it, not even while it starts. A child that dies is found out by its end of the pipe.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
from collections.abc import Callable, Iterator
from typing import Any

import multiprocess
from multiprocess import resource_tracker

from galab.errors import UsageError

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
