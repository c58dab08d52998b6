"""A small classification task and members of small networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from torch import nn

from galab.genome.phenotype import Layout, Phenotype, from_float
from galab.tasks.classification import Classification


def classification(shape: tuple[int, ...] = (6,), examples: int = 70, classes: int = 5) -> Classification:
    """Random images with random classes."""
    generator = np.random.Generator(np.random.Philox(0))

    def split(count: int):
        inputs = generator.standard_normal((count, *shape)).astype(np.float32)
        return inputs, generator.integers(0, classes, count)

    return Classification(
        name="noise", train=split(examples), validation=split(9), test=split(8), classes=classes
    )


def layout_of(module: nn.Module) -> Layout:
    named = list(module.named_parameters())
    return Layout(tuple(name for name, _ in named), tuple(tuple(value.shape) for _, value in named))


def members_of(module: nn.Module, count: int, spread: float = 0.3) -> list[Phenotype]:
    """Members with random weights."""
    generator = np.random.Generator(np.random.Philox(1))
    size = layout_of(module).size
    return [Phenotype(from_float(generator.standard_normal(size) * spread), 0) for _ in range(count)]


@pytest.fixture
def task() -> Classification:
    return classification()


@pytest.fixture
def make_task() -> Callable[..., Classification]:
    return classification


@pytest.fixture
def make_members() -> Callable[..., list[Phenotype]]:
    return members_of


@pytest.fixture
def find_layout() -> Callable[[nn.Module], Layout]:
    return layout_of
