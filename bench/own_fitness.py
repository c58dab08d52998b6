"""A fitness in plain Python: galab's networks beside a loop written by hand, which draws and scores them one by one."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from timing import Row, interleaved, ratio_row
from torch import nn

import galab

_MEMBERS, _PARENTS, _IMAGES, _SIGMA = 64, 8, 256, 0.02
_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "MLP 784-128-10": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)),
    "CNN of 7,142 weights": lambda: nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(576, 10),
    ),
}  # fmt: skip


def own_fitness_rows(rounds: int) -> list[Row]:
    """A generation of 64 members on 256 images, by the genetic algorithm and by EGGROLL."""
    torch.manual_seed(0)
    images, labels = torch.rand(_IMAGES, 1, 28, 28), torch.randint(0, 10, (_IMAGES,))

    @torch.no_grad()
    def fitness(network: nn.Module) -> float:
        return -float(nn.functional.cross_entropy(network(images), labels))

    rows = []
    for name, make in _NETWORKS.items():
        sides = {
            "genetic algorithm": _search(make(), fitness), "genetic algorithm, loop": _genetic_loop(make(), fitness),
            "EGGROLL": _optimizer(make(), fitness), "EGGROLL, loop": _eggroll_loop(make(), fitness),
        }  # fmt: skip
        times = interleaved(sides, rounds)
        for method in ("genetic algorithm", "EGGROLL"):
            loop = times[f"{method}, loop"]
            rows.append(Row(f"{name}, {method}: a generation", times[method], "ms"))
            rows.append(Row(f"{name}, {method}: the loop by hand", loop, "ms"))
            rows.append(ratio_row(f"{name}, {method}: galab beside the loop", times[method], loop, 1.0, "most"))
    return rows


Fitness = Callable[[nn.Module], float]


def _search(network: nn.Module, fitness: Fitness) -> Callable[[], None]:
    search = galab.Search(
        network, parents=_PARENTS, children=_MEMBERS, sigma=_SIGMA, step_size="fixed", crossover="none",
        keep_weights=False, seed=1,
    )  # fmt: skip

    def generation() -> None:
        search.tell([fitness(one) for one in search.ask()])

    return generation


def _optimizer(network: nn.Module, fitness: Fitness) -> Callable[[], None]:
    optimizer = galab.ESOptimizer(network, population_size=_MEMBERS, sigma=_SIGMA, learning_rate=0.1, seed=1)

    def generation() -> None:
        optimizer.tell([fitness(one) for one in optimizer.ask().each()])

    return generation


@torch.no_grad()
def _genetic_loop(network: nn.Module, fitness: Fitness) -> Callable[[], None]:
    own = list(network.parameters())
    parents = [[value + _SIGMA * torch.randn_like(value) for value in own] for _ in range(_PARENTS)]

    @torch.no_grad()
    def generation() -> None:
        children, scores = [], []
        for number in range(_MEMBERS):
            children.append([value + _SIGMA * torch.randn_like(value) for value in parents[number % _PARENTS]])
            for value, new in zip(own, children[-1], strict=True):
                value.copy_(new)
            scores.append(fitness(network))
        order = sorted(range(_MEMBERS), key=lambda number: -scores[number])
        parents[:] = [children[number] for number in order[:_PARENTS]]

    return generation


def _eggroll_loop(network: nn.Module, fitness: Fitness) -> Callable[[], None]:
    """Factors of rank 1 for matrices, dense noise for vectors, z-scores, plain SGD (Sarkar et al. 2025, alg. 1)."""
    own = list(network.parameters())

    def noise(value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if value.dim() < 2:
            return (torch.randn_like(value),)
        return torch.randn(value.shape[0], 1), torch.randn(1, value[0].numel())

    def product(factors: tuple[torch.Tensor, ...], value: torch.Tensor) -> torch.Tensor:
        return functools.reduce(torch.matmul, factors).view_as(value)

    @torch.no_grad()
    def generation() -> None:
        centre = [value.clone() for value in own]
        drawn, scores = [], []
        for _ in range(_MEMBERS):
            drawn.append([noise(value) for value in own])
            for value, mean, factors in zip(own, centre, drawn[-1], strict=True):
                value.copy_(mean + _SIGMA * product(factors, value))
            scores.append(fitness(network))
        told = torch.tensor(scores)
        weights = (told - told.mean()) / (told.std() + 1e-8)
        for place, (value, mean) in enumerate(zip(own, centre, strict=True)):
            step = sum(float(w) * product(one[place], value) for w, one in zip(weights, drawn, strict=True))
            value.copy_(mean + 0.1 / _MEMBERS * step)

    return generation
