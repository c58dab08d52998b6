"""EvoX has no genetic algorithm for one objective; its OpenES with a draw for each individual is the nearest.

Evaluated by EvoX's own problem for supervised learning, which runs all individuals under vmap.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from evox.algorithms import OpenES
from evox.problems.neuroevolution.supervised_learning import SupervisedLearningProblem
from evox.utils import ParamsAndVector
from evox.workflows import StdWorkflow
from torch import nn
from torch.utils.data import DataLoader

from .network import examples_of, flat, float32_only, module_of
from .problem import LEARNING_RATE, SIGMA, Problem


def make(problem: Problem, population: int, rank: int, precision: str) -> Callable[[], object]:
    """A call that does one generation; ``rank`` has no meaning here."""
    del rank
    float32_only(precision)
    algorithm = OpenES(population, flat(problem), LEARNING_RATE * SIGMA, SIGMA, mirrored_sampling=False)
    adapter = ParamsAndVector(dummy_model=module_of(problem))
    workflow = StdWorkflow(algorithm, _supervised(problem, population), solution_transform=adapter)

    def step() -> object:
        with torch.no_grad():
            return workflow.step()

    step()
    return step


def centre(problem: Problem, precision: str) -> float:
    """Fitness of the unperturbed parameters among others, as a generation computes it."""
    float32_only(precision)
    rows = torch.stack([flat(problem) * factor for factor in (0.5, 1.0, 2.0)])
    adapter = ParamsAndVector(dummy_model=module_of(problem))
    with torch.no_grad():
        return -float(_supervised(problem, len(rows)).evaluate(adapter(rows))[1])


def _supervised(problem: Problem, population: int) -> SupervisedLearningProblem:
    # One batch that is ready: a loader that puts it together image by image would be measured instead of EvoX.
    loader = DataLoader([examples_of(problem)], batch_size=None)
    criterion = nn.CrossEntropyLoss(reduction="none")
    return SupervisedLearningProblem(module_of(problem), loader, criterion, n_batch_per_eval=-1, pop_size=population)
