"""From fitness to the score that ranks: as it is, relative to the parents, or partly inherited."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Cohort, Scores
from galab.errors import GalabError
from galab.specs import parse_fitness

#: A finite score below every other.
WORST = -float(np.finfo(np.float64).max)


def answered(asked: Cohort | None, scores: Scores) -> Cohort:
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
        fitness: see :func:`galab.specs.parse_fitness`.
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
