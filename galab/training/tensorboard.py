"""Recorders of a run: TensorBoard event files, and the progress of a trial.

Event files are written at once and record by record. torch's ``SummaryWriter`` writes from a thread: a kill loses up to
two minutes of events from before the checkpoint, and a full disk prints that thread's traceback. Format: TensorBoard's
records (length, CRC, ``Event`` message, CRC).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import histogram, hparams, image, text

from galab.config.fields import FIELDS
from galab.config.option import understands
from galab.config.strategy_kinds import kind_of
from galab.operators.selection import BEST
from galab.storage.files import append_whole, folder_error
from galab.storage.groups import group_of
from galab.training.log_fields import MEMORY_USE
from galab.training.stop import StopRules


class EventFile:
    """One event file of a session.

    Args:
        folder: where to make it.
        purge_step: TensorBoard forgets what earlier files in the folder say about this step and later ones.

    Raises:
        RunFolderError: the file cannot be written.
    """

    def __init__(self, folder: Path, *, purge_step: int) -> None:
        # TensorBoard reads the files of a folder in order of their names, and two sessions may begin in one second.
        self._path = folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle = FileIO(self._path, "x")
        except OSError as error:
            raise folder_error(self._path, error) from error
        self._records = RecordWriter(self)
        try:
            self._add(Event(file_version="brain.Event:2"))
            self._add(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))
        except BaseException:
            self.close()
            raise

    def add(self, summary: Summary, step: int) -> None:
        """Add one event that holds any number of values.

        Raises:
            RunFolderError: the disk is full or fails.
        """
        self._add(Event(step=step, summary=summary))

    def write(self, record: bytes) -> None:
        """Called by TensorBoard's writer of records."""
        append_whole(self._handle, record, self._path)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._handle.close()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())


def has_point(folder: Path, name: str, step: int) -> bool:
    """Whether the event files of a folder still tell the value of a tag at a step; what cannot be read tells nothing.

    Args:
        folder: of the event files of all sessions, as TensorBoard reads them.
        name: the tag.
        step: the step.
    """
    found = False
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in _events(path):
            if event.session_log.status == SessionLog.START and event.step <= step:
                found = False  # TensorBoard forgets it
            found |= event.step == step and any(value.tag == name for value in event.summary.value)
    return found


def _events(path: Path) -> Iterator[Event]:
    """The events of a file, up to one that a kill left unfinished."""
    content, place = path.read_bytes(), 0
    while place + _HEAD <= len(content):
        size = int.from_bytes(content[place : place + 8], "little")
        record = content[place + _HEAD : place + _HEAD + size]
        place += _HEAD + size + _TAIL
        if place > len(content):
            return
        try:
            yield Event.FromString(record)
        except Exception:  # whatever the parser of messages says of a damaged one
            return


#: Bytes around the message of a record: its length with a checksum, and the message's own checksum.
_HEAD, _TAIL = 12, 4
#: The log field of a text that a language model has made.
SAMPLE = "sample"
#: Log fields that are no curve.
_NOT_CURVES = ("generation", "members", "best", "champion")
_GROUPS = (
    "fitness", "validation", "test", "train", "weights", "step_size_share", "step_size", "selection", "diversity",
    "cache", "lineage", "estimate", "gradient", "memory", "worker", "answers",
)  # fmt: skip
#: What is drawn by evaluations too.
_BY_EVALUATIONS = (
    "fitness/", "validation/", "test/", "weights/", "step_size/mean", "step_size/min", "step_size/max",
    "estimate/cosine",
)  # fmt: skip
#: A fixed number: one far outlier among nearly equal scores makes NumPy's "auto" ask for billions of bins.
_BINS = 30
#: Images of memories are made about as wide, in pixels.
_IMAGE_WIDTH = 640
#: Between two reports of a trial's progress.
_PROGRESS_SECONDS = 0.3


