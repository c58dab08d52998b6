"""Every "choose for me" that needs only the configuration, chosen.

What needs the hardware, the data or arithmetic of the genome is chosen in :mod:`galab.training.resolve`, which calls
this.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from galab.config.fields import FIELDS, Fields
from galab.config.option import default_of, understands
from galab.config.parsing import parse_factors, parse_fitness
from galab.config.schedules import parse_schedule
from galab.config.strategy_kinds import kind_of
from galab.config.traits import (
    CONTROLS,
    MEMORY_OPERATORS,
    answers_prompts,
    is_gene_law,
    is_low_rank,
    operators_of,
    plays_episodes,
    scored_by_outputs,
)

#: Smallest step size as a share of the first. Without a floor one lucky lineage of tiny steps, which a minibatch cannot
#: tell from its parents and bfloat16 cannot even represent, ends the search for good.
SIGMA_FLOOR = 1 / 32
#: Smallest step size of whole weights: 5 % of normal steps then move a weight, by 1.
WHOLE_FLOOR = 1 / 4
#: The same under laws whose largest numbers are small.
_FLOORS = {"sign": 0.55, "uniform": 0.35}
_LARGEST_CHUNK = 64
#: Members of integer networks whose noise is held at one time.
_INTEGER_CHUNK = 1024
#: Most members that play side by side, and those with large networks.
_EPISODE_CHUNK, _FEW_NETWORKS = 128, 32
#: Evaluations in a generation from which on compiling pays within a few hundred generations.
_WORTH_COMPILING = 250_000
#: What a batch of 0, all examples, counts as before they are counted.
_FULL_BATCH = 1000

_Config = TypeVar("_Config", bound=Fields)


def decide(config: _Config) -> _Config:
    """The configuration with every value that follows from the others; done twice, nothing changes.

    None then means "none" and no longer "choose for me": no crossover has no ``parents_per_child``, a run without a
    limit has no ``generations``.
    """
    decided = view(config)
    values = {name: getattr(decided, name) for name in CHOICES}
    changed = {name: value for name, value in values.items() if value != getattr(config, name)}
    return dataclasses.replace(config, **changed) if changed else config


def view(config: Fields) -> Fields:
    """What :func:`decide` gives, unchecked: something with the same fields, for rules to look at."""
    found = types.SimpleNamespace(**{name: getattr(config, name) for name in FIELDS})
    decided, kind = cast(Fields, found), kind_of(config.strategy).name
    for name, choose in CHOICES.items():
        item = FIELDS[name]
        # The defaults by strategy stand in every saved run, whether its strategy understands them or not.
        applies = understands(item, kind) or item.metadata["by_strategy"]
        if applies and (name in _FOLLOWING or getattr(found, name) == item.default):
            setattr(found, name, choose(decided))
    return decided


def _crossover(config: Fields) -> str:
    """A coin for every weight, unless an island has one parent or mutation follows one line."""
    alone = config.parents // config.islands < 2 or kind_of(config.strategy).name == "random"
    # A memory made of halves of two others would be neither of them.
    whole = "row" if set(operators_of(config)) <= set(MEMORY_OPERATORS) else "parameter"
    return "none" if alone or "momentum" in operators_of(config) else whole


def _fitness(config: Fields) -> str:
    if answers_prompts(config):
        return "reward"
    return "return" if plays_episodes(config) else config.fitness


def _batch(config: Fields) -> int:
    """The starts of a generation are its examples."""
    if plays_episodes(config):
        return config.episodes or 1
    if answers_prompts(config):
        return 0
    return int(default_of(FIELDS["batch"], config.strategy))


def _episodes(config: Fields) -> int | None:
    return 1 if plays_episodes(config) else None


def _model(config: Fields) -> str:
    """Environments, prompts and integer strategies have networks of their own."""
    if answers_prompts(config):
        return "llm"
    if plays_episodes(config):
        return "atari-policy" if config.task.startswith("atari") else "policy"
    if kind_of(config.strategy).name != "integer":
        return config.model
    return "integer-linear" if config.task.partition("(")[0].strip() == "linear-regression" else "egg"


def _sigma(config: Fields) -> float:
    return 1.0 if config.genome == "integer" else 0.02


def _mutate(config: Fields) -> str:
    return "flip" if config.genome == "binary" else "dense"


def _step_size(config: Fields) -> str:
    if config.genome == "binary":
        return "fixed"
    return "log-normal" if config.granularity in ("global", "tensor") else "mean-reverting"


def _parents_per_child(config: Fields) -> int | None:
    if config.crossover == "none":
        return None
    return max(2, config.parents // config.islands) if config.crossover == "mean" else 2


def _survival(config: Fields) -> str:
    """In a random search the best of all so far stay, so they compete in every generation."""
    return "plus" if kind_of(config.strategy).name == "random" else config.survival


def _elites(config: Fields) -> int:
    return config.parents if config.survival == "plus" else config.elites


def _sigma_floor(config: Fields) -> float | None:
    """What is asked for by name is never below it."""
    if config.genome == "binary":
        return None
    if config.sigma_schedule is not None:
        return min(config.sigma, *(value for _, value in parse_schedule(config.sigma_schedule)))
    factors = parse_factors(config.sigma_factors) if config.sigma_factors is not None else (1.0,)
    # Smaller steps would be rounded to none.
    coarse = _FLOORS.get(config.distribution, WHOLE_FLOOR)
    finest = coarse if config.genome == "integer" else max(config.weight_range * 2.0**-31, 2.0**-24)
    return max(config.sigma * min(1.0, *factors) * SIGMA_FLOOR, min(finest, config.sigma))


def _precision(config: Fields) -> str:
    plain = kind_of(config.strategy).name in ("gradients", "integer") or not scored_by_outputs(config)
    return "float32" if plain else config.precision


def _compile(config: Fields) -> str:
    """Where members differ by changes of low rank, and generations are large."""
    kind = kind_of(config.strategy).name
    if kind in ("gradients", "integer") or not scored_by_outputs(config):
        return "off"
    members = config.population if kind == "evolution" else config.children
    large = members * (config.batch or _FULL_BATCH) >= _WORTH_COMPILING
    return "on" if large and (kind == "evolution" or is_low_rank(config)) else "off"


def _chunk(config: Fields) -> int:
    """Of an evolution strategy it is chosen with the directions, as they share products."""
    kind = kind_of(config.strategy).name
    if kind == "integer":
        return config.chunk or _INTEGER_CHUNK
    if plays_episodes(config):
        return config.chunk or _episode_chunk(config)
    if answers_prompts(config):
        return config.chunk or balanced_chunk(members_scored(config))
    if kind in ("evolution", "gradients"):
        return 1 if kind == "gradients" else config.chunk
    return balanced_chunk(members_scored(config))


def _episode_chunk(config: Fields) -> int:
    """The same for any number of workers; networks of pixels are held one for each member."""
    chunk = balanced_chunk(members_scored(config), _FEW_NETWORKS if config.task.startswith("atari") else _EPISODE_CHUNK)
    return chunk + chunk % 2 if kind_of(config.strategy).name == "evolution" else chunk


def members_scored(config: Fields) -> int:
    """Members that are scored in an ordinary generation, of any strategy that has several."""
    kind = kind_of(config.strategy).name
    if kind in ("evolution", "vectors", "integer"):
        return config.population
    compared = kind == "genetic" and _compares(config)
    return config.children + (config.parents if compared else config.elites)


def _compares(config: Fields) -> bool:
    """Whether children are compared with their parents on every minibatch."""
    controlled = config.step_size in CONTROLS and config.step_size != "schedule"
    return parse_fitness(config.fitness).kind == "improvement" or controlled


def balanced_chunk(members: int, most: int = _LARGEST_CHUNK) -> int:
    """Members per chunk such that as few chunks of at most so many as possible are filled evenly."""
    return math.ceil(members / math.ceil(members / most))


def _by_strategy(name: str) -> Callable[[Fields], Any]:
    return lambda config: default_of(FIELDS[name], config.strategy)


#: Field to its choice where it has its default, in an order in which each finds what it looks at.
CHOICES: Mapping[str, Callable[[Fields], Any]] = {
    **{name: _by_strategy(name) for name, item in FIELDS.items() if item.metadata["by_strategy"]},
    "episodes": _episodes,
    "lora_rank": lambda config: 4 if answers_prompts(config) and config.adapt == "lora" else None,
    "answer_tokens": lambda config: 32 if answers_prompts(config) else None,
    "batch": _batch,
    "confirm_episodes": lambda config: 30 if config.confirm else None,
    "fitness": _fitness,
    "model": _model,
    "sigma": _sigma,
    "mutate": _mutate,
    "crossover": _crossover,
    "step_size": _step_size,
    "parents_per_child": _parents_per_child,
    "founders": lambda config: "clones" if is_gene_law(config) else "distinct",
    "survival": _survival,
    "elites": _elites,
    "sigma_floor": _sigma_floor,
    "precision": _precision,
    "compile": _compile,
    "chunk": _chunk,
}
#: Those that follow from others whatever was given.
_FOLLOWING = ("survival", "elites")
