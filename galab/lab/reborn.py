"""Generations of a run made again with all their children, selected or not, from the checkpoints before them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Member
from galab.errors import LethalMutationError, NoViableChildError
from galab.evolution_compatibility import breeds, is_random
from galab.lab.contenders import of_run, restore
from galab.lab.experiment import build, own_threads
from galab.lab.genetic_search import GeneticSearch
from galab.lab.rebuild import Saved
from galab.store import checkpoints


@dataclass(frozen=True, slots=True, eq=False)
class Reborn:
    """One generation of a genetic algorithm.

    Attributes:
        generation: its number.
        births: (C,) ids of its children.
        families: (C,) places in ``members`` of each child's parents.
        fitness: (C,) as the run measured it, on the examples of the generation; NaN for failures.
        selected: (C,) which became parents.
        members: the children, and after them their parents; None for the lethal.
    """

    generation: int
    births: list[int]
    families: list[list[int]]
    fitness: NDArray[np.float64]
    selected: NDArray[np.bool_]
    members: list[Member | None]


def generations_before(saved: Saved) -> list[int]:
    """Generations after which there is a checkpoint and one generation more, up to the one that is opened."""
    if saved.folder is None or not breeds(saved.config) or is_random(saved.config):
        return []
    return [number for number, _ in checkpoints.list_checkpoints(saved.folder.checkpoints) if number < saved.generation]


def spread(values: list[int], count: int) -> list[int]:
    """At most ``count`` of the values, evenly spread over their order, first and last among them."""
    if count < 1 or not values:
        return []
    places = np.unique(np.rint(np.linspace(0, len(values) - 1, min(count, len(values)))).astype(int))
    return [values[place] for place in places]


@own_threads()
def reborn(saved: Saved, count: int) -> Iterator[Reborn]:
    """Generations that follow checkpoints, as they were: their births are determined by the run's key and their ids.

    Those that only try step sizes, and those in which nobody lived, are left out.

    Args:
        saved: the run; it is only read.
        count: how many generations at the most.
    """
    chosen = spread(generations_before(saved), count)
    if not chosen or saved.folder is None:
        return
    files = dict(checkpoints.list_checkpoints(saved.folder.checkpoints))
    bench = of_run(files[chosen[0]], trust=saved.trust)
    config = dataclasses.replace(bench.config, workers=0)
    for number in chosen:
        experiment = build(config, bench.module, bench.task, law=bench.law, founders=bench.founders)
        restore(experiment, saved.folder, files[number])
        assert isinstance(experiment.search, GeneticSearch)
        if (found := _again(experiment.search)) is not None:
            yield found


def _again(search: GeneticSearch) -> Reborn | None:
    strategy = search.strategy
    cohort = strategy.ask()
    scores = search.executor.score(cohort)
    rows = cohort.births[: cohort.children]
    births = rows["id"].tolist()
    families = [[parent for parent in several if parent >= 0] for several in rows["parents"].tolist()]
    parents = list(dict.fromkeys(parent for several in families for parent in several))
    members = [_decoded(search, birth) for birth in [*births, *parents]]
    try:
        outcome = strategy.tell(scores)
    except NoViableChildError:
        return None
    if not len(outcome.records):
        return None
    place = {parent: len(births) + at for at, parent in enumerate(parents)}
    return Reborn(
        cohort.generation, births, [[place[parent] for parent in several] for several in families],
        scores.fitness[: cohort.children].copy(), np.isin(births, outcome.parents), members,
    )  # fmt: skip


def _decoded(search: GeneticSearch, birth: int) -> Member | None:
    try:
        return search.decoder.decode(birth)
    except LethalMutationError:
        return None
