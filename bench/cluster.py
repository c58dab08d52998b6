"""How many workers one driver can feed: a simulation of generations with 1 to 10,000 workers, event by event.

    python bench/cluster.py --strategy eggroll --part-seconds 0.5    a table of efficiencies and of what costs most
    python bench/cluster.py --measure                                what the driver's steps take on this machine
    python bench/cluster.py --check                                  predictions beside Ray workers whose parts sleep

The efficiency is the sum of the parts' times, divided by the workers and by the wall time. The rules are those of
:mod:`galab.evaluation.executors.worker_pool` and :mod:`galab.evaluation.executors.balance`. Not simulated: the first
start, and three deaths over one part.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, get_type_hints

import evolution
import genetic
import numpy as np
from sides import components, images
from timing import Row, interleaved, table

from galab.contracts import Cohort, Scores
from galab.evaluation.executors import balance, link, ray_workers, worker_pool
from galab.evaluation.executors.hand_out import assign_parts, parent_affinity
from galab.evaluation.sources import join_scores, split_cohort
from galab.genome.births import BIRTH
from galab.storage import checkpoints

#: Seconds of parts of 4 members of the preset frostbite-ga, measured on one core.
FROSTBITE = (5.92, 5.39, 4.58, 4.37, 4.45, 4.21, 4.59, 4.20, 4.89, 5.92, 4.61, 4.82, 5.73)
WORKERS, CHECKED = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 10_000], (1, 2, 4, 8, 16)
GENERATIONS = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Costs:
    """What everything takes: the driver's time as measured on 2 cores, and guesses of the network and of deaths."""

    part_seconds: Annotated[tuple[float, ...], "seconds of a part; of several, one is drawn for each part"] = FROSTBITE
    members: Annotated[int, "members of a part"] = 4
    serial_seconds: Annotated[float, "ask and tell"] = 5e-3
    serial_member_seconds: Annotated[float, "ask and tell, for each member"] = 82e-6
    follow: Annotated[float, "share of ask and tell that each worker does too, once it has the result"] = 0.0
    send_seconds: Annotated[float, "driver's time for a message that it sends"] = 0.7e-3
    receive_seconds: Annotated[float, "driver's time to take what a worker has answered"] = 0.9e-3
    byte_seconds: Annotated[float, "driver's time to pack and copy a byte"] = 4e-9
    share_seconds: Annotated[float, "driver's time to share out a part"] = 9e-6
    look_seconds: Annotated[float, "driver's time for a look at a worker, to see whether it straggles"] = 1.5e-6
    worker_seconds: Annotated[float, "worker's time for a part, beside computing it"] = 1e-3
    latency: Annotated[float, "seconds of a message on its way"] = 1e-3
    bandwidth: Annotated[float, "bytes a second that the driver can send, and can receive"] = 1.25e9
    message_bytes: Annotated[float, "bytes of a message, without its members"] = 1000.0
    birth_bytes: Annotated[float, "bytes of a member in a message to a worker"] = 36.0
    result_bytes: Annotated[float, "bytes of a member in the generation's result, sent to every worker"] = 0.0
    machine_workers: Annotated[int, "workers of a machine, which fetches once what is large"] = 16
    log_seconds: Annotated[float, "seconds of the log"] = 1e-3
    checkpoint_bytes: Annotated[float, "bytes of a checkpoint, and of the state that a successor is sent"] = 3.3e6
    write_speed: Annotated[float, "bytes of a checkpoint that are written in a second"] = 150e6
    save_every: Annotated[int, "generations between two checkpoints"] = 100
    failures_per_hour: Annotated[float, "deaths of a worker in an hour"] = 0.001
    notice_seconds: Annotated[float, "seconds until a death is noticed"] = 5.0
    start_seconds: Annotated[float, "seconds until a successor is ready"] = 15.0


#: What differs from the defaults, which are those of a genetic algorithm.
STRATEGIES: dict[str, dict[str, float]] = {"ga": {}, "eggroll": {
    "serial_seconds": 4e-3, "serial_member_seconds": 8e-6, "follow": 1.0, "share_seconds": 3e-6, "birth_bytes": 9.0,
    "result_bytes": 8.0, "checkpoint_bytes": 0.4e6,
}}  # fmt: skip


