"""Which hyperparameters go together: values that are right alone and wrong together are refused with the way out.

Which sizes of a genetic algorithm's population go together, and with which selection.

What goes together in the baselines that use gradients.

What the rest of a run has to know of mutations of memories (``galab.operators.mutation.memory``): who chooses the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from galab.config.parsing import (
    PER_EXAMPLE,
    SMOOTH,
    Call,
    hidden_sizes,
    parse_factors,
    parse_fitness,
    parse_mutations,
    parse_schedule,
)
from galab.config.registry import MUTATIONS
from galab.config.schedules import parse_rate_schedule
from galab.config.strategy_kinds import kind_of
from galab.config.strategy_rules import check_evolution, check_random, check_strategy, check_vectors
from galab.errors import UsageError

if TYPE_CHECKING:
    from galab.config.fields import RunConfig

def check_population(config: RunConfig) -> None:
    """Refuse more parents than there would be survivors, or elites that are no parents."""
    if config.elites > config.parents:
        raise UsageError(
            f"expected --elites at most --parents ({config.parents}), got {config.elites}; only parents can be elites"
        )
    if config.survival == "comma" and config.children + config.elites < config.parents:
        raise UsageError(
            f"expected --children plus --elites at least --parents ({config.parents}), got "
            f"{config.children} + {config.elites}; have more children, or use --survival plus"
        )


def check_islands(config: RunConfig) -> None:
    """Refuse islands too small for their parents, elites or migrants."""
    islands = config.islands
    if islands == 1:
        return
    if islands > min(config.parents, config.children):
        raise UsageError(
            f"expected --islands at most --parents ({config.parents}) and --children ({config.children}), got "
            f"{islands}: every island needs a parent and a child; have fewer islands"
        )
    if 0 < config.elites < islands:
        raise UsageError(
            f"expected --elites 0 or at least one for each of {islands} islands, got {config.elites}; have more"
        )
    if config.survival == "comma" and any(
        _on_island(config.children, islands, island) + _on_island(config.elites, islands, island)
        < _on_island(config.parents, islands, island)
        for island in range(islands)
    ):
        raise UsageError(
            f"expected at least as many children and elites as parents on every island, got {config.children} "
            f"children, {config.elites} elites and {config.parents} parents on {islands} islands; have more children, "
            "or use --survival plus"
        )
    smallest = config.parents // islands
    if config.migrants > smallest:
        raise UsageError(
            f"expected --migrants at most {smallest}, the parents of the smallest island, got {config.migrants}; "
            "send fewer"
        )


def _on_island(total: int, islands: int, island: int) -> int:
    """How many of ``total`` places lie on an island (:func:`galab.operators.islands.island_of`)."""
    return -(-(island + 1) * total // islands) - -(-island * total // islands)


def check_selection(config: RunConfig) -> None:
    """Refuse a selection that these competitors, or this fitness, cannot go through."""
    elites = config.parents if config.survival == "plus" else config.elites
    competitors = config.children // config.islands + elites // config.islands
    if config.selection == "tournament" and config.tournament > competitors:
        raise UsageError(
            f"expected --tournament at most {competitors}, the children and elites that compete"
            f"{' on an island' if config.islands > 1 else ''}, got {config.tournament}; have fewer, or use --selection "
            "truncation"
        )
    if config.selection != "lexicase":
        return
    if config.niche is not None or config.diversity or config.norm_penalty:
        raise UsageError(
            "expected --selection lexicase without --niche, --diversity and --norm-penalty, got both: lexicase looks "
            "at cases and not at the score that they change; use another selection"
        )
    fitness = parse_fitness(config.fitness)
    if fitness.kind != "absolute" or fitness.bases[0] not in PER_EXAMPLE:
        raise UsageError(
            f"expected --selection lexicase with a fitness of single examples, got --fitness {config.fitness}; use "
            "cross-entropy or accuracy, or another selection"
        )


#: Optimisers under whose name a baseline may go.
_NAMED = {"sgd": ("sgd",), "adam": ("adam", "adamw")}
#: What only makes sense of many members, with the values that say nothing.
_OF_MEMBERS = {
    "workers": (0,), "chunk": (0, 1), "compile": ("auto", "off"), "norm_penalty": (0.0,),
    "precision": ("auto", "float32"),
}  # fmt: skip
_WHY = {
    "workers": "a step follows from the one before, on one network; use --threads",
    "chunk": "one network is computed at a time; drop it",
    "compile": "forwards and backwards are computed as torch does; drop it",
    "norm_penalty": "the loss is the task's; use --weight-decay",
    "precision": "gradients are computed in float32; drop it",
}


def check_gradients(config: RunConfig) -> None:
    """Refuse values that are right alone and wrong together under ``--strategy sgd`` or ``adam``."""
    strategy = f"--strategy {config.strategy}"
    spec = parse_fitness(config.fitness)
    if spec.kind != "absolute" or len(spec.bases) > 1 or spec.bases[0] not in SMOOTH:
        raise UsageError(
            f"expected a fitness with a gradient with {strategy}, got --fitness {config.fitness}; use "
            f"{' or '.join(SMOOTH)}, or a strategy that needs no gradient, such as ga or eggroll"
        )
    name = config.optimizer.partition("(")[0].strip().lower()
    if name not in _NAMED[config.strategy]:
        other = next((one for one, names in _NAMED.items() if name in names), None)
        raise UsageError(
            f"expected --optimizer {' or '.join(_NAMED[config.strategy])} with {strategy}, got {config.optimizer}: a "
            f"run is called by what it does; {f'use --strategy {other}' if other else 'drop it'}"
        )
    for field, values in _OF_MEMBERS.items():
        value = getattr(config, field)
        if value not in values:
            flag = "--" + field.replace("_", "-")
            raise UsageError(f"expected no {flag} with {strategy}, got {value}: {_WHY[field]}")
    schedule = config.lr_schedule
    if parse_rate_schedule(schedule, "--lr-schedule").needs_end and config.generations is None:
        raise UsageError(
            f"expected --generations with --lr-schedule {schedule}, got none: it ends when the run does; name the "
            "number of steps, or use decay:0.999"
        )


#: What is checked of searches that are no genetic algorithm.
OTHERS = {
    "random": (check_random,), "evolution": (check_evolution,), "gradients": (check_gradients,),
    "vectors": (check_vectors,),
}  # fmt: skip


MEMORY_OPERATORS = (
    "memory-replace", "memory-perturb", "memory-target", "memory-activate", "memory-delete", "memory-all",
)  # fmt: skip
#: Ways of choosing a memory that hang on the genome alone.
BY_GENOME = ("any", "filled", "empty", "plasticity")
#: Ways that hang on the examples: the search chooses and writes the choice into the birth, as a genome knows nothing of
#: examples.
BY_USE = ("use", "used", "unused")


def by_use(call: Call) -> str:
    """How an operator chooses a memory by the examples; empty where it does not."""
    rule = call.arguments.get("heads")
    return rule if rule in BY_USE else ""


def needs_use(config: RunConfig) -> bool:
    """Whether a mutation chooses memories by how many examples they answer."""
    return any(by_use(call) for call, _ in parse_mutations(config.mutate))


#: Rules that set one step size from the scores of the whole population.
CONTROLS = ("schedule", "one-fifth", "gesmr", "success-history")
#: Operators whose change depends on the parent, and why.
CONTEXT = {
    **dict.fromkeys(("new-row", "relative", "norm-preserving"), "its step depends on the parent's weights"),
    "momentum": "its step depends on the parent's last step",
    **dict.fromkeys(MEMORY_OPERATORS, "what it does depends on the parent's memories"),
}


def decided(config: RunConfig) -> dict[str, Any]:
    """Values for the fields that are None because others decide them."""
    several = config.granularity not in ("global", "tensor")
    ways = max(2, config.parents // config.islands) if config.crossover == "mean" else 2
    return {
        "step_size": config.step_size or ("mean-reverting" if several else "log-normal"),
        "parents_per_child": ways if config.parents_per_child is None else config.parents_per_child,
        "founders": config.founders or ("clones" if is_gene_law(config) else "distinct"),
    }


def default_crossover(config: RunConfig) -> str:
    """What ``auto`` means: a coin for every weight, unless an island has one parent or mutation follows one line."""
    alone = config.parents // config.islands < 2 or not kind_of(config.strategy).inherits
    # A memory made of halves of two others would be neither of them.
    whole = "row" if set(_operators(config)) <= set(MEMORY_OPERATORS) else "parameter"
    return "none" if alone or "momentum" in _operators(config) else whole


def is_gene_law(config: RunConfig) -> bool:
    """Whether crossover recombines mutations and not weights."""
    return config.crossover.startswith("genes-")


def needs_behaviour(config: RunConfig) -> bool:
    """Whether selection looks at the members' answers."""
    return config.niche is not None or config.diversity > 0 or config.mate != "random"


