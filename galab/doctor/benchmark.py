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
from galab.doctor.interleaved_timing import Timing
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
from galab.training.search import RunComponents
from galab.training.workers import with_workers

_SECONDS, _LEAST = 0.15, 3
#: The largest product that is tried, in numbers of its result.
_MOST_RESULTS = 1 << 23


@dataclass(frozen=True, slots=True)
class NetworkCost:
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


def network_cost(module: nn.Module, task: Task) -> NetworkCost | None:
    """What a network multiplies; None where it has no such layer.

    Args:
        module: the network.
        task: gives an example.
    """
    found: list[NetworkCost] = []

    def note(layer: Any, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            weight = layer.weight
            columns, inner = len(weight), weight[0].numel()
            rows = output[:1].numel() // columns
            found.append(NetworkCost(2 * rows * inner * columns, rows, inner, columns))

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
    largest = max(found, key=lambda cost: cost.operations)
    total = sum(cost.operations for cost in found)
    return NetworkCost(total, largest.rows, largest.inner, largest.columns)


def operations_per_second(
    cost: NetworkCost, *, members: int, examples: int, precision: str, device: torch.device
) -> float:
    """Of one product of matrices as large as the largest layer of many members on many examples; the fastest of some.

    Args:
        cost: see :func:`network_cost`.
        members: evaluated at once.
        examples: at once.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.
    """
    columns = max(1, min(members * cost.columns, _MOST_RESULTS // 64))
    rows = max(1, min(examples * cost.rows, _MOST_RESULTS // columns))
    one = torch.full((rows, cost.inner), 0.5, dtype=DTYPES[precision], device=device)
    other = torch.full((cost.inner, columns), 0.5, dtype=DTYPES[precision], device=device)
    out = torch.empty(rows, columns, dtype=DTYPES[precision], device=device)
    seconds: list[float] = []
    with torch.inference_mode():
        torch.mm(one, other, out=out)  # the first time is always slow
        while len(seconds) < _LEAST or sum(seconds) < _SECONDS:
            began = _now(device)
            torch.mm(one, other, out=out)
            seconds.append(_now(device) - began)
    return 2.0 * rows * cost.inner * columns / min(seconds)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class PreparedRun:
    """One configuration with everything that it runs with; see :class:`galab.doctor.tuning.Candidate`.

    Args:
        components: at the generation to continue from.
        opened: what has to be closed at the end, such as worker processes.
        cost: what the network multiplies.
        peaks: what was measured already, by what it depends on.
    """

    def __init__(
        self,
        components: RunComponents,
        opened: ExitStack,
        cost: NetworkCost | None,
        peaks: dict[tuple[Any, ...], float],
    ) -> None:
        self._components = components
        self._opened = opened
        self._config = components.config
        self._cost = cost
        self._peaks = peaks
        # Where workers evaluate, their time for decoding is not known here.
        self._timer = None if components.config.workers else _EvaluatorTimer(components.search)
        self._members = 0

    @property
    def numerics(self) -> Mapping[str, Any]:
        """See :class:`galab.doctor.tuning.Candidate`."""
        return self._components.search.numerics | {"members": self._members}

    @property
    def profile(self) -> dict[str, Any]:
        """See :class:`galab.doctor.tuning.Candidate`."""
        return profile_of(self._components)

    def prepare_process(self) -> None:
        """Give torch this contender's number of threads, and let them start."""
        torch.set_num_threads(self._config.threads)
        torch.ones(1 << 18).add_(1)

    def first_losses(self) -> NDArray[np.float64]:
        """See :class:`galab.doctor.tuning.Candidate`; the loss is compared, or the fitness of a task without."""
        self.prepare_process()
        scores = self._generation()[1]
        self._members = len(scores.fitness)
        return np.asarray(scores.metrics.get("loss", scores.fitness), dtype=np.float64)

    def time_generation(self) -> Timing:
        """Carry out one generation."""
        return self._generation()[0]

    def peak(self) -> float | None:
        """See :class:`galab.doctor.tuning.Candidate`."""
        cost, numerics, config = self._cost, self.numerics, self._config
        if cost is None:
            return None
        threads = config.threads * max(1, config.workers)
        key = (config.precision, threads, numerics["chunk"], numerics["block"])
        if key not in self._peaks:
            torch.set_num_threads(threads)  # as many as all workers have together
            self._peaks[key] = operations_per_second(
                cost, members=numerics["chunk"], examples=numerics["block"], precision=config.precision,
                device=torch.device(config.device),
            )  # fmt: skip
        return self._peaks[key]

    @property
    def operations(self) -> int:
        """See :class:`galab.doctor.tuning.Candidate`."""
        return 0 if self._cost is None else self._cost.operations

    def close(self) -> None:
        """End worker processes, where there are some."""
        self._opened.close()

    def _generation(self) -> tuple[Timing, Scores]:
        """What a run does in a generation, but for its log, reports and checkpoints."""
        search, strategy = self._components.search, self._components.strategy
        if self._timer is not None:
            self._timer.seconds = 0.0
        began = time.perf_counter()
        cohort = strategy.ask()
        asked = time.perf_counter()
        scores = self._components.executor.score(cohort)
        scored = time.perf_counter()
        search.after(strategy.tell(scores))
        told = time.perf_counter()
        evaluated = scored - asked if self._timer is None else self._timer.seconds
        return Timing(scored - began - evaluated, evaluated, told - scored, scores.evaluations), scores


class _EvaluatorTimer:
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
class Benchmark:
    """Makes contenders that differ in their settings alone; nothing is written anywhere.

    Attributes:
        config: the configuration, resolved.
        task: what is learned.
        build: what a configuration runs with, at the generation to measure from.
    """

    config: RunConfig
    task: Task
    build: Callable[[RunConfig], RunComponents]
    _peaks: dict[tuple[Any, ...], float] = field(default_factory=dict)

    def make(self, config: RunConfig) -> PreparedRun:
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
        components, opened = self.build(config), ExitStack()
        cost = network_cost(components.module, components.task)
        return PreparedRun(opened.enter_context(with_workers(components)), opened, cost, self._peaks)


def benchmark_of_config(config: RunConfig) -> Benchmark:
    """The workbench of a new run.

    Args:
        config: without a seed, 0 is taken: all contenders need the same.
    """
    seeded = dataclasses.replace(config, seed=0 if config.seed is None else config.seed)
    return _at_start(*distribution_table.settle(pinned_origin(resolve(seeded))))


def benchmark_of_run(path: Path, *, trust: bool = False) -> Benchmark:
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
    return Benchmark(saved.config, saved.task, saved.components)


def _at_start(config: RunConfig, law: Table) -> Benchmark:
    """The workbench of a run that has no checkpoint yet."""
    module, task = network_and_task(config)
    founders = origin_founders(config, module)

    def begun(config: RunConfig) -> RunComponents:
        components = build(config, module, task, law=law, founders=founders)
        components.search.begin()
        return components

    return Benchmark(config, task, begun)
