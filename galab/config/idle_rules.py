"""Hyperparameters that mean something beside another one alone.

Each is refused where the other is missing: a person who gave it expects that something changes, and nothing would.
"""

from __future__ import annotations

from collections.abc import Callable

from galab.config.fields import Fields
from galab.config.option import KINDS
from galab.config.parsing import parse_fitness
from galab.config.registry import MUTATIONS, SELECTIONS, STEP_SIZE_RULES
from galab.config.rule import Rule
from galab.config.traits import operators_of

#: Mutation operators of galab's own that have a number of weights, a rank, or a share of the parent's step.
COUNTED, RANKED, REPEATING = ("weights", "flip"), ("low-rank",), ("momentum",)


def _needs(name: str, idle: Callable[[Fields], bool], needed: str, kinds: tuple[str, ...] = ("genetic",)) -> Rule:
    """A field with what it needs, spelled as in :mod:`galab.config.spelling`."""
    sentence = f"expected {{{name}}} with {needed}, got {{{name}.value}} without it, where it changes nothing; drop it"
    return Rule(fields=(name,), idle=idle, sentence=sentence, kinds=kinds)


def _without(*operators: str) -> Callable[[Fields], bool]:
    """Whether no mutation is one of these, or one from outside, of which nothing is known before it is trusted."""
    return lambda c: all(MUTATIONS.is_own(name) and name not in operators for name in operators_of(c))


def _unselected(name: str) -> Callable[[Fields], bool]:
    """Whether selection is another one of galab's own."""
    return lambda c: c.selection != name and SELECTIONS.is_own(c.selection)


def _ruled_otherwise(name: str) -> Callable[[Fields], bool]:
    """Whether step sizes follow another rule of galab's own."""
    return lambda c: c.step_size != name and STEP_SIZE_RULES.is_own(c.step_size or "fixed")


def _of_ray(name: str) -> Rule:
    """A field of workers in a cluster."""
    sentence = f"expected {{executor:ray}} with {{{name}}}, got {{{name}.value}} without it; add it, or drop this"
    return Rule(fields=(name,), idle=lambda c: c.executor != "ray", sentence=sentence, kinds=KINDS)


#: In the order in which they are checked.
IDLE_RULES = (
    _needs("mutate_count", _without(*COUNTED), "{mutate:weights} or flip"),
    _needs("mutate_rank", _without(*RANKED), "{mutate:low-rank}"),
    _needs("momentum", _without(*REPEATING), "{mutate:momentum}"),
    _needs("tournament", _unselected("tournament"), "{selection:tournament}"),
    _needs("rank_pressure", _unselected("rank"), "{selection:rank}"),
    _needs("cases", _unselected("lexicase"), "{selection:lexicase}"),
    _needs("niche_radius", lambda c: c.niche != "sharing", "{niche:sharing}"),
    _needs("niche_neighbours", lambda c: c.niche != "local", "{niche:local}"),
    *(_of_ray(name) for name in ("address", "worker_cpus", "worker_gpus")),
    _needs("price_per_hour", lambda c: c.workers == 0, "{workers}", KINDS),
    _needs("migrate_every", lambda c: c.islands == 1, "{islands} of at least 2"),
    _needs("migrants", lambda c: c.islands == 1, "{islands} of at least 2"),
    _needs("crossover_rate", lambda c: c.crossover == "none", "a {crossover}"),
    _needs("step_size_inherit", lambda c: c.crossover == "none", "a {crossover}"),
    _needs("mate_choices", lambda c: c.mate == "random", "{mate:similar} or dissimilar"),
    _needs(
        "step_size_rate", lambda c: c.step_size in ("fixed", "schedule"),
        "a {step_size} that adapts, such as log-normal",
    ),
    _needs("step_size_reversion", _ruled_otherwise("mean-reverting"), "{step_size:mean-reverting}"),
    _needs("step_size_groups", _ruled_otherwise("gesmr"), "{step_size:gesmr}"),
    _needs(
        "inheritance", lambda c: parse_fitness(c.fitness).kind != "inherited",
        "an inherited {fitness}, such as inherited:wrong", KINDS,
    ),
    _needs("rank", lambda c: c.strategy == "openai-es", "{strategy:eggroll}", ("evolution",)),
    _needs("hidden_state", lambda c: c.model.startswith("integer-linear"), "a network that has states", ("integer",)),
)
