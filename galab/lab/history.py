"""A run's past, made again from its seeds: whoever was ever a parent, and wherever a centre ever was."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Member
from galab.errors import CheckpointError, LethalMutationError, UsageError
from galab.evolution_compatibility import has_centre, is_gradients
from galab.genome.births import Birth
from galab.genome.phenotype import Phenotype
from galab.lab import tables
from galab.lab.members import lineage_of
from galab.lab.operators import developer
from galab.lab.rebuild import Saved
from galab.lab.recompute import centres_again
from galab.lab.replay import Replay
from galab.lab.state import LINEAGE, SCORES, births_dtype, load_founders
from galab.lab.trust import OPERATORS, check
from galab.lab.verify import develop_all
from galab.perturbation.centre import Centre
from galab.store import journal
from galab.store.lineage_file import read_rows
from galab.store.run_folder import RunFolder

logger = logging.getLogger("galab")


class History:
    """What came before a checkpoint.

    Of a genetic algorithm: its individuals, of whom those that were selected are known. Of an evolution strategy: its
    centre, generation by generation. Of a baseline that uses gradients, too, but its steps are computed from the data
    once more.

    Args:
        saved: the checkpoint; what the run did after it is not looked at.

    Attributes:
        folder: the run.
        generation: the checkpoint's.
        evolution: whether it is that of a centre: of an evolution strategy, or of a baseline that uses gradients.

    Raises:
        UsageError: it is a lone checkpoint, without the run around it.
    """

    def __init__(self, saved: Saved) -> None:
        if saved.folder is None:
            raise UsageError(
                f"expected a run folder, as the lineage lies in it, got the lone checkpoint '{saved.path}'; give the "
                "folder of its run, or the checkpoint inside it"
            )
        self.folder: RunFolder = saved.folder
        self.generation = saved.generation
        self.evolution = has_centre(saved.config.strategy)
        self._saved = saved

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the log up to the checkpoint, oldest first."""
        return [line for line in journal.read(self.folder.log_path) if line["generation"] <= self.generation]

    @cached_property
    def rows(self) -> NDArray[np.void]:
        """The births that were selected, oldest first, as the lineage file has them; not of an evolution strategy."""
        rows = read_rows(self.folder.path / LINEAGE, births_dtype(self._saved.config))
        return rows[: self._saved.state["lineage"]["births"]]

    def champion(self, generation: int | None = None) -> int:
        """The champion's birth, or the generation of the centre.

        Args:
            generation: the champion at the last report up to this generation; that of the checkpoint when absent.

        Raises:
            UsageError: the generation is not in this history, or lies before the first report.
        """
        if generation is None or generation == self.generation:
            return int(self._saved.state["champion"]["id"]) if not self.evolution else self.generation
        if not 0 <= generation <= self.generation:
            raise UsageError(
                f"expected a generation from 0 to {self.generation:,}, which '{self._saved.path}' stands at, got "
                f"{generation}; choose another"
            )
        if self.evolution:
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

    def line(self, birth: int) -> list[Birth]:
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
            numbers: whom to make again.

        Yields:
            (number, member), oldest first; those that nobody knows are left out.

        Raises:
            CheckpointError: the lineage holds what cannot be.
        """
        return self._centres(set(numbers)) if self.evolution else self._individuals(list(numbers))

    def trajectory(self) -> Iterator[tuple[int, Member]]:
        """The line of the checkpoint's champion, or the way of the centre: (generation, member), oldest first."""
        if self.evolution:
            yield from self._centres(set(range(self.generation + 1)))
            return
        line = self.line(self.champion())
        generations = {birth.id: birth.generation for birth in line}
        for number, member in self._individuals(list(generations)):
            yield generations[number], member

    def _individuals(self, numbers: list[int]) -> Iterator[tuple[int, Phenotype]]:
        saved, folder = self._saved, self.folder
        check(saved.config, trust=saved.trust, names=OPERATORS)
        births_by = developer(
            saved.config, load_founders(folder.founders_path), tables.resolve(saved.config.distribution, folder)
        )
        try:
            yield from develop_all(births_by, lineage_of(self.rows, numbers), set(numbers))
        except (LethalMutationError, LookupError, ValueError, ArithmeticError) as error:
            raise CheckpointError(
                f"expected births in '{folder.path / LINEAGE}' that lead to the checkpoint, got {error!r}; restore the "
                f"file from a copy, and see `galab verify {folder.path}`"
            ) from error

    def _centres(self, generations: set[int]) -> Iterator[tuple[int, Centre]]:
        for generation, centre in self._way(last=max(generations, default=-1)):
            if generation in generations:
                yield generation, Centre(centre)

    def _way(self, *, last: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        saved, folder = self._saved, self.folder
        if is_gradients(saved.config):
            return centres_again(folder, saved.state, saved.config, last=last, trust=saved.trust)
        founders, law = load_founders(folder.founders_path), tables.resolve(saved.config.distribution, folder)
        return Replay(folder.path / SCORES, saved.config, founders, law, saved.state).centres(last=last)
