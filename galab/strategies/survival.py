"""Who of the competitors become the next parents: on each island by rank, niche and selection rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.breeding import niching
from galab.breeding.islands import Migration, island_of
from galab.breeding.ranking import rank
from galab.breeding.selection import Field, make
from galab.config import RunConfig
from galab.strategies.scoring import levelled


@dataclass(frozen=True, slots=True, eq=False)
class Competitors:
    """Those among whom the next parents are chosen.

    Attributes:
        ids: (n,) births.
        fitness: (n,) as measured; NaN is a failure.
        score: (n,) by which they are ranked.
        islands: (n,) where they compete.
        further: (n, K - 1) lower keys of a lexicographic fitness.
        cases: (n, C) scores per example or class, for lexicase selection.
        behaviour: (n, B) their answers.
    """

    ids: NDArray[np.int64]
    fitness: NDArray[np.float64]
    score: NDArray[np.float64]
    islands: NDArray[np.int64]
    further: NDArray[np.float64] | None = None
    cases: NDArray[np.float32] | None = None
    behaviour: NDArray[np.unsignedinteger[Any]] | None = None


class Survival:
    """Chooses the next parents.

    Args:
        config: the resolved configuration.
    """

    def __init__(self, config: RunConfig) -> None:
        assert config.seed is not None
        self._config = config
        self._run_key = config.seed
        self._select = make(config.selection, size=config.tournament, pressure=config.rank_pressure)
        self._migration = Migration(config.migrate_every, config.migrants)
        #: (islands,) parents on each.
        self.sizes = np.bincount(island_of(np.arange(config.parents), config.parents, config.islands))

    def choose(self, competitors: Competitors, generation: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The survivors, best first, and the island of each.

        An island without a finite competitor has no survivors; fewer finite ones than places breed alone.

        Returns:
            (parents,) indices of competitors, and (parents,) islands. After a migration one competitor may live on
            several islands.
        """
        score, further = self._score(competitors)
        order = rank(
            score,
            competitors.ids,
            further=further,
            ties=self._config.ties,
            run_key=self._run_key,
            generation=generation,
        )
        order = order[np.isfinite(score[order])]
        homes = [self._on_island(competitors, score, order, island, generation) for island in range(len(self.sizes))]
        if len(homes) == 1:
            return homes[0], np.zeros(len(homes[0]), dtype=np.int64)
        # By birth, as an elite on two islands competes once on each: it is no newcomer where it lives already.
        moved = self._migration.migrate([competitors.ids[home] for home in homes], generation)
        place = {birth: number for number, birth in enumerate(competitors.ids[order].tolist())}
        ranks = np.array([place[birth] for birth in np.concatenate(moved).tolist()], dtype=np.int64)
        islands = np.repeat(np.arange(len(moved)), [len(home) for home in moved])
        best_first = np.argsort(ranks, kind="stable")
        return order[ranks[best_first]], islands[best_first]

    def _score(self, competitors: Competitors) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """What ranks the competitors: their score, or what niches make of it, with the score itself next in line."""
        config = self._config
        if config.niche is None and config.diversity == 0:
            return competitors.score, competitors.further
        assert competitors.behaviour is not None
        score = np.where(np.isfinite(competitors.fitness), competitors.score, np.nan)
        apart = niching.distances(competitors.behaviour)
        plain = score
        if config.niche == "sharing":
            score = niching.shared(score, apart, config.niche_radius)
        elif config.niche == "local":
            score = niching.local(score, apart, config.niche_neighbours)
        if config.diversity:
            score = niching.diversity(levelled(score), apart, config.diversity)
        columns = [plain[:, None]] if competitors.further is None else [plain[:, None], competitors.further]
        return score, np.concatenate(columns, axis=1)

    def _on_island(
        self,
        competitors: Competitors,
        score: NDArray[np.float64],
        order: NDArray[np.int64],
        island: int,
        generation: int,
    ) -> NDArray[np.int64]:
        here = order[competitors.islands[order] == island]
        field = Field(here, levelled(score), competitors.ids, competitors.cases, self._run_key, generation, island)
        return self._select(field, int(self.sizes[island]))
