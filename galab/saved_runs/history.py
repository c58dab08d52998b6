"""A run's past, rebuilt from its seeds: its individuals, its centres, and whole generations with all their children."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config.strategy_kinds import kind_of, load_reference
from galab.contracts import Member
from galab.errors import CheckpointError, LethalMutationError, NoViableChildError, UsageError
from galab.genome.births import Birth
from galab.genome.develop import develop_all
from galab.genome.weights import Phenotype
from galab.operators.es_noise import WeightVector
from galab.saved_runs.saved_run import SavedRun
from galab.storage import checkpoints
from galab.storage.log import read_log
from galab.storage.run_folder import RunFolder
from galab.training.build import own_threads
from galab.training.checkpoint import lineage_of
from galab.training.genetic_search import GeneticSearch


@dataclass(frozen=True, slots=True, eq=False)
class Individual:
    """The champion of a generation, or its centre.

    Attributes:
        generation: the one that was asked for.
        number: its birth, or the generation of the centre.
        member: it itself.
        weights: (D,) its weights.
    """

    generation: int
    number: int
    member: Member
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ReplayedGeneration:
    """One generation of a genetic algorithm, with all its children.

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


class History:
    """What came before a checkpoint.

    A genetic algorithm has individuals; those that were selected are known. An evolution strategy has a centre,
    generation by generation. So has a baseline that uses gradients, but its steps are computed again from the data.

    Args:
        saved: the run at a checkpoint; what it did after that is not looked at.

    Attributes:
        folder: the run.
        generation: the checkpoint's.
        has_centre: whether the run moves a centre: an evolution strategy, or a baseline that uses gradients.

    Raises:
        UsageError: it is a lone checkpoint, without the run around it.
    """

    def __init__(self, saved: SavedRun) -> None:
        if saved.folder is None:
            raise UsageError(
                f"expected a run folder, as the lineage lies in it, got the lone checkpoint '{saved.path}'; give the "
                "folder of its run, or the checkpoint inside it"
            )
        self.folder: RunFolder = saved.folder
        self.generation = saved.generation
        self.has_centre = not kind_of(saved.config.strategy).breeds
        self._saved = saved

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the log up to the checkpoint, oldest first."""
        return [line for line in read_log(self.folder.log_path) if line["generation"] <= self.generation]

    @property
    def rows(self) -> NDArray[np.void]:
        """The births that were selected, oldest first, as the lineage file has them; not of an evolution strategy."""
        return self._saved.records

    def champion(self, generation: int | None = None) -> int:
        """The champion's birth, or the generation of the centre.

        Args:
            generation: the champion at the last report up to this generation; that of the checkpoint when absent.

        Raises:
            UsageError: the generation is not in this history, or lies before the first report.
        """
        if generation is None or generation == self.generation:
            return int(self._saved.state["champion"]["id"]) if not self.has_centre else self.generation
        if not 0 <= generation <= self.generation:
            raise UsageError(
                f"expected a generation from 0 to {self.generation:,}, which '{self._saved.path}' stands at, got "
                f"{generation}; choose another"
            )
        if self.has_centre:
            return generation
        if generation == 0:
            return int(self.rows["id"][0])
        named = [line for line in self.log if line["generation"] <= generation and line.get("champion") is not None]
        if not named:
            first = next((line["generation"] for line in self.log if line.get("champion") is not None), None)
            raise UsageError(
                f"expected a generation whose champion is in the log, got {generation}; the first one is {first}"
            )
        return int(named[-1]["champion"])

    def member(self, number: int) -> Member:
        """An individual by its birth, or the centre of a generation.

        Raises:
            UsageError: no such individual was ever selected.
        """
        found = next((member for _, member in self.walk([number])), None)
        if found is None:
            raise UsageError(f"expected an individual that was selected once, got number {number}; choose another")
        return found

    def descent(self, birth: int) -> list[Birth]:
        """How an individual descends, oldest first, from a founder to itself; of two parents, from the first one."""
        known = {one.id: one for one in lineage_of(self.rows, [birth])}
        found = []
        while birth in known:
            found.append(known[birth])
            parents = known[birth].parents
            birth = parents[0] if parents else -1
        return found[::-1]

    def selected(self) -> dict[int, list[int]]:
        """Generation to the births of it that became parents, in order of birth."""
        found: dict[int, list[int]] = {}
        for number, generation in zip(self.rows["id"].tolist(), self.rows["generation"].tolist(), strict=True):
            found.setdefault(generation, []).append(number)
        return found

    def walk(self, numbers: Sequence[int]) -> Iterator[tuple[int, Member]]:
        """Individuals by their births, or centres by their generations; one mutation, or one update, a step.

        Args:
            numbers: of those that are wanted.

        Yields:
            (number, member), oldest first; unknown ones are left out.

        Raises:
            CheckpointError: the lineage holds what cannot be.
        """
        return self._centres(set(numbers)) if self.has_centre else self._individuals(list(numbers))

    def trajectory(self) -> Iterator[tuple[int, Member]]:
        """The line of the checkpoint's champion, or the way of the centre: (generation, member), oldest first."""
        if self.has_centre:
            yield from self._centres(set(range(self.generation + 1)))
            return
        line = self.descent(self.champion())
        generations = {birth.id: birth.generation for birth in line}
        for number, member in self._individuals(list(generations)):
            yield generations[number], member

    def _individuals(self, numbers: list[int]) -> Iterator[tuple[int, Phenotype]]:
        developer = self._saved.developer
        try:
            yield from develop_all(developer, lineage_of(self.rows, numbers), set(numbers))
        except (LethalMutationError, LookupError, ValueError, ArithmeticError) as error:
            raise CheckpointError(
                f"expected births in '{self.folder.lineage_path}' that lead to the checkpoint, got {error!r}; restore "
                f"the file from a copy, and see `galab verify {shlex.quote(str(self.folder.path))}`"
            ) from error

    def _centres(self, generations: set[int]) -> Iterator[tuple[int, WeightVector]]:
        replay = load_reference(kind_of(self._saved.config.strategy).replay)(self._saved)
        for generation, centre in replay.centres(last=max(generations, default=-1)):
            if generation in generations:
                yield generation, WeightVector(centre)


