"""Evolution strategies without a network, and their directions written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.contracts import Outcome, Scores
from galab.genome.random import table
from galab.genome.weights import Layout
from galab.operators.es_noise import DenseNoise, Directions, Noise, Plan, plan_of
from galab.strategies.evolution import EvolutionStrategy

LAYOUT = Layout(("first.weight", "first.bias", "second.weight"), ((6, 5), (6,), (3, 6)))
MATRICES = ("first.weight", "second.weight")
CPU = torch.device("cpu")


def directions_of(plan: Plan, seed: int = 3, count: int = 4096) -> Directions:
    """The noise of a run."""
    return Directions(plan, table("normal"), seed, CPU, 1 << 26, count)


def formed(noise: Noise) -> torch.Tensor:
    """(Q, D) every direction as one vector, in float64 and by the definition: A B^T / sqrt(r)."""
    parts = []
    for part in noise.values():
        if isinstance(part, DenseNoise):
            parts.append(part.values.double().flatten(1))
        else:
            product = torch.einsum("qmr,qnr->qmn", part.a.double(), part.b.double())
            parts.append((product / part.a.shape[2] ** 0.5).flatten(1))
    return torch.cat(parts, dim=1)


def all_formed(directions: Directions, generation: int, count: int) -> torch.Tensor:
    """(count, D) the first directions of a generation."""
    return torch.cat([formed(noise) for _, noise in directions.between(generation, 0, count)])


def strategy(layout: Layout = LAYOUT, rank: int | None = 2, **changes: Any) -> EvolutionStrategy:
    """A strategy that starts at zero."""
    values = {"strategy": "eggroll", "population": 16, "sigma": 0.5, "lr": 0.25, "pairs": "antithetic", "seed": 3}
    config = decide(RunConfig(**values | changes))
    plan = plan_of(layout, rank, [name for name in layout.names if "weight" in name])
    directions = directions_of(plan, count=config.population)
    return EvolutionStrategy(config, layout, np.zeros(layout.size, np.float32), directions, CPU)


def members(es: EvolutionStrategy, seed: int = 3) -> np.ndarray:
    """(N, D) float64, the weights of the cohort that is asked for next; asks."""
    cohort = es.ask()
    count = int(cohort.births["id"].max()) + 1
    directions = directions_of(es._directions.plan, seed, count)
    noise = all_formed(directions, es.noise_of(cohort.generation), count).numpy()
    steps = noise[cohort.births["id"]] * cohort.births["sign"][:, None]
    return es.centre.astype(np.float64) + es.sigma(cohort.generation) * steps


def play(es: EvolutionStrategy, fitness: Callable[[np.ndarray], np.ndarray], generations: int = 1) -> Outcome:
    """Some generations on a function of (N, D) weights."""
    for _ in range(generations):
        outcome = es.tell(Scores(fitness(members(es))))
    return outcome
