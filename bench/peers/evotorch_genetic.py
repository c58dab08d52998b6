"""EvoTorch's GeneticAlgorithm: 8 parents, as many children as asked for, the best 8 of all go on.

Operators are functions, which its documentation offers beside its own classes: its GaussianMutation draws a mask too
and took three times as long at 512 images. Fitness is a row-wise function, which EvoTorch runs under vmap.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from evotorch import Problem as Landscape
from evotorch import SolutionBatch
from evotorch.algorithms import GeneticAlgorithm
from evotorch.decorators import rowwise

from .network import flat, float32_only, loss_of_row
from .problem import PARENTS, SIGMA, Problem


def make(problem: Problem, population: int, rank: int, precision: str) -> Callable[[], object]:
    """A call that does one generation; ``rank`` has no meaning here."""
    del rank
    float32_only(precision)
    landscape = _landscape(problem)

    def born(parents: torch.Tensor) -> torch.Tensor:
        children = parents.repeat_interleave(population // len(parents), dim=0)
        return children + SIGMA * landscape.make_gaussian_shaped_like(children)

    search = GeneticAlgorithm(landscape, popsize=PARENTS, operators=[born], re_evaluate=False)
    return search.step


def centre(problem: Problem, precision: str) -> float:
    """Fitness of the unperturbed parameters among others, as a generation computes it."""
    float32_only(precision)
    landscape = _landscape(problem)
    members = SolutionBatch(landscape, popsize=3)
    members.set_values(torch.stack([flat(problem) * factor for factor in (0.5, 1.0, 2.0)]))
    landscape.evaluate(members)
    return -float(members.evals[1, 0])


def _landscape(problem: Problem) -> Landscape:
    logging.getLogger("evotorch").setLevel(logging.WARNING)
    length = len(flat(problem))
    fitness = rowwise(loss_of_row(problem))
    return Landscape("min", fitness, solution_length=length, initial_bounds=(-0.05, 0.05), dtype=torch.float32)
