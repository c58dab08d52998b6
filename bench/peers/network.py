"""The problem's network as a torch module, which the torch libraries are given; they know float32 only here."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector

from .problem import Problem


def module_of(problem: Problem) -> nn.Sequential:
    """The network with the problem's weights."""
    hidden, inputs = problem.weight1.shape
    module = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, len(problem.bias2)))
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), problem.parameters.values(), strict=True):
            parameter.copy_(torch.from_numpy(value))
    return module


def examples_of(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, inputs) and classes (B,)."""
    return torch.from_numpy(problem.inputs), torch.from_numpy(problem.targets)


@torch.no_grad()
def fitness(module: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> float:
    """Minus the mean cross-entropy."""
    return -F.cross_entropy(module(images), targets).item()


def float32_only(precision: str) -> None:
    """Refuse what these libraries are not measured in."""
    if precision != "float32":
        raise ValueError(f"expected precision float32 (the torch libraries follow the module's), got {precision}")


def centre(problem: Problem, precision: str) -> float:
    """Fitness of the unperturbed parameters."""
    float32_only(precision)
    return fitness(module_of(problem), *examples_of(problem))


def flat(problem: Problem) -> torch.Tensor:
    """All weights of the network in one row (D,)."""
    return parameters_to_vector(module_of(problem).parameters()).detach()


def loss_of_row(problem: Problem) -> Callable[[torch.Tensor], torch.Tensor]:
    """Cross-entropy of the weights in a row (D,), as a function that ``vmap`` takes."""
    images, targets = examples_of(problem)
    module = module_of(problem)
    shapes = {name: value.shape for name, value in module.named_parameters()}
    sizes = [shape.numel() for shape in shapes.values()]

    def loss(row: torch.Tensor) -> torch.Tensor:
        parts = zip(shapes.items(), row.split(sizes), strict=True)
        return F.cross_entropy(functional_call(module, {name: p.view(s) for (name, s), p in parts}, (images,)), targets)

    return loss
