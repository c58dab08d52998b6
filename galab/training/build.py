"""Build the components of a run from its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from galab.config import RunConfig
from galab.config.parsing import INTRINSIC, hidden_sizes, parse_fitness
from galab.config.strategy_kinds import kind_of, load_reference
from galab.config.traits import needs_behaviour, needs_use
from galab.contracts import ReportsMemoryUse, SeedDependent, Task
from galab.errors import UsageError
from galab.evaluation import numeric_profile as tracebacks
from galab.evaluation.fitness import COMPUTED, NEEDS, require_classes
from galab.evaluation.numeric_profile import keep_freed_memory, numeric_profile, prepare_device, warm_up_kernels
from galab.genome.initial import Founders, founders_given, founders_of
from galab.genome.random import Table, table
from galab.models import build_model
from galab.tasks import Classification, load_task
from galab.training.search import RunComponents, Search, SearchInputs, SharedByTrials


@contextmanager
def own_threads() -> Iterator[None]:
    """Give torch its number of threads back at the end: a run on one thread must not slow down what comes after it."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def network_and_task(config: RunConfig, shared: SharedByTrials | None = None) -> tuple[nn.Module, Task]:
    """The task with its data, and a network that fits it."""
    task = task_of(config, shared)
    return network_of(config, task.input_shape, task.outputs), task


def task_of(config: RunConfig, shared: SharedByTrials | None = None) -> Task:
    """The task with its data; the same one for several runs where ``shared`` has it already."""
    known = {} if shared is None else shared.tasks
    run_key = config.seed or 0
    one, all_seeds = ((config.task, config.data, key) for key in (run_key, None))
    task = known.get(all_seeds) or known.get(one) or load_task(config.task, config.data, run_key=run_key)
    if type(task) is Classification:  # a task of the user's own may count its calls
        known[one if isinstance(task, SeedDependent) else all_seeds] = task
    return task


def network_of(config: RunConfig, input_shape: Sequence[int], outputs: int) -> nn.Module:
    """The network of a configuration.

    Args:
        config: names it.
        input_shape: of one example.
        outputs: how many it has.
    """
    return build_model(
        config.model, tuple(input_shape), outputs, hidden_sizes(config.hidden), config.activation,
        run_key=config.seed or 0,
    )  # fmt: skip


def build(
    config: RunConfig,
    module: nn.Module,
    task: Task,
    *,
    law: Table | None = None,
    founders: Founders | None = None,
    shared: SharedByTrials | None = None,
) -> RunComponents:
    """Build a run.

    Args:
        config: a resolved configuration.
        module: the network.
        task: what is learned.
        law: the table of the mutations' distribution; the built-in one when absent.
        founders: the recipe for generation 0, where it is known already (a resumed run, or one with an origin).
        shared: what other trials in this process have built already.

    Raises:
        UsageError: ``--init`` names a file that does not hold weights for this network.
    """
    run_key = config.seed
    assert run_key is not None
    keep_freed_memory()
    warm_up_kernels()
    tracebacks.forget_logged_errors()
    _check_metrics(config, task)
    _check_memories(config, module)
    prepare_device(config.device)
    torch.set_num_threads(config.threads)
    if founders is None and config.init is not None:
        weights = _read_weights(Path(config.init))
        founders = founders_given(module, weights, run_key)
        _take_buffers(module, weights)
    elif founders is None:
        founders = founders_of(module, run_key)
    law = table(config.distribution) if law is None else law
    inputs = SearchInputs(config, task, module, founders, law, shared or SharedByTrials())
    search: Search = load_reference(kind_of(config.strategy).search).build(inputs)
    components = RunComponents(config, task, module, founders, law, search)
    inputs.shared.first_built = inputs.shared.first_built or components
    return components


def profile_of(components: RunComponents) -> dict[str, Any]:
    """The numeric profile of a run on this machine."""
    config: RunConfig = components.config
    numerics = components.search.numerics
    return numeric_profile(device=config.device, precision=config.precision, threads=config.threads, **numerics)


def _take_buffers(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """A trained network is its parameters and its buffers."""
    for name, buffer in module.named_buffers():
        if name in weights:
            if weights[name].shape != buffer.shape:
                raise UsageError(
                    f"expected the given buffer '{name}' to have shape {tuple(buffer.shape)}, got "
                    f"{tuple(weights[name].shape)}; choose the model that it was made with"
                )
            buffer.copy_(weights[name])


def _check_metrics(config: RunConfig, task: Task) -> None:
    """Refuse a task that does not measure what the fitness or the target needs, before anything is written."""
    names, option = parse_fitness(config.fitness).names, f"--fitness {config.fitness}"
    if any(name in COMPUTED for name in names):
        require_classes(task, option)
    if config.selection == "lexicase":
        require_classes(task, "--selection lexicase")
    if needs_behaviour(config):
        require_classes(task, "--niche, --diversity or --mate")
    try:
        measured = task.measure(torch.zeros(1, 2, task.outputs), task.train.targets[:2])
    except Exception:  # fails in the first generation too, which names the members
        return
    wanted = {NEEDS[name]: option for name in names if name in NEEDS}
    if config.target is not None:
        wanted["correct"] = "--target"
    for name, option in wanted.items():
        if name not in measured:
            raise UsageError(
                f"expected task '{config.task}' to measure '{name}', which {option} needs, got "
                f"{', '.join(measured) or 'nothing'}; return it from measure(), or choose another fitness"
            )


def _check_memories(config: RunConfig, module: nn.Module) -> None:
    """Refuse a network without memories where the fitness or an operator needs them."""
    asked = [name for name in parse_fitness(config.fitness).names if name in INTRINSIC]
    option = f"--fitness {config.fitness}" if asked else f"--mutate {config.mutate}"
    if (asked or needs_use(config)) and not isinstance(module, ReportsMemoryUse):
        raise UsageError(
            f"expected a network of memories with {option}, got --model {config.model}; use --model memory, or drop it"
        )


def _read_weights(path: Path) -> Mapping[str, torch.Tensor]:
    """A ``state_dict`` from a ``.pt`` file, read without running code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError(f"expected weights at '{path}' (--init), found no file; check the path") from None
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"expected --init '{path}' to be a state_dict saved by torch.save, got: {reason}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UsageError(
            f"expected --init '{path}' to hold a state_dict (name to tensor), got {type(state).__name__}; "
            "save it with torch.save(module.state_dict(), path)"
        )
    return state
