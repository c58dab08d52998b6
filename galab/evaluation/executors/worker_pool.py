"""The executor that shares a generation among processes.

A worker has the module, the data and a decode cache of its own, and is sent births, never weights; see
:mod:`galab.evaluation.executors.worker` for the messages. Parts of a cohort are cut as in this process and sent whole,
so the number of workers never changes a result.

Which worker computes which part of a cohort: evenly, and where possible where the parents are decoded already.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from multiprocessing.connection import wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab import errors
from galab.contracts import Cohort, Scores
from galab.errors import GalabError
from galab.evaluation.executors.local import Here
from galab.evaluation.executors.worker import GOODBYE_SECONDS, Child, Follower, Leader, serve
from galab.evaluation.numeric_profile import first_time
from galab.evaluation.sources import Part, joined


def votes(parts: Sequence[Part], decoded: Sequence[Collection[int]]) -> NDArray[np.int64]:
    """(parts, workers) how many of a part's members have a parent whom a worker alone has decoded.

    Args:
        parts: of one cohort.
        decoded: births by worker.
    """
    found = np.zeros((len(parts), len(decoded)), dtype=np.int64)
    for part in parts:
        if "parents" not in (part.births.dtype.names or ()):  # members around a centre
            continue
        for worker, births in enumerate(decoded):
            known: Any = np.isin(part.births["parents"], list(births))
            found[part.number, worker] = int(known.sum())
    return found


def spread(liked: NDArray[np.int64]) -> list[int]:
    """A worker for each part: no two workers' numbers of parts differ by more than one.

    Nothing of a result depends on it. Without preferences each worker gets parts that lie side by side, which have
    products and noise in common.

    Args:
        liked: (parts, workers) from :func:`votes`.

    Returns:
        The worker of each part.
    """
    count, workers = liked.shape
    homes = [part * workers // count for part in range(count)]
    pairs = sorted(
        ((part, worker) for part in range(count) for worker in range(workers)),
        key=lambda pair: (-int(liked[pair]), abs(homes[pair[0]] - pair[1]), pair),
    )
    least, more = divmod(count, workers)
    chosen: dict[int, int] = {}
    taken = [0] * workers
    for part, worker in pairs:
        if part in chosen or taken[worker] >= least + (more > 0):
            continue
        more -= taken[worker] == least  # one of the few workers who take one part more
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
        todo: parts that it has been given and has not scored.
        decoded: births that it decoded in the last generation, of which other workers may not know.
        lost: the generation in which it was last found to be somewhere else.
    """

    def __init__(self) -> None:
        self.child = Child(serve, logger.getEffectiveLevel(), daemon=True)
        self.todo: list[Part] = []
        self.decoded: set[int] = set()
        self.lost = 0


