"""Which sizes of a genetic algorithm's population go together, and with which selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from galab.errors import UsageError
from galab.specs import PER_EXAMPLE, parse_fitness

if TYPE_CHECKING:
    from galab.config import RunConfig


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
    """How many of ``total`` places lie on an island (:func:`galab.breeding.islands.island_of`)."""
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
