"""Processes that share the scoring of networks by a Python function.

A worker gets the function and a network once, and then the numbers of each member; for a population of an evolution
strategy the centre and the number of the noise alone. Members are handed out a few at a time, to a worker that is free.

Function and network travel in one piece, so that a class of the script is the same class in both. Classes of a script
that can be imported travel by name, as the worker imports the script; those of a notebook travel whole.
"""

from __future__ import annotations

import atexit
import copy
import itertools
import logging
import math
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.api.arguments import check_function, check_whole
from galab.api.fitness_worker import packed, serve
from galab.api.genetic import Networks
from galab.api.population import Population
from galab.api.scores import kind_of_failure
from galab.errors import GalabError, UsageError
from galab.evaluation.executors.link import GOODBYE_SECONDS
from galab.evaluation.executors.processes import WorkerProcess, require_children

logger = logging.getLogger("galab")
#: Parts of a generation for each worker: the smaller they are, the less a slow member holds up.
_PARTS = 4
#: Members that may take workers down, without a score in between, before a generation is given up.
_MOST_DEATHS = 3
#: Calls are as many seeds apart.
_SEEDS = 1 << 24


@dataclass(slots=True)
class _Worker:
    """A worker, seen from this process.

    Attributes:
        process: its process.
        members: those that it scores, as (first, one past the last).
        since: when it was given them, on the monotonic clock.
        knows: what it was sent of a network and a population.
    """

    process: WorkerProcess
    members: tuple[int, int] | None = None
    since: float = 0.0
    knows: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _Job:
    """How the members of a generation are told to a worker.

    Attributes:
        payload: from (first, last) to the message that lets a worker score those members.
        setup: what a worker must know before.
        messages: give it that.
    """

    payload: Callable[[int, int], tuple[Any, ...]]
    setup: tuple[Any, ...]
    messages: Callable[[], list[tuple[Any, ...]]]


@dataclass(slots=True)
class _Call:
    """One generation that is being scored.

    Attributes:
        job: how members are told to a worker.
        todo: members that no worker has.
        scores: by member; NaN for failures.
        open: how many are still to be scored.
        failures: why members failed, by their place.
        deaths: members that took a worker down since the last score.
        tried: members over which a worker has died already.
    """

    job: _Job
    todo: deque[tuple[int, int]]
    scores: list[Any]
    open: int
    failures: dict[int, str] = field(default_factory=dict)
    deaths: int = 0
    tried: set[int] = field(default_factory=set)


