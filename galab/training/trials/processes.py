"""Many trials at once: side by side in one process, and in several processes.

Trials in one process advance generation by generation, each with its own run key, minibatch and chunk. Each process
is sent whole batches of trials. It ignores Ctrl-C, which a terminal sends to every process: the parent receives it and
sends it on, and the processes finish their generation and save. Where the parent itself is killed, its pipe closes,
and they do the same.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

from galab.config import RunConfig
from galab.contracts import Scores
from galab.errors import GalabError, RunFolderError, as_exception
from galab.evaluation.executors.link import GOODBYE_SECONDS, receive, send
from galab.evaluation.executors.processes import WorkerProcess, ignore_interrupts, require_children
from galab.storage.groups import is_group
from galab.storage.streams import outlive_readers
from galab.training.build import own_threads
from galab.training.callbacks import Callback
from galab.training.loop import EvaluationRequest, EvaluationResult, Result
from galab.training.search import RunComponents, SharedByTrials
from galab.training.start_or_resume import RecorderFactory, RunSteps, resume_steps, start_steps
from galab.training.tensorboard import Progress, ProgressRecorder

Key = TypeVar("Key")
T = TypeVar("T")
TrialRequests = Generator[EvaluationRequest, EvaluationResult, T]
#: Scores several cohorts; a trial that fails gets its error in the place of its scores.
ScoreRequests = Callable[[Sequence[EvaluationRequest]], Sequence[Scores | Exception]]


def score_one_by_one(requests: Sequence[EvaluationRequest]) -> list[Scores | Exception]:
    """Scores of every cohort, one after the other."""
    found: list[Scores | Exception] = []
    for request in requests:
        try:
            found.append(request.components.executor.score(request.cohort))
        except BaseException as error:
            found.append(as_exception(error))
    return found


def run_side_by_side(
    trials: Mapping[Key, TrialRequests[T]], score: ScoreRequests = score_one_by_one
) -> Iterator[tuple[Key, T | Exception]]:
    """Step trials side by side until each has ended.

    Args:
        trials: runs as generators, see :mod:`galab.training.loop`.
        score: computes the scores of one request of each.

    Yields:
        Each trial as soon as it ends: its key, with its result or with the error that ended it. An error ends one
        trial and not the others.
    """
    waiting: dict[Key, EvaluationRequest] = {}
    try:
        for key, steps in trials.items():
            ended = _advance(waiting, key, lambda steps=steps: next(steps))  # type: ignore[misc]
            if ended is not None:
                yield key, ended[0]
        while waiting:
            began = time.perf_counter()
            answers = score(list(waiting.values()))
            share = (time.perf_counter() - began) / len(waiting)
            for key, answer in zip(list(waiting), answers, strict=True):
                steps = trials[key]
                if isinstance(answer, Exception):
                    ended = _advance(waiting, key, lambda: steps.throw(answer))  # noqa: B023
                else:
                    ended = _advance(waiting, key, lambda: steps.send(EvaluationResult(answer, share)))  # noqa: B023
                if ended is not None:
                    yield key, ended[0]
    finally:
        for steps in trials.values():
            steps.close()


def _advance(
    waiting: dict[Key, EvaluationRequest], key: Key, move: Callable[[], EvaluationRequest]
) -> tuple[T | Exception] | None:
    """Bring one trial to its next request; how it ended, in a tuple of one, if it did."""
    try:
        waiting[key] = move()
    except StopIteration as end:
        waiting.pop(key, None)
        return (end.value,)
    except BaseException as error:
        waiting.pop(key, None)
        return (as_exception(error),)
    return None


_POLL_SECONDS = 0.25
#: Called with the index of a trial and how far it is.
ProgressCallback = Callable[[int, Progress], None]
#: A trial's index, and why it failed, or None.
TrialEnd = tuple[int, str | None]


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a group, to begin or to continue.

    Attributes:
        path: its folder; where there is a run already, that one is continued.
        config: resolved hyperparameters, for a run that begins.
        changes: hyperparameters that a continued run takes over.
        allow_numeric_change: continue where scores can no longer be bit-identical.
        trust: run code that the run names even if it was never run here before.
        callbacks: the run is shown to them.
    """

    path: Path
    config: RunConfig
    changes: dict[str, Any]
    allow_numeric_change: bool = False
    trust: bool = False
    callbacks: tuple[Callback, ...] = ()

    def steps(self, progress: Callable[[Progress], None], shared: SharedByTrials) -> RunSteps:
        """The run as a generator."""

        def recorders(_folder: Any, _components: RunComponents, stop: Any, _totals: Any) -> list[ProgressRecorder]:
            return [ProgressRecorder(stop, progress)]

        if not (self.path / "config.json").is_file():
            return self._begun(recorders, shared)
        return resume_steps(
            self.path,
            self.changes,
            allow_numeric_change=self.allow_numeric_change,
            trust=self.trust,
            recorders=recorders,
            shared=shared,
            callbacks=self.callbacks,
        )

    def _begun(self, recorders: RecorderFactory, shared: SharedByTrials) -> RunSteps:
        """A new run, if its group is still there."""
        home = self.path.parent
        if not is_group(home):
            raise RunFolderError(
                f"expected the group of this trial at '{home}', found none: it was moved or removed meanwhile; "
                "continue it with `galab resume` where it is now"
            )
        return (
            yield from start_steps(
                self.config, name=self.path.name, runs=home, recorders=recorders, shared=shared,
                callbacks=self.callbacks,
            )
        )


