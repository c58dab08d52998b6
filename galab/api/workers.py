"""Processes that share the scoring of networks by a Python function.

A worker gets the function and a network once, and then the numbers of each member; for a population of an evolution
strategy the centre and the number of the noise alone. Members are handed out a few at a time, to whoever is free.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Self

import dill
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.api.genetic import Networks
from galab.api.population import Population
from galab.api.scores import number
from galab.errors import GalabError, UsageError
from galab.evaluation.executors.worker import (
    GOODBYE_SECONDS,
    WorkerProcess,
    end_with_parent,
    ignore_interrupts,
    receive,
    require_children,
    send,
)

logger = logging.getLogger("galab")
#: Parts of a generation for each worker: the smaller they are, the less a slow member holds up.
_PARTS = 4
#: Workers that may die in one generation before it is given up.
_MOST_DEATHS = 3


@dataclass(slots=True)
class _Worker:
    """A worker, seen from this process.

    Attributes:
        process: its process.
        members: those that it is at, as (first, one past the last).
        since: when it was given them, on the monotonic clock.
        knows: what it was sent of a network and a population.
    """

    process: WorkerProcess
    members: tuple[int, int] | None = None
    since: float = 0.0
    knows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Told:
    """How the members of a generation are told to a worker.

    Attributes:
        payload: from (first, last) to the message that lets a worker score those members.
        setup: what a worker must know before.
        messages: give it that.
    """

    payload: Callable[[int, int], tuple[Any, ...]]
    setup: tuple[int, ...]
    messages: Callable[[], list[tuple[Any, ...]]]


@dataclass(slots=True)
class _Call:
    """One generation that is being scored.

    Attributes:
        told: how members are told to a worker.
        todo: members that nobody is at.
        scores: by member; NaN for failures.
        open: how many are still to be scored.
        failures: why members failed, by their place.
        deaths: workers that died over one member alone.
    """

    told: _Told
    todo: deque[tuple[int, int]]
    scores: list[float]
    open: int
    failures: dict[int, str] = field(default_factory=dict)
    deaths: int = 0


class Workers:
    """Scores networks in several processes; the scores are the same with any number of them.

    Example::

        with galab.Workers(fitness, 4) as workers:
            for generation in range(100):
                search.tell(workers(search.ask()))

    A script does this under ``if __name__ == "__main__":``, as each process imports it.

    Args:
        fitness: scores one network. It travels with the data that it refers to. What it raises for some networks counts
            as their failure, and so does a process that it takes down.
        workers: how many processes.
        threads: on which each of them computes; the last bits of a float32 score may depend on it.
        member_seconds: wall time that a network may take; one that takes longer has failed, and its process is
            replaced. None is no limit.

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
        for name, value in (("workers", workers), ("threads", threads)):
            if type(value) is not int or value < 1:
                raise UsageError(f"expected {name} as a whole number of 1 or more, got {value!r}; correct it")
        if member_seconds is not None and not member_seconds > 0:
            raise UsageError(f"expected member_seconds above 0, or None, got {member_seconds!r}; correct it")
        require_children(f"workers={workers}", "no workers")
        self._fitness = _packed(fitness, "the fitness function")
        self._count, self._threads, self._seconds = workers, threads, member_seconds
        self._workers: list[_Worker] = []
        self._said: set[str] = set()
        self.failures: dict[int, str] = {}
        self._versions = itertools.count()
        self._template: tuple[int, nn.Module] | None = None

    def __call__(self, networks: Sequence[nn.Module]) -> list[float]:
        """The scores of networks, in their order; NaN for failures.

        Args:
            networks: what :meth:`galab.Search.ask` or :meth:`galab.ESOptimizer.ask` gave, or any networks, each of
                which is sent as a whole.

        Raises:
            GalabError: a process cannot start, or several died.
        """
        count = len(networks)
        if not count:
            return []
        size = math.ceil(count / (_PARTS * self._count))
        size += size % 2 if isinstance(networks, Population) else 0
        parts = deque((first, min(first + size, count)) for first in range(0, count, size))
        call = _Call(self._told(networks), parts, [math.nan] * count, count)
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
        return call.scores

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; the next call starts others."""
        for worker in self._workers:
            worker.process.end(0.0 if worker.members is not None else GOODBYE_SECONDS)
        self._workers = []

    def _told(self, networks: Sequence[nn.Module]) -> _Told:
        """How the members of a generation are told to a worker."""
        if isinstance(networks, Population):
            return self._of_population(networks)
        if isinstance(networks, Networks):
            return self._of_networks(networks)
        return _Told(lambda first, last: ("modules", first, _packed(networks[first:last], "networks")), (), list)

    def _of_networks(self, networks: Networks) -> _Told:
        """Members of a genetic algorithm: the numbers that evolve."""
        version, names = self._known(networks.template), networks.names

        def payload(first: int, last: int) -> tuple[Any, ...]:
            rows = [_flat(dict(network.named_parameters()), names) for network in networks[first:last]]
            return "networks", first, names, np.stack(rows)

        return _Told(payload, (version,), lambda: [("network", _packed(networks.template, "the network"))])

    def _of_population(self, population: Population) -> _Told:
        """How members of a population are told: its centre and the number of its noise."""
        version, template = self._known(population.template), population.template
        centre = {name: value.detach().cpu().numpy() for name, value in population.centre.items()}
        directions = population.directions
        known = (version, id(directions))

        def payload(first: int, last: int) -> tuple[Any, ...]:
            return "population", first, last, centre, population.settings

        def messages() -> list[tuple[Any, ...]]:
            return [("network", _packed(template, "the network")), ("directions", directions.on_cpu())]

        return _Told(payload, known, messages)

    def _known(self, template: nn.Module) -> int:
        """A number of the network that members are made of; another one for another network."""
        if self._template is None or self._template[1] is not template:
            self._template = next(self._versions), template
        return self._template[0]

    def _started(self) -> _Worker:
        worker = _Worker(WorkerProcess(_serve, daemon=True))
        worker.process.send("fitness", self._fitness, self._threads)
        return worker

    def _give(self, worker: _Worker, call: _Call) -> None:
        """Hand out the next members."""
        if not call.todo:
            worker.members = None
            return
        if worker.knows != call.told.setup:
            for message in call.told.messages():
                worker.process.send(*message)
            worker.knows = call.told.setup
        worker.members = call.todo.popleft()
        worker.process.send(*call.told.payload(*worker.members))
        worker.since = time.monotonic()

    def _receive(self, call: _Call) -> None:
        """Receive from each worker that has sent, or end those that take too long."""
        busy = {worker.process.connection: worker for worker in self._workers if worker.members is not None}
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
        for place, (value, reason) in enumerate(found, first):
            call.scores[place], call.open = value, call.open - 1
            if reason:
                call.failures[place] = reason
                self._tell(f"the fitness function raised {reason}: a failure; this reason is told once")
        self._give(worker, call)

    def _deadline(self, worker: _Worker) -> float | None:
        if self._seconds is None or worker.members is None or not worker.process.ready:
            return None
        return worker.since + self._seconds * (worker.members[1] - worker.members[0])

    def _lost(self, worker: _Worker, call: _Call, fate: str, *, died: bool) -> None:
        """Replace a worker that died or took too long; several members are tried again one by one, one has failed."""
        assert worker.members is not None
        first, last = worker.members
        call.deaths += died and last - first == 1
        if not worker.process.ready or call.deaths == _MOST_DEATHS:
            raise GalabError(
                f"expected the scores of {len(call.scores)} networks, but {fate}, "
                f"{'at its start' if not worker.process.ready else f'the {_MOST_DEATHS}rd worker that died'}; look at "
                "the fitness function, or score without workers to see what happens"
            )
        if last - first > 1:
            call.todo.extendleft((place, place + 1) for place in reversed(range(first, last)))
        else:
            call.open -= 1
            call.failures[first] = fate
            self._tell(f"a network failed: {fate}; another process goes on, and this is told once")
        successor = self._started()
        self._workers[self._workers.index(worker)] = successor
        self._give(successor, call)

    def _tell(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.warning("%s", text)


def _packed(value: Any, what: str) -> bytes:
    try:
        # With the globals that a function refers to, and no others: data made under the guard of a script comes along.
        return bytes(dill.dumps(value, recurse=True))
    except Exception as error:
        raise UsageError(
            f"expected {what} to be something that can be sent to another process, got {type(error).__name__}: "
            f"{error!s:.200}; leave out open files and the like"
        ) from error


def _flat(numbers: dict[str, Tensor], names: Sequence[str]) -> NDArray[np.uint8]:
    """The bytes of some tensors, one after the other."""
    found = (numbers[name].detach().cpu().contiguous() for name in names)
    return torch.cat([value.reshape(-1).view(torch.uint8) for value in found]).numpy()


def _serve(connection: Any) -> None:
    """Run a worker until its pipe closes; see :class:`Workers` for what it is sent."""
    ignore_interrupts()
    threading.Thread(target=end_with_parent, daemon=True).start()
    scorer = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            kind, *values = receive(connection)
            try:
                if kind == "fitness":
                    packed, threads = values
                    torch.set_num_threads(threads)
                    scorer = _Scorer(dill.loads(packed))
                elif kind == "network":
                    assert scorer is not None
                    scorer.network = dill.loads(values[0]).cpu()
                elif kind == "directions":
                    assert scorer is not None
                    (scorer.directions,) = values
            except Exception as error:
                send(connection, "error", f"{type(error).__name__}: {error}")
                return
            if kind == "fitness":
                send(connection, "ready")
            elif kind in ("networks", "modules", "population"):
                assert scorer is not None
                send(connection, "scored", values[0], getattr(scorer, kind)(*values))


class _Scorer:
    """In a worker: scores members.

    Args:
        fitness: the function.

    Attributes:
        network: whose numbers are replaced by each member's.
        directions: of populations.
    """

    def __init__(self, fitness: Callable[[nn.Module], Any]) -> None:
        self._fitness = fitness
        self.network = nn.Module()
        self.directions: Any = None

    def networks(self, first: int, names: Sequence[str], rows: NDArray[np.uint8]) -> list[tuple[float, str]]:
        """Scores of members, each given by the bytes of some tensors."""
        found, member = [], copy.deepcopy(self.network)
        places, own = ({**dict(one.named_parameters()), **dict(one.named_buffers())} for one in (member, self.network))
        for place, row in enumerate(rows, first):
            at, packed = 0, torch.from_numpy(row.copy())
            with torch.no_grad():
                for name, value in places.items():
                    size = value.numel() * value.element_size() if name in names else 0
                    # A function may have changed the last member, so what is alike in all is put back too.
                    new = packed[at : at + size].clone().view(value.dtype).view(value.shape) if size else own[name]
                    value.copy_(new)
                    at += size
            found.append(self._scored(member.train(self.network.training), place))
        return found

    def modules(self, first: int, packed: bytes) -> list[tuple[float, str]]:
        """Scores of members that come as they are."""
        return [self._scored(member, place) for place, member in enumerate(dill.loads(packed), first)]

    def population(
        self, first: int, last: int, centre: dict[str, NDArray[np.float32]], settings: dict[str, Any]
    ) -> list[tuple[float, str]]:
        """Scores of members ``first`` to ``last - 1`` of a population."""
        around = {name: torch.from_numpy(value) for name, value in centre.items()}
        population = Population(self.network, around, self.directions, **settings)
        return [self._scored(member, place) for place, member in enumerate(population.each(first, last), first)]

    def _scored(self, member: nn.Module, place: int) -> tuple[float, str]:
        try:
            return number(self._fitness(member), place, "member"), ""
        except Exception as error:  # whatever is wrong with one member, the others count
            return math.nan, f"{type(error).__name__}: {error}"
