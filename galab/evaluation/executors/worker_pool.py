"""The executor that shares a generation among workers, wherever they are.

Each worker has its own module, data and decode cache, and receives births, never weights; the messages are listed in
:mod:`galab.evaluation.executors.link`. A cohort is split into the same parts as in one process, and a part is scored
by one worker, so neither the number of workers nor who scores what ever changes a result.

The rules, for links of every kind. Parts are spread evenly, and where possible go to the worker that has decoded their
parents. A worker that has nothing left takes over half of what the one with the most work has not begun; where a part
is begun meanwhile it is scored twice, and both answers must be the same to the bit. So it goes with a part that takes
much longer than the others. A worker that dies is replaced, and what it has not scored is repeated; three deaths over
the same members end the run. A worker that is not where the search is, is given its state again.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from galab import errors
from galab.contracts import Cohort, Scores
from galab.errors import GalabError, NumericProfileError
from galab.evaluation.blocks import SECOND_LOOK
from galab.evaluation.executors.balance import Balance
from galab.evaluation.executors.hand_out import assign_parts, parent_affinity
from galab.evaluation.executors.link import GOODBYE_SECONDS, LinkClosedError, Links, packed, packed_parts
from galab.evaluation.executors.pool_worker import PoolWorker, WorkerUse, at, score_bytes
from galab.evaluation.executors.worker import WorkerSearch
from galab.evaluation.numeric_profile import is_new_error
from galab.evaluation.sources import Part

logger = logging.getLogger("galab")
#: Workers that may die over one part before the run stops.
MOST_DEATHS = 3


class WorkerPool:
    """Scores a cohort in workers.

    Args:
        search: the search of this process.
        state: gives its present state and the records that :meth:`WorkerSearch.restore` needs.
        build: makes the search in a worker, from the task or from None where it finds that itself, and says in what its
            scores may differ; sent by pickle.
        workers: how many at most; a cohort starts as many as it has parts.
        links: starts them.
        data: gives the task, for workers that have not got its data.
        member_seconds: wall time that a member may take; None or 0 is no limit.
        repeats: whether scores are the same to the bit whoever computes them, as those of servers are not.
    """

    def __init__(
        self,
        search: WorkerSearch,
        state: Callable[[], tuple[dict[str, Any], NDArray[Any]]],
        build: Callable[[Any], tuple[WorkerSearch, str]],
        workers: int,
        links: Links[Any],
        data: Callable[[], Any],
        member_seconds: float | None = None,
        *,
        repeats: bool = True,
    ) -> None:
        self._search = search
        self._state = state
        self._build = build
        self._count = workers
        self._links = links
        self._data = data
        self._member_seconds = member_seconds
        self._repeats = repeats
        self._workers: list[PoolWorker] = []
        self._answers: dict[int, Scores] = {}
        self._deaths: Counter[int] = Counter()
        self._mentioned: set[str] = set()
        self._generation = 0
        self._members = 0
        self._update: dict[str, Any] = {}
        self._observed: bytes | None = None
        self._past = [0, 0]
        self._never_ready = 0
        self._by_link: dict[Any, PoolWorker] = {}
        self._balance = Balance()
        self._paid_until: float | None = None
        self._use = WorkerUse()

    def score(self, cohort: Cohort) -> Scores:
        """See :class:`galab.contracts.Executor`.

        Raises:
            GalabError: workers cannot start, or several die while they score the same members.
        """
        parts = self._search.executor.parts(cohort)
        self._start(parts)
        began, before = time.monotonic(), self._counts()
        self._answers, self._deaths = {}, Counter()
        self._generation, self._members = cohort.generation, parts[0].members
        self._update = self._search.update_for_workers()
        observed = self._search.observed()
        self._observed = None if observed is None else packed(("observed", observed))
        self._share_out(parts)
        while len(self._answers) < len(parts):
            self._take_over()
            self._receive()
        scores = self._search.executor.join(parts, [self._answers[part.number] for part in parts])
        result = self._search.result_for_workers(scores.fitness)
        if result is not None:
            # At once, so that workers move on while this process does.
            content = packed(("result", result))
            for worker in self._workers:
                if worker.stale:
                    worker.results.append(content)
                elif worker.link.ready:
                    worker.link.send_packed(content)
        self._count_use(len(parts), began, before)
        return scores

    def use_since(self) -> WorkerUse:
        """What workers did since this was last asked."""
        use, self._use = self._use, WorkerUse()
        return use

    def close(self) -> None:
        """End the workers; those that are still at work have nothing to save."""
        for worker in self._workers:
            at_work = bool(worker.todo or worker.stale) or not worker.link.ready
            worker.link.end(0.0 if at_work else GOODBYE_SECONDS)
        self._workers = []
        self._links.close()

    def _share_out(self, parts: Sequence[Part]) -> None:
        """Give the parts of a generation to the workers, all of which hear of it."""
        ready = [worker for worker in self._workers if worker.link.ready] or self._workers
        chosen = assign_parts(parent_affinity(parts, [worker.decoded for worker in ready]), len(ready))
        self._balance.begin(self._workers)
        for worker in self._workers:
            worker.behind |= worker.link.ready and not worker.told
            worker.todo, worker.decoded, worker.busy, worker.told = [], set(), 0.0, False
        for part, owner in zip(parts, chosen, strict=True):
            ready[owner].todo.append(part)
        for worker in self._workers:
            self._ask(worker)
            self._balance.note(worker)

    def _ask(self, worker: PoolWorker) -> None:
        """Send this generation to a worker; also to one without a part, so that it stays where the search is."""
        worker.since, worker.heard = None, time.monotonic()
        if worker.stale or not worker.link.ready:  # it is asked as soon as it listens
            return
        if self._observed is not None:
            worker.link.send_packed(self._observed)
        self._send_parts(worker, worker.todo, self._update)

    def _send_parts(self, worker: PoolWorker, parts: Sequence[Part], update: dict[str, Any] | None) -> None:
        worker.told = True
        worker.link.send("score", self._generation, self._members, update, *packed_parts(parts))

    def _take_over(self) -> None:
        """Let workers that have nothing to do score what others have not begun, or are at for too long."""
        while (choice := self._balance.choice(self._workers)) is not None:
            if choice.dropped:
                choice.owner.todo = choice.owner.todo[: -len(choice.parts)]
                self._drop(choice.owner, choice.parts)
            worker = choice.worker
            worker.todo = choice.parts
            worker.since, worker.heard = None, time.monotonic()
            self._send_parts(worker, choice.parts, None)
            self._balance.note(worker)

    def _drop(self, worker: PoolWorker, parts: Sequence[Part]) -> None:
        """Others score these parts of a worker now."""
        if worker.told:
            worker.link.send("drop", self._generation, [part.number for part in parts])
            worker.stale |= {(self._generation, part.number) for part in parts}

    def _settle(self, worker: PoolWorker, generation: int, numbers: Sequence[int]) -> None:
        """A worker has said what became of parts, and listens again if these were all."""
        if not worker.stale:
            return
        worker.stale -= {(generation, number) for number in numbers}
        if worker.stale:
            return
        if worker.behind:
            worker.link.send("state", *self._state())
        else:
            for result in worker.results:
                worker.link.send_packed(result)
        worker.results, worker.behind = [], False
        if not worker.told:
            self._ask(worker)

    def _receive(self) -> None:
        """Receive what workers have sent, or do what has to be done when they send nothing for too long."""
        found = self._links.wait(self._by_link, self._patience())
        for link in found:
            if link not in self._by_link:  # it was ended meanwhile
                continue
            worker = self._by_link[link]
            try:
                messages = link.poll()
            except LinkClosedError:
                self._replace(worker)
                continue
            for kind, *values in messages:
                if link in self._by_link:  # else it was refused
                    self._handle(worker, kind, values)
                    self._balance.note(worker)
        if self._member_seconds:
            for worker in list(self._workers):
                if (end := self._deadline(worker)) is not None and end <= time.monotonic():
                    self._give_up_on_part(worker)

    def _patience(self) -> float | None:
        """For how many seconds there is nothing to do if no worker sends anything; None is for ever."""
        ends = [self._balance.next_look()]
        if self._member_seconds:
            ends += [self._deadline(worker) for worker in self._workers]
        known = [end for end in ends if end is not None]
        return max(0.0, min(known) - time.monotonic()) if known else None

    def _handle(self, worker: PoolWorker, kind: str, values: Sequence[Any]) -> None:
        worker.heard = time.monotonic()
        if kind == "hello":
            worker.link.place = worker.link.place or values[0]
            worker.link.send("build", self._build)
        elif kind == "missing":
            self._send_data(worker, *values)
        elif kind == "ready":
            self._welcome(worker, *values)
        elif kind == "begun":
            worker.since = time.monotonic()
        elif kind == "scored":
            self._scored(worker, *values)
        elif kind == "dropped":
            self._settle(worker, *values)
        elif kind == "lost":
            self._restore(worker, *values)
        elif kind == "log":
            self._log(*values)
        elif kind == "refused":
            self._refuse(worker, *values)
        else:
            self._give_up(worker, *values)

    def _welcome(self, worker: PoolWorker, different: str) -> None:
        """A worker has built its search."""
        if different:
            logger.warning("a worker%s computes other last bits than the run (%s)", at(worker), different)
        worker.link.ready, self._never_ready = True, 0
        worker.link.send("state", *self._state())
        self._ask(worker)

    def _scored(self, worker: PoolWorker, generation: int, seconds: float, number: int, scores: Scores) -> None:
        worker.since = time.monotonic()
        self._settle(worker, generation, [number])
        if generation < self._generation:  # another one was faster
            return
        worker.busy += seconds
        self._balance.scored(seconds)
        if number in self._answers:
            worker.todo = [part for part in worker.todo if part.number != number]
            self._compare(worker, number, scores)
            return
        self._answers[number] = scores
        holders = [worker]
        if number in self._balance.twice or not any(part.number == number for part in worker.todo):
            holders = self._workers
        for holder in holders:
            done = [part for part in holder.todo if part.number == number]
            holder.todo = [part for part in holder.todo if part.number != number] if done else holder.todo
            if done and holder is worker:
                worker.decoded.update(done[0].births["id"].tolist())
            elif done:
                self._drop(holder, done)

    def _compare(self, worker: PoolWorker, number: int, scores: Scores) -> None:
        """A part was scored twice: both answers must be the same, or the first one counts."""
        if not self._repeats or score_bytes(self._answers[number]) == score_bytes(scores):
            return
        raise NumericProfileError(
            f"generation {self._generation}: expected two workers to score the members of chunk {number} alike, got "
            f"other bits from a worker{at(worker)}: its memory may be faulty, or your code not repeat; the last good "
            "checkpoint is kept: resume it without that machine, or see `galab doctor`"
        )

    def _send_data(self, worker: PoolWorker, sentence: str) -> None:
        """A worker has not got the task's data."""
        if "data" not in self._mentioned:
            self._mentioned.add("data")
            logger.warning("a worker%s has not got the data, so it is sent: %s", at(worker), sentence)
        worker.link.send_data(self._data())

    def _restore(self, worker: PoolWorker, generation: int) -> None:
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
        worker.stale, worker.results, worker.behind = set(), [], False
        worker.link.send("state", *self._state())
        self._ask(worker)

    def _deadline(self, worker: PoolWorker) -> float | None:
        """When the part that a worker is at must be scored, on the monotonic clock."""
        if not self._member_seconds or not worker.todo or worker.since is None or worker.stale:
            return None
        return worker.since + self._member_seconds * len(worker.todo[0])

    def _give_up_on_part(self, worker: PoolWorker) -> None:
        """End a worker that takes too long: the members that it is at have failed, and another one does the rest."""
        part, *rest = worker.todo
        worker.link.end(0.0)
        if part.number in self._answers or any(part in other.todo for other in self._workers if other is not worker):
            self._succeed(worker, rest)  # somebody else was faster, or is at it too
            return
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

    def _succeed(self, worker: PoolWorker, todo: list[Part]) -> None:
        """Start another worker in the place of one that has ended, of which nobody takes over anything any more."""
        self._forget(worker)
        successor = self._started()
        successor.todo, worker.todo = list(todo), []
        self._workers[self._workers.index(worker)] = successor
        self._balance.note(successor)

    def _started(self) -> PoolWorker:
        worker = PoolWorker(self._links.start())
        self._by_link[worker.link] = worker
        return worker

    def _replace(self, worker: PoolWorker) -> None:
        """Replace a worker that died; the new one repeats what it has not scored, if nobody takes it over.

        Raises:
            GalabError: it never became ready, nor did several others, or several died over the same members.
        """
        fate, todo = worker.link.fate(), worker.todo
        if not worker.link.ready:
            self._never_ready += 1
            if self._never_ready > (self._links.attempts - 1) * len(self._workers):
                raise GalabError(f"expected a worker{at(worker)} to start, but {fate}; or use --workers 0")
        if todo and worker.link.ready:
            self._deaths[todo[0].number] += 1
            # What was scored a moment before may have died with a worker on another machine.
            after = " or of the next ones" if worker.link.place and len(todo) > 1 else ""
            if self._deaths[todo[0].number] == MOST_DEATHS:
                last = todo[0].first + len(todo[0]) - 1
                raise GalabError(
                    f"generation {self._generation}: expected scores of members {todo[0].first} to {last}{after}, but "
                    f"{MOST_DEATHS} workers died over them, the last one as {fate}; the last good checkpoint is kept: "
                    "look at the task, have fewer --workers if memory is short, or use --workers 0 to see what happens"
                )
        logger.warning(
            "generation %d: a worker%s died (%s); another one takes its place%s",
            self._generation, at(worker), fate,
            f" and repeats {len(todo)} chunk{'s' * (len(todo) > 1)}" if todo else "",
        )  # fmt: skip
        self._succeed(worker, todo)

    def _refuse(self, worker: PoolWorker, sentence: str) -> None:
        """A worker computes other numbers than the run, so the others do its work.

        Raises:
            NumericProfileError: there are no others.
        """
        worker.link.end(0.0)
        self._forget(worker)
        self._workers.remove(worker)
        self._count -= 1
        if not self._workers:
            raise NumericProfileError(sentence)
        logger.warning("the run goes on with one worker less: %s", sentence)
        heir, todo = self._workers[0], worker.todo
        worker.todo = []
        if not todo:
            return
        heir.todo += todo
        if heir.told:
            self._send_parts(heir, todo, None)
        self._balance.note(heir)

    def _give_up(self, worker: PoolWorker, kind: str, sentence: str, text: str) -> None:
        """A worker met an error outside its members: the run ends as it would in this process."""
        worker.todo = []
        error = getattr(errors, kind, None)
        if isinstance(error, type) and issubclass(error, GalabError):
            raise GalabError(sentence) if error is errors.LethalMutationError else error(sentence)
        logger.error("a worker met an error:\n%s", text.rstrip())
        raise GalabError(
            f"expected a worker to {'score its members' if worker.link.ready else 'start'}, got {kind}: {sentence}; "
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
        if "many" not in self._mentioned:  # asked once: a cluster takes its time to answer
            self._mentioned.add("many")
            if crowded := self._links.crowded(number):
                logger.warning("%s", crowded)
        while len(self._workers) < number:
            self._workers.append(self._started())

    def _forget(self, worker: PoolWorker) -> None:
        """Keep what was counted of a worker that is gone."""
        self._past = [self._past[0] + worker.link.sent, self._past[1] + worker.link.received]
        del self._by_link[worker.link]
        self._balance.forget(worker)

    def _counts(self) -> tuple[int, int]:
        """Bytes that were sent, and that have come, of all workers."""
        links = [worker.link for worker in self._workers]
        return self._past[0] + sum(link.sent for link in links), self._past[1] + sum(link.received for link in links)

    def _count_use(self, parts: int, began: float, before: tuple[int, int]) -> None:
        now, ready = time.monotonic(), sum(worker.link.ready for worker in self._workers)
        sent, received = self._counts()
        since = began if self._paid_until is None else self._paid_until
        busy = sum(worker.busy for worker in self._workers)
        self._use = self._use.plus(
            WorkerUse(
                ready, parts, sent - before[0], received - before[1], busy, ready * (now - since), ready * (now - began)
            )
        )
        self._paid_until = now