def check(config: RunConfig) -> None:
    """Refuse values that are right alone and wrong together.

    Raises:
        UsageError: the reason, and what would work.
    """
    hidden_sizes(config.hidden)
    parse_fitness(config.fitness)
    check_strategy(config)
    for rule in OTHERS.get(kind_of(config.strategy).name, _GENETIC):
        rule(config)
    if config.keep not in ("all", "log") and not (config.keep.isdecimal() and int(config.keep) >= 1):
        raise UsageError(f"expected --keep to be 'all', 'log' or a number of at least 1, got '{config.keep}'")


def _check_sexual(config: RunConfig) -> None:
    if config.crossover == "none":
        if config.parents_per_child is not None or config.mate != "random":
            raise UsageError(
                "expected --crossover with --parents-per-child or --mate, got none: such children have one parent; "
                "name a crossover, for example parameter, and have two parents or more"
            )
        return
    ways, fewest = decided(config)["parents_per_child"], config.parents // config.islands
    if ways > fewest:
        where = " on every island" if config.islands > 1 else ""
        raise UsageError(
            f"expected at least {ways} --parents{where} for a child of --crossover {config.crossover}, got {fewest}; "
            "have more of them, fewer --parents-per-child, or --crossover none"
        )
    if config.crossover == "blend" and ways != 2:
        raise UsageError(f"expected --parents-per-child 2 with --crossover blend, got {ways}; use mean for more")
    most = 4096 if config.crossover == "mean" else 255
    if ways > most:
        raise UsageError(
            f"expected --parents-per-child at most {most} with --crossover {config.crossover}, got {ways}; name a "
            "smaller number"
        )
    if is_gene_law(config):
        _check_gene_law(config)
    if "momentum" in _operators(config):
        raise UsageError(
            "expected --mutate momentum with --crossover none, got a crossover: momentum follows one line of descent; "
            "drop one of them"
        )


