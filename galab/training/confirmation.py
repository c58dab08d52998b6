"""A second look at the best of a generation: where scores are noisy, the luckiest member is seldom the best one.

The members that rank first, and the elites, play further episodes, of starts that nobody has played. Their fitness is
then the mean over all their episodes, and they rank before all others, which keep their order (Such et al. 2017).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.contracts import Cohort, Scores
from galab.evaluation.blocks import SECOND_LOOK, added


def contenders(config: RunConfig, cohort: Cohort, scores: Scores) -> NDArray[np.int64]:
    """Places in the cohort of the members to look at again: the best ``--confirm`` and the elites that were scored.

    Args:
        config: of the run.
        cohort: who was scored.
        scores: of the first look.
    """
    order = np.argsort(-np.where(np.isfinite(scores.fitness), scores.fitness, -np.inf), kind="stable")
    best = {place for place in order[: config.confirm].tolist() if np.isfinite(scores.fitness[place])}
    elites = {place for place in range(cohort.children, len(cohort.births)) if np.isfinite(scores.fitness[place])}
    return np.array(sorted(best | elites), dtype=np.int64)


def second_cohort(cohort: Cohort, places: NDArray[np.int64]) -> Cohort:
    """The members at these places, to be scored on the starts of a generation of its own."""
    return Cohort(cohort.generation + SECOND_LOOK, cohort.births[places], len(places))


def confirmed(config: RunConfig, scores: Scores, places: NDArray[np.int64], second: Scores) -> Scores:
    """The scores of a cohort after a second look.

    Args:
        config: of the run.
        scores: of the first look.
        places: who was looked at again.
        second: what was seen.
    """
    first, more = config.episodes or 1, config.confirm_episodes or 1
    fitness = scores.fitness.copy()
    fitness[places] = (first * fitness[places] + more * second.fitness) / (first + more)
    others = np.ones(len(fitness), dtype=np.bool_)
    others[places] = False
    others &= np.isfinite(fitness)
    known = fitness[places][np.isfinite(fitness[places])]
    if others.any() and len(known):
        below = np.nextafter(known.min(), -np.inf)
        shifted = fitness[others] - max(0.0, float(fitness[others].max() - below))
        fitness[others] = np.minimum(shifted, below)  # a difference may be rounded up
    failures = scores.failures | {int(places[place]): reason for place, reason in second.failures.items()}
    evaluations = scores.evaluations + second.evaluations
    spent = added([scores.spent, second.spent])
    return replace(scores, fitness=fitness, failures=failures, evaluations=evaluations, spent=spent)
