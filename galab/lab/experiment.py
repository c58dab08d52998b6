"""Everything that a run computes with, built from its configuration."""

from __future__ import annotations

import dataclasses
import math
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from galab.compatibility import CONTROLS, decided, needs_behaviour
from galab.config import RunConfig
from galab.contracts import Examples, Task
from galab.errors import UsageError
from galab.evaluation.evaluator import Evaluator
from galab.evaluation.example_scores import COMPUTED
from galab.evaluation.fitness import NEEDS, repeats, require_classes
from galab.evaluation.here import Here
from galab.evaluation.minibatch import Minibatches, fresh_examples
from galab.evaluation.process import keep_freed_memory, settle_kernels
from galab.evaluation.profile import default_threads, prepare_device, resolve_device, resolve_precision
from galab.genome.decode import Decoder
from galab.genome.founders import Founders
from galab.genome.noise import Table, table
from galab.genome.pedigree import Pedigree
from galab.genome.sigma import sigma, snap
from galab.genome.torch_laws import founders_given, founders_of
from galab.lab.operators import developer, step_size_rule, strategy_class
from galab.models import build_model
from galab.specs import hidden_sizes, parse_factors, parse_fitness, parse_schedule
from galab.strategies.genetic import GeneticAlgorithm
from galab.tasks import Classification, load_task

#: How long a run goes on when nobody says when to stop.
DEFAULT_GENERATIONS = 1000
#: Smallest step size as a share of the first. Without a floor one lucky lineage of tiny steps, which a minibatch cannot
#: tell from its parents and bfloat16 cannot even represent, ends the search for good.
SIGMA_FLOOR = 1 / 32
_LARGEST_CHUNK = 64


@dataclass(slots=True)
class Shared:
    """What the trials of one process have in common; none of it changes what one of them computes.

    Attributes:
        interrupted: set by whoever hears Ctrl-C for all of them; None where the run listens for itself.
        tasks: tasks that were loaded already, by their names and data.
        like: the first trial that was built, whose evaluator and prepared data serve the others.
        cache_share: the part of ``--cache-mb`` that one trial gets.
    """

    interrupted: threading.Event | None = None
    tasks: dict[tuple[str, str], Task] = field(default_factory=dict)
    like: Experiment | None = None
    cache_share: float = 1.0


