"""Which competitors become the next parents: on each island by rank, niche and selection rule.

The score that ranks is the fitness as it is, relative to the parents, or partly inherited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.parsing import parse_fitness
from galab.contracts import Cohort, Scores
from galab.errors import GalabError
from galab.operators import diversity
from galab.operators.islands import Migration, island_of
from galab.operators.selection import Candidates, make, rank

#: A finite score below every other.
WORST = -float(np.finfo(np.float64).max)


def check_scores_told(asked: Cohort | None) -> None:
    """Refuse to ask for another cohort before the scores of the last one are told.

    Args:
        asked: the cohort that waits for its scores, if there is one.

    Raises:
        GalabError: there is one.
    """
    if asked is not None:
        raise GalabError("expected tell() with the scores of the last cohort, got ask() again; call tell() first")


def all_failed_message(cohort: Cohort, scores: Scores, members: str, smaller: str) -> str:
    """The sentence about a generation in which no member has a finite score.

    Args:
        cohort: who was evaluated.
        scores: what they scored.
        members: what they are called.
        smaller: the options to try smaller values of.
    """
    reasons = [scores.failures[index] for index in sorted(scores.failures) if index < cohort.children]
    # What is raised in every member has nothing to do with their weights.
    alike = len(reasons) == cohort.children > 1 and len(set(reasons)) == 1 and "Error: " in reasons[0]
    advice = f"try a smaller {smaller}, or look at the task"
    if alike:
        advice = "look at the task, as all of them failed alike"
    return (
        f"generation {cohort.generation}: not one of {cohort.children} {members} has a finite fitness "
        f"({reasons[0] if reasons else 'no score was finite'}); the last good checkpoint is kept: {advice}"
    )


def answered_cohort(asked: Cohort | None, scores: Scores) -> Cohort:
    """The cohort that the scores are of.

    Raises:
        GalabError: nothing was asked for, or there is not one score per member asked for.
    """
    if asked is None:
        raise GalabError("expected ask() before tell(), got tell(); call ask() and evaluate its cohort first")
    expected = len(asked.births)
    if scores.fitness.shape != (expected,):
        raise GalabError(f"expected {expected} scores, one per member asked for, got shape {scores.fitness.shape}")
    return asked


def parents_mean(families: NDArray[np.int64], known: dict[int, float]) -> NDArray[np.float64]:
    """(children,) mean of what is known of each child's parents; NaN where one is not known, or there are none.

    Args:
        families: (children, ways) ids of parents, -1 where there are fewer.
        known: fitness or score by birth.
    """
    values = np.array([[known.get(parent, np.nan) for parent in family] for family in families.tolist()])
    present = families >= 0
    total, count = np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1)
    return np.where(count, total / np.maximum(count, 1), np.nan)


def improvement(fitness: NDArray[np.float64], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gains over the parents on the same examples: what luck with the minibatch adds to both cancels.

    A child of a failed parent has no such difference and ranks last among the finite.

    Args:
        fitness: (n,) higher is better; NaN is a failure and stays one.
        gain: (n,) fitness minus the mean of the parents'.
    """
    return np.where(np.isfinite(fitness), np.where(np.isfinite(gain), gain, WORST), np.nan)


def levelled(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores for rules that look at distances between them: one that ranks last for want of a gain is as low as others.

    Args:
        score: (n,) higher is better; NaN is a failure and stays one.
    """
    others = score[np.isfinite(score) & (score > WORST)]
    return np.where(score == WORST, others.min(), score) if others.size else score


def inherited(fitness: NDArray[np.float64], before: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """LEEA: own fitness plus a share of the parents' score, so that a score averages over many minibatches.

    Morse and Stanley 2016, "Simple evolutionary optimization can rival stochastic gradient descent in neural networks";
    their decay is 1 - share. Scaled by (1 - share), so that a score stays in the unit of fitness.

    Args:
        fitness: (n,) higher is better; NaN is a failure and stays one.
        before: (n,) mean score of each one's parents; unknown ones count as the fitness itself.
        share: of the parents' score.
    """
    return share * np.where(np.isfinite(before), before, fitness) + (1 - share) * fitness


class Scoring:
    """What ranks the members of a generation.

    Args:
        fitness: see :func:`galab.config.parsing.parse_fitness`.
        share: of the parents' score in an inherited one.

    Attributes:
        kind: ``absolute``, ``improvement`` or ``inherited``.
        keys: number of scores of which each decides where those before are equal.
    """

    def __init__(self, fitness: str, share: float) -> None:
        spec = parse_fitness(fitness)
        self.kind, self.keys, self._share = spec.kind, len(spec.bases), share

    def scores(
        self,
        fitness: NDArray[np.float64],
        gain: NDArray[np.float64],
        families: NDArray[np.int64],
        before: dict[int, float],
        elites: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """(n,) the first key of the children and the elites.

        Args:
            fitness: (n,) children, then elites.
            gain: (children,) fitness minus the mean of the parents'.
            families: (children, ways) the parents.
            before: score of each parent when it was selected.
            elites: (elites,) their scores when they were selected.
        """
        if self.kind == "absolute":
            return fitness
        if self.kind == "improvement":
            return improvement(fitness, np.concatenate([gain, np.zeros(len(elites))]))
        return inherited(fitness, np.concatenate([parents_mean(families, before), elites]), self._share)

    def further(
        self, measured: NDArray[np.float64], rows: list[int], place: dict[int, int], families: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """(n, keys - 1) the lower keys of the children and the elites.

        Those of an improvement are gains as the first is, and 0 for elites. An inherited score is a mixture that is
        hardly ever equal to another; its lower keys are the members' own.

        Args:
            measured: (P, keys - 1) of everybody who was scored.
            rows: (n,) in ``measured``: of children, then of elites.
            place: row in ``measured`` by birth.
            families: (children, ways) the parents.
        """
        further = measured[rows]
        if self.kind != "improvement":
            return further
        gains = np.where(np.isfinite(further), 0.0, np.nan)
        for key, column in enumerate(measured.T):
            known = {birth: float(column[row]) for birth, row in place.items()}
            children = further[: len(families), key]
            gains[: len(families), key] = improvement(children, children - parents_mean(families, known))
        return gains


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
        apart = diversity.distances(competitors.behaviour)
        plain = score
        if config.niche == "sharing":
            score = diversity.shared(score, apart, config.niche_radius)
        elif config.niche == "local":
            score = diversity.local(score, apart, config.niche_neighbours)
        if config.diversity:
            score = diversity.diversity(levelled(score), apart, config.diversity)
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
        further = competitors.further
        objectives = None if further is None else np.column_stack([competitors.score, further])
        field = Candidates(
            here, levelled(score), competitors.ids, competitors.cases, self._run_key, generation, island, objectives
        )
        return self._select(field, int(self.sizes[island]))
