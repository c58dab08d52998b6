"""What names of operators, and configurations, tell before a run is built."""

from __future__ import annotations

from functools import lru_cache

from galab.config.fields import Fields
from galab.config.parsing import DIRECTIONAL, INTRINSIC, Call, parse_fitness, parse_mutations
from galab.config.registry import MUTATIONS, is_environment, is_prompts
from galab.config.schedules import parse_rate_schedule
from galab.config.strategy_kinds import kind_of

#: Rules that set one step size from the scores of the whole population.
CONTROLS = ("schedule", "one-fifth", "gesmr", "success-history")
#: Mutations of a bank of memories (``galab.operators.mutation.memory``).
MEMORY_OPERATORS = (
    "memory-replace", "memory-perturb", "memory-target", "memory-activate", "memory-delete", "memory-all",
)  # fmt: skip
#: Ways of choosing a memory that depend on the genome alone.
BY_GENOME = ("any", "filled", "empty", "plasticity")
#: Ways that depend on the examples: the search chooses and writes the choice into the birth, as a genome knows nothing
#: of examples.
BY_USE = ("use", "used", "unused")


def plays_episodes(config: Fields) -> bool:
    """Whether the task is an environment, so that members are scored by episodes."""
    return is_environment(config.task)


def answers_prompts(config: Fields) -> bool:
    """Whether the task is one of prompts, so that members are scored by their answers."""
    return is_prompts(config.task)


def scored_by_outputs(config: Fields) -> bool:
    """Whether members are scored by what they put out for examples, and not by episodes or by answers in text."""
    return not (plays_episodes(config) or answers_prompts(config))


def evaluations_in_words(task: str, strategy: str) -> str:
    """What the evaluations of a run are."""
    return "steps of the environment" if is_environment(task) else kind_of(strategy).evaluations


def target_metric(config: Fields) -> str:
    """What ``--target`` is compared with: a name of the champion's metrics."""
    if answers_prompts(config):
        return "validation_reward"
    return "validation_return" if plays_episodes(config) else "validation_accuracy"


def operators_of(config: Fields) -> list[str]:
    """The names of the mutation operators, without arguments and shares."""
    return list(_operators(config.mutate))


@lru_cache(maxsize=64)  # every rule about operators asks
def _operators(text: str) -> tuple[str, ...]:
    return tuple(call.name for call, _ in parse_mutations(text))


def depends_on_parent(name: str) -> bool:
    """Whether the change of one of galab's own mutation operators depends on the parent; its class says so.

    False for an operator from outside, whose code must not run before it is trusted:
    :func:`galab.strategies.build.developer` asks it later.
    """
    return MUTATIONS.is_own(name) and not MUTATIONS.load(name).context_free


def by_use(call: Call) -> str:
    """How an operator chooses a memory by the examples; empty where it does not."""
    rule = call.arguments.get("heads")
    return rule if rule in BY_USE else ""


def needs_use(config: Fields) -> bool:
    """Whether a mutation chooses memories by how many examples they answer."""
    return any(by_use(call) for call, _ in parse_mutations(config.mutate))


def is_gene_law(config: Fields) -> bool:
    """Whether crossover recombines mutations and not weights."""
    return config.crossover.startswith("genes-")


def needs_behaviour(config: Fields) -> bool:
    """Whether selection looks at the members' answers."""
    return config.niche is not None or config.diversity > 0 or config.mate != "random"


def is_low_rank(config: Fields) -> bool:
    """Whether every child is one parent with a change of low rank, and scored as such."""
    formed = {*INTRINSIC, *DIRECTIONAL} & set(parse_fitness(config.fitness).names)
    alone = operators_of(config) == ["low-rank"] and config.crossover == "none"
    plain = config.genome == "real" and config.bounds is None  # else a child is more than its parent plus a change
    return alone and plain and not config.norm_penalty and not formed


def plans_its_end(config: Fields) -> bool:
    """Whether a rate depends on the number of generations, so that a longer run differs from its first generation."""
    return bool(ending_schedules(config)) and not kind_of(config.strategy).breeds


def ending_schedules(config: Fields) -> list[str]:
    """The fields with a schedule that ends with the run."""
    given = {"sigma_schedule": config.sigma_schedule, "lr_schedule": config.lr_schedule}
    return [name for name, text in given.items() if text is not None and parse_rate_schedule(text, name).needs_end]
