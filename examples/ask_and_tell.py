"""The ask-and-tell loop of OpenAI-ES on a network that shall learn XOR; every score is a Python function's.

As the first examples of evosax (``params = strategy.ask(...)``, ``strategy.tell(...)``), with a module in the place of
a vector and no gradient anywhere.

    python examples/ask_and_tell.py --generations 200
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

import galab

INPUTS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
WANTED = torch.tensor([[0.0], [1.0], [1.0], [0.0]])


def error(network: nn.Module) -> float:
    """Mean squared error over the four cases."""
    with torch.no_grad():
        return float((network(INPUTS) - WANTED).square().mean())


def main() -> None:
    """Search, and print what the network answers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generations", type=int, default=200)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    strategy = galab.ESOptimizer(
        network, population_size=128, sigma=0.1, rank=None, optimizer="adam", learning_rate=0.05,
        reward_shaping_fn="centred-ranks", direction="minimize",
    )  # fmt: skip
    for _ in range(chosen.generations):
        population = strategy.ask()
        strategy.tell([error(member) for member in population.each()])
    with torch.no_grad():
        print(f"error {error(network):.4f}; answers {[round(float(y), 2) for y in network(INPUTS)]} for 0, 1, 1, 0")


if __name__ == "__main__":
    main()
