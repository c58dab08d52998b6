"""Updates of SNES and PGPE by evosax and EvoTorch from given normals: what galab's are compared with.

``python -m peers.updates IN OUT`` reads an ``.npz`` with ``noise`` (G, P, D), mirrored members side by side,
``fitness`` (G, P), higher is better, ``start`` (D,) and the numbers ``sigma``, ``lr_centre``, ``max_speed``,
``momentum``, ``lr_sigma`` and ``max_change``; the last five are PGPE's. It writes ``LIBRARY_STRATEGY`` (G, 2, D) for
each library and strategy: centre and step sizes after each generation. All in float64.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from evosax.algorithms import PGPE, SNES
from evosax.core.optimizer import clipup
from evotorch.algorithms.functional import pgpe, pgpe_tell
from evotorch.distributions import ExpSeparableGaussian
from numpy.typing import NDArray

Array = NDArray[np.float64]
Given = dict[str, Any]


def evosax_snes(given: Given) -> Array:
    """All of evosax's defaults."""
    strategy = SNES(given["noise"].shape[1], jnp.asarray(given["start"]))
    params = strategy.default_params.replace(std_init=jnp.asarray(given["sigma"]))
    return _evosax(strategy, params, given)


def evosax_pgpe(given: Given) -> Array:
    """PGPE with ClipUp; its members are all plus, then all minus."""
    optimizer = clipup(given["lr_centre"], given["max_speed"], given["momentum"])
    strategy = PGPE(given["noise"].shape[1], jnp.asarray(given["start"]), optimizer=optimizer)
    params = strategy.default_params.replace(
        std_init=given["sigma"], std_lr=given["lr_sigma"], std_max_change=given["max_change"]
    )
    sides = {
        name: np.concatenate([given[name][:, 0::2], given[name][:, 1::2]], axis=1) for name in ("noise", "fitness")
    }
    return _evosax(strategy, params, given | sides)


def _evosax(strategy: Any, params: Any, given: Given) -> Array:
    key = jax.random.key(0)
    state = strategy.init(key, jnp.asarray(given["start"]), params)
    found = []
    for noise, fitness in zip(given["noise"], given["fitness"], strict=True):
        members = state.mean + state.std * jnp.asarray(noise)
        state, _ = strategy.tell(key, members, -jnp.asarray(fitness), state, params)
        found.append(np.stack([state.mean, state.std]))
    return np.stack(found)


def evotorch_snes(given: Given) -> Array:
    """EvoTorch's distribution and ranking, with the learning rates that its SNES has by default."""
    size = len(given["start"])
    rates = {"mu": 1.0, "sigma": 0.2 * (3 + math.log(size)) / math.sqrt(size)}
    start = torch.from_numpy(given["start"])
    law = ExpSeparableGaussian({"mu": start, "sigma": torch.full_like(start, given["sigma"])})
    found = []
    for noise, fitness in _tensors(given):
        gradients = law.compute_gradients(
            law.mu + law.sigma * noise, fitness, objective_sense="max", ranking_method="nes"
        )
        law = law.update_parameters(gradients, learning_rates=rates)
        found.append(np.stack([law.mu.numpy(), law.sigma.numpy()]))
    return np.stack(found)


def evotorch_pgpe(given: Given) -> Array:
    """The functional form of EvoTorch's PGPE with ClipUp."""
    state = pgpe(
        center_init=torch.from_numpy(given["start"]),
        center_learning_rate=given["lr_centre"],
        stdev_learning_rate=given["lr_sigma"],
        objective_sense="max",
        optimizer_config={"max_speed": given["max_speed"], "momentum": given["momentum"]},
        stdev_init=given["sigma"],
        stdev_max_change=given["max_change"],
    )
    found = []
    for noise, fitness in _tensors(given):
        state = pgpe_tell(state, state.optimizer_state.center + state.stdev * noise, fitness)
        found.append(np.stack([state.optimizer_state.center.numpy(), state.stdev.numpy()]))
    return np.stack(found)


def _tensors(given: Given) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(torch.from_numpy(given["noise"]), torch.from_numpy(given["fitness"]), strict=True))


#: By the name of the result.
UPDATES: dict[str, Callable[[Given], Array]] = {
    "evosax_snes": evosax_snes,
    "evosax_pgpe": evosax_pgpe,
    "evotorch_snes": evotorch_snes,
    "evotorch_pgpe": evotorch_pgpe,
}


def main(source: Path, target: Path) -> None:
    """Read, update, write."""
    jax.config.update("jax_enable_x64", True)
    with np.load(source) as file:
        given = {name: value if value.ndim else float(value) for name, value in file.items()}
    np.savez(target, **{name: update(given) for name, update in UPDATES.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
