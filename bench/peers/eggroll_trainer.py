"""EGGROLL as the package eggroll-trainer has it: a loop over members, each with its weights written into the module."""

from __future__ import annotations

from collections.abc import Callable

from eggroll_trainer import EGGROLLTrainer

from .network import centre, examples_of, fitness, float32_only, module_of
from .problem import LEARNING_RATE, SIGMA, Problem

__all__ = ["centre", "make"]


def make(problem: Problem, population: int, rank: int, precision: str) -> Callable[[], object]:
    """A call that does one generation."""
    float32_only(precision)
    module, examples = module_of(problem), examples_of(problem)
    trainer = EGGROLLTrainer(
        module.parameters(),
        module,
        lambda member: fitness(member, *examples),
        population_size=population,
        learning_rate=LEARNING_RATE,
        sigma=SIGMA,
        rank=rank,
        noise_reuse=2,  # this library's way to ask for antithetic pairs
        seed=0,
    )
    return trainer.step
