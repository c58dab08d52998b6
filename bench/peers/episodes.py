"""Steps a second of EvoTorch's GymNE on CartPole, one environment at a time, as its documentation shows it."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from evotorch.neuroevolution import GymNE


def main(source: str, target: str) -> None:
    """Evaluate members with a network of one hidden layer, and write steps a second.

    Args:
        source: arrays ``hidden``, ``episodes``, ``members``.
        target: where ``speed`` goes.
    """
    given = np.load(source)
    network = f"Linear(4, {int(given['hidden'])}) >> Tanh() >> Linear({int(given['hidden'])}, 2)"
    torch.manual_seed(0)
    problem = GymNE("CartPole-v1", network, num_episodes=int(given["episodes"]), initial_bounds=(-0.5, 0.5))
    problem.evaluate(problem.generate_batch(2))
    before = problem.status["total_interaction_count"]
    members = problem.generate_batch(int(given["members"]))
    began = time.perf_counter()
    problem.evaluate(members)
    spent = time.perf_counter() - began
    np.savez(target, speed=np.array((problem.status["total_interaction_count"] - before) / spent))


if __name__ == "__main__":
    main(*sys.argv[1:])
