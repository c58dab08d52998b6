"""EGGROLL as the package torcheggroll has it: all members' weights stacked, one vmap; 3.5 GB at 1,024 members."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torcheggroll import TorchEggrollES

from .network import centre, examples_of, float32_only, module_of
from .problem import LEARNING_RATE, SIGMA, Problem

__all__ = ["centre", "make"]


def make(problem: Problem, population: int, rank: int, precision: str) -> Callable[[], object]:
    """A call that does one generation."""
    float32_only(precision)
    images, targets = examples_of(problem)
    strategy = TorchEggrollES(module_of(problem), pop_size=population, sigma=SIGMA, lr=LEARNING_RATE, rank=rank)
    return lambda: strategy.step(images, F.cross_entropy, targets)
