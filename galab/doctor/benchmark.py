"""Configurations that can be measured by whole generations, from the start of a run or from where one stands.

How fast this machine multiplies matrices, to hold a run's speed against; and how much a network has to multiply.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.config import RunConfig
from galab.config.strategy_kinds import kind_of
from galab.contracts import Scores, Task
from galab.doctor.interleaved_timing import Lap
from galab.errors import UsageError
from galab.evaluation.blocks import DTYPES
from galab.genome.random import Table
from galab.storage import checkpoints
from galab.storage.run_folder import locate
from galab.training import distribution_table
from galab.training import trust as trust_rules
from galab.training.build import build, network_and_task, profile_of
from galab.training.origin import origin_founders, pinned_origin
from galab.training.resolve import resolve
from galab.training.saved_state import SavedState
from galab.training.search import Experiment
from galab.training.workers import with_workers

_SECONDS, _LEAST = 0.15, 3
#: The largest product that is tried, in numbers of its result.
_MOST_RESULTS = 1 << 23


@dataclass(frozen=True, slots=True)
class Work:
    """What a network's Linear and Conv layers multiply for one example; biases and all other layers are left out.

    Attributes:
        operations: multiplications and additions, two for each weight at each place where it is used.
        rows: places where the largest layer is used.
        inner: numbers that it sums over.
        columns: its outputs at each place.
    """

    operations: int
    rows: int
    inner: int
    columns: int


def work_of(module: nn.Module, task: Task) -> Work | None:
    """What a network multiplies; None where it has no such layer.

    Args:
        module: the network.
        task: gives an example.
    """
    found: list[Work] = []

    def note(layer: Any, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            weight = layer.weight
            columns, inner = len(weight), weight[0].numel()
            rows = output[:1].numel() // columns
            found.append(Work(2 * rows * inner * columns, rows, inner, columns))

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    handles = [layer.register_forward_hook(note) for layer in module.modules() if isinstance(layer, kinds)]
    try:
        with torch.no_grad():
            module(task.train.inputs[:2])
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        return None
    largest = max(found, key=lambda work: work.operations)
    total = sum(work.operations for work in found)
    return Work(total, largest.rows, largest.inner, largest.columns)


def operations_per_second(work: Work, *, members: int, examples: int, precision: str, device: torch.device) -> float:
    """Of one product of matrices as large as the largest layer of many members on many examples; the fastest of some.

    Args:
        work: see :func:`work_of`.
        members: evaluated at once.
        examples: at once.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.
    """
    columns = max(1, min(members * work.columns, _MOST_RESULTS // 64))
    rows = max(1, min(examples * work.rows, _MOST_RESULTS // columns))
    one = torch.full((rows, work.inner), 0.5, dtype=DTYPES[precision], device=device)
    other = torch.full((work.inner, columns), 0.5, dtype=DTYPES[precision], device=device)
    out = torch.empty(rows, columns, dtype=DTYPES[precision], device=device)
    seconds: list[float] = []
    with torch.inference_mode():
        torch.mm(one, other, out=out)  # the first time is always slow
        while len(seconds) < _LEAST or sum(seconds) < _SECONDS:
            began = _now(device)
            torch.mm(one, other, out=out)
            seconds.append(_now(device) - began)
    return 2.0 * rows * work.inner * columns / min(seconds)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Prepared:
    """One configuration with everything that it runs with; see :class:`galab.doctor.tuning.Contender`.

    Args:
        experiment: at the generation to continue from.
        opened: what has to be closed at the end, such as worker processes.
        work: what the network multiplies.
        peaks: what was measured already, by what it depends on.
    """

    def __init__(
        self, experiment: Experiment, opened: ExitStack, work: Work | None, peaks: dict[tuple[Any, ...], float]
    ) -> None:
        self._experiment = experiment
        self._opened = opened
        self._config = experiment.config
        self._work = work
        self._peaks = peaks
        # Where workers evaluate, their time for decoding is not known here.
        self._watch = None if experiment.config.workers else _Watch(experiment.search)
        self._members = 0

    @property
    def numerics(self) -> Mapping[str, Any]:
        """See :class:`galab.doctor.tuning.Contender`."""
        return self._experiment.search.numerics | {"members": self._members}

    @property
    def profile(self) -> dict[str, Any]:
        """See :class:`galab.doctor.tuning.Contender`."""
        return profile_of(self._experiment)

    def settle(self) -> None:
        """Give torch this contender's number of threads, and let them start."""
        torch.set_num_threads(self._config.threads)
        torch.ones(1 << 18).add_(1)

    def first(self) -> NDArray[np.float64]:
        """See :class:`galab.doctor.tuning.Contender`; what is compared is the loss, or the fitness of a task without."""
        self.settle()
        scores = self._generation()[1]
        self._members = len(scores.fitness)
        return np.asarray(scores.metrics.get("loss", scores.fitness), dtype=np.float64)

    def lap(self) -> Lap:
        """Carry out one generation."""
        return self._generation()[0]

    def peak(self) -> float | None:
        """See :class:`galab.doctor.tuning.Contender`."""
        work, numerics, config = self._work, self.numerics, self._config
        if work is None:
            return None
        threads = config.threads * max(1, config.workers)
        key = (config.precision, threads, numerics["chunk"], numerics["block"])
        if key not in self._peaks:
            torch.set_num_threads(threads)  # as many as all workers have together
            self._peaks[key] = operations_per_second(
                work, members=numerics["chunk"], examples=numerics["block"], precision=config.precision,
                device=torch.device(config.device),
            )  # fmt: skip
        return self._peaks[key]

    @property
    def operations(self) -> int:
        """See :class:`galab.doctor.tuning.Contender`."""
        return 0 if self._work is None else self._work.operations

    def close(self) -> None:
        """End worker processes, where there are some."""
        self._opened.close()

    def _generation(self) -> tuple[Lap, Scores]:
        """What a run does in a generation, but for its log, reports and checkpoints."""
        search, strategy = self._experiment.search, self._experiment.strategy
        if self._watch is not None:
            self._watch.seconds = 0.0
        began = time.perf_counter()
        cohort = strategy.ask()
        asked = time.perf_counter()
        scores = self._experiment.executor.score(cohort)
        scored = time.perf_counter()
        search.after(strategy.tell(scores))
        told = time.perf_counter()
        evaluated = scored - asked if self._watch is None else self._watch.seconds
        return Lap(scored - began - evaluated, evaluated, told - scored, scores.evaluations), scores