def champion_of(saved: SavedRun, generation: int | None = None) -> Individual:
    """The champion of a generation, or its centre.

    Args:
        saved: the run.
        generation: see :meth:`History.champion`; that of the checkpoint, which needs no history, when absent.

    Raises:
        UsageError: the generation is not in the run's history.
    """
    if generation is None or generation == saved.generation:
        member, number = saved.member(), saved.numbers[saved.place(None)]
        return Individual(saved.generation, number, member, member.floats())
    history = History(saved)
    number = history.champion(generation)
    member = history.member(number)
    return Individual(generation, number, member, member.floats())


def best_generation(log: Sequence[Mapping[str, Any]]) -> int | None:
    """The report whose champion, or centre, was best on validation data.

    Best is by accuracy or return, and by loss where there is neither.

    Args:
        log: lines of a run's log.

    Returns:
        Its generation, the first of equals; None before the first report.
    """
    best: tuple[float, int] | None = None
    for line in log:
        value = line.get("validation_accuracy", line.get("validation_return"))
        if value is None and line.get("validation_loss") is not None:
            value = -line["validation_loss"]
        if value is not None and (best is None or value > best[0]):
            best = value, int(line["generation"])
    return None if best is None else best[1]


def best_so_far(saved: SavedRun) -> Individual:
    """The champion, or centre, that was best on validation data in any report; it is made again from its seeds.

    Raises:
        UsageError: there was no report yet, or this is a lone checkpoint.
    """
    generation = best_generation(History(saved).log)
    if generation is None:
        raise UsageError(
            f"expected a report in the log of '{saved.path}', found none; let the run go on, or lower --report-every"
        )
    return champion_of(saved, generation)


def replayable_generations(saved: SavedRun) -> list[int]:
    """Generations after which there is a checkpoint and one generation more, up to the one that is opened."""
    if saved.folder is None or not kind_of(saved.config.strategy).inherits:
        return []
    return [number for number, _ in checkpoints.list_checkpoints(saved.folder.checkpoints) if number < saved.generation]


def evenly_spaced(values: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of the values, evenly spread over their order, first and last among them."""
    if count < 1 or not values:
        return []
    places = np.unique(np.rint(np.linspace(0, len(values) - 1, min(count, len(values)))).astype(int))
    return [values[place] for place in places]


def replay_generations(saved: SavedRun, count: int) -> Iterator[ReplayedGeneration]:
    """Generations that follow checkpoints, as they were: their births are determined by the run's key and their ids.

    Those that only try step sizes, and those without a viable child, are left out.

    Args:
        saved: the run; it is only read.
        count: how many generations at the most.
    """
    for number in evenly_spaced(replayable_generations(saved), count):
        found = replay_generation(saved.at(number))
        if found is not None:
            yield found


@own_threads()
def replay_generation(saved: SavedRun) -> ReplayedGeneration | None:
    """The generation that follows a checkpoint of a genetic algorithm.

    Args:
        saved: the run at that checkpoint; it is only read.

    Returns:
        None where the generation only tried step sizes or had no viable child.
    """
    search = saved.components(saved.config.in_one_process()).search
    assert isinstance(search, GeneticSearch)
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
    return ReplayedGeneration(
        cohort.generation, births, [[place[parent] for parent in several] for several in families],
        scores.fitness[: cohort.children].copy(), np.isin(births, outcome.parents), members,
    )  # fmt: skip


def _decoded(search: GeneticSearch, birth: int) -> Member | None:
    try:
        return search.decoder.decode(birth)
    except LethalMutationError:
        return None
