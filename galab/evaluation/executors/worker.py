"""A worker: what it needs of a search, and the loop that it runs.

The messages are listed in :mod:`galab.evaluation.executors.link`.
"""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from galab.errors import NumericProfileError, pass_interrupts
from galab.evaluation.executors.link import Connection, Message, receive, send, unpacked_parts
from galab.evaluation.executors.local import LocalExecutor
from galab.evaluation.numeric_profile import KEY

logger = logging.getLogger("galab")


class MissingDataError(Exception):
    """A worker has not got the data of the task; the text says what came of looking for it."""


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
        """In a worker: prepare to score parts of a cohort; called again if it is given more parts of it.

        Args:
            update: from :meth:`update_for_workers`; the same object where it is called again.
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


def work(connection: Connection, level: int, who: str) -> None:
    """Run a worker until its link closes.

    Args:
        connection: its end of the link.
        level: the level of the log of the run.
        who: where it runs, in words; empty in a process of the run's own machine.
    """
    handler = _LogToPool(connection)
    logger.handlers, logger.propagate = [handler], False
    try:
        Worker(connection, level).run(who)
    except (_LinkGoneError, EOFError):
        return  # the run has no more work
    except BaseException as error:
        pass_interrupts(error)
        with contextlib.suppress(OSError, EOFError):
            send(connection, "error", type(error).__name__, str(error), traceback.format_exc())


class Worker:
    """Answers the messages of a pool.

    Args:
        connection: its end of the link.
        level: the level of the log once the search is built; None leaves the log alone.
    """

    def __init__(self, connection: Connection, level: int | None) -> None:
        self._connection = connection
        self._level = level
        self._waiting: deque[Message] = deque()
        self._dropped: set[tuple[int, int]] = set()
        self._update: dict[str, Any] = {}
        self._unfinished = False

    def run(self, who: str = "") -> None:
        """Build the search, and score parts until the link closes."""
        self._send("hello", who)
        search = self._built()
        while True:
            kind, *values = self._next()
            if kind == "state":
                self._unfinished = False  # what there was to do is of no use any more
                search.restore(*values)
            elif kind == "observed":
                search.receive_observed(*values)
            elif kind == "result":
                search.receive_result(*values)
            elif kind == "score":
                self._score(search, *values)

    def _built(self) -> WorkerSearch:
        _, build = self._next()
        # The run has built the same things and has logged the warnings about them.
        if self._level is not None:
            logger.setLevel(logging.CRITICAL)
        try:
            search, different = self._build(build)
        except NumericProfileError as error:
            self._send("refused", str(error))
            raise _LinkGoneError from error
        if self._level is not None:
            logger.setLevel(self._level)
        self._send("ready", different)
        return search

    def _build(self, build: Any) -> tuple[WorkerSearch, str]:
        found: tuple[WorkerSearch, str]
        try:
            found = build(None)
        except MissingDataError as missing:
            self._send("missing", str(missing))
            _, task = self._next()
            found = build(task)
        return found

    def _next(self) -> Message:
        """The next message to act on."""
        while not self._waiting:
            self._take()
        return self._waiting.popleft()

    def _look(self) -> None:
        """Take the messages that have come meanwhile."""
        while self._connection.poll():
            self._take()

    def _take(self) -> None:
        """Wait for a message, and note parts that need not be scored, until they are asked for again."""
        try:
            message = receive(self._connection)
        except (EOFError, OSError) as error:
            raise _LinkGoneError from error
        kind, *values = message
        if kind == "drop":
            generation, numbers = values
            self._dropped.update((generation, number) for number in numbers)
            return
        if kind == "score":
            generation, _, _, table, _ = values
            self._dropped.difference_update((generation, number) for number in table[:, 0].tolist())
        self._waiting.append(message)

    def _score(
        self,
        search: WorkerSearch,
        generation: int,
        members: int,
        update: dict[str, Any] | None,
        table: NDArray[np.int32],
        births: NDArray[np.void] | None,
    ) -> None:
        if update is not None:  # else these are further parts of the same generation
            self._finish(search)
            self._update = update
            self._dropped = {drop for drop in self._dropped if drop[0] >= generation}
        self._look()
        parts = unpacked_parts(generation, members, table, births)
        dropped = [part.number for part in parts if (generation, part.number) in self._dropped]
        if dropped:
            self._send("dropped", generation, dropped)
            parts = [part for part in parts if part.number not in dropped]
        if not search.prepare(self._update, [part.births for part in parts]):
            self._send("lost", generation)
            return
        self._send("begun", generation)
        began = time.monotonic()
        # Closed early where all the rest is dropped: parts are computed one after the other.
        for done, (part, scores) in enumerate(zip(parts, search.executor.scored(parts), strict=True), 1):
            now = time.monotonic()
            self._send("scored", generation, now - began, part.number, scores)
            began = now
            self._look()
            rest = [other.number for other in parts[done:]]
            if rest and self._dropped.issuperset((generation, number) for number in rest):
                self._send("dropped", generation, rest)
                break
        self._unfinished = True
        if not self._waiting and not self._connection.poll():
            self._finish(search)

    def _finish(self, search: WorkerSearch) -> None:
        """Do what could wait, now that there is time, or because the search moves on."""
        if self._unfinished:
            self._unfinished = False
            search.finish()

    def _send(self, *message: Any) -> None:
        try:
            send(self._connection, *message)
        except (EOFError, OSError) as error:
            raise _LinkGoneError from error


class _LinkGoneError(Exception):
    """The run's end of the link is closed."""


class _LogToPool(logging.Handler):
    """Sends log records to the run, which alone writes to the terminal."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, EOFError):
            send(self._connection, "log", record.levelno, record.getMessage(), getattr(record, KEY, None))