@contextmanager
def own_threads() -> Iterator[None]:
    """Give torch its number of threads back at the end: a run on one thread must not slow down what comes after it."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class Experiment:
    """The parts of one run, wired together.

    Attributes:
        config: the configuration, with every "auto" decided.
        task: what is learned.
        module: the network's structure and buffers.
        founders: the recipe for generation 0.
        pedigree: the living and their ancestors; shared by the strategy and the decoder.
        strategy: whom to evaluate, and what follows from the scores.
        decoder: births to weights.
        evaluator: scores members for selection.
        executor: carries out a generation's evaluation.
    """

    config: RunConfig
    task: Task
    module: nn.Module
    founders: Founders
    pedigree: Pedigree
    strategy: GeneticAlgorithm
    decoder: Decoder
    evaluator: Evaluator
    executor: Here


def resolve(config: RunConfig) -> RunConfig:
    """The configuration with the seed drawn, the step size snapped and every "choose for me" decided.

    What is saved is then what was computed, also when it is run again on another machine.
    """
    elites = config.parents if config.survival == "plus" else config.elites
    floor = default_floor(config) if config.sigma_floor is None else config.sigma_floor
    sexual = config.crossover != "none"
    device = resolve_device(config.device)
    endless = config.generations is None and config.seconds is None and config.target is None
    return dataclasses.replace(
        config,
        generations=DEFAULT_GENERATIONS if endless else config.generations,
        seed=secrets.randbits(32) if config.seed is None else config.seed,
        sigma=float(sigma(snap(config.sigma))),
        # All on one grid: rounded alone, the step size could fall below a floor equal to it.
        sigma_floor=float(sigma(snap(floor))),
        sigma_ceiling=float(sigma(snap(config.sigma_ceiling))),
        elites=elites,
        device=device,
        precision=resolve_precision(config.precision, device),
        threads=config.threads or default_threads(),
        chunk=config.chunk or balanced_chunk(config.children + (config.parents if _compares(config) else elites)),
        **{name: value for name, value in decided(config).items() if name != "parents_per_child" or sexual},
    )


def _compares(config: RunConfig) -> bool:
    """Whether children are compared with their parents on every minibatch."""
    rule = decided(config)["step_size"]
    return parse_fitness(config.fitness).kind == "improvement" or (rule in CONTROLS and rule != "schedule")


def default_floor(config: RunConfig) -> float:
    """Smallest step size of a run that does not name one; what is asked for by name is never below it."""
    if config.sigma_schedule is not None:
        return min(config.sigma, *(value for _, value in parse_schedule(config.sigma_schedule)))
    factors = parse_factors(config.sigma_factors) if config.sigma_factors is not None else (1.0,)
    return max(config.sigma * min(1.0, *factors) * SIGMA_FLOOR, 2**-24)


def balanced_chunk(members: int) -> int:
    """Members per chunk such that as few chunks of at most 64 as possible are filled evenly, with little padding."""
    return math.ceil(members / math.ceil(members / _LARGEST_CHUNK))


def network_and_task(config: RunConfig, shared: Shared | None = None) -> tuple[nn.Module, Task]:
    """The task with its data, and a network that fits it."""
    known = {} if shared is None else shared.tasks
    task = known.get((config.task, config.data)) or load_task(config.task, config.data)
    if type(task) is Classification:  # a task of somebody's own may count its calls
        known[config.task, config.data] = task
    module = build_model(config.model, task.input_shape, task.outputs, hidden_sizes(config.hidden), config.activation)
    return module, task


def build(
    config: RunConfig,
    module: nn.Module,
    task: Task,
    *,
    law: Table | None = None,
    founders: Founders | None = None,
    shared: Shared | None = None,
) -> Experiment:
    """Wire up a run.

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
    settle_kernels()
    _check_metrics(config, task)
    prepare_device(config.device)
    torch.set_num_threads(config.threads)
    if founders is None and config.init is not None:
        weights = _read_weights(Path(config.init))
        founders = founders_given(module, weights, run_key)
        _take_buffers(module, weights)
    elif founders is None:
        founders = founders_of(module, run_key)
    pedigree = Pedigree()
    births = developer(config, founders, table(config.distribution) if law is None else law)
    shared = shared or Shared()
    cache_bytes = max(int(shared.cache_share * (config.cache_mb << 20)), _cohort_bytes(config, founders))
    decoder = Decoder(births, pedigree, cache_bytes=cache_bytes)
    evaluator, examples = _evaluation(config, module, founders, task, shared.like)
    minibatches = Minibatches(examples, config.batch, run_key, fresh_examples(task, evaluator.prepared))
    rule = step_size_rule(config, run_key)
    # A score that hangs on coins does not stay true for another generation, whatever the examples.
    fixed = minibatches.fixed and repeats(parse_fitness(config.fitness))
    strategy = strategy_class(config.strategy).from_config(config, rule, pedigree, fixed)
    executor = Here(
        decoder,
        evaluator,
        minibatches,
        fitness=config.fitness,
        norm_penalty=config.norm_penalty,
        cases=config.cases if config.selection == "lexicase" else None,
        behaviour=needs_behaviour(config),
    )
    experiment = Experiment(config, task, module, founders, pedigree, strategy, decoder, evaluator, executor)
    shared.like = shared.like or experiment
    return experiment


def _cohort_bytes(config: RunConfig, founders: Founders) -> int:
    """The least that a trial's cache holds: a generation that does not fit would be decoded twice."""
    return min(config.cache_mb << 20, 8 * founders.layout.size * (config.children + config.parents))


def _evaluation(
    config: RunConfig, module: nn.Module, founders: Founders, task: Task, like: Experiment | None
) -> tuple[Evaluator, Examples]:
    """The evaluator and the training data as it wants them; those of another trial if they are the same."""
    if like is not None and like.task is task and _same_but_seed(config, like.config) and _same(module, like.module):
        return like.evaluator, like.executor.examples
    evaluator = Evaluator(
        module,
        founders.layout,
        task,
        chunk=config.chunk,
        precision=config.precision,
        device=torch.device(config.device),
    )
    return evaluator, evaluator.prepared(task.train)


def _same_but_seed(one: RunConfig, other: RunConfig) -> bool:
    return dataclasses.replace(one, seed=other.seed) == other


def _same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks are alike but for their weights, which an evaluator does not use."""
    pairs = zip(one.named_buffers(), other.named_buffers(), strict=True)
    return type(one) is type(other) and all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


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
    bases, option = parse_fitness(config.fitness).bases, f"--fitness {config.fitness}"
    if any(base in COMPUTED for base in bases):
        require_classes(task, option)
    if config.selection == "lexicase":
        require_classes(task, "--selection lexicase")
    if needs_behaviour(config):
        require_classes(task, "--niche, --diversity or --mate")
    try:
        measured = task.measure(torch.zeros(1, 2, task.outputs), task.train.targets[:2])
    except Exception:  # who fails here fails in the first generation too, where each member is told apart
        return
    wanted = {NEEDS[base]: option for base in bases if base in NEEDS}
    if config.target is not None:
        wanted["correct"] = "--target"
    for name, option in wanted.items():
        if name not in measured:
            raise UsageError(
                f"expected task '{config.task}' to measure '{name}', which {option} needs, got "
                f"{', '.join(measured) or 'nothing'}; return it from measure(), or choose another fitness"
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