class _Watch:
    """Adds up the seconds that a search's evaluator takes, decoding and noise left out."""

    def __init__(self, search: Any) -> None:
        self.seconds = 0.0
        evaluator = search.evaluator
        for name, timed in (("measure", self._called), ("along", self._drawn)):
            if hasattr(evaluator, name):
                setattr(evaluator, name, timed(getattr(evaluator, name)))

    def _called(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments, **named)
            self.seconds += time.perf_counter() - began
            return result

        return call

    def _drawn(self, function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def draw(*arguments: Any, **named: Any) -> Iterator[Any]:
            """The same values, whose making is timed and not what is done between them."""
            values = function(*arguments, **named)
            while True:
                began = time.perf_counter()
                value = next(values, None)
                self.seconds += time.perf_counter() - began
                if value is None:
                    return
                yield value

        return draw


@dataclass(slots=True)
class Workbench:
    """Makes contenders that differ in their settings alone; nothing is written anywhere.

    Attributes:
        config: the configuration, resolved.
        task: what is learned.
        build: what a configuration runs with, at the generation to measure from.
    """

    config: RunConfig
    task: Task
    build: Callable[[RunConfig], Experiment]
    _peaks: dict[tuple[Any, ...], float] = field(default_factory=dict)

    def make(self, config: RunConfig) -> Prepared:
        """A contender.

        Args:
            config: as :attr:`config` but for its settings.

        Raises:
            UsageError: it uses gradients.
        """
        if kind_of(config.strategy).gradients:
            raise UsageError(
                f"expected a search without gradients to find settings for, got --strategy {config.strategy}: there is "
                "one way to compute its steps; choose --threads by hand"
            )
        experiment, opened = self.build(config), ExitStack()
        work = work_of(experiment.module, experiment.task)
        return Prepared(opened.enter_context(with_workers(experiment)), opened, work, self._peaks)


def of_options(config: RunConfig) -> Workbench:
    """The workbench of a new run.

    Args:
        config: without a seed, 0 is taken: all contenders need the same.
    """
    seeded = dataclasses.replace(config, seed=0 if config.seed is None else config.seed)
    return _at_start(*distribution_table.settle(pinned_origin(resolve(seeded))))


def of_run(path: Path, *, trust: bool = False) -> Workbench:
    """The workbench of a run, at its newest checkpoint or the one that is named.

    Args:
        path: a run folder, or a checkpoint in one.
        trust: run code that the run names even if it was never run here before.

    Raises:
        CheckpointError: the checkpoint is damaged, or the data is not the run's.
        RunFolderError: there is no run at that path.
        UsageError: it is a lone checkpoint, or needs a device that is not there.
    """
    folder, file = locate(path)
    if folder is None:
        raise UsageError(
            f"expected a run folder, got the lone checkpoint '{path}', which has no lineage to go on with; measure its "
            f"hyperparameters with `galab bench --from {path}`"
        )
    if file is None and not checkpoints.list_checkpoints(folder.checkpoints):
        config = RunConfig.from_saved(folder.read_config()["hyperparameters"])
        trust_rules.check(config, trust=trust)
        return _at_start(config, distribution_table.resolve(config.distribution, folder))
    saved = SavedState.open(path, trust=trust)
    return Workbench(saved.config, saved.task, saved.components)


def _at_start(config: RunConfig, law: Table) -> Workbench:
    """The workbench of a run that has no checkpoint yet."""
    module, task = network_and_task(config)
    founders = origin_founders(config, module)

    def begun(config: RunConfig) -> Experiment:
        experiment = build(config, module, task, law=law, founders=founders)
        experiment.search.begin()
        return experiment

    return Workbench(config, task, begun)
