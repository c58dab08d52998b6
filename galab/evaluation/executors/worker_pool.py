"""The executor that shares a generation among worker processes.

Each worker has its own module, data and decode cache, and receives births, never weights; the messages are listed in
:mod:`galab.evaluation.executors.worker`. A cohort is split into the same parts as in one process, and a part is scored
by one worker, so the number of workers never changes a result. Parts are spread evenly, and where possible go to the
worker that has decoded their parents.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from multiprocessing.connection import wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab import errors
from galab.contracts import Cohort, Scores
from galab.errors import GalabError
from galab.evaluation.blocks import SECOND_LOOK
from galab.evaluation.executors.worker import GOODBYE_SECONDS, WorkerProcess, WorkerSearch, cores, serve
from galab.evaluation.numeric_profile import is_new_error
from galab.evaluation.sources import Part, join_scores


def parent_affinity(parts: Sequence[Part], decoded: Sequence[Collection[int]]) -> NDArray[np.int64]:
    """(parts, workers) how many members of a part have a parent that this worker alone has decoded.

    Args:
        parts: of one cohort.
        decoded: ids of births, for each worker.
    """
    found = np.zeros((len(parts), len(decoded)), dtype=np.int64)
    for part in parts:
        if "parents" not in (part.births.dtype.names or ()):  # members around a centre
            continue
        for worker, births in enumerate(decoded):
            known: Any = np.isin(part.births["parents"], list(births))
            found[part.number, worker] = int(known.sum())
    return found


def assign_parts(affinity: NDArray[np.int64]) -> list[int]:
    """A worker for each part; the numbers of parts of any two workers differ by at most one.

    No result depends on it. Without affinities each worker gets neighbouring parts, which share products and noise.

    Args:
        affinity: (parts, workers) from :func:`parent_affinity`.

    Returns:
        The worker of each part.
    """
    count, workers = affinity.shape
    homes = [part * workers // count for part in range(count)]
    pairs = sorted(
        ((part, worker) for part in range(count) for worker in range(workers)),
        key=lambda pair: (-int(affinity[pair]), abs(homes[pair[0]] - pair[1]), pair),
    )
    least, more = divmod(count, workers)
    chosen: dict[int, int] = {}
    taken = [0] * workers
    for part, worker in pairs:
        if part in chosen or taken[worker] >= least + (more > 0):
            continue
        more -= taken[worker] == least  # one of the few workers that take one part more
        taken[worker] += 1
        chosen[part] = worker
    return [chosen[part] for part in range(count)]


logger = logging.getLogger("galab")
#: Workers that may die over one part before the run stops.
MOST_DEATHS = 3


class _Worker:
    """A worker, seen from the parent.

    Attributes:
        child: its process.
        todo: parts that it was given and has not scored.
        decoded: ids of the births that it decoded in the last generation.
        lost: the generation in which its search was last found to differ.
        since: when it began the first of these parts, on the monotonic clock; None while it is at none.
    """

    def __init__(self) -> None:
        self.process = WorkerProcess(serve, logger.getEffectiveLevel(), daemon=True)
        self.todo: list[Part] = []
        self.decoded: set[int] = set()
        self.lost = 0
        self.since: float | None = None


class WorkerPool:
    """Scores a cohort in worker processes.

    Args:
        search: the search of this process.
        state: gives its present state and the records that :meth:`WorkerSearch.restore` needs.
        build: makes the search in a worker; it is sent by pickle.
        workers: how many at most; a cohort starts as many as it has parts.
        member_seconds: wall time that a member may take; None or 0 is no limit.
    """

    def __init__(
        self,
        search: WorkerSearch,
        state: Callable[[], tuple[dict[str, Any], NDArray[Any]]],
        build: Callable[[], WorkerSearch],
        workers: int,
        member_seconds: float | None = None,
    ) -> None:
        self._search = search
        self._state = state
        self._build = build
        self._count = workers
        self._member_seconds = member_seconds
        self._workers: list[_Worker] = []
        self._answers: dict[int, Scores] = {}
        self._deaths: Counter[int] = Counter()
        self._mentioned: set[str] = set()
        self._generation = 0
        self._update: dict[str, Any] = {}
        self._observed: NDArray[np.float64] | None = None

    def score(self, cohort: Cohort) -> Scores:
        """See :class:`galab.contracts.Executor`.

        Raises:
            GalabError: workers cannot start, or several die while they score the same members.
        """
        parts = self._search.executor.parts(cohort)
        self._start(parts)
        self._answers, self._deaths = {}, Counter()
        self._generation, self._update = cohort.generation, self._search.update_for_workers()
        self._observed = self._search.observed()
        chosen = assign_parts(parent_affinity(parts, [worker.decoded for worker in self._workers]))
        for number, worker in enumerate(self._workers):
            worker.todo = [part for part, owner in zip(parts, chosen, strict=True) if owner == number]
            worker.decoded = set()
            self._ask(worker)
        while any(worker.todo for worker in self._workers):
            self._receive()
        scores = join_scores(parts, [self._answers[part.number] for part in parts])
        result = self._search.result_for_workers(scores.fitness)
        if result is not None:
            # At once, so that workers move on while this process does.
            for worker in self._workers:
                if worker.process.ready:
                    worker.process.send("result", result)
        return scores

    def close(self) -> None:
        """End the workers; those that are still at work have nothing to save."""
        for worker in self._workers:
            worker.process.end(0.0 if worker.todo or not worker.process.ready else GOODBYE_SECONDS)
        self._workers = []

    def _receive(self) -> None:
        """Receive one message from each worker that has sent one, or end those that take too long."""
        by_connection = {worker.process.connection: worker for worker in self._workers}
        ends = [end for end in map(self._deadline, self._workers) if end is not None]
        found = wait(list(by_connection), max(0.0, min(ends) - time.monotonic()) if ends else None)
        if not found:
            for worker in list(self._workers):
                if (end := self._deadline(worker)) is not None and end <= time.monotonic():
                    self._give_up_on_part(worker)
        for connection in found:
            worker = by_connection[connection]
            try:
                kind, *values = worker.process.receive()
            except (EOFError, OSError):
                self._replace(worker)
            else:
                self._handle(worker, kind, values)

    def _handle(self, worker: _Worker, kind: str, values: Sequence[Any]) -> None:
        if kind == "hello":
            worker.process.send("build", self._build)
        elif kind == "ready":
            worker.process.ready = True
            worker.process.send("state", *self._state())
            self._ask(worker)
        elif kind == "begun":
            worker.since = time.monotonic()
        elif kind == "scored":
            worker.since = time.monotonic()
            number, self._answers[number] = values
            done = next(part for part in worker.todo if part.number == number)
            worker.todo = [part for part in worker.todo if part is not done]
            worker.decoded.update(done.births["id"].tolist())
        elif kind == "lost":
            self._restore(worker, *values)
        elif kind == "log":
            self._log(*values)
        else:
            self._give_up(worker, *values)

    def _ask(self, worker: _Worker) -> None:
        """Send this generation to a worker; also to one without a part, so that it stays where the search is."""
        worker.since = None
        if worker.process.ready:  # else it is asked as soon as it is
            if self._observed is not None:
                worker.process.send("observed", self._observed)
            worker.process.send("score", self._generation, self._update, worker.todo)

    def _restore(self, worker: _Worker, generation: int) -> None:
        """Send the state again to a worker that is not where the search is."""
        if generation < self._generation:  # it has been asked again since
            return
        if worker.lost == generation:
            raise GalabError(
                f"generation {generation}: expected a worker to be where the run is after it was given the run's "
                "state, got another centre; use --workers 0, and report this with `galab doctor`"
            )
        worker.lost = generation
        logger.warning(
            "generation %d: a worker's centre is not that of the run, so it is given the run's state again", generation
        )
        worker.process.send("state", *self._state())
        self._ask(worker)

    def _deadline(self, worker: _Worker) -> float | None:
        """When the part that a worker is at must be scored, on the monotonic clock."""
        if not self._member_seconds or not worker.todo or worker.since is None:
            return None
        return worker.since + self._member_seconds * len(worker.todo[0])

    def _give_up_on_part(self, worker: _Worker) -> None:
        """End a worker that takes too long: the members that it is at have failed, and another one does the rest."""
        part, *rest = worker.todo
        worker.process.end(0.0)
        reason = f"took longer than {self._member_seconds:g} seconds"
        if len(part) > 1:
            reason += f", or another one of the {len(part)} members of its chunk did"
        self._answers[part.number] = self._search.executor.failed(part, reason)
        last = part.first + len(part) - 1
        who = f"member {last}" if len(part) == 1 else f"members {part.first} to {last}"
        logger.warning(
            "generation %d: %s took longer than --member-seconds %g each and failed; another worker takes the place of "
            "theirs",
            self._generation, who, self._member_seconds,
        )  # fmt: skip
        self._succeed(worker, rest)

    def _succeed(self, worker: _Worker, todo: list[Part]) -> None:
        """Start another worker in the place of one that has ended."""
        worker.todo = []
        successor = _Worker()
        successor.todo = todo
        self._workers[self._workers.index(worker)] = successor

    def _replace(self, worker: _Worker) -> None:
        """Replace a worker that died; the new one repeats what it has not scored.

        Raises:
            GalabError: it never became ready, or several workers died over the same members.
        """
        fate, todo = worker.process.fate(), worker.todo
        worker.todo = []
        if not worker.process.ready:
            raise GalabError(f"expected a worker to start, but {fate}; or use --workers 0")
        if todo:
            self._deaths[todo[0].number] += 1
            if self._deaths[todo[0].number] == MOST_DEATHS:
                raise GalabError(
                    f"generation {self._generation}: expected scores of members {todo[0].first} to "
                    f"{todo[0].first + len(todo[0]) - 1}, but {MOST_DEATHS} workers died over them, the last one as "
                    f"{fate}; the last good checkpoint is kept: look at the task, have fewer --workers if memory is "
                    "short, or use --workers 0 to see what happens"
                )
        logger.warning(
            "generation %d: a worker died (%s); another one takes its place%s",
            self._generation, fate, f" and repeats {len(todo)} chunk{'s' * (len(todo) > 1)}" if todo else "",
        )  # fmt: skip
        self._succeed(worker, todo)

    def _give_up(self, worker: _Worker, kind: str, sentence: str, text: str) -> None:
        """A worker met an error outside its members: the run ends as it would in this process."""
        worker.todo = []
        error = getattr(errors, kind, None)
        if isinstance(error, type) and issubclass(error, GalabError):
            raise GalabError(sentence) if error is errors.LethalMutationError else error(sentence)
        logger.error("a worker met an error:\n%s", text.rstrip())
        raise GalabError(
            f"expected a worker to {'score its members' if worker.process.ready else 'start'}, got {kind}: {sentence}; "
            "a bug in galab or in your own code: the log has the traceback"
        )

    def _log(self, level: int, text: str, key: str | None) -> None:
        """Log a worker's message; what all workers log appears once."""
        if key is None or is_new_error(key):
            logger.log(level, "%s", text)

    def _start(self, parts: Sequence[Part]) -> None:
        """Start workers, none of which would stay without a part; say once each what that makes of the number."""
        number = min(self._count, len(parts))
        if number < self._count and "few" not in self._mentioned and parts[0].generation < SECOND_LOOK:
            self._mentioned.add("few")
            largest = max(len(part) for part in parts)
            logger.warning(
                "a generation is computed in %d chunk%s of up to %d members, so %d of the %d workers asked for "
                "%s started: use --workers %d, or begin a run with --chunk %d, which every worker gets its share of",
                len(parts), "s" * (len(parts) > 1), largest, number, self._count, "is" if number == 1 else "are",
                number, math.ceil(parts[0].members / self._count),
            )  # fmt: skip
        if number > cores() and "many" not in self._mentioned:
            self._mentioned.add("many")
            logger.warning(
                "%d workers share %d core%s and get into each other's way, each with the data in its own memory: "
                "--workers %d is as fast",
                number, cores(), "s" * (cores() > 1), cores(),
            )  # fmt: skip
        while len(self._workers) < number:
            self._workers.append(_Worker())
