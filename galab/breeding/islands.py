"""Islands: populations that breed apart and now and then send their best to a neighbour.

Whitley, Rana and Heckendorn 1999, "The island model genetic algorithm: on separability, population size and
convergence", Journal of Computing and Information Technology 7(1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError


def island_of(place: NDArray[np.int64], total: int, islands: int) -> NDArray[np.int64]:
    """The island that each place lies on: neighbouring places together, sizes differing by at most one.

    Args:
        place: (n,) places from 0 to ``total - 1``.
        total: places on all islands together.
        islands: how many islands there are.

    Returns:
        (n,) islands from 0 to ``islands - 1``; never falling along rising places.

    Raises:
        UsageError: there are fewer places than islands, or no islands, or a place that does not exist.
    """
    if not 1 <= islands <= total:
        raise UsageError(f"expected from 1 to {total} islands for {total} places, got {islands}; leave none empty")
    places = np.asarray(place, dtype=np.int64)
    if places.size and (places.min() < 0 or places.max() >= total):
        raise UsageError(
            f"expected places from 0 to {total - 1}, got {places.min()} to {places.max()}; count the places of all "
            "islands together"
        )
    return places * islands // total


@dataclass(frozen=True, slots=True)
class Migration:
    """Who moves between islands, and when.

    Attributes:
        every: generations from one migration to the next.
        migrants: how many leave each island.

    Raises:
        UsageError: ``every`` is below 1 or ``migrants`` below 0.
    """

    every: int
    migrants: int

    def __post_init__(self) -> None:
        if self.every < 1 or self.migrants < 0:
            raise UsageError(
                f"expected a migration every 1 or more generations of 0 or more migrants, got every {self.every} of "
                f"{self.migrants}; use 0 migrants for islands that never meet"
            )

    def migrate(self, parents_by_island: Sequence[NDArray[np.int64]], generation: int) -> list[NDArray[np.int64]]:
        """The parents of each island after this generation's migration, if there is one.

        The best of island i replace the worst of island (i + 1) mod K. All leave at once, as copies: emigrants also
        stay at home. A migrant who lives at the goal already stays there and replaces nobody. No island changes its
        size, except that an empty one is settled; migrants for whom there is no place stay away.

        Args:
            parents_by_island: the births (or other names) of each island's parents, best first, each once.
            generation: from 1; generation 0 has no migration.

        Returns:
            New arrays: first those who stayed, best first, then those who came, best first.
        """
        if generation < 1 or generation % self.every:
            return [residents.copy() for residents in parents_by_island]
        sources = [parents_by_island[island - 1] for island in range(len(parents_by_island))]
        return [
            self._land(residents, source[: self.migrants])
            for residents, source in zip(parents_by_island, sources, strict=True)
        ]

    def _land(self, residents: NDArray[np.int64], migrants: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(residents) == 0:
            return migrants.copy()
        newcomers = migrants[~np.isin(migrants, residents)]
        replaceable = np.flatnonzero(~np.isin(residents, migrants))
        newcomers = newcomers[: len(replaceable)]
        leaving = replaceable[len(replaceable) - len(newcomers) :]
        return np.concatenate([np.delete(residents, leaving), newcomers])
