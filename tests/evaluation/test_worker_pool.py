"""The rules of a pool of workers, whatever carries the messages: here threads of this process and queues."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from memory_links import NUMBER, MemoryLink, MemoryLinks, PulledOutError

from galab.contracts import Cohort, Scores
from galab.errors import GalabError, NumericProfileError
from galab.evaluation.executors import balance
from galab.evaluation.executors.link import packed, packed_parts, unpacked
from galab.evaluation.executors.worker import MissingDataError
from galab.evaluation.executors.worker_pool import WorkerPool
from galab.evaluation.sources import Part, join_scores, split_cohort
from galab.genome.births import BIRTH

#: What a worker does before it scores a part, from the worker's number and the part; it may raise, or sleep.
Before = Callable[[int, Part], None]


class CountingSearch:
    """A search whose state is a number that each generation's fitness moves, as it does a centre.

    Args:
        before: called before each part in a worker.
        liar: the worker that scores all a bit higher.
    """

    def __init__(self, before: Before = lambda number, part: None, liar: int = -1) -> None:
        self.executor: Any = self
        self.centre = 0.0
        self.generation = 0
        self.scored_here: list[int] = []
        self._before, self._liar = before, liar

    join = staticmethod(join_scores)

    def parts(self, cohort: Cohort) -> list[Part]:
        return split_cohort(cohort, list(range(0, len(cohort.births), 2)))

    def scored(self, parts: Sequence[Part]) -> Iterator[Scores]:
        for part in parts:
            number = getattr(NUMBER, "value", None)
            if number is not None:
                self._before(number, part)
            self.scored_here.append(part.number)
            yield Scores(np.sin(part.births["id"] + self.centre) + (number == self._liar) * 2.0**-52)

    def failed(self, part: Part, reason: str) -> Scores:
        return Scores(np.full(len(part), np.nan), dict.fromkeys(range(len(part)), reason))

    def restore(self, state: dict[str, Any], records: Any) -> None:
        self.centre, self.generation = state["centre"], state["generation"]

    def update_for_workers(self) -> dict[str, Any]:
        return {"centre": self.centre, "generation": self.generation}

    def prepare(self, update: dict[str, Any], births: Any) -> bool:
        return update == {"centre": self.centre, "generation": self.generation}

    def result_for_workers(self, fitness: Any) -> Any:
        return fitness

    def receive_result(self, result: Any) -> None:
        self.centre += float(result.sum())
        self.generation += 1

    def observed(self) -> None:
        return None

    def finish(self) -> None:
        return None


def cohort(generation: int, parts: int = 8) -> Cohort:
    births = np.zeros(2 * parts, dtype=BIRTH)
    births["id"] = np.arange(2 * parts) + 100 * generation
    births["parents"] = -1
    return Cohort(generation, births, len(births))


class Run:
    """Some generations with a pool, each of which must score as one process does."""

    def __init__(self, workers: int, before: Before = lambda number, part: None, **options: Any) -> None:
        self.search, self.links = CountingSearch(), MemoryLinks()
        self.copies: list[CountingSearch] = []
        self._before, self._liar = before, options.pop("liar", -1)
        build = options.pop("build", lambda task: (self.copy(), ""))
        self.pool = WorkerPool(
            self.search, lambda: (self.search.update_for_workers(), np.zeros(0)), build, workers, self.links,
            options.pop("data", lambda: "the data"), **options,
        )  # fmt: skip

    def copy(self) -> CountingSearch:
        self.copies.append(CountingSearch(self._before, self._liar))
        return self.copies[-1]

    def generation(self, parts: int = 8) -> Scores:
        """Score the next generation."""
        members = cohort(self.search.generation + 1, parts)
        scores = self.pool.score(members)
        all_parts = self.search.parts(members)
        alone = join_scores(all_parts, self.search.scored(all_parts))
        np.testing.assert_array_equal(scores.fitness, alone.fitness)
        self.search.receive_result(scores.fitness)
        return scores


@pytest.fixture
def run() -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(*arguments: Any, **options: Any) -> Run:
        runs.append(Run(*arguments, **options))
        return runs[-1]

    yield start
    for one in runs:
        one.pool.close()


def told(caplog: Any) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_scores_do_not_depend_on_the_number_of_workers(run: Any, workers: int) -> None:
    own = run(workers)
    for _ in range(5):
        own.generation()
    assert len(own.links.links) == workers
    assert all(kind != "state" for link in own.links.links for kind in link.kinds[3:])


def test_a_worker_that_dies_is_replaced_and_its_parts_are_repeated(run: Any, caplog: Any) -> None:
    fatal: set[int] = set()

    def die(number: int, part: Part) -> None:
        if number == 0 and part.generation in fatal:
            raise PulledOutError

    own = run(2, die)
    own.generation()
    while not all(link.ready for link in own.links.links):
        own.generation()
    fatal.add(own.search.generation + 1)
    for _ in range(3):
        own.generation()
    (said,) = [text for text in told(caplog) if "died" in text]
    when = f"generation {min(fatal)}: "
    assert said.startswith(f"{when}a worker on machine 0 died (it was pulled out); another one takes its place")
    assert [link.kinds.count("state") for link in own.links.links] == [1, 1, 1]


def test_a_worker_that_dies_while_it_starts_is_replaced_but_not_for_ever(run: Any, caplog: Any) -> None:
    def build(task: Any) -> tuple[CountingSearch, str]:
        if NUMBER.value < dying:
            raise PulledOutError
        return own.copy(), ""

    dying = 2
    own = run(1, build=build)
    own.generation()
    assert sum("died (it was pulled out); another one" in text for text in told(caplog)) == 2
    dying = 3
    own = run(1, build=build)
    with pytest.raises(GalabError, match="expected a worker on machine 2 to start, but it was pulled out; or use"):
        own.generation()


def test_three_deaths_over_the_same_members_stop_the_run(run: Any) -> None:
    def die(number: int, part: Part) -> None:
        if part.number == 3:
            raise PulledOutError

    with pytest.raises(GalabError, match="members 6 to 7 or of the next ones, but 3 workers died over them, the la"):
        run(1, die).generation()


def test_whoever_is_free_takes_over_what_a_slow_worker_has_not_begun(run: Any) -> None:
    own = run(2, lambda number, part: time.sleep(0.4 if number == 0 else 0.02))
    own.generation()
    own.generation()
    scored = [len(copy.scored_here) for copy in own.copies]
    assert min(scored) <= 5
    assert max(scored) >= 11
    for _ in range(3):  # also while the slow one still says what became of the rest
        own.generation(parts=2)


def test_parts_that_are_scored_twice_must_agree(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(balance, "STRAGGLES_SECONDS", 0.05)

    def linger(number: int, part: Part) -> None:
        slow = part.members > 2 and (number == 0 or part.number == 5)
        time.sleep({0: 0.4, 5: 1.0}.get(part.number, 0.01) if slow else 0.01)

    own = run(3, linger, liar=0)
    own.pool.score(cohort(1, 1))  # so that all have started, and the first one scores the first part
    with pytest.raises(NumericProfileError, match="of chunk 0 alike, got other bits from a worker on machine 0"):
        own.pool.score(cohort(1))


def test_a_part_that_takes_much_longer_than_others_is_given_to_a_second_worker(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(balance, "STRAGGLES_SECONDS", 0.1)
    released = threading.Event()

    def hang(number: int, part: Part) -> None:
        if number == 0 and part.generation == 2:
            released.wait(10)

    own = run(2, hang)
    own.generation()
    began = time.monotonic()
    own.generation()
    own.generation()  # which the first worker misses
    own.generation()
    assert time.monotonic() - began < 5
    released.set()
    for _ in range(3):
        time.sleep(0.05)
        own.generation()
    assert own.links.links[0].kinds.count("state") == 2  # it was given the state again
    assert len(own.links.links) == 2
    assert own.copies[0].generation >= own.search.generation - 1


def test_a_part_that_two_are_at_fails_for_none_of_them_while_the_other_goes_on(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(balance, "STRAGGLES_SECONDS", 0.2)
    hanging = threading.Event()

    def hang(number: int, part: Part) -> None:
        if hanging.is_set() and part.number == 0:
            time.sleep(10.0 if number == 0 else 0.9)

    own = run(2, hang, member_seconds=0.5)  # a second for a part of two members
    while not (own.links.links and all(link.ready for link in own.links.links)):
        own.generation()
    own.generation()
    hanging.set()
    assert not own.generation().failures
    assert own.links.links[0].ended


def test_a_worker_that_starts_late_keeps_nobody_waiting(run: Any) -> None:
    late = threading.Event()

    def build(task: Any) -> tuple[CountingSearch, str]:
        if NUMBER.value == 1:
            late.wait(10)
        return own.copy(), ""

    own = run(2, build=build)
    began = time.monotonic()
    own.generation()
    own.generation()
    assert time.monotonic() - began < 5
    late.set()
    while not own.links.links[1].ready:
        time.sleep(0.01)
        own.generation()
    own.generation()
    assert own.copies[1].scored_here


def test_a_worker_that_is_somewhere_else_is_given_the_state_once(run: Any, caplog: Any) -> None:
    own = run(2)
    own.generation()
    own.copies[0].centre += 1
    own.generation()
    assert sum("is not that of the run" in text for text in told(caplog)) == 1
    own.copies[0].restore = lambda *state: None
    own.copies[0].centre += 1
    with pytest.raises(GalabError, match="after it was given the run's state, got another centre"):
        own.generation()


def test_a_worker_that_computes_other_numbers_is_left_out_and_nobody_left_is_an_error(run: Any, caplog: Any) -> None:
    def build(task: Any) -> tuple[CountingSearch, str]:
        if NUMBER.value in refused:
            raise NumericProfileError("expected the same bits, got others")
        return own.copy(), ""

    refused = {0}
    own = run(2, build=build)
    for _ in range(3):
        own.generation()
    while not told(caplog):  # the other worker may have been faster than the refusal
        own.generation()
    assert told(caplog) == ["the run goes on with one worker less: expected the same bits, got others"]
    assert len(own.links.links) == 2
    refused = {0, 1}
    own = run(2, build=build)
    with pytest.raises(NumericProfileError, match="expected the same bits"):
        own.generation()


def test_data_is_sent_where_it_is_missing_and_said_once(run: Any, caplog: Any) -> None:
    def build(task: Any) -> tuple[CountingSearch, str]:
        if task is None and NUMBER.value != 1:
            raise MissingDataError("no such file")
        assert task in (None, "the data")
        return own.copy(), ""

    own = run(3, build=build)
    for _ in range(2):
        own.generation()
    while not all(link.ready for link in own.links.links):
        own.generation()
    assert ["data" in link.kinds for link in own.links.links] == [True, False, True]
    assert len([text for text in told(caplog) if "has not got the data, so it is sent: no such file" in text]) == 1


def test_what_a_worker_may_compute_otherwise_is_said(run: Any, caplog: Any) -> None:
    own = run(1, build=lambda task: (own.copy(), "scores 1 -> 2"))
    own.generation()
    assert told(caplog) == ["a worker on machine 0 computes other last bits than the run (scores 1 -> 2)"]


def test_an_error_outside_the_members_ends_the_run(run: Any, caplog: Any) -> None:
    caplog.set_level(logging.CRITICAL, "galab")
    own = run(1)
    own.generation()
    own.links.links[0].queues.send_bytes(packed(("error", "DataError", "expected a file, got none", "")))
    with pytest.raises(GalabError, match="expected a file, got none"):
        own.generation()


def test_parts_go_to_the_worker_that_has_decoded_their_parents(run: Any) -> None:
    own = run(2)
    while not (own.links.links and all(link.ready for link in own.links.links)):
        own.generation(parts=2)
    own.generation(parts=2)
    before = [copy.scored_here[-1] for copy in own.copies]
    assert sorted(before) == [0, 1]
    members, first = cohort(own.search.generation + 1, 2), 100 * own.search.generation
    # The parents of part 1 were in part 0, and the other way round.
    members.births["parents"][:2, 0] = [first + 2, first + 3]
    members.births["parents"][2:, 0] = [first, first + 1]
    own.pool.score(members)
    assert [copy.scored_here[-1] for copy in own.copies] == [1 - number for number in before]


def test_a_part_that_a_worker_has_dropped_and_is_given_again_is_scored() -> None:
    """Else two workers could drop it for each other, and both wait for ever."""
    link = MemoryLink(0, threading.Event())
    search = CountingSearch(lambda number, part: part.number == 0 and link.send("drop", 1, [1]))
    parts = search.parts(cohort(1, 2))
    link.send("build", lambda task: (search, ""))
    update = search.update_for_workers()
    link.send("score", 1, 4, update, *packed_parts(parts))
    said = [unpacked(link.queues.outbox.get(timeout=10))[:4] for _ in range(5)]
    link.send("score", 1, 4, None, *packed_parts(parts[1:]))
    said += [unpacked(link.queues.outbox.get(timeout=10))[:4] for _ in range(2)]
    link.end(0.0)
    kinds = [(kind, *(value for value in values if not isinstance(value, float))) for kind, *values in said]
    assert kinds[2:4] == [("begun", 1), ("scored", 1, 0)]
    assert kinds[4] == ("dropped", 1, [1])
    assert kinds[5:] == [("begun", 1), ("scored", 1, 1)]


def test_what_could_wait_is_done_before_the_next_generation_at_the_latest() -> None:
    """A genetic algorithm decodes its stock then; without it the next one could not be decoded."""
    link, done = MemoryLink(0, threading.Event()), []
    search = CountingSearch()
    update, parts = search.update_for_workers(), search.parts(cohort(1, 2))
    search.prepare = lambda update, births: bool(done.append("prepare")) or True
    search.finish = lambda: done.append("finish")
    link.send("build", lambda task: (search, ""))
    for generation in (1, 2):  # the second one is there before the first one is done
        link.send("score", generation, 4, update, *packed_parts(parts))
    for _ in range(8):
        link.queues.outbox.get(timeout=10)
    link.end(0.0)
    assert done[:3] == ["prepare", "finish", "prepare"]


def test_what_workers_did_is_counted(run: Any) -> None:
    own = run(2, lambda number, part: time.sleep(0.02))
    for _ in range(3):
        own.generation()
        use = own.pool.use_since()
        assert (use.parts, use.sent > 0, use.received > 0) == (8, True, True)
    assert use.workers == 2
    assert 0 <= use.idle_share < 0.9
    assert use.paid >= use.waited * 0.9
    assert own.pool.use_since().parts == 0


def test_nothing_is_taken_over_from_a_worker_that_has_died(run: Any) -> None:
    """Else its successor and an idle worker would both score it, and one of them would never be free again."""
    died: list[int] = []

    def die(number: int, part: Part) -> None:
        if part.generation == 3 and number == 0 and not died:
            died.append(number)
            raise PulledOutError
        time.sleep(0.03)

    own = run(3, die)
    for _ in range(3):
        own.generation(18)
        assert [worker.todo for worker in own.pool._workers] == [[], [], []]
    scored = [number for copy in own.copies for number in copy.scored_here]
    assert len(scored) <= 3 * 18 + 2, "parts are scored once, but for what was at work"


def test_a_slow_worker_after_a_death_makes_no_failure_of_what_is_scored(run: Any) -> None:
    died: list[int] = []

    def die(number: int, part: Part) -> None:
        if part.generation == 2 and number == 0 and not died:
            died.append(number)
            raise PulledOutError
        time.sleep(0.9 if number == 3 else 0.02)

    own = run(3, die, member_seconds=0.6)  # a part has two members
    own.generation(18)
    assert own.generation(18).failures == {}


def test_a_successor_that_cannot_start_keeps_nobody_waiting(run: Any) -> None:
    died: list[int] = []
    room = threading.Event()

    def die(number: int, part: Part) -> None:
        if part.generation == 3 and (number == 0 or (number == 3 and part.number == 1)) and number not in died:
            time.sleep(0.5 if number == 3 else 0.0)
            died.append(number)
            raise PulledOutError
        time.sleep(0.03)

    def build(task: Any) -> tuple[CountingSearch, str]:
        if NUMBER.value == 4:
            room.wait(20)
        return own.copy(), ""

    own = run(3, die, build=build)
    began = time.monotonic()
    for _ in range(3):
        own.generation(18)
    room.set()
    assert time.monotonic() - began < 15
