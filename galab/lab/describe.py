"""One line of the log: what happened in a generation, as plain numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from galab.contracts import Cohort, Scores
from galab.genome.decode import Decoder
from galab.genome.sigma import sigma
from galab.lab.champion import named
from galab.lab.step_sizes import typical
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
        began: each condition that holds, with the generation in which that was first seen (``conditions.py``).
        warned: those of them that somebody was warned of.
    """

    members: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    began: dict[str, int] = field(default_factory=dict)
    warned: list[str] = field(default_factory=list)


def _reasons(scores: Scores) -> dict[str, Any]:
    """Why members failed, where some did: counts by parameter, and the first few different reasons."""
    if not scores.failures:
        return {}
    reasons = list(dict.fromkeys(scores.failures[index] for index in sorted(scores.failures)))[:3]
    return {"lethal_parameters": dict(Counter(scores.lethal.values())), "failure_reasons": reasons}


def generation_line(cohort: Cohort, scores: Scores, totals: Totals) -> dict[str, Any]:
    """What every search's log line has, but for its champion and its timing.

    Args:
        cohort: who was evaluated.
        scores: what they scored.
        totals: what the run has spent, this generation included.
    """
    finite = scores.fitness[np.isfinite(scores.fitness)]
    best = int(np.argmax(np.where(np.isfinite(scores.fitness), scores.fitness, -np.inf)))
    return {
        "generation": cohort.generation,
        "members": totals.members,
        "evaluations": totals.evaluations,
        "fitness_best": float(finite.max()),
        "fitness_mean": float(finite.mean()),
        "fitness_worst": float(finite.min()),
        "fitness_std": float(finite.std()),
        "best": int(cohort.births["id"][best]),
        **named("train", scores.metrics, best),
        "failures": len(scores.failures),
        "lethal": len(scores.lethal),
        **_reasons(scores),
    }


def genetic_fields(
    strategy: GeneticAlgorithm, decoder: Decoder, scores: Scores, lineage: int
) -> dict[str, Any]:
    """A genetic algorithm's step sizes, cache and lineage.

    Args:
        strategy: after selection.
        decoder: has the parents.
        scores: of the cohort, with what decoding it found in the cache.
        lineage: rows in the lineage file.
    """
    lie = decoder.developer.steps
    steps = np.array([typical(lie, decoder.decode(birth).log_sigma) for birth in strategy.parents.tolist()])
    return {
        "step_size": float(sigma(round(float(steps.mean())))),
        "step_size_min": float(sigma(round(float(steps.min())))),
        "step_size_max": float(sigma(round(float(steps.max())))),
        "cache_hits": scores.cache_hits,
        "cache_misses": scores.cache_misses,
        "lineage_births": lineage,
        "lineage_bytes": lineage * strategy.births_dtype.itemsize,
    }
