"""Kursawe's problem: two objectives at once, solved by NSGA-II; the front is printed.

As the multi-objective example of EvoTorch (``Kursawe`` with ``SteadyStateGA``). The three numbers that are searched for
are the weights of a module without inputs.

    python examples/two_objectives.py --generations 100
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

import galab


class Numbers(nn.Module):
    """Three numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(3))


def kursawe(module: Numbers) -> tuple[float, float]:
    """Two numbers to be small, of which one grows where the other shrinks (Kursawe 1991)."""
    x = module.x.detach().clamp(-5, 5)
    first = (-10 * (-0.2 * (x[:-1] ** 2 + x[1:] ** 2).sqrt()).exp()).sum()
    second = (x.abs() ** 0.8 + 5 * (x**3).sin()).sum()
    return float(first), float(second)


def main() -> None:
    """Search, and print the compromises that were found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generations", type=int, default=100)
    chosen = parser.parse_args()
    search = galab.Search(
        Numbers(), selection="nsga2", direction=("minimize", "minimize"), parents=64, children=64, survival="plus",
        sigma=0.5, crossover="parameter", seed=1,
    )  # fmt: skip
    for _ in range(chosen.generations):
        search.tell([kursawe(module) for module in search.ask()])
    front = sorted(told for _, told in search.front())
    print(f"{len(front)} compromises from {front[0]} to {front[-1]}")


if __name__ == "__main__":
    main()
