"""A small classification task and members of small networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from noise_task import classification
from torch import nn

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.evaluation.blocks import Minibatches
from galab.evaluation.dense_evaluator import Evaluator
from galab.evaluation.executors.local import LocalExecutor
from galab.evaluation.sources import GenomeSource
from galab.genome.decoder import Decoder
from galab.genome.initial import founders_given, founders_of
from galab.genome.random import table
from galab.genome.weights import Layout, Phenotype, from_float
from galab.models import MLP
from galab.strategies.build import developer, step_size_rule
from galab.strategies.genetic import GeneticAlgorithm
from galab.tasks.classification import Classification


def layout_of(module: nn.Module) -> Layout:
    named = list(module.named_parameters())
    return Layout(tuple(name for name, _ in named), tuple(tuple(value.shape) for _, value in named))


def members_of(module: nn.Module, count: int, spread: float = 0.3) -> list[Phenotype]:
    """Members with random weights."""
    generator = np.random.Generator(np.random.Philox(1))
    size, step_size = layout_of(module).size, np.zeros(1, np.int16)
    return [Phenotype(from_float(generator.standard_normal(size) * spread), step_size) for _ in range(count)]


class Bench:
    """A strategy and an executor over one small network; further options are the executor's."""

    def __init__(self, task, *, batch=0, fitness="cross-entropy", edge=False, sigma=0.05, cache=2**20, **options):
        with torch.random.fork_rng():
            torch.manual_seed(3)  # at the edge, its own weights are the founders
            self.module = MLP((6,), 5, hidden=(7,)).eval().requires_grad_(False)
        founders = founders_of(self.module, 3)
        if edge:
            state = {name: value.clone() for name, value in self.module.state_dict().items()}
            state["output.bias"].fill_(127.999)
            founders = founders_given(self.module, state, 3)
        config = decide(RunConfig(seed=3, parents=3, children=14, elites=2, sigma=sigma, step_size="fixed"))
        self.strategy = GeneticAlgorithm(config, step_size_rule(config, 3), fixed_data=batch == 0)
        births = developer(config, founders, table("normal"))
        self.decoder = Decoder(births, self.strategy.pedigree, cache_bytes=cache)
        self.evaluator = Evaluator(
            self.module, founders.layout, task, chunk=5, precision="float32", device=torch.device("cpu")
        )
        self.minibatches = Minibatches(task.train, batch, 3)
        self.here = LocalExecutor(
            GenomeSource(self.decoder, self.evaluator), self.minibatches, fitness=fitness, **options
        )


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


@pytest.fixture
def bench_of(task) -> Callable[..., Bench]:
    return lambda own_task=None, **options: Bench(own_task or task, **options)
