"""How much coarser arithmetic of the fitness changes a search: which members it selects, and where it steps.

The generations of a run are scored in two precisions: the same members on the same examples, from a checkpoint on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config.parsing import parse_fitness
from galab.config.strategy_kinds import kind_of
from galab.contracts import Cohort
from galab.errors import UsageError
from galab.evaluation.blocks import Minibatches, fresh_examples
from galab.operators.selection import rank
from galab.saved_runs.saved_run import open_saved
from galab.stats.intervals import rank_correlation
from galab.training.build import own_threads
from galab.training.evolution_search import EvolutionSearch
from galab.training.search import RunComponents
from galab.training.true_gradient import TrueGradient

Fitness = NDArray[np.float64]


def spearman(one: Fitness, other: Fitness) -> float:
    """Rank correlation of two rows of scores, (P,) each; equal scores share their rank, failures are all last.

    Returns:
        -1 to 1; NaN where one of them gives all members the same score.
    """
    return rank_correlation(*(np.where(np.isfinite(values), values, -np.inf) for values in (one, other)))


def survivors(fitness: Fitness, count: int) -> NDArray[np.int64]:
    """Places of the best, best first, as truncation selects them: of equals the later one.

    Args:
        fitness: (P,) higher is better; anything that is not finite is a failure.
        count: how many.
    """
    return rank(fitness, np.arange(len(fitness)))[:count]


def run_off(coarse: Fitness, fine: Fitness, count: int, candidates: int) -> NDArray[np.int64]:
    """Places of the members that the fine score chooses among the best by the coarse one, best first.

    Args:
        coarse: (P,) scores of all.
        fine: (P,) scores, of which only those of the candidates are used.
        count: how many are chosen.
        candidates: how many run.
    """
    running = np.sort(survivors(coarse, candidates))
    return running[survivors(fine[running], count)]


def in_common(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Share of the chosen that two choices of equal size have in common."""
    return len(np.intersect1d(one, other)) / len(one)


def progress_kept(chosen: NDArray[np.int64], fitness: Fitness) -> float:
    """Selection differential of a choice as a share of the best that is possible.

    The differential is the mean fitness of the chosen over that of all (Falconer, "Introduction to Quantitative
    Genetics", 1960): what a generation gains is proportional to it.

    Args:
        chosen: places.
        fitness: (P,) finite scores that count.
    """
    best = survivors(fitness, len(chosen))
    possible = float(fitness[best].mean() - fitness.mean())
    return float(fitness[chosen].mean() - fitness.mean()) / possible if possible else float("nan")


@dataclass(frozen=True, slots=True)
class ScorePair:
    """One cohort, scored in float32 and in bfloat16.

    Attributes:
        generation: its number.
        fine: (P,) fitness in float32.
        coarse: (P,) fitness in bfloat16.
        elsewhere: (P,) of a genetic algorithm: fitness in float32 on the examples of the generation after.
        fine_step: (D,) of an evolution strategy: its estimate of the gradient from ``fine``.
        coarse_step: (D,) the same from ``coarse``.
        gradient: (D,) what both estimate, where it exists.
    """

    generation: int
    fine: NDArray[np.float64]
    coarse: NDArray[np.float64]
    elsewhere: NDArray[np.float64] | None = None
    fine_step: NDArray[np.float32] | None = None
    coarse_step: NDArray[np.float32] | None = None
    gradient: NDArray[np.float32] | None = None


@own_threads()
def cohorts_in_both_precisions(path: Path, count: int, *, trust: bool = False) -> Iterator[ScorePair]:
    """The cohorts of generations after a checkpoint; the search continues with their scores in float32.

    Args:
        path: a run folder or one of its checkpoints; it is only read.
        count: how many generations.
        trust: run code that the run names even if it has not been run here before.

    Raises:
        UsageError: selection looks at more than the fitness of children and elites.
    """
    saved = open_saved(path, trust=trust)
    config = saved.config
    plain = parse_fitness(config.fitness)
    if plain.kind != "absolute" or len(plain.bases) > 1 or config.selection != "truncation":
        raise UsageError(
            f"expected a run with --selection truncation and one base as --fitness, got {config.selection} and "
            f"{config.fitness}; choose another run"
        )
    fine, coarse = (
        saved.components(dataclasses.replace(config, precision=precision)) for precision in ("float32", "bfloat16")
    )
    if kind_of(config.strategy).breeds:
        for _ in range(count):
            yield _bred(fine, coarse)
        return
    truth = _Truth(fine)
    for _ in range(count):
        yield _moved(fine, coarse, truth)


def _bred(fine: RunComponents, coarse: RunComponents) -> ScorePair:
    """A generation of a genetic algorithm."""
    cohort, again = fine.strategy.ask(), coarse.strategy.ask()
    scores, others = fine.executor.score(cohort), coarse.executor.score(again)
    elsewhere = fine.executor.score(Cohort(cohort.generation + 1, cohort.births, cohort.children))
    for side in (fine, coarse):
        side.search.after_tell(side.strategy.tell(scores))
    return ScorePair(cohort.generation, scores.fitness, others.fitness, elsewhere=elsewhere.fitness)


class _Truth:
    """The gradients that an evolution strategy estimates."""

    def __init__(self, components: RunComponents) -> None:
        config, task, search = components.config, components.task, components.search_as(EvolutionSearch)
        fresh = fresh_examples(task, search.evaluator.prepared)
        run_key = components.founders.run_key
        self._minibatches = Minibatches(search.executor.examples, config.batch, run_key, fresh)
        base = parse_fitness(config.fitness).bases[0]
        self._gradient = TrueGradient(components.module, task, base, torch.device(config.device))

    def at(self, search: EvolutionSearch, generation: int) -> dict[str, Any] | None:
        """The gradient at the centre on a generation's examples; None where there is none."""
        return self._gradient.at(search.strategy.parameters, self._minibatches.of(generation))


def _moved(fine: RunComponents, coarse: RunComponents, truth: _Truth) -> ScorePair:
    """A generation of an evolution strategy."""
    one, other = fine.search_as(EvolutionSearch), coarse.search_as(EvolutionSearch)
    cohort, again = one.strategy.ask(), other.strategy.ask()
    scores, others = one.executor.score(cohort), other.executor.score(again)
    found = truth.at(one, cohort.generation)
    one.strategy.tell(scores)
    other.strategy.tell(others)
    steps = [search.strategy.step for search in (one, other)]
    # Both continue from the same place.
    other.strategy.load_state_dict(one.strategy.state_dict())
    other.strategy.load_centre(one.strategy.centre)
    estimates = [_flat(step.gradient, fine) for step in steps if step is not None]
    gradient = None if found is None else _flat(found, fine)
    return ScorePair(
        cohort.generation, scores.fitness, others.fitness,
        fine_step=estimates[0], coarse_step=estimates[1], gradient=gradient,
    )  # fmt: skip


def _flat(parts: dict[str, Any], components: RunComponents) -> NDArray[np.float32]:
    return torch.cat([parts[name].flatten() for name in components.layout.names]).float().cpu().numpy()
