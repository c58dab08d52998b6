"""Which hyperparameters of a genetic algorithm go together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from galab.config.fields import Fields
from galab.config.parsing import PER_EXAMPLE, parse_bounds, parse_factors, parse_fitness
from galab.config.registry import MUTATIONS
from galab.config.rule import Rule
from galab.config.schedules import parse_schedule
from galab.config.traits import CONTROLS, MEMORY_OPERATORS, depends_on_parent, is_gene_law, operators_of


def _on_island(total: int, islands: int, island: int) -> int:
    """How many of ``total`` places lie on an island (:func:`galab.operators.islands.island_of`)."""
    return -(-(island + 1) * total // islands) - -(-island * total // islands)


def _an_island_starves(config: Fields) -> bool:
    """Whether some island has fewer children and elites than parents."""
    sizes = config.parents, config.children, config.elites
    shares = ([_on_island(size, config.islands, island) for size in sizes] for island in range(config.islands))
    fits = 1 < config.islands <= min(config.parents, config.children) and config.survival == "comma"
    return fits and any(children + elites < parents for parents, children, elites in shares)


def _tournament(config: Fields) -> bool | Mapping[str, Any]:
    most = config.children // config.islands + config.elites // config.islands
    if config.selection != "tournament" or config.tournament <= most:
        return False
    return {"most": most, "where": " on an island" if config.islands > 1 else ""}


def _migrants(config: Fields) -> bool | Mapping[str, Any]:
    smallest = config.parents // config.islands
    return {"smallest": smallest} if config.islands > 1 and config.migrants > smallest else False


#: By the law of the noise, the step size in units of a weight below which all steps are rounded to none: half a unit
#: over the largest number of the law. Normal noise reaches 4.2.
_LEAST = {"sign": 0.51, "uniform": 0.3}


def _narrow_bounds(config: Fields) -> bool:
    """Whether no two weights lie within the bounds."""
    unit = 1.0 if config.genome == "integer" else config.weight_range * 2.0**-31
    low, high = (end / unit for end in _bounds(config))
    return config.bounds is not None and math.floor(high) - math.ceil(low) < 1


def _finest(config: Fields) -> bool | Mapping[str, Any]:
    """Whether a step is always rounded to none."""
    if config.genome == "binary":
        return False
    unit = 1.0 if config.genome == "integer" else config.weight_range * 2.0**-31
    least = unit * _LEAST.get(config.distribution, 1 / 8)
    smallest = [config.sigma] if config.sigma_floor is None else [config.sigma, config.sigma_floor]
    if config.sigma_schedule is not None:
        smallest += [value for _, value in parse_schedule(config.sigma_schedule)]
    if config.sigma_factors is not None:
        smallest += [config.sigma * factor for factor in parse_factors(config.sigma_factors)]
    return {"least": least, "smallest": min(smallest)} if min(smallest) < least else False


def _bounds(config: Fields) -> tuple[float, float]:
    return parse_bounds(config.bounds) if config.bounds is not None else (-1.0, 1.0)


def _far_bounds(config: Fields) -> bool | Mapping[str, Any]:
    most = 2.0**30 if config.genome == "integer" else config.weight_range / 2
    return {"most": most} if max(map(abs, _bounds(config))) > most else False


def _a_memory_changes(config: Fields) -> bool:
    """Whether memories, whose numbers have meanings of their own, are to have other ones."""
    own = config.genome == "real" and config.bounds is None and config.weight_range == 128.0
    return not own and bool(set(operators_of(config)) & set(MEMORY_OPERATORS))


_WEIGHTS = (
    Rule(
        fields=("genome", "mutate"),
        refused=lambda c: c.genome == "binary"
        and any(MUTATIONS.is_own(name) and name != "flip" for name in operators_of(c)),
        sentence="expected {mutate:flip} with {genome:binary}, got {mutate.value}, which adds numbers; use flip, with "
        "{mutate_count} for more bits",
        kinds=("genetic",),
    ),
    Rule(
        fields=("genome", "mutate"),
        refused=lambda c: c.genome != "binary" and "flip" in operators_of(c),
        sentence="expected {genome:binary} with {mutate:flip}, got {genome.value}; name it",
    ),
    Rule(
        fields=("genome", "crossover"),
        refused=lambda c: c.genome == "binary" and c.crossover in ("blend", "mean"),
        sentence="expected a crossover of whole weights with {genome:binary}, got {crossover.value}, a mean of them; "
        "use parameter, row, layer or none",
    ),
    Rule(
        fields=(
            "sigma", "sigma_floor", "granularity", "distribution", "sigma_search", "sigma_only", "sigma_schedule",
        ),
        idle=lambda c: c.genome == "binary",
        sentence="expected nothing about step sizes with {genome:binary}, got {idle}; bits flip, so say "
        "{mutate_count}, how many",
        kinds=("genetic",),
    ),
    Rule(
        fields=("genome", "step_size"),
        refused=lambda c: c.genome == "binary" and c.step_size != "fixed",
        sentence="expected {step_size:fixed} with {genome:binary}, whose flips have no size, got {step_size.value}; "
        "drop it",
    ),
    Rule(
        fields=("weight_range",),
        idle=lambda c: c.genome == "integer",
        sentence="expected {weight_range} with {genome:real}, got whole numbers, which range over +-2^31; drop one of "
        "them",
        kinds=("genetic", "random"),
    ),
    Rule(
        fields=("genome", "bounds"),
        refused=lambda c: c.genome == "integer" and any(end != round(end) for end in _bounds(c)),
        sentence="expected whole {bounds} with {genome:integer}, got {bounds.value}; round them",
        kinds=("genetic", "random"),
    ),
    Rule(
        fields=("bounds", "weight_range"),
        refused=_narrow_bounds,
        sentence="expected {bounds} with room for two weights at least, got {bounds.value}; name others",
        kinds=("genetic", "random"),
    ),
    Rule(
        fields=("bounds", "weight_range"),
        refused=_far_bounds,
        sentence="expected {bounds} within +-{most:,.0f}, so that a step beyond them can be represented, got "
        "{bounds.value}; name nearer ones, or raise {weight_range}",
        kinds=("genetic", "random"),
    ),
    Rule(
        fields=("bounds", "crossover"),
        refused=lambda c: c.bounds is not None and is_gene_law(c),
        sentence="expected no {bounds} with {crossover.given}, got {bounds.value}: a gene law adds mutations up, and a "
        "sum that is cut off is none; use another crossover",
    ),
    Rule(
        fields=("sigma", "genome", "weight_range", "distribution", "sigma_floor", "sigma_schedule", "sigma_factors"),
        refused=_finest,
        sentence="expected step sizes of at least {least:g} with such weights and {distribution.given}, got "
        "{smallest:g}: smaller steps are rounded to none; raise {sigma} or {sigma_floor}",
    ),
    Rule(
        fields=("genome", "bounds", "weight_range", "mutate"),
        refused=_a_memory_changes,
        sentence="expected real weights without {bounds} and {weight_range} with {mutate.given}, got others: what a "
        "memory holds has its own range; drop them",
    ),
)

_POPULATION = (
    Rule(
        fields=("elites", "parents"),
        refused=lambda c: c.elites > c.parents,
        sentence="expected {elites} at most {parents} ({parents.value}), got {elites.value}; only parents can be "
        "elites",
    ),
    Rule(
        fields=("children", "elites", "parents", "survival"),
        refused=lambda c: c.survival == "comma" and c.children + c.elites < c.parents,
        sentence="expected {children} plus {elites} at least {parents} ({parents.value}), got {children.value} + "
        "{elites.value}; have more children, or use {survival:plus}",
    ),
    Rule(
        fields=("islands", "parents", "children"),
        refused=lambda c: c.islands > min(c.parents, c.children),
        sentence="expected {islands} at most {parents} ({parents.value}) and {children} ({children.value}), got "
        "{islands.value}: every island needs a parent and a child; have fewer islands",
    ),
    Rule(
        fields=("elites", "islands"),
        refused=lambda c: 0 < c.elites < c.islands,
        sentence="expected {elites:0} or at least one for each of {islands.value} islands, got {elites.value}; have "
        "more",
    ),
    Rule(
        fields=("children", "elites", "parents", "islands"),
        refused=_an_island_starves,
        sentence="expected at least as many children and elites as parents on every island, got {children.value} "
        "children, {elites.value} elites and {parents.value} parents on {islands.value} islands; have more children, "
        "or use {survival:plus}",
    ),
    Rule(
        fields=("migrants", "parents", "islands"),
        refused=_migrants,
        sentence="expected {migrants} at most {smallest}, the parents of the smallest island, got {migrants.value}; "
        "send fewer",
    ),
    Rule(
        fields=("tournament", "children", "elites", "islands", "selection"),
        refused=_tournament,
        sentence="expected {tournament} at most {most}, the children and elites that compete{where}, got "
        "{tournament.value}; have fewer, or use {selection:truncation}",
    ),
    Rule(
        fields=("selection", "niche", "diversity", "norm_penalty"),
        refused=lambda c: c.selection == "lexicase"
        and (c.niche is not None or bool(c.diversity) or bool(c.norm_penalty)),
        sentence="expected {selection:lexicase} without {niche}, {diversity} and {norm_penalty}, got both: lexicase "
        "looks at cases and not at the score that they change; use another selection",
    ),
    Rule(
        fields=("selection", "niche", "diversity"),
        refused=lambda c: c.selection == "nsga2" and (c.niche is not None or bool(c.diversity)),
        sentence="expected {selection:nsga2} without {niche} and {diversity}, got both: it keeps its fronts apart by "
        "itself; drop one of them",
    ),
    Rule(
        fields=("selection", "fitness"),
        refused=lambda c: c.selection == "lexicase"
        and (parse_fitness(c.fitness).kind != "absolute" or parse_fitness(c.fitness).bases[0] not in PER_EXAMPLE),
        sentence="expected {selection:lexicase} with a fitness of single examples, got {fitness.given}; use "
        "cross-entropy or accuracy, or another selection",
    ),
)


def _too_many_ways(config: Fields) -> bool | Mapping[str, Any]:
    ways, fewest = config.parents_per_child, config.parents // config.islands
    if config.crossover == "none" or ways is None or ways <= fewest:
        return False
    return {"ways": ways, "fewest": fewest, "where": " on every island" if config.islands > 1 else ""}


def _more_ways_than_stored(config: Fields) -> bool | Mapping[str, Any]:
    most = 4096 if config.crossover == "mean" else 255
    return {"most": most} if (config.parents_per_child or 0) > most else False


def _with_context(config: Fields) -> bool | Mapping[str, Any]:
    if not is_gene_law(config):
        return False
    name = next((name for name in operators_of(config) if depends_on_parent(name)), None)
    return {"name": name} if name is not None else False


_CROSSOVER = (
    Rule(
        fields=("parents_per_child", "mate"),
        idle=lambda c: c.crossover == "none",
        sentence="expected {crossover} with {parents_per_child} or {mate}, got none: such children have one parent; "
        "name a crossover, for example parameter, and have two parents or more",
    ),
    Rule(
        fields=("parents_per_child", "parents", "crossover"),
        refused=_too_many_ways,
        sentence="expected at least {ways} {parents}{where} for a child of {crossover.given}, got {fewest}; have more "
        "of them, fewer {parents_per_child}, or {crossover:none}",
    ),
    Rule(
        fields=("parents_per_child", "crossover"),
        refused=lambda c: c.crossover == "blend" and c.parents_per_child != 2,
        sentence="expected {parents_per_child:2} with {crossover:blend}, got {parents_per_child.value}; use mean for "
        "more",
    ),
    Rule(
        fields=("parents_per_child", "crossover"),
        refused=_more_ways_than_stored,
        sentence="expected {parents_per_child} at most {most} with {crossover.given}, got {parents_per_child.value}; "
        "name a smaller number",
    ),
    Rule(
        fields=("crossover", "granularity"),
        refused=lambda c: is_gene_law(c) and c.granularity == "parameter",
        sentence="expected {granularity} global, tensor or row-column with {crossover.given}, got parameter: a gene "
        "keeps its step sizes, and one per weight would be as large as the network; use a mask, such as "
        "{crossover:parameter}",
    ),
    Rule(
        fields=("crossover", "founders"),
        refused=lambda c: is_gene_law(c) and c.founders != "clones",
        sentence="expected {founders:clones} with {crossover.given}, got distinct: gene laws add mutations to one "
        "base; drop {founders}, or use a mask such as {crossover:row}",
    ),
    Rule(
        fields=("crossover", "mutate"),
        refused=_with_context,
        sentence="expected a mutation that is the same in every individual with {crossover.given}, got {name}, whose "
        "change depends on the parent; use dense, or a mask such as {crossover:row}",
    ),
    Rule(
        fields=("crossover", "sigma_only"),
        refused=lambda c: is_gene_law(c) and c.sigma_only > 0,
        sentence="expected {sigma_only:0} with {crossover.given}, got {sigma_only.value}: in such a warm-up every "
        "child starts from the founder and carries no gene of its parents; use {sigma_search}",
    ),
    Rule(
        fields=("crossover", "mutate"),
        refused=lambda c: c.crossover != "none" and "momentum" in operators_of(c),
        sentence="expected {mutate:momentum} with {crossover:none}, got a crossover: momentum follows one line of "
        "descent; drop one of them",
    ),
)


def _not_one_inherited_step_size(config: Fields) -> bool:
    return config.granularity != "global" or config.step_size in CONTROLS


def _warm_up(name: str) -> Rule:
    return Rule(
        fields=(name,),
        idle=_not_one_inherited_step_size,
        sentence=f"expected {{{name}}} with {{granularity:global}} and a rule by which step sizes are inherited, got "
        f"{{granularity.value}} and {{step_size.value}}; drop {{{name}}}, or use {{step_size:log-normal}}",
    )


_STEP_SIZE = (
    Rule(
        fields=("step_size",),
        idle=lambda c: c.step_size in CONTROLS and c.granularity != "global",
        sentence="expected {granularity:global} with {step_size.given}, got {granularity.value}: that rule sets one "
        "step size by the whole population's success; use log-normal, three-point or mean-reverting",
    ),
    Rule(
        fields=("sigma_schedule",),
        idle=lambda c: c.step_size != "schedule",
        refused=lambda c: c.step_size == "schedule" and c.sigma_schedule is None,
        sentence="expected {step_size:schedule} and {sigma_schedule} together, got {step_size.given} and "
        "{sigma_schedule.given}; give both or neither",
    ),
    Rule(
        fields=("step_size_groups", "children"),
        refused=lambda c: c.step_size == "gesmr" and c.children < c.step_size_groups,
        sentence="expected {step_size_groups} at most {children} ({children.value}), got {step_size_groups.value}: "
        "each step size needs a child; have fewer groups",
    ),
    _warm_up("sigma_only"),
    _warm_up("sigma_search"),
    Rule(
        fields=("sigma_only", "sigma_search"),
        refused=lambda c: c.sigma_only > 0 and c.sigma_search > 0,
        sentence="expected {sigma_only} or {sigma_search}, got both; drop one of them",
    ),
    Rule(
        fields=("sigma_search",),
        refused=lambda c: c.sigma_search == 1,
        sentence="expected {sigma_search:0} or at least 2, got 1: every generation would be a search, and no "
        "individual would be selected; use 100, say",
    ),
)


def _several_operators(config: Fields) -> bool | Mapping[str, Any]:
    count = len(operators_of(config))
    return {"count": count} if count > 255 else False


_MUTATION = (
    Rule(
        fields=("mutate",),
        refused=_several_operators,
        sentence="expected at most 255 operators in {mutate}, got {count}; name fewer",
    ),
    Rule(
        fields=("mutate_shares",),
        idle=lambda c: len(operators_of(c)) < 2,
        sentence="expected several operators with {mutate_shares:inherited}, got {mutate.given}; name a mix such as "
        "dense:0.8,layer:0.2",
    ),
    Rule(
        fields=("mutate", "granularity"),
        refused=lambda c: "low-rank" in operators_of(c) and c.granularity == "parameter",
        sentence="expected {granularity} global, tensor or row-column with {mutate:low-rank}, got parameter: a step "
        "size for each weight makes the change full-rank; use row-column, which keeps it low-rank",
    ),
    Rule(
        fields=("mutate", "sigma_search"),
        refused=lambda c: c.sigma_search > 0 and operators_of(c) != ["dense"],
        sentence="expected {mutate:dense} with {sigma_search}, got {mutate.value}: the search repeats one dense noise "
        "at several step sizes; drop one of them",
    ),
    Rule(
        fields=("floor_rms", "ceiling_rms"),
        idle=lambda c: c.granularity == "global",
        sentence="expected {granularity} tensor, row-column or parameter with {floor_rms} or {ceiling_rms}, got "
        "global: one step size has no tensor whose RMS could bound it; choose tensor, or use {sigma_floor}",
    ),
    Rule(
        fields=("floor_rms", "ceiling_rms"),
        refused=lambda c: c.floor_rms is not None and c.ceiling_rms is not None and c.floor_rms > c.ceiling_rms,
        sentence="expected {floor_rms} at most {ceiling_rms}, got {floor_rms.value:g} and {ceiling_rms.value:g}; "
        "exchange them",
    ),
)


def _outside(config: Fields, value: float, slack: float = 1.0) -> bool:
    floor = 0.0 if config.sigma_floor is None else config.sigma_floor
    return not floor / slack <= value <= config.sigma_ceiling * slack


def _scheduled_outside(config: Fields) -> bool | Mapping[str, Any]:
    # Bounds are saved on the grid of step sizes, which may be a quarter of a percent off.
    points = parse_schedule(config.sigma_schedule) if config.sigma_schedule is not None else ()
    outside = [value for _, value in points if _outside(config, value, 1 + 2**-8)]
    return {"value": outside[0]} if outside else False


_BOUNDS = "between {sigma_floor} ({sigma_floor.value:g}) and {sigma_ceiling} ({sigma_ceiling.value:g})"
_SIGMA = (
    Rule(
        fields=("sigma", "sigma_floor", "sigma_ceiling"),
        refused=lambda c: _outside(c, c.sigma),
        sentence=f"expected {{sigma}} {_BOUNDS}, got {{sigma.value:g}}; move the bound or the step size",
    ),
    Rule(
        fields=("sigma_schedule", "sigma_floor", "sigma_ceiling"),
        refused=_scheduled_outside,
        sentence=f"expected {{sigma_schedule}} {_BOUNDS}, got {{value:g}}; move the bound or the step size",
    ),
)

#: In the order in which they are checked.
GENETIC_RULES = (*_WEIGHTS, *_POPULATION, *_CROSSOVER, *_STEP_SIZE, *_MUTATION, *_SIGMA)
