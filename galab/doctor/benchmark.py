"""`galab bench`: whole generations measured under several settings, and the best settings written to a run or a file.

A candidate is a configuration with everything that it runs with, at the start of a run or at a checkpoint. Its speed
is also held against the largest product of matrices that this machine can compute.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import time
from collections.abc import Callable, Collection, Iterator, Mapping
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
from galab.doctor.fastest_settings import Machine, Tuner, TuningResult
from galab.doctor.interleaved_timing import Timing
from galab.errors import UsageError
from galab.evaluation.batched.compiled import compiler
from galab.evaluation.blocks import DTYPES
from galab.evaluation.executors.processes import cores
from galab.evaluation.numeric_profile import resolve_precision
from galab.genome.random import Table
from galab.storage import checkpoints
from galab.storage.files import output_place, write_json_atomic
from galab.storage.run_folder import RunFolder, locate
from galab.training import trust as trust_rules
from galab.training.build import build, network_and_task, own_threads, profile_of
from galab.training.checkpoint import config_in
from galab.training.resolve import SPEED_SETTINGS, load_table, resolve, resolve_distribution
from galab.training.saved_state import SavedState, load_state
from galab.training.search import RunComponents
from galab.training.start_from import origin_founders, pinned_origin
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
    """One configuration with everything that it runs with; see :class:`galab.doctor.fastest_settings.Candidate`.

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
        """See :class:`galab.doctor.fastest_settings.Candidate`."""
        return self._components.search.numerics | {"members": self._members}

    @property
    def profile(self) -> dict[str, Any]:
        """See :class:`galab.doctor.fastest_settings.Candidate`."""
        return profile_of(self._components)

    def prepare_process(self) -> None:
        """Give torch this candidate's number of threads, and let them start."""
        torch.set_num_threads(self._config.threads)
        torch.ones(1 << 18).add_(1)

    def first_losses(self) -> NDArray[np.float64]:
        """See :class:`galab.doctor.fastest_settings.Candidate`; the loss, or the fitness of a task without one."""
        self.prepare_process()
        scores = self._generation()[1]
        self._members = len(scores.fitness)
        return np.asarray(scores.metrics.get("loss", scores.fitness), dtype=np.float64)

    def time_generation(self) -> Timing:
        """Carry out one generation."""
        return self._generation()[0]

    def peak(self) -> float | None:
        """See :class:`galab.doctor.fastest_settings.Candidate`."""
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
        """See :class:`galab.doctor.fastest_settings.Candidate`."""
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
        search.after_tell(strategy.tell(scores))
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
    """Makes candidates that differ in their settings alone; nothing is written anywhere.

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
        """A candidate.

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
        config: without a seed, 0 is taken: all candidates need the same.
    """
    seeded = dataclasses.replace(config, seed=0 if config.seed is None else config.seed)
    return _at_start(*resolve_distribution(pinned_origin(resolve(seeded))))


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
            f"hyperparameters with `galab bench --from {shlex.quote(str(path))}`"
        )
    if file is None and not checkpoints.list_checkpoints(folder.checkpoints):
        config = config_in(folder)
        trust_rules.check(config, trust=trust)
        return _at_start(config, load_table(config.distribution, folder))
    saved = SavedState.open(path, trust=trust)
    return Benchmark(saved.config, saved.task, saved.components)


def _at_start(config: RunConfig, law: Table) -> Benchmark:
    """The workbench of a run that has no checkpoint yet."""
    module, task = network_and_task(config)
    founders = origin_founders(config, module)

    def begun(config: RunConfig) -> RunComponents:
        components = build(config, module, task, law=law, founders=founders)
        components.search.initial_records()
        return components

    return Benchmark(config, task, begun)


@own_threads()
def best_settings(
    benchmark: Benchmark,
    *,
    vary: Collection[str] | None = None,
    fixed: Collection[str] = (),
    budget: float = 45.0,
    progress: Callable[[str], None] = lambda sentence: None,
) -> TuningResult:
    """Measure whole generations under several settings, in turns.

    Args:
        benchmark: makes the candidates.
        vary: settings to vary, those named by hand; all but the fixed ones when absent.
        fixed: settings that stay as they are.
        budget: seconds that it may take, roughly.
        progress: called with what is done.
    """
    began = time.perf_counter()
    settings = [name for name in SPEED_SETTINGS if (name in vary if vary is not None else name not in fixed)]
    machine = machine_for(benchmark.config)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    tuner = Tuner(
        benchmark.config, benchmark.make, machine, settings, vary or (), began + budget, time.perf_counter, progress
    )  # fmt: skip
    found = tuner.search()
    if load > machine.cores / 2:
        found.notes.append(
            f"others were computing (a load of {load:.1f} on {machine.cores} cores at the start): without them other "
            "settings may be the best"
        )
    if (
        "precision" in settings
        and vary is None
        and not machine.fast_bfloat16
        and benchmark.config.precision == "float32"
    ):
        found.notes.append("bfloat16: not tried, as there are no matrix units for it here; --vary precision tries it")
    return found


def machine_for(config: RunConfig) -> Machine:
    """What this machine offers to a configuration."""
    fast = resolve_precision("auto", config.device) == "bfloat16"
    return Machine(cores(), fast, compiler() is not None)


def check_unused(path: Path) -> None:
    """Refuse to overwrite a file, before anything is measured.

    Raises:
        UsageError: there is one.
    """
    if path.exists():
        raise UsageError(f"expected '{path}' to be free for the tuned configuration, got one that exists; name another")


def write_file(path: Path, config: RunConfig, found: TuningResult, about: str) -> None:
    """Write a configuration with the best settings, for ``galab run --config``.

    Args:
        path: the file, which must not exist.
        config: as it was asked for, before anything was decided for it.
        found: what was measured.
        about: one sentence for the reader.
    """
    check_unused(path)
    given = {name: value for name, (value, _) in config.changed(RunConfig()).items()}
    with output_place(path) as place:
        write_json_atomic(place, {"about": about, "hyperparameters": given | found.changes})


def write_into(folder: RunFolder, found: TuningResult) -> bool:
    """Make the best settings a run's own, from its newest checkpoint on; older checkpoints keep theirs.

    Before its first generation nothing was scored under the old settings, so the numeric profile follows. Later it
    stays, and ``galab resume`` stops unless it is told with ``--allow-numeric-change``, which it then writes into the
    log.

    Args:
        folder: the run.
        found: what was measured.

    Returns:
        Whether resuming needs ``--allow-numeric-change``.

    Raises:
        RunFolderError: the run is going on, or its folder cannot be written.
        CheckpointError: its newest checkpoint is damaged.
    """
    with folder.lock():
        content = folder.read_config()
        present = checkpoints.list_checkpoints(folder.checkpoints)
        state = load_state(present[-1][1]) if present else None
        generation = int(state["generation"]) if state else 0
        note = {"generation": generation, **found.changes}
        content["hyperparameters"] |= found.changes
        content["tuned"] = [*content.get("tuned", []), note]
        write_json_atomic(folder.config_path, content)
        if state is None:
            return False
        before: dict[str, Any] = state["numeric_profile"]
        state["hyperparameters"] |= found.changes
        if generation == 0:
            state["numeric_profile"] = found.profile
        checkpoints.save(folder.checkpoints, generation, state)
        return bool(state["numeric_profile"] == before and before != found.profile)