def _check_gene_law(config: RunConfig) -> None:
    law = config.crossover
    if config.granularity == "parameter":
        raise UsageError(
            f"expected --granularity global, tensor or row-column with --crossover {law}, got parameter: a gene keeps "
            "its step sizes, and one per weight would be as large as the network; use a mask, such as --crossover "
            "parameter"
        )
    if decided(config)["founders"] != "clones":
        raise UsageError(
            f"expected --founders clones with --crossover {law}, got distinct: gene laws add mutations to one base; "
            "drop --founders, or use a mask such as --crossover row"
        )
    for name in _operators(config):
        if name in CONTEXT:
            raise UsageError(
                f"expected a mutation that is the same in every individual with --crossover {law}, got {name}: "
                f"{CONTEXT[name]}; use dense, or a mask such as --crossover row"
            )
    if config.sigma_only:
        raise UsageError(
            f"expected --sigma-only 0 with --crossover {law}, got {config.sigma_only}: in such a warm-up every child "
            "starts from the founder and carries no gene of its parents; use --sigma-search"
        )


def _check_step_size(config: RunConfig) -> None:
    rule = decided(config)["step_size"]
    if rule in CONTROLS and config.granularity != "global":
        raise UsageError(
            f"expected --granularity global with --step-size {rule}, got {config.granularity}: that rule sets one step "
            "size by the whole population's success; use log-normal, three-point or mean-reverting"
        )
    if (rule == "schedule") != (config.sigma_schedule is not None):
        raise UsageError(
            f"expected --step-size schedule and --sigma-schedule together, got --step-size {rule} and "
            f"--sigma-schedule {config.sigma_schedule}; give both or neither"
        )
    if rule == "gesmr" and config.children < config.step_size_groups:
        raise UsageError(
            f"expected --step-size-groups at most --children ({config.children}), got {config.step_size_groups}: each "
            "step size needs a child; have fewer groups"
        )
    if config.step_size_down is not None and rule != "three-point":
        raise UsageError(f"expected --step-size-down with --step-size three-point, got {rule}; drop one of them")


