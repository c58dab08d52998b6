"""Every "choose for me" of a configuration, decided."""

from __future__ import annotations

import dataclasses
import math
import secrets

from galab.config.fields import RunConfig
from galab.config.parsing import parse_factors, parse_fitness, parse_schedule
from galab.config.registry import STRATEGIES, TASKS
from galab.config.rules import CONTROLS, decided
from galab.config.strategy_kinds import kind_of
from galab.evaluation.numeric_profile import default_threads, resolve_device, resolve_precision
from galab.genome.step_sizes import sigma, snap
from galab.strategies.build_operators import is_low_rank

#: How long a run goes on when nobody says when to stop.
DEFAULT_GENERATIONS = 1000
#: Smallest step size as a share of the first. Without a floor one lucky lineage of tiny steps, which a minibatch cannot
#: tell from its parents and bfloat16 cannot even represent, ends the search for good.
SIGMA_FLOOR = 1 / 32
_LARGEST_CHUNK = 64
#: Evaluations in a generation from which on compiling pays within a few hundred generations.
_WORTH_COMPILING = 250_000
#: What a batch of 0, all examples, counts as before they are counted.
_FULL_BATCH = 1000


def resolve(config: RunConfig) -> RunConfig:
    """The configuration with the seed drawn, the step size snapped and every "choose for me" decided.

    What is saved is then what was computed, also when it is run again on another machine.
    """
    device = resolve_device(config.device)
    endless = config.generations is None and config.seconds is None and config.target is None
    common = dataclasses.replace(
        config,
        generations=DEFAULT_GENERATIONS if endless else config.generations,
        seed=secrets.randbits(32) if config.seed is None else config.seed,
        device=device,
        precision=resolve_precision(config.precision, device),
        threads=config.threads or max(1, default_threads() // max(1, config.workers)),
    )
    return _BY_KIND[kind_of(config.strategy).name](common)


def default_name(config: RunConfig) -> str:
    """What a run is called that nobody names, and so its curves in TensorBoard: by its task and strategy."""
    strategy = STRATEGIES.parse(config.strategy).short
    return f"{TASKS.parse(config.task).short}-{strategy}{'-gradients' if kind_of(config.strategy).gradients else ''}"


def _compiled(config: RunConfig) -> RunConfig:
    """Whether the forward is compiled: where members differ by changes of low rank, and generations are large."""
    if config.compile != "auto":
        return config
    kind = kind_of(config.strategy)
    low_rank = kind.estimates or is_low_rank(config)
    large = kind.members(config) * (config.batch or _FULL_BATCH) >= _WORTH_COMPILING
    return dataclasses.replace(config, compile="on" if low_rank and large else "off")


def _random(config: RunConfig) -> RunConfig:
    """What a random search has to decide: the best of all so far stay, so they compete in every generation."""
    chunk = config.chunk or balanced_chunk(config.children + config.parents)
    return _compiled(dataclasses.replace(config, survival="plus", elites=config.parents, chunk=chunk))


def _gradients(config: RunConfig) -> RunConfig:
    """What a baseline that uses gradients has to decide: there is one way to compute a gradient."""
    return dataclasses.replace(config, precision="float32", compile="off", chunk=1)


def _vectors(config: RunConfig) -> RunConfig:
    """What a strategy over weight vectors has to decide: its members are networks with weights of their own."""
    return dataclasses.replace(config, compile="off", chunk=config.chunk or balanced_chunk(config.population))


def _genetic(config: RunConfig) -> RunConfig:
    """What a genetic algorithm has to decide besides."""
    elites = config.parents if config.survival == "plus" else config.elites
    floor = default_floor(config) if config.sigma_floor is None else config.sigma_floor
    sexual = config.crossover != "none"
    return _compiled(dataclasses.replace(
        config,
        sigma=float(sigma(snap(config.sigma))),
        # All on one grid: rounded alone, the step size could fall below a floor equal to it.
        sigma_floor=float(sigma(snap(floor))),
        sigma_ceiling=float(sigma(snap(config.sigma_ceiling))),
        elites=elites,
        chunk=config.chunk or balanced_chunk(config.children + (config.parents if _compares(config) else elites)),
        **{name: value for name, value in decided(config).items() if name != "parents_per_child" or sexual},
    ))


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


_BY_KIND = {
    "genetic": _genetic, "random": _random, "evolution": _compiled, "gradients": _gradients, "vectors": _vectors,
}  # fmt: skip
