"""Computing the centres of a saved run again, generation by generation.

The centre of an evolution strategy follows from its seed and its scores: its start is in the founders, its noise in
the seed, what directions are made of in the checkpoints, and the fitness in the score log. No task, no data and no
network are needed. The steps of a gradient descent follow from the data: they are computed again, which takes as long
as the run did.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config.strategy_kinds import kind_of, load_reference
from galab.contracts import CentreStrategy, Scores
from galab.errors import CheckpointError, GalabError
from galab.evaluation.numeric_profile import numeric_profile, prepare_device, warm_up_kernels
from galab.saved_runs.saved_run import SavedRun
from galab.storage.lineage import read_rows
from galab.storage.run_folder import SCORES
from galab.strategies.integer_eggroll import IntegerEggroll
from galab.training import trust as trust_rules
from galab.training.build import profile_of
from galab.training.gradient_search import GradientSearch
from galab.training.start_or_resume import on_this_machine

logger = logging.getLogger("galab")


class CentreReplay(Protocol):
    """The centre of a run, rebuilt step by step."""

    #: What it follows from, apart from the seed.
    source: str
    saved: SavedRun

    @property
    def centre(self) -> NDArray[np.float32] | None:
        """(D,) where the replay is; None where it could not go on."""
        ...

    @property
    def state(self) -> dict[str, Any] | None:
        """What a checkpoint must hold here apart from the centre; None where the replay could not go on."""
        ...

    def profile(self, saved: dict[str, Any]) -> dict[str, Any]:
        """The numeric profile of the replay; what it does not compute is as saved."""
        ...

    def go_to(self, records: dict[str, Any]) -> bool:
        """Go on to a checkpoint that counts on these records of the score log; whether the log still has them."""
        ...


class ScoreReplay:
    """A strategy that moves a centre and is told the scores of a log.

    Args:
        saved: the run at any of its checkpoints.

    Attributes:
        saved: the run.
        source: what the centre follows from, apart from the seed.

    Raises:
        CheckpointError: there is no score log, or the checkpoint says nothing possible of the directions.
        UsageError: the strategy is code that is not trusted.
    """

    source = "scores"

    def __init__(self, saved: SavedRun) -> None:
        self.saved = saved
        config, founders, path = saved.config, saved.founders, saved.home.scores_path
        self._device = "cuda" if config.device == "cuda" and torch.cuda.is_available() else "cpu"
        warm_up_kernels()
        prepare_device(self._device)
        torch.set_num_threads(config.threads)
        trust_rules.check(config, trust=saved.trust, names=["strategy"])
        device = torch.device(self._device)
        try:
            self._content = memoryview(path.read_bytes())
        except OSError as error:
            raise CheckpointError(f"expected a score log at '{path}', got '{error.strerror or error}'") from error
        kind = kind_of(config.strategy)
        replica = load_reference(kind.search).replica
        self._strategy: CentreStrategy = replica(config, founders, saved.law, saved.state, device)
        self._row = load_reference(kind.row)(kind.members(config))
        self._hash = hashlib.sha256()
        self._at = 0
        self._going = True

    @property
    def centre(self) -> NDArray[np.float32] | None:
        """(D,) where the replay is; None where it could not go on."""
        return self._strategy.centre if self._going else None

    @property
    def state(self) -> dict[str, Any] | None:
        """What a checkpoint must hold here apart from the centre; None where the replay could not go on."""
        if not self._going:
            return None
        ranks = self.saved.state.get("ranks")  # what directions are made of; not every strategy has them
        return {"strategy": self._strategy.state_dict(), **({} if ranks is None else {"ranks": ranks})}

    def profile(self, saved: dict[str, Any]) -> dict[str, Any]:
        """The numeric profile of the replay; how members were evaluated is as saved, because none is."""
        evaluated = {name: saved.get(name) for name in ("precision", "chunk", "forward", "block", "compiled")}
        return numeric_profile(device=self._device, threads=self.saved.config.threads, **evaluated)  # type: ignore[arg-type]

    def centres(self, *, last: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The centre of each generation from 0 to the last that is asked for, as far as the log goes.

        Yields:
            (generation, (D,) a copy of the centre).
        """
        for generation in range(last + 1):
            if generation and not self._next():
                return
            if not self._going:
                return
            yield generation, np.array(self._strategy.centre)

    def go_to(self, records: dict[str, Any]) -> bool:
        """Go on to a checkpoint.

        Args:
            records: rows and hash of the score log that the checkpoint counted on.

        Returns:
            Whether the log still has them.
        """
        while self._at < records["births"] and self._next():
            pass
        if self._at < records["births"] and self._going:
            logger.warning("the score log ends after %d of %d generations", self._at, records["births"])
            self._going = False
        return self._hash.hexdigest() == str(records["sha256"])

    def _next(self) -> bool:
        """Read the next row of the log; whether there was one."""
        part = self._content[self._at * self._row.itemsize : (self._at + 1) * self._row.itemsize]
        if len(part) < self._row.itemsize:
            return False
        self._hash.update(part)
        self._at += 1
        if self._going:
            self._tell(np.frombuffer(part, self._row)[0])
        return True

    def _tell(self, row: Any) -> None:
        self._strategy.planned = int(row["planned"]) or None
        try:
            if self._strategy.ask().generation != row["generation"]:
                raise GalabError(f"expected generation {self._strategy.generation + 1}, got {row['generation']}")
            self._strategy.tell(Scores(row["fitness"].astype(np.float64)))
        except GalabError as error:
            # A row that no run wrote: another generation's, or one in which all members failed.
            logger.warning("the replay ended at a row of the score log that cannot be: %s", error)
            self._going = False