def _check_warm_up(config: RunConfig) -> None:
    rule = decided(config)["step_size"]
    warm = "--sigma-only" if config.sigma_only else "--sigma-search" if config.sigma_search else ""
    if warm and (config.granularity != "global" or rule in CONTROLS):
        raise UsageError(
            f"expected {warm} with --granularity global and a rule by which step sizes are inherited, got "
            f"{config.granularity} and {rule}; drop {warm}, or use --step-size log-normal"
        )
    if config.sigma_only and config.sigma_search:
        raise UsageError("expected --sigma-only or --sigma-search, got both; drop one of them")
    if config.sigma_search == 1:
        raise UsageError(
            "expected --sigma-search 0 or at least 2, got 1: every generation would be a search, and nobody would be "
            "selected; use 100, say"
        )


def _check_mutation(config: RunConfig) -> None:
    names = _operators(config)
    for name in names:
        MUTATIONS.check(name)
    if len(names) > 255:
        raise UsageError(f"expected at most 255 operators in --mutate, got {len(names)}; name fewer")
    if config.mutate_shares == "inherited" and len(names) < 2:
        raise UsageError(
            f"expected several operators with --mutate-shares inherited, got --mutate {config.mutate}; name a mix such "
            "as dense:0.8,layer:0.2"
        )
    if "low-rank" in names and config.granularity == "parameter":
        raise UsageError(
            "expected --granularity global, tensor or row-column with --mutate low-rank, got parameter: a step size "
            "for each weight makes the change full-rank; use row-column, which keeps it low-rank"
        )
    if config.sigma_search and names != ["dense"]:
        raise UsageError(
            f"expected --mutate dense with --sigma-search, got {config.mutate}: the search repeats one dense noise at "
            "several step sizes; drop one of them"
        )
    if config.sigma_factors is not None:
        parse_factors(config.sigma_factors)
        if config.granularity == "global":
            raise UsageError(
                "expected --granularity tensor, row-column or parameter with --sigma-factors, got global, which has "
                "one step size; choose tensor (with --step-size fixed the factors stay as they are)"
            )


def _check_bounds(config: RunConfig) -> None:
    relative = [value for value in (config.floor_rms, config.ceiling_rms) if value is not None]
    if relative and config.granularity == "global":
        raise UsageError(
            "expected --granularity tensor, row-column or parameter with --floor-rms or --ceiling-rms, got global: one "
            "step size has no tensor whose RMS could bound it; choose tensor, or use --sigma-floor"
        )
    if len(relative) == 2 and relative[0] > relative[1]:
        raise UsageError(
            f"expected --floor-rms at most --ceiling-rms, got {relative[0]:g} and {relative[1]:g}; exchange them"
        )
    floor = 0.0 if config.sigma_floor is None else config.sigma_floor
    points = parse_schedule(config.sigma_schedule) if config.sigma_schedule is not None else ()
    # Bounds are saved on the grid of step sizes, which may be a quarter of a percent off.
    near = 1 + 2**-8
    scheduled = [("--sigma-schedule", value, near) for _, value in points]
    for name, value, slack in (("--sigma", config.sigma, 1.0), *scheduled):
        if not floor / slack <= value <= config.sigma_ceiling * slack:
            raise UsageError(
                f"expected {name} between --sigma-floor ({floor:g}) and --sigma-ceiling "
                f"({config.sigma_ceiling:g}), got {value:g}; move the bound or the step size"
            )


def _operators(config: RunConfig) -> list[str]:
    return [call.name for call, _ in parse_mutations(config.mutate)]


_GENETIC = (
    check_population, check_islands, check_selection, _check_sexual, _check_step_size, _check_warm_up, _check_mutation,
    _check_bounds,
)  # fmt: skip
