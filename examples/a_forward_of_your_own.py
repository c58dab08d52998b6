"""All members in one forward of one's own: stacked parameters, ``(N, ...)`` tensors by name, and ``torch.func.vmap``.

As in evosax, where a population is a stack of parameters and ``jax.vmap`` runs them: here with torch, on a regression.

    python examples/a_forward_of_your_own.py --generations 150
"""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.func import functional_call, vmap

import galab


def main() -> None:
    """Fit a sine, and print the error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generations", type=int, default=150)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    x = torch.linspace(-3, 3, 64).unsqueeze(1)
    network = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    strategy = galab.ESOptimizer(
        network, population_size=128, sigma=0.05, optimizer="adam", learning_rate=0.03, direction="minimize"
    )

    def error(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        """The error of one member, given its parameters by name."""
        return (functional_call(network, parameters, (x,)) - x.sin()).square().mean()

    for _ in range(chosen.generations):
        stacked = strategy.ask().parameters()  # name to (128, *shape)
        with torch.no_grad():
            strategy.tell(vmap(error)(stacked))
    with torch.no_grad():
        print(f"mean squared error {(network(x) - x.sin()).square().mean():.4f}")


if __name__ == "__main__":
    main()
