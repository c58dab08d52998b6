"""Computing the steps of a gradient descent again, from the founders and the data.

No seed and no log of scores is enough for that: a gradient is made of the data, so the task and the network are
needed, and it takes as long as the run did.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.errors import GalabError
from galab.saved_runs.saved_run import SavedRun
from galab.storage.lineage import read_rows
from galab.storage.run_folder import SCORES
from galab.training.build import profile_of
from galab.training.gradient_search import GradientSearch
from galab.training.start import on_this_machine

logger = logging.getLogger("galab")


class GradientReplay:
    """A gradient descent that makes the steps of its log again, as this machine computes them.

    Args:
        saved: the run at any of its checkpoints.

    Attributes:
        saved: the run.
        source: what the centre follows from besides the seed.

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
        self._rows = read_rows(saved.home.path / SCORES, search.record_dtype)
        self._going = True

    @property
    def centre(self) -> NDArray[np.float32] | None:
        """(D,) where the replay is; None where it could not go on."""
        return self._strategy.centre if self._going else None

    @property
    def state(self) -> dict[str, Any] | None:
        """What a checkpoint must hold here besides the centre; None where the replay could not go on."""
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
