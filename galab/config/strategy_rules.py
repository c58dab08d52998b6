"""The kinds of search, what belongs to one of them alone, and what goes together in evolution strategies."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from galab.config.fields import EVOLUTION, OPTIMISER
from galab.config.option import default_of, spelling
from galab.config.parsing import DIRECTIONAL, INTRINSIC, parse_fitness
from galab.config.schedules import parse_rate_schedule
from galab.config.strategy_kinds import VECTORS, kind_of
from galab.errors import UsageError

if TYPE_CHECKING:
    from galab.config.fields import RunConfig

def plans_its_end(config: RunConfig) -> bool:
    """Whether a rate hangs on the number of generations, so that a longer run is another one from the start."""
    schedules = (("--sigma-schedule", config.sigma_schedule), ("--lr-schedule", config.lr_schedule))
    if kind_of(config.strategy).breeds:
        return False
    return any(parse_rate_schedule(text, name).needs_end for name, text in schedules if text is not None)


#: What all kinds of search but gradients understand, or ignore, whatever the heading.
_SHARED = ("sigma", "sigma_schedule", "distribution")
#: What a random search understands of the genetic algorithm's; it decides the last three itself.
_OF_RANDOM = ("parents", "children", "ties", "elites", "survival", "crossover")
#: What a strategy over weight vectors understands of the options of others.
_OF_VECTORS = ("population", "sigma")
#: Who understands the options under a heading.
_WHOSE = {EVOLUTION: "--strategy eggroll or openai-es", OPTIMISER: "--strategy eggroll, openai-es, sgd or adam"}
#: What to say instead, where there is something like it.
_INSTEAD = {"children": "--population", "parents": "--population", "population": "--children"}


def is_foreign(item: dataclasses.Field[Any], strategy: str) -> bool:
    """Whether only another kind of search understands a field of the configuration."""
    kind, breeding, evolution = kind_of(strategy).name, ("Population", "Mutation"), (EVOLUTION, OPTIMISER)
    bred = breeding + evolution
    foreign = {"evolution": breeding, "gradients": (*breeding, EVOLUTION)}.get(
        kind, evolution if kind == "genetic" else bred
    )
    known = {"random": (*_SHARED, *_OF_RANDOM), "gradients": (), "vectors": _OF_VECTORS}.get(kind, _SHARED)
    return item.name not in known and item.metadata["group"] in foreign


def check_strategy(config: RunConfig) -> None:
    """Refuse what only another kind of search understands, as nothing would come of it."""
    kind = kind_of(config.strategy)
    if "(" in config.strategy and kind is not VECTORS and any(map(config.strategy.startswith, kind.strategies)):
        raise UsageError(
            f"expected --strategy {config.strategy.partition('(')[0]} without arguments, got '{config.strategy}': its "
            "options are flags of their own; see `galab run --help`"
        )
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if not is_foreign(item, config.strategy) or value == default_of(item, config.strategy):
            continue
        flag = spelling(item)
        known = item.name in _INSTEAD and not kind_of(config.strategy).gradients
        instead = f"use {_INSTEAD[item.name]}" if known else "drop it"
        other = _WHOSE.get(item.metadata["group"], "the genetic algorithm (--strategy ga)")
        raise UsageError(
            f"expected no {flag} with --strategy {config.strategy}, got {value}: only {other} understands it; {instead}"
        )


def check_random(config: RunConfig) -> None:
    """Refuse what presumes that networks have parents."""
    if config.crossover != "none":
        raise UsageError(
            f"expected no --crossover with --strategy random, got {config.crossover}: nobody has parents; drop it"
        )
    if parse_fitness(config.fitness).kind != "absolute":
        raise UsageError(
            f"expected a fitness of a member's own with --strategy random, got --fitness {config.fitness}: nobody has "
            "parents to be compared with; use cross-entropy or accuracy"
        )
    if set(parse_fitness(config.fitness).names) & set(DIRECTIONAL):
        raise UsageError(_without_parents(config))
    for name in ("init", "origin"):
        if getattr(config, name) is not None:
            raise UsageError(
                f"expected no {'--from' if name == 'origin' else '--init'} with --strategy random, got "
                f"{getattr(config, name)}: every network is drawn anew; drop it"
            )


def _without_parents(config: RunConfig) -> str:
    return (
        f"expected a --fitness of a member's own with --strategy {config.strategy}, got {config.fitness}: a direction "
        "is that of a child from its parents, and nobody has any; use --strategy ga"
    )


def check_evolution(config: RunConfig) -> None:
    """Refuse values that are right alone and wrong together in an evolution strategy."""
    for flag, schedule in (("--sigma-schedule", config.sigma_schedule), ("--lr-schedule", config.lr_schedule)):
        if schedule is not None and parse_rate_schedule(schedule, flag).needs_end and config.generations is None:
            raise UsageError(
                f"expected --generations with {flag} {schedule}, got none: it ends when the run does; name the number "
                "of generations, or use decay:0.999"
            )
    if config.noise_reuse < 1:
        raise UsageError(
            f"expected --noise-reuse at least 1, got {config.noise_reuse}: the same noise for ever would confine the "
            "search to the directions of its first generation; use 1 for fresh noise in every generation"
        )
    if config.population % 2 and config.pairs != "one-sided":
        raise UsageError(
            f"expected an even --population with --pairs {config.pairs}, got {config.population}: a pair has two "
            "members; add one, or use --pairs one-sided"
        )
    if config.shaping == "sign" and config.pairs == "one-sided":
        raise UsageError(
            "expected --pairs antithetic with --shaping sign, got one-sided: the sign is that of the difference in a "
            "pair; change one of them"
        )
    each = 1 if config.pairs == "one-sided" else 2
    if config.population % (config.groups * each):
        raise UsageError(
            f"expected --population to be a multiple of {config.groups * each} with --groups {config.groups} of "
            f"{'pairs' if each == 2 else 'members'}, got {config.population}; change one of them"
        )
    _check_fitness(config)


def check_vectors(config: RunConfig) -> None:
    """Refuse what strategies over weight vectors cannot do."""
    _check_fitness(config)
    if config.compile == "on":
        raise UsageError(
            f"expected no --compile with --strategy {config.strategy}, got on: each member has weights of its own; "
            "drop it"
        )


def _check_fitness(config: RunConfig) -> None:
    spec = parse_fitness(config.fitness)
    if spec.kind != "absolute" or len(spec.bases) > 1:
        raise UsageError(
            f"expected one base as --fitness with --strategy {config.strategy}, got {config.fitness}: an estimate is "
            "made of one number for each member, and compares members of one generation anyway; use cross-entropy"
        )
    if set(spec.names) & set(INTRINSIC):
        raise UsageError(
            f"expected a --fitness of the task with --strategy {config.strategy}, got {config.fitness}: memories whose "
            "weights are not formed tell nothing of themselves; use --strategy ga"
        )
    if set(spec.names) & set(DIRECTIONAL):
        raise UsageError(_without_parents(config))
    if config.norm_penalty:
        raise UsageError(
            f"expected --norm-penalty 0 with --strategy {config.strategy}, got {config.norm_penalty}: members' weights "
            "are never formed; use --weight-decay"
        )
    if config.groups > 1 and "sampled-accuracy" in spec.names:
        raise UsageError(
            f"expected --groups 1 with --fitness sampled-accuracy, got {config.groups}; use expected-accuracy"
        )
