"""Replaying an evolution strategy: its seed and its scores are enough to rebuild the whole training.

No task, no data and no network are needed: the centre's start is in the founders, the noise in the seed, what
directions are made of in the checkpoints, and what came of them in the score log.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config.strategy_kinds import kind_of, load_reference
from galab.contracts import CentreStrategy, Scores
from galab.errors import CheckpointError, GalabError
from galab.evaluation.numeric_profile import numeric_profile, prepare_device, warm_up_kernels
from galab.saved_runs.saved_run import SavedRun
from galab.strategies.centre import record_dtype
from galab.training import trust as trust_rules

logger = logging.getLogger("galab")


class ScoreReplay:
    """A strategy that moves a centre and is told the scores of a log.

    Args:
        saved: the run at any of its checkpoints.

    Attributes:
        saved: the run.
        source: what the centre follows from besides the seed.

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
        self._row = record_dtype(kind.members(config))
        self._hash = hashlib.sha256()
        self._at = 0
        self._going = True

    @property
    def centre(self) -> NDArray[np.float32] | None:
        """(D,) where the replay is; None where it could not go on."""
        return self._strategy.centre if self._going else None

    @property
    def state(self) -> dict[str, Any] | None:
        """What a checkpoint must hold here besides the centre; None where the replay could not go on."""
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
