"""Which worker takes over what from which other one, within a generation. No result depends on it."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from galab.evaluation.executors.pool_worker import PoolWorker
from galab.evaluation.sources import Part

#: Seconds of work that are worth taking over from another worker.
WORTH_TAKING = 0.02
#: A part is given to a second worker when it takes so many times as long as the longest before, and so many seconds.
STRAGGLES, STRAGGLES_SECONDS = 4.0, 5.0
#: Between two looks for such parts.
LOOK_SECONDS = 0.05
#: Added to the load of a worker that was told nothing yet: it may take long until it begins.
_UNTOLD = 1 << 20


@dataclass(frozen=True, slots=True)
class Choice:
    """Parts for a worker that has nothing to do.

    Attributes:
        worker: who gets them.
        owner: whose they are.
        parts: the last of the owner's, or the one that it is at.
        dropped: whether the owner is to leave them; else both score them.
    """

    worker: PoolWorker
    owner: PoolWorker
    parts: list[Part]
    dropped: bool


class Balance:
    """Keeps who has nothing to do and who has most, so that a choice takes no walk over all workers.

    Attributes:
        twice: numbers of the parts of this generation that two workers are at.
    """

    def __init__(self) -> None:
        self.twice: set[int] = set()
        self._idle: dict[PoolWorker, None] = {}
        self._loads: list[tuple[int, int, PoolWorker]] = []
        self._pushed = itertools.count()
        self._longest = self._longest_now = 0.0
        self._look_at = 0.0

    def begin(self, workers: Sequence[PoolWorker]) -> None:
        """A generation begins."""
        for worker in workers:
            worker.load = 0
        self._longest, self._longest_now = self._longest_now, 0.0
        self._idle, self._loads, self.twice, self._look_at = {}, [], set(), 0.0

    def note(self, worker: PoolWorker) -> None:
        """A worker may have become idle, or been given something."""
        if worker.free:
            self._idle[worker] = None
        else:
            self._idle.pop(worker, None)
        # The heap may hold a worker with more than it has now, but never with less.
        if worker.todo and _load(worker) > worker.load:
            self._push(worker)

    def forget(self, worker: PoolWorker) -> None:
        """A worker is gone."""
        self._idle.pop(worker, None)

    def scored(self, seconds: float) -> None:
        """A part took so long."""
        self._longest_now = max(self._longest_now, seconds)

    def next_look(self) -> float | None:
        """When :meth:`choice` may find more than now although no worker sent anything, on the monotonic clock."""
        return max(self._look_at, time.monotonic() + LOOK_SECONDS) if self._idle else None

    def choice(self, workers: Sequence[PoolWorker]) -> Choice | None:
        """What an idle worker may do, if one is idle and there is something."""
        worker, owner = next(iter(self._idle), None), self._busiest()
        if worker is None or owner is None:
            return None
        parts = self._not_begun(owner)
        if parts:
            return Choice(worker, owner, parts, True)
        straggler = self._straggler(workers)
        if straggler is None:
            return None
        self.twice.add(straggler.todo[0].number)
        return Choice(worker, straggler, straggler.todo[:1], False)

    def _push(self, worker: PoolWorker) -> None:
        worker.load = _load(worker)
        heapq.heappush(self._loads, (-worker.load, next(self._pushed), worker))

    def _busiest(self) -> PoolWorker | None:
        """The worker that has most to score, one that was told nothing before all others."""
        while self._loads:
            load, _, worker = self._loads[0]
            if worker.todo and -load == _load(worker):
                return worker
            heapq.heappop(self._loads)
            worker.load = 0
            if worker.todo:
                self._push(worker)
        return None

    def _not_begun(self, worker: PoolWorker) -> list[Part]:
        """Half of what a worker has not begun, if that is worth it."""
        if not worker.told:
            return worker.todo[len(worker.todo) // 2 :]
        half = worker.todo[1 + len(worker.todo[1:]) // 2 :]
        return half if self._part_seconds() * len(half) >= WORTH_TAKING else []

    def _part_seconds(self) -> float:
        """What a part takes at most, by this generation and the one before."""
        return max(self._longest, self._longest_now)

    def _straggle_end(self, worker: PoolWorker) -> float:
        """When a worker begins to straggle, on the monotonic clock; never if nothing more can be done about it."""
        if not worker.todo or worker.todo[0].number in self.twice:
            return math.inf
        return worker.heard + max(STRAGGLES * self._part_seconds(), STRAGGLES_SECONDS)

    def _straggler(self, workers: Sequence[PoolWorker]) -> PoolWorker | None:
        """A worker that is at a part for too long, if it is time to look for one."""
        now = time.monotonic()
        if now < self._look_at:
            return None
        first = min(workers, key=self._straggle_end)
        end = self._straggle_end(first)
        self._look_at = now + min(max(end - now, LOOK_SECONDS), STRAGGLES_SECONDS)
        return first if end <= now else None


def _load(worker: PoolWorker) -> int:
    return len(worker.todo) + (0 if worker.told else _UNTOLD)
