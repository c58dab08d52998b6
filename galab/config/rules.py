"""Which hyperparameters go together: one table for the command line, Python, saved configurations and resumed runs.

A rule says when a value has no effect (``idle``) or when values contradict each other (``refused``), and the sentence
that a person reads then. A configuration that breaks a rule is an error. Where new values are laid over a saved
configuration, saved values that they make idle are dropped instead (:mod:`galab.config.run_config`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from galab.config.episode_rules import EPISODE_RULES
from galab.config.fields import FIELDS, Fields
from galab.config.genetic_rules import GENETIC_RULES
from galab.config.idle_rules import IDLE_RULES
from galab.config.option import default_of, understands
from galab.config.parsing import DIRECTIONAL, INTRINSIC, SMOOTH, parse_fitness
from galab.config.prompt_rules import PROMPT_RULES
from galab.config.rule import Rule
from galab.config.spelling import OptionError
from galab.config.strategy_kinds import KINDS, kind_of
from galab.config.traits import ending_schedules


def check(config: Fields) -> None:
    """Refuse values that are right alone and wrong together.

    Args:
        config: with everything decided (:func:`galab.config.resolve.decide`).

    Raises:
        OptionError: the reason, and what would work.
    """
    kind = kind_of(config.strategy).name
    _check_understood(config, kind)
    for rule in RULES:
        if kind in rule.kinds:
            rule.check(config)


#: What to use instead, by the kind of strategy that does not understand a field.
_INSTEAD = {
    "evolution": {"children": "population", "parents": "population"},
    "vectors": {"children": "population", "parents": "population"},
    "genetic": {"population": "children"},
    "random": {"population": "children"},
}


def _check_understood(config: Fields, kind: str) -> None:
    """Refuse what only other kinds of strategy understand, as it would have no effect."""
    name, bracket, _ = config.strategy.partition("(")
    if bracket and kind != "vectors" and name in kind_of(config.strategy).strategies:
        raise OptionError(
            "expected {strategy:"
            + name
            + "} without arguments, got {strategy.value}: its options are hyperparameters of "
            "their own; see `galab options`",
            config,
        )
    for name, item in FIELDS.items():
        if understands(item, kind) or getattr(config, name) == default_of(item, config.strategy):
            continue
        other = _INSTEAD.get(kind, {}).get(name)
        instead = f"use {{{other}}}" if other else "drop it"
        raise OptionError(
            f"expected no {{{name}}} with {{strategy.given}}, got {{{name}.value}}: only "
            f"{_who(item.metadata['kinds'])} understands it; {instead}",
            config,
        )


def _who(kinds: tuple[str, ...]) -> str:
    """The strategies of some kinds, in words."""
    if set(kinds) <= {"genetic", "random"} and "genetic" in kinds:
        return "the genetic algorithm ({strategy:ga})"
    names = [name for kind in KINDS if kind.name in kinds for name in kind.strategies]
    return "{strategy} " + " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


_RANDOM, _EVOLUTION, _GRADIENTS, _SAMPLED = ("random",), ("evolution",), ("gradients",), ("evolution", "vectors")
_INTEGER = ("integer",)


def _names(config: Fields) -> set[str]:
    return set(parse_fitness(config.fitness).names)


def _several_scores(config: Fields) -> bool:
    spec = parse_fitness(config.fitness)
    return spec.kind != "absolute" or len(spec.bases) > 1


def _drawn(name: str) -> Rule:
    return Rule(
        kinds=_RANDOM,
        fields=(name,),
        idle=lambda config: True,
        sentence=f"expected no {{{name}}} with {{strategy:random}}, got {{{name}.value}}: every network is drawn from "
        "nothing; drop it",
    )


_OF_RANDOM = (
    Rule(
        kinds=_RANDOM,
        fields=("crossover",),
        refused=lambda c: c.crossover != "none",
        sentence="expected no {crossover} with {strategy:random}, got {crossover.value}: no network has parents; drop "
        "it",
    ),
    Rule(
        kinds=_RANDOM,
        fields=("fitness",),
        refused=lambda c: parse_fitness(c.fitness).kind != "absolute",
        sentence="expected a fitness of a member's own with {strategy:random}, got {fitness.given}: no network has "
        "parents to be compared with; use cross-entropy or accuracy",
    ),
    _drawn("init"),
    _drawn("origin"),
)


def _ends_with_the_run(name: str, kinds: tuple[str, ...]) -> Rule:
    return Rule(
        kinds=kinds,
        fields=(name, "generations"),
        refused=lambda c: c.generations is None and name in ending_schedules(c),
        sentence=f"expected {{generations}} with {{{name}.given}}, got none: it ends when the run does; name the "
        "number of generations, or use decay:0.999",
    )


def _group_size(config: Fields) -> bool | Mapping[str, Any]:
    each = 1 if config.pairs == "one-sided" else 2
    size = config.groups * each
    return {"size": size, "what": "pairs" if each == 2 else "members"} if config.population % size else False


_OF_SAMPLED = (
    Rule(
        kinds=_INTEGER,
        fields=("move_share",),
        idle=lambda c: c.update_threshold is not None,
        sentence="expected {move_share} or {update_threshold}, got both; drop one of them",
    ),
    Rule(
        kinds=_INTEGER,
        fields=("precision",),
        idle=lambda c: c.precision not in ("auto", "float32"),
        sentence="expected no {precision} with {strategy.given}, got {precision.value}: it computes with whole "
        "numbers; drop it",
    ),
    Rule(
        kinds=_INTEGER,
        fields=("freeze",),
        idle=lambda c: True,
        sentence="expected no {freeze} with {strategy.given}, got {freeze.value}: it moves all weights; drop it",
    ),
    _ends_with_the_run("sigma_schedule", _EVOLUTION),
    _ends_with_the_run("lr_schedule", ("evolution", "gradients")),
    Rule(
        kinds=(*_EVOLUTION, *_INTEGER),
        fields=("noise_reuse",),
        refused=lambda c: c.noise_reuse < 1,
        sentence="expected {noise_reuse} at least 1, got {noise_reuse.value}: the same noise for ever would confine "
        "the search to the directions of its first generation; use 1 for fresh noise in every generation",
    ),
    Rule(
        kinds=_INTEGER,
        fields=("population",),
        refused=lambda c: c.population % 2 == 1,
        sentence="expected an even {population} with {strategy.given}, got {population.value}: members are pairs; add "
        "one",
    ),
    Rule(
        kinds=_INTEGER,
        fields=("rank",),
        refused=lambda c: c.rank not in (1, 4, 16),
        sentence="expected {rank} 1, 4 or 16 with integers, whose square root is a shift, got {rank.value}; use 1",
    ),
    Rule(
        kinds=_INTEGER,
        fields=("batch",),
        refused=lambda c: c.batch < 1,
        sentence="expected {batch} of at least 1 with {strategy.given}, the sequences of a generation, got "
        "{batch.value}; use 16",
    ),
    Rule(
        kinds=_INTEGER,
        fields=("fitness",),
        refused=lambda c: c.fitness not in ("cross-entropy", "loss"),
        sentence="expected {fitness:loss} with {strategy.given}, which counts bits a byte or squared errors, got "
        "{fitness.value}; drop it",
    ),
    Rule(
        kinds=_EVOLUTION,
        fields=("population", "pairs"),
        refused=lambda c: c.population % 2 == 1 and c.pairs != "one-sided",
        sentence="expected an even {population} with {pairs.given}, got {population.value}: a pair has two members; "
        "add one, or use {pairs:one-sided}",
    ),
    Rule(
        kinds=_EVOLUTION,
        fields=("shaping", "pairs"),
        refused=lambda c: c.shaping == "sign" and c.pairs == "one-sided",
        sentence="expected {pairs:antithetic} with {shaping:sign}, got one-sided: the sign is that of the difference "
        "in a pair; change one of them",
    ),
    Rule(
        kinds=_EVOLUTION,
        fields=("population", "groups", "pairs"),
        refused=_group_size,
        sentence="expected {population} to be a multiple of {size} with {groups.given} of {what}, got "
        "{population.value}; change one of them",
    ),
    Rule(
        kinds=_SAMPLED,
        fields=("fitness",),
        refused=_several_scores,
        sentence="expected one base as {fitness} with {strategy.given}, got {fitness.value}: an estimate is made of "
        "one number for each member, and compares members of one generation anyway; use cross-entropy",
    ),
    Rule(
        kinds=_SAMPLED,
        fields=("fitness",),
        refused=lambda c: bool(_names(c) & set(INTRINSIC)),
        sentence="expected a {fitness} of the task with {strategy.given}, got {fitness.value}: memories whose weights "
        "are not formed tell nothing of themselves; use {strategy:ga}",
    ),
    Rule(
        kinds=(*_RANDOM, *_SAMPLED),
        fields=("fitness",),
        refused=lambda c: bool(_names(c) & set(DIRECTIONAL)),
        sentence="expected a {fitness} of a member's own with {strategy.given}, got {fitness.value}: a direction is "
        "that of a child from its parents, and no member has any; use {strategy:ga}",
    ),
    Rule(
        kinds=_EVOLUTION,
        fields=("norm_penalty",),
        idle=lambda c: True,
        sentence="expected {norm_penalty:0} with {strategy.given}, got {norm_penalty.value}: members' weights are "
        "never formed; use {weight_decay}",
    ),
    Rule(
        kinds=_EVOLUTION,
        fields=("groups", "fitness"),
        refused=lambda c: c.groups > 1 and "sampled-accuracy" in _names(c),
        sentence="expected {groups:1} with {fitness:sampled-accuracy}, got {groups.value}; use expected-accuracy",
    ),
)

#: Optimisers under whose name a baseline may go.
_NAMED = {"sgd": ("sgd",), "adam": ("adam", "adamw")}


def _not_smooth(config: Fields) -> bool:
    return _several_scores(config) or parse_fitness(config.fitness).bases[0] not in SMOOTH


def _misnamed(config: Fields) -> bool | Mapping[str, Any]:
    names = _NAMED[config.strategy]
    return {"names": " or ".join(names)} if _optimizer(config) not in names else False


def _of_the_other(config: Fields) -> bool | Mapping[str, Any]:
    names, others = _NAMED[config.strategy], [one for one, names in _NAMED.items() if _optimizer(config) in names]
    return {"names": " or ".join(names), "other": others[0]} if others and config.strategy not in others else False


def _optimizer(config: Fields) -> str:
    return config.optimizer.partition("(")[0].strip().lower()


def _of_members(name: str, harmless: tuple[Any, ...], why: str) -> Rule:
    """A field that makes sense of many members only, with the values that say nothing."""
    return Rule(
        kinds=_GRADIENTS,
        fields=(name,),
        idle=lambda config: getattr(config, name) not in harmless,
        sentence=f"expected no {{{name}}} with {{strategy.given}}, got {{{name}.value}}: {why}",
    )


_OF_GRADIENTS = (
    Rule(
        kinds=_GRADIENTS,
        fields=("fitness",),
        refused=_not_smooth,
        sentence="expected a fitness with a gradient with {strategy.given}, got {fitness.given}; use "
        f"{' or '.join(SMOOTH)}, or a strategy that needs no gradient, such as ga or eggroll",
    ),
    Rule(
        kinds=_GRADIENTS,
        fields=("optimizer", "strategy"),
        refused=_of_the_other,
        sentence="expected {optimizer} {names} with {strategy.given}, got {optimizer.value}: a run is called by what "
        "it does; use {strategy} {other}",
    ),
    Rule(
        kinds=_GRADIENTS,
        fields=("optimizer", "strategy"),
        refused=_misnamed,
        sentence="expected {optimizer} {names} with {strategy.given}, got {optimizer.value}: a run is called by what "
        "it does; drop it",
    ),
    _of_members("workers", (0,), "a step follows from the one before, on one network; use {threads}"),
    _of_members("chunk", (0, 1), "one network is computed at a time; drop it"),
    _of_members("compile", ("auto", "off"), "forwards and backwards are computed as torch does; drop it"),
    _of_members("norm_penalty", (0.0,), "the loss is the task's; use {weight_decay}"),
    _of_members("precision", ("auto", "float32"), "gradients are computed in float32; drop it"),
)

#: Of every kind.
_OF_ALL = (
    Rule(
        kinds=tuple(kind.name for kind in KINDS),
        fields=("member_seconds", "workers"),
        refused=lambda config: bool(config.member_seconds) and config.workers == 0,
        sentence="expected {workers} of at least 1 with {member_seconds}, got 0: who hangs can be ended from outside "
        "only; add {workers:1}",
    ),
    Rule(
        kinds=tuple(kind.name for kind in KINDS),
        fields=("executor", "workers"),
        refused=lambda config: config.executor != "processes" and config.workers == 0,
        sentence="expected {workers} of at least 1 with {executor.given}, got 0: it has to know how many; add "
        "{workers:2}",
    ),
)

#: What fields say of themselves.
FIELD_RULES = tuple(
    Rule(kinds=item.metadata["kinds"], fields=(name,), idle=item.metadata["idle"][0], sentence=item.metadata["idle"][1])
    for name, item in FIELDS.items()
    if item.metadata["idle"] is not None
)

#: In the order in which they are checked.
RULES = (
    *GENETIC_RULES, *EPISODE_RULES, *PROMPT_RULES, *_OF_RANDOM, *_OF_SAMPLED, *_OF_GRADIENTS, *_OF_ALL, *FIELD_RULES,
    *IDLE_RULES,
)  # fmt: skip
