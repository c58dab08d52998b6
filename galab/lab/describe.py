"""One line of the log: what happened in a generation, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from galab.contracts import Cohort, Scores
from galab.evaluation.fitness import Means
from galab.genome.births import BIRTH
from galab.genome.decode import Decoder
from galab.genome.sigma import sigma
from galab.lab.champion import named
from galab.strategies.genetic import GeneticAlgorithm

#: Fields that depend on the machine's speed; all others are identical when a run is repeated or resumed.
TIMING = ("seconds", "generation_seconds", "evaluations_per_second")


@dataclass(slots=True)
class Totals:
    """What a run has spent so far.

    Attributes:
        members: individuals scored, elites scored again included.
        evaluations: (member, example) pairs.
        seconds: wall time over all sittings.
    """

    members: int = 0
    evaluations: int = 0
    seconds: float = 0.0


def generation_line(
    cohort: Cohort, scores: Scores, strategy: GeneticAlgorithm, decoder: Decoder, totals: Totals, lineage: int
) -> dict[str, Any]:
    """The log line of a generation, but for its champion and its timing.

    Args:
        cohort: who was evaluated.
        scores: what they scored.
        strategy: after selection.
        decoder: for the cache's counts; they are reset.
        totals: what the run has spent, this generation included.
        lineage: rows in the lineage file.
    """
    finite = scores.fitness[np.isfinite(scores.fitness)]
    # All may have failed where elites with a known score live on; there is no best one then.
    best = int(np.argmax(np.where(np.isfinite(scores.fitness), scores.fitness, -np.inf))) if finite.size else None
    steps = np.array([strategy.pedigree[birth].log_sigma for birth in strategy.parents.tolist()])
    line: dict[str, Any] = {
        "generation": cohort.generation,
        "members": totals.members,
        "evaluations": totals.evaluations,
        "fitness_best": float(finite.max()) if finite.size else None,
        "fitness_mean": float(finite.mean()) if finite.size else None,
        "fitness_worst": float(finite.min()) if finite.size else None,
        "fitness_std": float(finite.std()) if finite.size else None,
        "best": None if best is None else int(cohort.births["id"][best]),
        **_best_metrics(scores.metrics, best),
        "failures": len(scores.failures),
        "lethal": len(scores.lethal),
        "step_size": float(sigma(round(float(steps.mean())))),
        "step_size_min": float(sigma(int(steps.min()))),
        "step_size_max": float(sigma(int(steps.max()))),
        "cache_hits": decoder.hits,
        "cache_misses": decoder.misses,
        "lineage_births": lineage,
        "lineage_bytes": lineage * BIRTH.itemsize,
    }
    decoder.hits = decoder.misses = 0
    return line


def _best_metrics(metrics: Means, best: int | None) -> dict[str, float]:
    return {} if best is None else named("train", metrics, best)