class FactorReplay(ScoreReplay):
    """Integer EGGROLL, which is told what its pairs counted: whole numbers, so any machine comes to the same bits."""

    source = "factors"
    _strategy: IntegerEggroll

    @property
    def state(self) -> dict[str, Any] | None:
        """The number of updates; the members' states follow from the text, which is not read."""
        return {"strategy": self._strategy.state_dict()} if self._going else None

    def _tell(self, row: Any) -> None:
        try:
            self._strategy.repeat(row)
        except GalabError as error:
            logger.warning("the replay ended at a row of the record that cannot be: %s", error)
            self._going = False


class GradientReplay:
    """A gradient descent that makes the steps of its log once more, as this machine computes them.

    Args:
        saved: the run at any of its checkpoints.

    Attributes:
        saved: the run.
        source: what the centre follows from, apart from the seed.

    Raises:
        CheckpointError: the founders are damaged, or the data is not the run's.
        UsageError: the task or the network is code that is not trusted.
    """

    source = "data"

    def __init__(self, saved: SavedRun) -> None:
        self.saved = saved
        self._components = saved.built(on_this_machine(saved.config, allow=True))
        search = self._components.search
        assert isinstance(search, GradientSearch)
        self._strategy = search.strategy
        self._rows = read_rows(saved.home.path / SCORES, search.record_dtype, max(saved.generations))
        self._going = True

    @property
    def centre(self) -> NDArray[np.float32] | None:
        """(D,) where the replay is; None where it could not go on."""
        return self._strategy.centre if self._going else None

    @property
    def state(self) -> dict[str, Any] | None:
        """What a checkpoint must hold here apart from the centre; None where the replay could not go on."""
        return {"strategy": self._strategy.state_dict()} if self._going else None

    def profile(self, saved: dict[str, Any]) -> dict[str, Any]:
        """The numeric profile of the replay; nothing of the saved one enters it."""
        return profile_of(self._components)

    def centres(self, *, last: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The centre of each generation from 0 to the last that is asked for, as far as the log goes.

        Yields:
            (generation, (D,) a copy of the centre).
        """
        for generation in range(min(last, len(self._rows)) + 1):
            self._go_on(generation)
            if not self._going:
                return
            yield generation, np.array(self._strategy.centre)

    def go_to(self, records: dict[str, Any]) -> bool:
        """Go on to a checkpoint.

        Args:
            records: rows and hash of the score log that the checkpoint counted on.

        Returns:
            Whether the log still has them.
        """
        count = records["births"]
        self._go_on(count)
        return hashlib.sha256(self._rows[:count].tobytes()).hexdigest() == str(records["sha256"])

    def _go_on(self, count: int) -> None:
        """Make the steps of the first so many rows that are not made yet."""
        strategy = self._strategy
        for row in self._rows[strategy.generation : count] if self._going else ():
            strategy.planned = int(row["planned"]) or None
            try:
                strategy.tell(self._components.executor.score(strategy.ask()))
            except GalabError as error:
                logger.warning("the steps could not be computed again: %s", error)
                self._going = False
                return
        self._going = self._going and strategy.generation == min(count, len(self._rows))
