"""Which hyperparameters go together: values that are right alone and wrong together are refused with the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from galab.errors import UsageError
from galab.evolution_compatibility import check_evolution, check_random, check_strategy, is_evolution, is_random
from galab.memories import MEMORY_OPERATORS
from galab.population_compatibility import check_islands, check_population, check_selection
from galab.registry import MUTATIONS
from galab.specs import hidden_sizes, parse_factors, parse_fitness, parse_mutations, parse_schedule

if TYPE_CHECKING:
    from galab.config import RunConfig

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
    alone = config.parents // config.islands < 2 or is_random(config)
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
    rules = [check_evolution] if is_evolution(config) else [check_random] if is_random(config) else _GENETIC
    for rule in rules:
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
