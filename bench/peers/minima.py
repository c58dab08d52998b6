"""Minima that evosax and EvoTorch find by SNES and PGPE: what ``bench/minimize.py`` compares with galab's.

``python -m peers.minima IN OUT`` reads an ``.npz`` with ``starts`` (F, S, D), a row for each of ``FUNCTIONS`` and seed,
``sigmas`` (F,), ``population``, ``evaluations``, and ``speed`` (F,), EvoTorch's ``center_learning_rate`` of PGPE. It
writes ``LIBRARY_STRATEGY`` (F, S): the best value that each search evaluated. All in float64.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from evosax.algorithms import PGPE, SNES
from evotorch import Problem
from evotorch.algorithms import PGPE as TorchPGPE
from evotorch.algorithms import SNES as TorchSNES
from numpy.typing import NDArray

from .functions import FUNCTIONS, Function

Given = dict[str, Any]


def evosax_minima(kind: Any, function: Function, number: int, given: Given) -> NDArray[np.float64]:
    """(S,) with evosax's defaults, all seeds at once."""
    population = int(given["population"])
    strategy = kind(population, jnp.zeros(given["starts"].shape[-1]))
    options = strategy.default_params.replace(std_init=jnp.asarray(given["sigmas"][number]))

    def generation(state: Any, key: jax.Array) -> tuple[Any, None]:
        ask, tell = jax.random.split(key)
        members, state = strategy.ask(ask, state, options)
        state, _ = strategy.tell(tell, members, function.of(members, jnp.cos), state, options)
        return state, None

    def searched(seed: jax.Array, start: jax.Array) -> jax.Array:
        first, others = jax.random.split(jax.random.key(seed))
        state = strategy.init(first, start, options)
        keys = jax.random.split(others, int(given["evaluations"]) // population)
        return jax.lax.scan(generation, state, keys)[0].best_fitness

    starts = jnp.asarray(given["starts"][number])
    return np.asarray(jax.jit(jax.vmap(searched))(jnp.arange(len(starts)), starts))


def evotorch_minima(kind: Any, function: Function, number: int, given: Given) -> NDArray[np.float64]:
    """(S,) with EvoTorch's defaults; its PGPE has none for two learning rates and gets those of galab."""
    population, found = int(given["population"]), []
    rates = {"center_learning_rate": float(given["speed"][number]), "stdev_learning_rate": 0.1}
    for seed, start in enumerate(torch.from_numpy(given["starts"][number])):
        problem = Problem(
            "min", lambda points: function.of(points, torch.cos), solution_length=len(start), dtype=torch.float64,
            vectorized=True, seed=seed, initial_bounds=(-function.high, function.high),
        )  # fmt: skip
        search = kind(
            problem, popsize=population, center_init=start, stdev_init=float(given["sigmas"][number]),
            **(rates if kind is TorchPGPE else {}),
        )  # fmt: skip
        for _ in range(int(given["evaluations"]) // population):
            search.step()
        found.append(float(search.status["best_eval"]))
    return np.array(found)


def main(source: Path, target: Path) -> None:
    """Read, search, write."""
    jax.config.update("jax_enable_x64", True)
    torch.set_num_threads(1)
    logging.getLogger("evotorch").setLevel(logging.WARNING)
    with np.load(source) as file:
        given = dict(file.items())
    sides = {
        "evosax_snes": (evosax_minima, SNES),
        "evosax_pgpe": (evosax_minima, PGPE),
        "evotorch_snes": (evotorch_minima, TorchSNES),
        "evotorch_pgpe": (evotorch_minima, TorchPGPE),
    }
    np.savez(
        target,
        **{
            name: np.stack([minima(kind, one, number, given) for number, one in enumerate(FUNCTIONS.values())])
            for name, (minima, kind) in sides.items()
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