class Processes:
    """Scores a cohort in worker processes.

    Args:
        here: the executor of this process, which cuts cohorts.
        leader: tells workers where the search is.
        build: makes, in a worker, what it computes with; it travels by pickle.
        workers: how many; they are started by the first cohort.
    """

    def __init__(self, here: Here, leader: Leader, build: Callable[[], Follower], workers: int) -> None:
        self._here = here
        self._leader = leader
        self._build = build
        self._count = workers
        self._workers: list[_Worker] = []
        self._answers: dict[int, Scores] = {}
        self._deaths: Counter[int] = Counter()
        self._idleness_mentioned = False
        self._generation = 0
        self._news: Any = None

    def score(self, cohort: Cohort) -> Scores:
        """See :class:`galab.contracts.Executor`.

        Raises:
            GalabError: workers cannot start, or die again and again over the same members.
        """
        while len(self._workers) < self._count:
            self._workers.append(_Worker())
        parts = self._here.parts(cohort)
        self._mention_idleness(parts)
        self._answers, self._deaths = {}, Counter()
        self._generation, self._news = cohort.generation, self._leader.news()
        chosen = spread(votes(parts, [worker.decoded for worker in self._workers]))
        for number, worker in enumerate(self._workers):
            worker.todo = [part for part, who in zip(parts, chosen, strict=True) if who == number]
            worker.decoded = set()
            self._ask(worker)
        while any(worker.todo for worker in self._workers):
            self._listen()
        scores = joined(parts, [self._answers[part.number] for part in parts])
        heard = self._leader.heard(scores.fitness)
        if heard is not None:
            # At once, so that workers move on while this process does.
            for worker in self._workers:
                if worker.child.ready:
                    worker.child.send("hear", heard)
        return scores

    def close(self) -> None:
        """Let the workers go; those that are still at work have nothing to save."""
        for worker in self._workers:
            worker.child.end(0.0 if worker.todo or not worker.child.ready else GOODBYE_SECONDS)
        self._workers = []

    def _listen(self) -> None:
        """Hear all those who have something to say."""
        by_connection = {worker.child.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection)):
            worker = by_connection[connection]
            try:
                kind, *values = worker.child.hear()
            except (EOFError, OSError):
                self._replace(worker)
            else:
                self._hear(worker, kind, values)

    def _hear(self, worker: _Worker, kind: str, values: Sequence[Any]) -> None:
        if kind == "hello":
            worker.child.send("build", self._build)
        elif kind == "ready":
            worker.child.ready = True
            worker.child.send("state", self._leader.state())
            self._ask(worker)
        elif kind == "scored":
            number, self._answers[number] = values
            done = next(part for part in worker.todo if part.number == number)
            worker.todo = [part for part in worker.todo if part is not done]
            worker.decoded.update(done.births["id"].tolist())
        elif kind == "lost":
            self._lead_back(worker, *values)
        elif kind == "log":
            self._log(*values)
        else:
            self._give_up(worker, *values)

    def _ask(self, worker: _Worker) -> None:
        """Tell a worker of this generation; also one without a part of it, so that it stays where the search is."""
        if worker.child.ready:  # else it is asked as soon as it is
            worker.child.send("score", self._generation, self._news, worker.todo)

    def _lead_back(self, worker: _Worker, generation: int) -> None:
        """A worker is not where the search is."""
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
        worker.child.send("state", self._leader.state())
        self._ask(worker)

    def _replace(self, worker: _Worker) -> None:
        """A worker died: another one repeats what it has not scored.

        Raises:
            GalabError: it never began, or its members have cost several workers their lives.
        """
        fate, todo = worker.child.fate(), worker.todo
        worker.todo = []
        if not worker.child.ready:
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
        successor = _Worker()
        successor.todo = todo
        self._workers[self._workers.index(worker)] = successor

    def _give_up(self, worker: _Worker, kind: str, sentence: str, text: str) -> None:
        """A worker met an error that is no member's: the run ends as it would in this process."""
        worker.todo = []
        error = getattr(errors, kind, None)
        if isinstance(error, type) and issubclass(error, GalabError):
            raise GalabError(sentence) if error is errors.LethalMutationError else error(sentence)
        logger.error("a worker met an error:\n%s", text.rstrip())
        raise GalabError(
            f"expected a worker to {'score its members' if worker.child.ready else 'start'}, got {kind}: {sentence}; "
            "a bug in galab or in your own code: the log has the traceback"
        )

    def _log(self, level: int, text: str, key: str | None) -> None:
        """Pass on what a worker logs; what all of them say is said once."""
        if key is None or first_time(key):
            logger.log(level, "%s", text)

    def _mention_idleness(self, parts: Sequence[Part]) -> None:
        """Say once that a generation has too few parts for all workers."""
        workers = len(self._workers)
        if len(parts) >= workers or self._idleness_mentioned:
            return
        self._idleness_mentioned = True
        largest = max(len(part) for part in parts)
        logger.warning(
            "a generation is computed in %d chunk%s of up to %d members, so %d of %d workers have nothing to do: use "
            "--workers %d, or begin a run with --chunk %d, which every worker gets its share of",
            len(parts), "s" * (len(parts) > 1), largest, workers - len(parts), workers,
            len(parts), math.ceil(parts[0].members / workers),
        )  # fmt: skip
