"""The generations of a run scored in two precisions: the same members on the same examples, from a checkpoint on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.contracts import Cohort
from galab.errors import UsageError
from galab.evaluation.minibatch import Minibatches, fresh_examples
from galab.lab.contenders import of_run, restore
from galab.lab.evolution_search import EvolutionSearch
from galab.lab.experiment import Experiment, build, own_threads
from galab.lab.genetic_search import GeneticSearch
from galab.lab.gradients import TrueGradient
from galab.specs import parse_fitness


@dataclass(frozen=True, slots=True)
class Twice:
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
def cohorts_twice(path: Path, count: int, *, trust: bool = False) -> Iterator[Twice]:
    """The cohorts of generations after a checkpoint; the search goes on by their scores in float32.

    Args:
        path: a run folder or one of its checkpoints; it is only read.
        count: how many generations.
        trust: run code that the run names even if nobody here has run it before.

    Raises:
        UsageError: selection looks at more than the fitness of children and elites.
    """
    bench = of_run(path, trust=trust)
    config = bench.config
    plain = parse_fitness(config.fitness)
    if plain.kind != "absolute" or len(plain.bases) > 1 or config.selection != "truncation":
        raise UsageError(
            f"expected a run with --selection truncation and one base as --fitness, got {config.selection} and "
            f"{config.fitness}; choose another run"
        )
    sides = []
    for precision in ("float32", "bfloat16"):
        own = dataclasses.replace(config, precision=precision)
        experiment = build(own, bench.module, bench.task, law=bench.law, founders=bench.founders)
        if bench.run is None:
            experiment.search.begin()
        else:
            restore(experiment, *bench.run)
        sides.append(experiment)
    fine, coarse = sides
    if isinstance(fine.search, GeneticSearch):
        for _ in range(count):
            yield _bred(fine, coarse)
        return
    truth = _Truth(fine)
    for _ in range(count):
        yield _moved(fine, coarse, truth)


def _bred(fine: Experiment, coarse: Experiment) -> Twice:
    """A generation of a genetic algorithm."""
    search = fine.search
    assert isinstance(search, GeneticSearch)
    cohort, again = fine.strategy.ask(), coarse.strategy.ask()
    scores, others = fine.executor.score(cohort), coarse.executor.score(again)
    elsewhere = fine.executor.score(Cohort(cohort.generation + 1, cohort.births, cohort.children))
    for side in (fine, coarse):
        side.search.after(side.strategy.tell(scores))
    return Twice(cohort.generation, scores.fitness, others.fitness, elsewhere=elsewhere.fitness)


class _Truth:
    """The gradients that an evolution strategy estimates."""

    def __init__(self, experiment: Experiment) -> None:
        config, task, search = experiment.config, experiment.task, experiment.search
        assert isinstance(search, EvolutionSearch)
        fresh = fresh_examples(task, search.evaluator.prepared)
        run_key = experiment.founders.run_key
        self._minibatches = Minibatches(search.executor.examples, config.batch, run_key, fresh)
        base = parse_fitness(config.fitness).bases[0]
        self._gradient = TrueGradient(experiment.module, task, base, torch.device(config.device))

    def at(self, search: EvolutionSearch, generation: int) -> dict[str, Any] | None:
        """The gradient at the centre on a generation's examples; None where there is none."""
        return self._gradient.at(search.strategy.parameters, self._minibatches.of(generation))


def _moved(fine: Experiment, coarse: Experiment, truth: _Truth) -> Twice:
    """A generation of an evolution strategy."""
    one, other = fine.search, coarse.search
    assert isinstance(one, EvolutionSearch)
    assert isinstance(other, EvolutionSearch)
    cohort, again = one.strategy.ask(), other.strategy.ask()
    scores, others = one.executor.score(cohort), other.executor.score(again)
    found = truth.at(one, cohort.generation)
    one.strategy.tell(scores)
    other.strategy.tell(others)
    steps = [search.strategy.step for search in (one, other)]
    # Both go on from the same place.
    other.strategy.load_state_dict(one.strategy.state_dict())
    other.strategy.load_centre(one.strategy.centre)
    estimates = [_flat(step.gradient, fine) for step in steps if step is not None]
    gradient = None if found is None else _flat(found, fine)
    return Twice(
        cohort.generation, scores.fitness, others.fitness,
        fine_step=estimates[0], coarse_step=estimates[1], gradient=gradient,
    )  # fmt: skip


def _flat(parts: dict[str, Any], experiment: Experiment) -> NDArray[np.float32]:
    return torch.cat([parts[name].flatten() for name in experiment.layout.names]).float().cpu().numpy()