class Workers:
    """Scores networks in several processes; the scores are the same with any number of them.

    Example::

        with galab.Workers(fitness, 4) as workers:
            for generation in range(100):
                search.tell(workers(search.ask()))

    A script does this under ``if __name__ == "__main__":``, as each process imports it.

    Args:
        fitness: scores one network by a number, or by several, as a tuple. It travels once, with the data that it
            refers to as they are then: what is changed here later it does not see. Random numbers of torch, NumPy and
            ``random`` are seeded for each call and each network's place. What it raises for some networks counts as
            their failure, and so does a process that it takes down twice.
        workers: how many processes.
        threads: on which each of them computes; the last bits of a float32 score may depend on it.
        member_seconds: wall time that a network may take, so a part of n may take n times as long; where it takes
            longer, its networks are tried one by one, and one alone has failed. None is no limit.

    Attributes:
        failures: of the last call, why networks failed, by their place.

    Raises:
        UsageError: processes cannot be started here, or the function cannot be sent.
    """

    def __init__(
        self,
        fitness: Callable[[nn.Module], Any],
        workers: int,
        *,
        threads: int = 1,
        member_seconds: float | None = None,
    ) -> None:
        check_function("fitness", fitness, "a function of a network")
        check_whole("workers", workers, 1)
        check_whole("threads", threads, 1)
        if member_seconds is not None and not (isinstance(member_seconds, int | float) and member_seconds > 0):
            raise UsageError(f"expected member_seconds above 0, or None, got {member_seconds!r}; correct it")
        require_children(f"workers={workers}", "no workers")
        self._fitness = fitness
        packed(fitness, "the fitness function")
        self._count, self._threads, self._seconds = workers, threads, member_seconds
        self._workers: list[_Worker] = []
        self._said: set[str] = set()
        self.failures: dict[int, str] = {}
        self._calls = itertools.count()
        _OPEN.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_workers": [], "_calls": next(copy.copy(self._calls))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _calls=itertools.count(state["_calls"]))
        _OPEN.add(self)

    def __call__(self, networks: Sequence[nn.Module]) -> list[Any]:
        """The scores of networks, in their order; NaN for failures.

        Args:
            networks: what :meth:`galab.Search.ask` or :meth:`galab.ESOptimizer.ask` gave, or any networks, each of
                which is sent as a whole.

        Raises:
            GalabError: a process cannot start, or several died.
        """
        if not isinstance(networks, Sequence):
            raise UsageError(f"expected networks as ask() gives them, or a list of some, got {networks!r:.80}")
        count = len(networks)
        if not count:
            return []
        size = math.ceil(count / (_PARTS * self._count))
        size += size % 2 if isinstance(networks, Population) else 0
        parts = deque((first, min(first + size, count)) for first in range(0, count, size))
        call = _Call(self._job(networks, next(self._calls) * _SEEDS), parts, [math.nan] * count, count)
        self.failures = call.failures
        while len(self._workers) < min(self._count, len(parts)):
            self._workers.append(self._started())
        try:
            for worker in self._workers:
                self._give(worker, call)
            while call.open:
                self._receive(call)
        except BaseException:
            self.close()
            raise
        return _in_rows(call.scores)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; the next call starts others."""
        _end(self._workers)

    def _job(self, networks: Sequence[nn.Module], seed: int) -> _Job:
        """How the members of a generation are told to a worker."""
        if isinstance(networks, Population):
            return self._of_population(networks, seed)
        if isinstance(networks, Networks) and networks.untouched():
            return self._of_networks(networks, seed)
        whole = packed((self._fitness, list(networks)), "the networks")
        # Once for each worker and not for each part: they share what they refer to.
        return _Job(lambda first, last: ("modules", first, last, seed), (object(),), lambda: [("work", whole)])

    def _of_networks(self, networks: Networks, seed: int) -> _Job:
        """Members of a genetic algorithm: the numbers that evolve."""
        template, names = networks.template, networks.names

        def payload(first: int, last: int) -> tuple[Any, ...]:
            rows = [_flat(dict(network.named_parameters()), names) for network in networks[first:last]]
            return "networks", first, names, np.stack(rows), seed

        return _Job(payload, (template,), lambda: [("work", self._work(template))])

    def _of_population(self, population: Population, seed: int) -> _Job:
        """Members of a population: its centre and the number of its noise."""
        centre = {name: value.detach().cpu().numpy() for name, value in population.centre.items()}
        template, directions = population.template, population.directions

        def payload(first: int, last: int) -> tuple[Any, ...]:
            return "population", first, last, centre, population.settings, seed

        def messages() -> list[tuple[Any, ...]]:
            return [("work", self._work(template)), ("directions", directions.on_cpu())]

        return _Job(payload, (template, directions), messages)

    def _work(self, template: nn.Module) -> bytes:
        """The function and a network that members are made of."""
        return packed((self._fitness, template), "the network")

    def _started(self) -> _Worker:
        worker = _Worker(WorkerProcess(serve, daemon=True))
        worker.process.send("hello", self._threads)
        return worker

    def _give(self, worker: _Worker, call: _Call) -> None:
        """Hand out the next members."""
        if not call.todo:
            worker.members = None
            return
        knows, needed = worker.knows, call.job.setup
        if len(knows) != len(needed) or any(one is not other for one, other in zip(knows, needed, strict=True)):
            for message in call.job.messages():
                worker.process.send(*message)
            worker.knows = call.job.setup
        worker.members = call.todo.popleft()
        worker.process.send(*call.job.payload(*worker.members))
        worker.since = time.monotonic()

    def _receive(self, call: _Call) -> None:
        """Receive from each worker that has sent, or end those that take too long."""
        busy = {worker.process.connection: worker for worker in self._workers if worker.members is not None}
        assert busy, "members without a score and no worker that scores them"
        ends = [end for end in map(self._deadline, busy.values()) if end is not None]
        found = wait(list(busy), max(0.0, min(ends) - time.monotonic()) if ends else None)
        for worker in list(busy.values()) if not found else ():
            if (end := self._deadline(worker)) is not None and end <= time.monotonic():
                worker.process.end(0.0)
                self._lost(worker, call, f"took longer than {self._seconds:g} seconds", died=False)
        for connection in found:
            worker = busy[connection]
            try:
                kind, *values = worker.process.receive()
            except (EOFError, OSError):
                self._lost(worker, call, worker.process.fate(), died=True)
                continue
            if kind == "ready":
                worker.process.ready = True
                worker.since = time.monotonic()
            elif kind == "error":
                raise UsageError(f"expected a worker to take over the fitness function, got {values[0]}; correct it")
            else:
                self._take(worker, call, *values)

    def _take(self, worker: _Worker, call: _Call, first: int, found: list[tuple[Any, str]]) -> None:
        assert worker.members == (first, first + len(found)), "the scores of other members"
        call.deaths = 0
        for place, (value, reason) in enumerate(found, first):
            call.scores[place], call.open = value, call.open - 1
            if reason:
                call.failures[place] = reason
                self._warn(f"the fitness function raised {reason}: a failure; this reason is told once")
        self._give(worker, call)

    def _deadline(self, worker: _Worker) -> float | None:
        if self._seconds is None or worker.members is None or not worker.process.ready:
            return None
        return worker.since + self._seconds * (worker.members[1] - worker.members[0])

    def _lost(self, worker: _Worker, call: _Call, fate: str, *, died: bool) -> None:
        """Replace a worker that died or took too long; several members are tried again one by one, one has failed."""
        assert worker.members is not None
        first, last = worker.members
        fatal = last - first == 1 and first in call.tried and call.deaths + 1 == _MOST_DEATHS
        if not worker.process.ready or fatal:
            raise GalabError(
                f"expected the scores of {len(call.scores)} networks, but {fate}, "
                f"{'at its start' if not worker.process.ready else f'the {_MOST_DEATHS}rd worker that died'}; look at "
                "the fitness function, or score without workers to see what happens"
            )
        if last - first == 1 and died and first not in call.tried:
            call.tried.add(first)  # once more alone: the worker may have been ended for another reason
            call.todo.appendleft((first, last))
        elif last - first > 1:
            call.todo.extendleft((place, place + 1) for place in reversed(range(first, last)))
        else:
            call.open -= 1
            call.deaths += died
            call.failures[first] = fate
            self._warn(f"a network failed: {fate}; another process goes on, and this is told once")
        successor = self._started()
        self._workers[self._workers.index(worker)] = successor
        self._give(successor, call)

    def _warn(self, text: str) -> None:
        if (kind := kind_of_failure(text)) not in self._said:
            self._said.add(kind)
            logger.warning("%s", text)


#: All that may have processes.
_OPEN: weakref.WeakSet[Workers] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End processes at exit, before multiprocess waits for them: they wait for a pipe that is open."""
    for workers in list(_OPEN):
        workers.close()


def _end(workers: list[_Worker]) -> None:
    """End processes, and forget them."""
    while workers:
        worker = workers.pop()
        worker.process.end(0.0 if worker.members is not None else GOODBYE_SECONDS)


def _in_rows(scores: list[Any]) -> list[Any]:
    """Scores, where some are tuples with the failures as rows of NaN too."""
    width = max((len(score) for score in scores if isinstance(score, tuple)), default=0)
    return [(math.nan,) * width if width and not isinstance(score, tuple) else score for score in scores]


def _flat(numbers: dict[str, Tensor], names: Sequence[str]) -> NDArray[np.uint8]:
    """The bytes of some tensors, one after the other."""
    found = (numbers[name].detach().cpu().contiguous() for name in names)
    return torch.cat([value.reshape(-1).view(torch.uint8) for value in found]).numpy()