def run_batch(
    trials: dict[int, Trial], progress: ProgressCallback, interrupted: threading.Event, tasks: dict[Any, Any]
) -> Iterator[TrialEnd]:
    """Run trials side by side in this process; each is yielded when it ends.

    Args:
        trials: by index.
        progress: called with the progress of each.
        interrupted: makes all of them finish their generation and save.
        tasks: tasks loaded for earlier batches.
    """
    shared = SharedByTrials(interrupted, tasks, cache_share=1 / len(trials))
    with own_threads():
        steps = {
            index: trial.steps(lambda report, index=index: progress(index, report), shared)  # type: ignore[misc]
            for index, trial in trials.items()
        }
        for index, ending in run_side_by_side(steps):
            yield index, None if isinstance(ending, Result) else error_text(ending)


def error_text(error: Exception) -> str:
    """What went wrong, as a sentence."""
    return str(error) if isinstance(error, GalabError) else f"unexpected {type(error).__name__}: {error}"


def run_in_this_process(
    batches: Sequence[Sequence[int]], trials: Sequence[Trial], progress: ProgressCallback, interrupted: threading.Event
) -> dict[int, str | None]:
    """Run batch after batch in this process; why each trial that was begun failed, or None."""
    tasks: dict[Any, Any] = {}
    ended: dict[int, str | None] = {}
    for batch in batches:
        if interrupted.is_set():
            break
        ended.update(run_batch({index: trials[index] for index in batch}, progress, interrupted, tasks))
    return ended


def run_in_processes(
    batches: Sequence[Sequence[int]],
    trials: Sequence[Trial],
    progress: ProgressCallback,
    interrupted: threading.Event,
    jobs: int,
) -> dict[int, str | None]:
    """Run batches in up to ``jobs`` processes; why each trial that was begun failed, or None."""
    require_children(f"--jobs {jobs}", "--jobs 1")
    return _TrialProcesses(batches, trials, progress, interrupted).run(jobs)


class _Worker(WorkerProcess):
    """One process, and the trials that it is at; it is no daemon, because its trials may have workers of their own."""

    def __init__(self) -> None:
        super().__init__(_worker_main, daemon=False)
        self.batch: list[int] = []


