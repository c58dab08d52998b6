"""The package eggroll-es: a loop over members; its noise is dense, a product of factors entry by entry."""

from __future__ import annotations

from collections.abc import Callable

import torch
from eggroll.core import EggrollConfig
from eggroll.trainer import EggrollTrainer
from torch import nn

from .network import centre, examples_of, fitness, float32_only, module_of
from .problem import LEARNING_RATE, SIGMA, Problem

__all__ = ["centre", "make"]


def make(problem: Problem, population: int, rank: int, precision: str) -> Callable[[], object]:
    """A call that does one generation."""
    float32_only(precision)
    # This library counts pairs, not members.
    options = EggrollConfig(
        population_size=population // 2, rank=rank, sigma=SIGMA, lr=LEARNING_RATE, generations=1, device="cpu", seed=0
    )

    def reward(member: nn.Module, batch: dict[str, torch.Tensor]) -> float:
        return fitness(member, batch["images"], batch["targets"])

    trainer = EggrollTrainer(module_of(problem), options, reward)
    images, targets = examples_of(problem)
    return lambda: trainer.evolve([{"images": images, "targets": targets}])
