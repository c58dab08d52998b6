"""Build the components of a run from its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from galab.config import RunConfig
from galab.config.parsing import INTRINSIC, hidden_sizes, parse_fitness
from galab.config.spelling import OptionError
from galab.config.strategy_kinds import kind_of, load_reference
from galab.config.traits import needs_behaviour, needs_use, scored_by_outputs
from galab.contracts import ReportsMemoryUse, SeedDependent, Task
from galab.errors import UsageError, pass_interrupts
from galab.evaluation import numeric_profile as tracebacks
from galab.evaluation.fitness import COMPUTED, NEEDS, require_classes
from galab.evaluation.numeric_profile import keep_freed_memory, numeric_profile, prepare_device, warm_up_kernels
from galab.genome.initial import Founders
from galab.genome.parameters import set_frozen
from galab.genome.random import Table, table
from galab.models import build_model
from galab.models.normalized import normalize_observations, normalizes
from galab.tasks import Classification, load_task
from galab.tasks.episodes import EpisodeTask
from galab.tasks.prompts import PromptTask
from galab.training.initial_weights import initial_founders
from galab.training.search import RunComponents, Search, SearchInputs, SharedByTrials


@contextmanager
def own_threads() -> Iterator[None]:
    """Give torch its number of threads back at the end: a run on one thread must not slow down what comes after it."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def network_and_task(
    config: RunConfig, shared: SharedByTrials | None = None, *, check: bool = True
) -> tuple[nn.Module, Task]:
    """The task with its data, and a network that fits it; ``check`` tries that its answers repeat."""
    task = task_of(config, shared)
    if check and isinstance(task, EpisodeTask):
        task.check_repeats()
    return network_of(config, task.input_shape, task.outputs, examples=task.train.inputs, check=check), task


def task_of(config: RunConfig, shared: SharedByTrials | None = None) -> Task:
    """The task with its data; the same one for several runs where ``shared`` has it already."""
    known = {} if shared is None else shared.tasks
    run_key = config.seed or 0
    one, all_seeds = ((config.task, config.data, key) for key in (run_key, None))
    task = known.get(all_seeds) or known.get(one) or load_task(config.task, config.data, run_key=run_key)
    if isinstance(task, EpisodeTask):
        return task.cut(config.episode_steps)
    if type(task) is Classification:  # a task of the user's own may count its calls
        known[one if isinstance(task, SeedDependent) else all_seeds] = task
    return task


def network_of(
    config: RunConfig,
    input_shape: Sequence[int],
    outputs: int,
    *,
    torch_seed: int = 0,
    examples: torch.Tensor | None = None,
    check: bool = True,
) -> nn.Module:
    """The network of a configuration.

    Args:
        config: names it.
        input_shape: of one example.
        outputs: how many it has.
        torch_seed: of torch's generator, from which a constructor draws.
        examples: (B, ...) some inputs, to try it on.
        check: whether to try that its answers repeat.

    Raises:
        UsageError: the network cannot be built, or does not answer.
    """
    try:
        module = build_model(
            config.model, tuple(input_shape), outputs, hidden_sizes(config.hidden), config.activation,
            run_key=config.seed or 0, freeze=config.freeze, torch_seed=torch_seed, examples=examples, check=check,
            further=_of_language_models(config),
        )  # fmt: skip
        if config.normalize_observations == "on":
            _check_numbers(config, examples)
            normalize_observations(module, input_shape, examples if check else None)
        return module
    except BaseException as error:
        if isinstance(error, (Exception, KeyboardInterrupt)):
            raise
        raise UsageError(
            f"model '{config.model}': expected its class to build and to answer, got {type(error).__name__}: {error}; "
            "correct it"
        ) from error


def _of_language_models(config: RunConfig) -> dict[str, Any]:
    """Arguments of language models, which no other network has by these names."""
    return {
        "adapt": config.adapt, "lora_rank": config.lora_rank or 4, "layers_adapted": config.layers,
        "sigma_relative": config.sigma_relative == "on",
    }  # fmt: skip


def _check_numbers(config: RunConfig, examples: torch.Tensor | None) -> None:
    """Refuse to normalise pixels."""
    if examples is not None and not examples.is_floating_point():
        raise OptionError(
            "expected observations that are numbers with {normalize_observations:on}, got pixels from {task.given}, "
            "whose range is known: the network divides them; drop it", config,
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
    if founders is None:
        founders = initial_founders(config, module, lambda seed: _built_again(config, task, seed))
    elif founders.frozen:
        set_frozen(module, founders.frozen, config.model)
    law = table(config.distribution) if law is None else law
    inputs = SearchInputs(config, task, module, founders, law, shared or SharedByTrials())
    search: Search = load_reference(kind_of(config.strategy).search).build(inputs)
    search.normalizer = module if normalizes(module) else None
    components = RunComponents(config, task, module, founders, law, search)
    inputs.shared.first_built = inputs.shared.first_built or components
    return components


def profile_of(components: RunComponents) -> dict[str, Any]:
    """The numeric profile of a run on this machine."""
    config: RunConfig = components.config
    numerics = components.search.numerics
    return numeric_profile(device=config.device, precision=config.precision, threads=config.threads, **numerics)


def _built_again(config: RunConfig, task: Task, torch_seed: int) -> nn.Module:
    """The network once more, as its constructor makes it under another seed of torch's generator."""
    return network_of(config, task.input_shape, task.outputs, torch_seed=torch_seed, check=False)


def _check_metrics(config: RunConfig, task: Task) -> None:
    """Refuse a task that does not measure what the fitness or the target needs, before anything is written."""
    names, option = parse_fitness(config.fitness).names, f"--fitness {config.fitness}"
    if any(name in COMPUTED for name in names):
        require_classes(task, option)
    if config.selection == "lexicase":
        require_classes(task, "--selection lexicase")
    if config.selection == "nsga2" and len(parse_fitness(config.fitness).bases) < 2:
        raise OptionError(
            "expected a fitness of several parts with {selection:nsga2}, got {fitness.given}; name each objective, "
            "such as cross-entropy,accuracy", config,
        )  # fmt: skip
    if needs_behaviour(config):
        require_classes(task, "--niche, --diversity or --mate")
    try:
        width = len(task.measures) if isinstance(task, (EpisodeTask, PromptTask)) else task.outputs
        measured = task.measure(torch.zeros(1, 2, width), task.train.targets[:2])
    except BaseException as error:  # fails in the first generation too, which names the members
        pass_interrupts(error)
        return
    wanted = {NEEDS[name]: option for name in names if name in NEEDS}
    if config.target is not None and scored_by_outputs(config):
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