class _TrialProcesses:
    def __init__(
        self,
        batches: Sequence[Sequence[int]],
        trials: Sequence[Trial],
        progress: ProgressCallback,
        interrupted: threading.Event,
    ) -> None:
        self._waiting = deque(list(batch) for batch in batches)
        self._trials = trials
        self._progress = progress
        self._interrupted = interrupted
        self._ended: dict[int, str | None] = {}
        self._workers: list[_Worker] = []

    def run(self, jobs: int) -> dict[int, str | None]:
        """Until all batches are done; why each trial that was begun failed, or None."""
        told = False
        try:
            self._workers = [_Worker() for _ in range(min(jobs, len(self._waiting)))]
            while self._workers:
                if self._interrupted.is_set() and not told:
                    told = True
                    self._waiting.clear()
                    for worker in self._workers:
                        worker.send("stop")
                for connection in wait([worker.connection for worker in self._workers], _POLL_SECONDS):
                    self._receive(next(worker for worker in self._workers if worker.connection is connection))
        finally:
            for worker in self._workers:
                worker.end(0.0)
        return self._ended

    def _receive(self, worker: _Worker) -> None:
        try:
            kind, *values = worker.receive()
        except (EOFError, OSError):
            self._replace_dead(worker)
            return
        if kind == "progress":
            self._progress(*values)
        elif kind == "ended":
            index, why = values
            self._ended[index] = why
            worker.batch.remove(index)
        elif kind == "free":
            worker.ready = True
            self._assign(worker)

    def _assign(self, worker: _Worker) -> None:
        """Give a free process the next batch, or let it go."""
        if self._waiting and not self._interrupted.is_set():
            worker.batch = self._waiting.popleft()
            # The level of logging holds for the processes too.
            worker.send("level", logging.getLogger("galab").getEffectiveLevel())
            worker.send("run", {index: self._trials[index] for index in worker.batch})
            return
        self._workers.remove(worker)
        worker.end(GOODBYE_SECONDS)

    def _replace_dead(self, worker: _Worker) -> None:
        """A process died. Which of several trials caused it is unknown, so each goes on in a batch of its own."""
        self._workers.remove(worker)
        fate = worker.fate()
        if worker.ready:
            fate += "; `galab resume` continues from its last checkpoint"
        if len(worker.batch) == 1 or self._interrupted.is_set():
            self._ended.update(dict.fromkeys(worker.batch, fate))
        elif not worker.ready:
            everyone = [index for batch in self._waiting for index in batch]
            self._waiting.clear()
            self._ended.update(dict.fromkeys(everyone, fate))
            return
        else:
            self._waiting.extend([index] for index in worker.batch)
        if self._waiting:
            self._workers.append(_Worker())


def _worker_main(connection: Any) -> None:
    """The main function of a process: batches come in, progress and endings go out."""
    ignore_interrupts()
    outlive_readers()
    interrupted = threading.Event()
    batches: queue.Queue[dict[int, Trial] | None] = queue.Queue()
    threading.Thread(target=_receive_messages, args=(connection, interrupted, batches), daemon=True).start()

    def report(*message: Any) -> None:
        with contextlib.suppress(OSError):  # a parent that is gone must not fail a trial, which is being saved
            send(connection, *message)

    tasks: dict[Any, Any] = {}
    report("free")
    while (batch := batches.get()) is not None:
        for index, why in run_batch(batch, lambda *values: report("progress", *values), interrupted, tasks):
            report("ended", index, why)
        report("free")


def _receive_messages(
    connection: Any, interrupted: threading.Event, batches: queue.Queue[dict[int, Trial] | None]
) -> None:
    """Take messages while the process computes."""
    while True:
        try:
            kind, *values = receive(connection)
        except (EOFError, OSError):
            interrupted.set()
            batches.put(None)
            return
        if kind == "run":
            batches.put(values[0])
        elif kind == "level":
            logging.getLogger("galab").setLevel(values[0])
        else:
            interrupted.set()