class Recorder(Protocol):
    """Called after every generation."""

    def record(self, line: dict[str, Any], fitness: NDArray[np.float64]) -> None:
        """A generation is done: its log line, and the (P,) fitness of its cohort."""
        ...

    def close(self, result: dict[str, Any]) -> None:
        """The session ends; ``result`` is the champion's metrics, empty when an error ended it."""
        ...


@runtime_checkable
class ShowsPictures(Protocol):
    """Optional for a recorder: it takes pictures."""

    def picture(self, name: str, pixels: NDArray[np.uint8], generation: int) -> None:
        """A picture (H, W, 3) of a generation, under a name."""
        ...


class TensorBoard:
    """Event files: the run's folder by generation, its ``by_evaluations`` folder by evaluations.

    Two folders because a resumed run purges all steps from its checkpoint on; and other tags, because two axes of such
    different length in one chart would flatten the shorter.

    Args:
        folder: the run's folder.
        hyperparameters: the configuration, for the hparams tab.
        generation: generations done; later events of an earlier session are purged.
        evaluations: evaluations done, likewise.
    """

    def __init__(
        self, folder: Path, hyperparameters: dict[str, Any], *, generation: int = 0, evaluations: int = 0
    ) -> None:
        kind = kind_of(hyperparameters.get("strategy", "ga")).name
        # Those that a resumed run may change say nothing about what was computed, nor does another strategy's.
        self._hyperparameters = {
            name: value
            for name, value in hyperparameters.items()
            if value is not None and not FIELDS[name].metadata["changeable"] and understands(FIELDS[name], kind)
        }
        group = group_of(folder)
        if group is not None:  # so that trials can be told by what `galab compare` takes for one
            self._hyperparameters["group"] = group
        self._folder = folder
        self._by_generation = EventFile(folder, purge_step=generation + 1)
        try:
            self._by_evaluations = EventFile(folder / "by_evaluations", purge_step=evaluations + 1)
        except BaseException:
            self._by_generation.close()
            raise
        self._generation = generation
        self._reported = -1
        self._recorded = False
        self._started = False

    def record(self, line: dict[str, Any], fitness: NDArray[np.float64]) -> None:
        """See :class:`Recorder`."""
        self._generation = line["generation"]
        self._recorded = True
        curves = {
            tag(name): value
            for name, value in line.items()
            if name not in _NOT_CURVES and isinstance(value, (int, float))
        }
        chosen = {_evaluations_tag(name): value for name, value in curves.items() if name.startswith(_BY_EVALUATIONS)}
        # One event holds all curves of a generation: a call per curve would cost more than a small generation.
        self._by_generation.add(_scalars(curves), line["generation"])
        self._by_evaluations.add(_scalars(chosen), line["evaluations"])
        if MEMORY_USE in line:
            self._by_generation.add(_use_image(line[MEMORY_USE]), line["generation"])
        if SAMPLE in line:
            self._by_generation.add(_text(SAMPLE, line[SAMPLE]), line["generation"])
        if "champion" in line:
            finite = fitness[np.isfinite(fitness) & (np.abs(fitness) < BEST)]
            if finite.size > 1:
                self._by_generation.add(histogram("fitness/histogram", finite, bins=_BINS), line["generation"])
            self._begin_session(line)
            self._reported = self._generation

    def picture(self, name: str, pixels: NDArray[np.uint8], generation: int) -> None:
        """See :class:`ShowsPictures`."""
        self._by_generation.add(image(name, pixels, dataformats="HWC"), generation)

    def close(self, result: dict[str, Any]) -> None:
        """See :class:`Recorder`; the champion's metrics become the run's row in the hparams tab."""
        if result:
            metrics = {tag(name): value for name, value in result.items()}
            *_, end = hparams(self._hyperparameters, metrics)
            self._begin_session(result)
            if self._is_missing(metrics):
                self._by_generation.add(_scalars(metrics), self._generation)
            self._by_generation.add(end, self._generation)
        self._by_generation.close()
        self._by_evaluations.close()

    def _is_missing(self, metrics: dict[str, float]) -> bool:
        """Whether the curves do not end with these values yet."""
        if self._recorded:
            return self._reported != self._generation
        # Nothing was left to do: an earlier session may have been killed between its last checkpoint and this.
        return bool(metrics) and not has_point(self._folder, next(iter(metrics)), self._generation)

    def _begin_session(self, line: dict[str, Any]) -> None:
        """Write the hparams once, as soon as the names of the metrics are known."""
        if self._started:
            return
        names = [name for name in line if name.startswith(("validation_", "test_", "weights_"))]
        experiment, start, _ = hparams(self._hyperparameters, {tag(name): 0.0 for name in names})
        self._by_generation.add(experiment, 0)
        self._by_generation.add(start, 0)
        self._started = True


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a trial has come.

    Attributes:
        generation: generations done.
        evaluations: (member, example) pairs, over all sessions.
        fraction: how much of it is done, by the stop rules that can tell.
        validation_accuracy: the champion's, at the last report.
    """

    generation: int
    evaluations: int
    fraction: float
    validation_accuracy: float | None


class ProgressRecorder:
    """Reports now and then how far a trial has come.

    Args:
        stop: the stop rules.
        progress: called with it.
    """

    def __init__(self, stop: StopRules, progress: Callable[[Progress], None]) -> None:
        self._stop = stop
        self._progress = progress
        self._accuracy: float | None = None
        self._said = 0.0

    def record(self, line: dict[str, Any], fitness: NDArray[np.float64]) -> None:
        """See :class:`Recorder`."""
        self._accuracy = line.get("validation_accuracy", self._accuracy)
        now = time.monotonic()
        if now - self._said < _PROGRESS_SECONDS:
            return
        self._said = now
        done = self._stop.fraction(line["generation"], line["seconds"])
        self._progress(Progress(line["generation"], line["evaluations"], done, self._accuracy))

    def close(self, result: dict[str, Any]) -> None:
        """See :class:`Recorder`."""


def _scalars(values: dict[str, float]) -> Summary:
    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])


def _text(name: str, value: str) -> Summary:
    """A text as TensorBoard shows it, every line break kept."""
    return text(name, "    " + value.replace("\n", "\n    "))


def _use_image(uses: list[list[int]]) -> Summary:
    """Parents by memories: white is never used, black the most used of all; small ones are drawn larger."""
    counts = np.array(uses, dtype=np.float64)
    shades = 1 - np.sqrt(counts / max(counts.max(initial=0), 1))
    zoom = max(1, _IMAGE_WIDTH // counts.shape[1])
    grown = np.kron(shades, np.ones((zoom, zoom)))
    return image("memory/use of each memory (columns) by each parent (rows)", grown, dataformats="HW")


def tag(name: str) -> str:
    """The TensorBoard tag of a log field: ``fitness_best`` is ``fitness/best``, ``seconds`` is ``run/seconds``."""
    for group in _GROUPS:
        if name == group:
            return f"{group}/mean"
        if name.startswith(group + "_"):
            return f"{group}/{name[len(group) + 1 :]}"
    return f"run/{name}"


def _evaluations_tag(name: str) -> str:
    return "by_evaluations/" + name.replace("/", "_")


class Stopwatch:
    """Wall time since it was made, in seconds, without the pauses in which other trials are at work."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._spent = 0.0

    def split(self) -> float:
        """Seconds since the last lap."""
        self.pause()
        elapsed, self._spent = self._spent, 0.0
        return elapsed

    def pause(self) -> None:
        """Stop counting until :meth:`resume`."""
        now = time.perf_counter()
        self._spent += now - self._start
        self._start = now

    def resume(self, seconds: float) -> None:
        """Count again; ``seconds`` of the pause were spent for this trial."""
        self._spent += seconds
        self._start = time.perf_counter()