class _Worker:
    """A worker: what the pool thinks of it (see ``PoolWorker``), and what it really does."""

    def __init__(self, place: int) -> None:
        self.place, self.life, self.heard, self.told, self.ready = place, 0, 0.0, True, True
        self.todo, self.stale = list[int](), set[tuple[int, int]]()
        self.missed: list[tuple[str, Any, float]] = []  # what it is sent once nothing is stale

    def start(self, alive: bool = True) -> None:
        self.life, self.alive, self.at_work, self.worked = self.life + 1, alive, False, 0.0
        self.rest, self.waiting, self.dropped = deque[int](), deque[tuple[str, Any]](), set[tuple[int, int]]()


class Simulation:
    """One driver and so many workers, all of which have started; the seed is that of the parts' times and of deaths."""

    def __init__(self, costs: Costs, workers: int, parts: int, seed: int = 0) -> None:
        self.now, self._in, self._out, self._spent = 0.0, 0.0, 0.0, Counter[str]()
        self._costs, self._count, self._parts, self._random = costs, workers, parts, np.random.default_rng(seed)
        self._workers = [_Worker(place) for place in range(min(workers, parts))]
        self._events: list[tuple[float, int, int, _Worker, Callable[..., None], tuple[Any, ...]]] = []
        self._inbox: deque[tuple[float, _Worker, str, int, Any]] = deque()
        self._generation, self._happened, self._longest_now = 0, 0, max(costs.part_seconds)
        self._looked = 0.0
        self._serial = costs.serial_seconds + costs.serial_member_seconds * costs.members * parts
        for worker in self._workers:
            self._live(0.0, worker)
        self._inbox.clear()

    def generation(self) -> dict[str, float]:
        """Simulate the next one: seconds by what its wall time goes to, of which ``compute`` is the ideal time."""
        costs, size = self._costs, self._costs.result_bytes * self._costs.members * self._parts
        self._generation += 1
        drawn = self._random.choice(np.array(costs.part_seconds), self._parts)
        self._drawn, ideal = (self._generation, drawn.tolist()), float(drawn.sum()) / self._count
        sharing = self._tick(costs.share_seconds * self._parts)
        # While the result of the generation before is still going out, this one's messages wait.
        began, jammed = self.now, max(0.0, self._out - self.now)
        self._spent = Counter({"messages": 0.0, "network": 2 * costs.latency, "looking": 0.0, "result": jammed})
        self._share_out()
        while self._open:
            self._take_over()
            self._receive()
        found = {"compute": ideal, "last part": 0.0, "sharing out": sharing}
        # Who was done last has computed so long; for the rest of the time it waited for a driver that was busy, if so.
        rest, busy = self.now - began - ideal, self._spent.total()
        blamed = min(rest - max(0.0, self._last[1] - ideal), busy)
        found |= {name: blamed * spent / (busy or 1.0) for name, spent in self._spent.items()}
        found["last part"], began = rest - blamed, self.now
        for worker in self._workers if size else ():
            fetched = size >= ray_workers.LARGE_BYTES and worker.place % costs.machine_workers  # by its neighbour
            message = "result", self._serial * costs.follow, 0.0 if fetched else size
            if worker.stale:
                worker.missed.append(message)
            elif worker.ready:
                self._send(worker, *message)
        found["result"] += self.now - began
        found["ask and tell"] = self._tick(self._serial)
        saved = costs.checkpoint_bytes * (self._generation % costs.save_every == 0)
        return found | {"log and checkpoint": self._tick(costs.log_seconds + saved / costs.write_speed)}

    def _tick(self, seconds: float, what: str = "") -> float:
        self.now += seconds
        if what:
            self._spent[what] += seconds
        return seconds

    def _at(self, when: float, worker: _Worker, call: Callable[..., None], *data: Any) -> None:
        self._happened += 1
        heappush(self._events, (when, self._happened, worker.life, worker, call, data))

    def _catch_up(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            when, _, life, worker, call, data = heappop(self._events)
            if life == worker.life:
                call(when, worker, *data)

    def _send(self, worker: _Worker, kind: str, data: Any, size: float = 0.0) -> None:
        size += self._costs.message_bytes
        self._tick(self._costs.send_seconds + self._costs.byte_seconds * size, "messages")
        self._spent["network"] += size / self._costs.bandwidth
        self._out = max(self._out, self.now) + size / self._costs.bandwidth
        self._at(self._out + self._costs.latency, worker, self._deliver, kind, data)

    def _answer(self, when: float, worker: _Worker, kind: str, generation: int = 0, data: Any = None) -> None:
        size = self._costs.message_bytes + 8 * self._costs.members * (kind == "scored")
        self._in = max(self._in, when + self._costs.latency) + size / self._costs.bandwidth
        self._inbox.append((self._in, worker, kind, generation, data))

    def _deliver(self, when: float, worker: _Worker, kind: str, data: Any) -> None:
        if worker.alive and kind == "drop":
            worker.dropped.update(data)
        elif worker.alive:
            if kind == "score":
                worker.dropped.difference_update((data[0][0], part) for part in data[1])
            worker.waiting.append((kind, data))
            if not worker.at_work:
                self._next(when, worker)

    def _next(self, when: float, worker: _Worker) -> None:
        worker.at_work = False
        while worker.waiting and not worker.at_work:
            kind, data = worker.waiting.popleft()
            worker.at_work = kind != "state"
            if kind == "result":
                self._at(when + data, worker, self._next)
            elif kind == "score":
                drawn, todo = data
                if gone := [part for part in todo if (drawn[0], part) in worker.dropped]:
                    self._answer(when, worker, "dropped", drawn[0], gone)
                self._answer(when, worker, "begun", drawn[0])
                worker.rest = deque(part for part in todo if part not in gone)
                self._compute(when, worker, drawn)

    def _compute(self, when: float, worker: _Worker, drawn: tuple[int, list[float]]) -> None:
        if worker.rest:
            self._at(when + self._costs.worker_seconds + drawn[1][worker.rest[0]], worker, self._done, drawn)
        else:
            self._next(when, worker)

    def _done(self, when: float, worker: _Worker, drawn: tuple[int, list[float]]) -> None:
        part = worker.rest.popleft()
        worker.worked += drawn[1][part] + self._costs.worker_seconds
        self._answer(when, worker, "scored", drawn[0], (part, drawn[1][part], (when, worker.worked)))
        if worker.rest and worker.dropped.issuperset((drawn[0], other) for other in worker.rest):
            self._answer(when, worker, "dropped", drawn[0], list(worker.rest))
            worker.rest.clear()
        self._compute(when, worker, drawn)

    def _die(self, when: float, worker: _Worker) -> None:
        worker.start(alive=False)
        self._at(when + self._costs.notice_seconds, worker, self._answer, "gone")

    def _live(self, when: float, worker: _Worker) -> None:
        worker.start()
        self._at(when + self._random.exponential(3600 / max(self._costs.failures_per_hour, 1e-9)), worker, self._die)
        self._answer(when, worker, "ready")

    def _share_out(self) -> None:
        ready = [worker for worker in self._workers if worker.ready] or self._workers
        self._longest, self._longest_now, self._next_late = self._longest_now, 0.0, 0.0
        self._open, self._last, self._by_length = set(range(self._parts)), (0.0, 0.0), list[tuple[int, int]]()
        self._free, self._busy, self._late = set[int](), set[int](), set[int]()
        for worker in self._workers:
            if worker.ready and not worker.told:  # it has missed a generation
                worker.missed = [("state", None, self._costs.checkpoint_bytes)]
            worker.todo, worker.told, worker.worked = [], False, 0.0
        self._holders = [[ready[part * len(ready) // self._parts]] for part in range(self._parts)]
        for part, (holder,) in enumerate(self._holders):
            holder.todo.append(part)
        for worker in self._workers:
            self._changed(worker)
            self._ask(worker)

    def _changed(self, worker: _Worker) -> None:
        """Keep in mind who is free, and who has most to do."""
        if worker.todo:
            heappush(self._by_length, (-len(worker.todo), worker.place))
        (self._busy.add if worker.todo else self._busy.discard)(worker.place)
        free = worker.told and not worker.todo and not worker.stale
        (self._free.add if free else self._free.discard)(worker.place)

    def _ask(self, worker: _Worker, more: list[int] | None = None) -> None:
        """Send a worker all its parts, as soon as it listens, or more of them."""
        worker.heard, parts = self.now, list(worker.todo if more is None else more)
        if more is not None or (worker.ready and not worker.stale):
            worker.told, size = True, self._costs.birth_bytes * self._costs.members * len(parts)
            self._send(worker, "score", (self._drawn, parts), size)
            self._changed(worker)

    def _take_over(self) -> None:
        for place in sorted(self._free) if self._busy else ():
            taken = self._taken()
            if not taken:
                return  # the others find no more
            self._workers[place].todo = taken
            for part in taken:
                self._holders[part].append(self._workers[place])
            self._ask(self._workers[place], taken)

    def _taken(self) -> list[int]:
        """What a free worker takes over."""
        while -self._by_length[0][0] != len(self._workers[self._by_length[0][1]].todo):
            heappop(self._by_length)
        todo = (longest := self._workers[self._by_length[0][1]]).todo
        taken = todo[1 + len(todo[1:]) // 2 :] if longest.told else todo[len(todo) // 2 :]
        seconds = max(self._longest, self._longest_now) * len(taken)
        if taken and (seconds >= balance.WORTH_TAKING or not longest.told):
            del todo[-len(taken) :]
            for part in taken:
                self._holders[part].remove(longest)
            self._drop(longest, taken)
            return taken
        self._find_late()
        part = self._workers[min(self._late & self._busy)].todo[0] if self._late & self._busy else -1
        return [part] if part >= 0 and len(self._holders[part]) == 1 else []

    def _find_late(self) -> float:
        """Note who straggles; the time at which somebody else may."""
        if self.now >= self._next_late:
            longest = max(self._longest, self._longest_now)
            patience = max(balance.STRAGGLES * longest, balance.STRAGGLES_SECONDS)
            ends = {place: self._workers[place].heard + patience for place in self._busy}
            self._late = {place for place, end in ends.items() if end <= self.now}
            self._next_late = min((end for end in ends.values() if end > self.now), default=math.inf)
        return self._next_late

    def _drop(self, worker: _Worker, parts: Sequence[int]) -> None:
        if worker.told and parts:
            keys = [(self._generation, part) for part in parts]
            self._send(worker, "drop", keys)
            worker.stale.update(keys)
        self._changed(worker)

    def _settle(self, worker: _Worker, generation: int, parts: Sequence[int]) -> None:
        if worker.stale:
            worker.stale.difference_update([(generation, part) for part in parts])
            if not worker.stale:
                for message in worker.missed:
                    self._send(worker, *message)
                worker.missed = []
                if not worker.told:
                    self._ask(worker)
            self._changed(worker)

    def _receive(self) -> None:
        costs = self._costs
        if self._free and self.now >= self._looked + balance.LOOK_SECONDS:
            self._looked = self.now
            self._tick(costs.look_seconds * len(self._workers), "looking")
        self._catch_up(self.now)
        end = self._find_late() if self._free else math.inf
        while not self._inbox and self._events and self._events[0][0] <= end:
            self._catch_up(self._events[0][0])
        self.now = max(self.now, min(self._inbox[0][0] if self._inbox else math.inf, end))
        self._catch_up(self.now)
        found: dict[_Worker, list[tuple[Any, ...]]] = {}
        while self._inbox and self._inbox[0][0] <= self.now:
            _, worker, *message = self._inbox.popleft()
            found.setdefault(worker, []).append(tuple(message))
        for worker, messages in found.items():
            self._tick(costs.receive_seconds, "messages")
            for message in messages:
                self._handle(worker, *message)

    def _handle(self, worker: _Worker, kind: str, generation: int, data: Any) -> None:
        worker.heard = self.now
        self._late.discard(worker.place)
        if kind in ("scored", "dropped"):
            self._settle(worker, generation, data[:1] if kind == "scored" else data)
        if kind == "scored" and generation == self._generation and data[0] in self._open:
            part, seconds, done = data
            self._longest_now, self._last = max(self._longest_now, seconds), max(self._last, done)
            self._open.discard(part)
            for holder in self._holders[part]:
                holder.todo.remove(part)
                self._drop(holder, [part] if holder is not worker else [])
            self._holders[part] = []
        elif kind == "gone":
            worker.ready, worker.told, worker.stale, worker.missed = False, False, set(), []
            self._changed(worker)
            self._at(self.now + self._costs.start_seconds, worker, self._live)
        elif kind == "ready":
            worker.ready = True
            self._send(worker, "state", None, self._costs.checkpoint_bytes)
            self._ask(worker)


def simulated(costs: Costs, workers: int, parts: int, generations: int = 3, seed: int = 0) -> tuple[float, Any]:
    """The efficiency of the workers, and the mean seconds of a generation by what they go to."""
    simulation = Simulation(costs, workers, parts, seed)
    found = [simulation.generation() for _ in range(generations + 1)][1:]  # in the first one nothing is under way yet
    means = {name: sum(one[name] for one in found) / generations for name in found[0]}
    return means["compute"] / sum(means.values()), means


def predicted(options: argparse.Namespace, costs: Costs) -> Iterator[str]:
    """The lines of a table."""
    yield "| workers | parts | efficiency | seconds | largest cost | largest loss | its share |\n" + 7 * "|---" + "|"
    for count in options.workers:
        parts = options.parts or count * options.parts_per_worker
        share, found = simulated(costs, count, parts, options.generations, options.seed)
        most, loss, total = max(found, key=found.get), max([*found][1:], key=found.get), sum(found.values())
        yield f"| {count:,} | {parts:,} | {share:.1%} | {total:,.2f} | {most} | {loss} | {found[loss] / total:.1%} |"


def sleeping(task: Any = None, seconds: float = 0.0) -> tuple[Any, str]:
    """A search whose parts sleep, see :class:`galab.evaluation.executors.worker.WorkerSearch`."""

    def scored(parts: Sequence[Any]) -> Iterator[Scores]:
        for part in parts:
            time.sleep(search.seconds)
            yield Scores(np.zeros(len(part)))

    search = SimpleNamespace(
        seconds=seconds, scored=scored, update_for_workers=lambda: {"seconds": search.seconds},
        prepare=lambda update, births: vars(search).update(update) is None, restore=lambda *state: None,
        join=join_scores, parts=lambda cohort: split_cohort(cohort, range(len(cohort.births))), observed=lambda: None,
        result_for_workers=lambda fitness: None, finish=lambda: None,
    )  # fmt: skip
    search.executor = search
    return search, ""


def pool_of(workers: Sequence[Any], wait: Any, seconds: float = 0.0) -> Any:
    """A pool of these workers, which have the folder of this file on their path."""
    links = SimpleNamespace(start=iter(workers).__next__, wait=wait, crowded=lambda number: None)
    from cluster import sleeping as build  # not by the name __main__, which workers do not know

    return worker_pool.WorkerPool(sleeping(None, seconds)[0], lambda: ({}, None), build, len(workers), links, None)


def timed(pool: Any, parts: int, generations: int = 5) -> float:
    """Median seconds of a generation of a pool, after one more."""
    spent = []
    for _ in range(generations + 1):
        cohort, began = Cohort(next(GENERATIONS), np.zeros(parts, BIRTH), parts), time.perf_counter()
        pool.score(cohort)
        spent.append(time.perf_counter() - began)
    return float(np.median(spent[1:]))


def checked() -> Iterator[str]:
    """Predictions beside Ray workers, whose parts sleep 100 ms: the lines of a table."""
    links = ray_workers.RayLinks.connect("local", CHECKED[-1], 0.01, None)
    workers = [links.start() for _ in range(CHECKED[-1])]
    pool = pool_of(workers, links.wait)
    while not all(worker.ready for worker in workers):
        timed(pool, 64, 1)
    began = time.perf_counter()
    for worker in 20 * workers:
        worker.send("drop", 0, [])  # which nobody answers
    send, parts = (time.perf_counter() - began) / 20 / len(workers), split_cohort(Cohort(0, np.zeros(1, BIRTH), 1), [0])
    for worker in workers:
        worker.send("score", 0, 1, {"seconds": 0.0}, *link.packed_parts(parts))
    time.sleep(2.0)
    began = time.perf_counter()
    assert min(len(worker.poll()) for worker in workers)
    take = (time.perf_counter() - began) / len(workers)
    once = timed(pool_of(workers[:1], links.wait), 1, 20)
    costs = Costs((0.1,), 1, serial_member_seconds=0.0, send_seconds=send, receive_seconds=take, log_seconds=0.0)
    costs = dataclasses.replace(costs, latency=max(0.0, once - send - 2 * take) / 2, worker_seconds=0.0)
    yield f"send {1e3 * send:.2f} ms, take {1e3 * take:.2f} ms, one part that takes no time {1e3 * once:.2f} ms\n"
    yield "| workers | parts | measured | predicted | points |\n|---|---|---|---|---|"
    for count in CHECKED:
        parts, expected = 4 * count + 3, simulated(costs, count, 4 * count + 3)[0]
        share = 0.1 * parts / count / timed(pool_of(workers[:count], links.wait, 0.1), parts)
        yield f"| {count} | {parts} | {share:.1%} | {expected:.1%} | {100 * (expected - share):+.1f} |"
    links.close()


def asked_and_told(run: Any) -> None:
    """A generation of the driver, but for its scores."""
    cohort = run.strategy.ask()
    run.search.before_tell(cohort)
    scores = Scores(np.random.default_rng(cohort.generation).standard_normal(len(cohort.births)))
    run.search.after_tell(run.strategy.tell(scores))


def measured(folder: Path) -> Iterator[Row]:
    """The driver's steps on this machine, with 50 workers, 200 parts and a network of 101,770 weights."""
    births, sides = np.zeros(800, BIRTH), dict[str, Callable[[], object]]()
    kinds = {"ga": births, "eggroll": np.zeros(800, [("id", "<i8"), ("sign", "i1")])}
    parts = {kind: split_cohort(Cohort(1, rows, 800), range(0, 800, 4)) for kind, rows in kinds.items()}
    messages = {
        "score (16 members)": ("score", 1, 800, {"births": births[:8]}, *link.packed_parts(parts["ga"][:4])),
        "scored (4 members)": ("scored", 1, 1.0, 0, Scores(np.zeros(4))), "result (10,000 members)": np.zeros(10_000),
    }  # fmt: skip
    for name, message in messages.items():
        yield Row(name, len(content := link.packed(message)), "bytes")
        sides |= {f"pack {name}": partial(link.packed, message), f"unpack {name}": partial(link.unpacked, content)}
    decoded = [set(range(16 * place, 16 * place + 16)) for place in range(50)]
    for kind, cut in parts.items():
        sides[f"share out, {kind}"] = lambda cut=cut: assign_parts(parent_affinity(cut, decoded), len(decoded))
    pool = pool_of((), None)
    pool._workers = [worker_pool.PoolWorker(SimpleNamespace(ready=True, place="")) for _ in decoded]
    for worker in pool._workers:
        worker.told, worker.todo = True, parts["ga"][4:8]
    sides["see who straggles, of 50"] = lambda: min(pool._workers, key=pool._balance._straggle_end)
    sides["take a score"] = lambda: (pool._answers.clear(), pool._scored(worker, 0, 0.0, 0, Scores(np.zeros(4))))
    for config, field in ((genetic.CONFIG, "children"), (evolution.CONFIG, "population")):
        for size in (1000, 10_000):
            run = components(config, images(512), **{field: size})
            sides[f"ask and tell, {config.strategy}, {size:,} members"] = partial(asked_and_told, run)
        sides[f"checkpoint, {config.strategy}"] = saved = partial(checkpoints.save, folder, 1, run.search.state())
        yield Row(f"checkpoint, {config.strategy}", saved().stat().st_size, "bytes")
    yield from (Row(name, spent, "ms") for name, spent in interleaved(sides, 5).items())


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--measure", action="store_true", help="measure the driver's steps on this machine")
    parser.add_argument("--check", action="store_true", help="compare predictions with Ray workers on this machine")
    parser.add_argument("--strategy", choices=STRATEGIES, default="ga", help="whose defaults to take")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    for name, default in (("parts", None), ("parts-per-worker", 8), ("generations", 3), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, kind in get_type_hints(Costs, include_extras=True).items():
        options = {"nargs": "+", "type": float} if name == "part_seconds" else {"type": kind.__origin__}
        text = f"{kind.__metadata__[0]} ({getattr(Costs, name)})"
        parser.add_argument(f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, help=text, **options)
    given = parser.parse_args()
    costs = {name: value for name, value in vars(given).items() if name in Costs.__annotations__}
    if given.measure:
        with tempfile.TemporaryDirectory() as folder:
            print(table(measured(Path(folder))))
        return
    for line in checked() if given.check else predicted(given, Costs(**(STRATEGIES[given.strategy] | costs))):
        print(line, flush=True)


if __name__ == "__main__":
    main()
