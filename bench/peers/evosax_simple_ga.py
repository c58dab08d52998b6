"""evosax's SimpleGA: the best 8 breed by mutation; ask, evaluation under vmap and tell in one jit."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from evosax.algorithms import SimpleGA

from .evosax_open_es import centre, evaluated
from .problem import PARENTS, SIGMA, Problem

__all__ = ["centre", "make"]


def make(problem: Problem, population: int, rank: int, precision: str) -> Callable[[], object]:
    """A call that does one generation, compiled at its first; ``rank`` has no meaning here."""
    del rank
    first = {name: jnp.asarray(value) for name, value in problem.parameters.items()}
    images, targets = jnp.asarray(problem.inputs, precision), jnp.asarray(problem.targets, jnp.int32)
    strategy = SimpleGA(population, first, std_schedule=optax.constant_schedule(SIGMA))
    strategy.elite_ratio = PARENTS / population
    options = strategy.default_params

    @jax.jit
    def generation(state: object, key: jax.Array) -> tuple[object, jax.Array, jax.Array]:
        key, ask, tell = jax.random.split(key, 3)
        members, state = strategy.ask(ask, state, options)
        losses = evaluated(members, images, targets)
        state, _ = strategy.tell(tell, members, losses, state, options)
        return state, key, losses

    members = {name: jnp.stack([value] * population) for name, value in first.items()}
    state = strategy.init(jax.random.key(0), members, evaluated(members, images, targets), options)
    key = jax.random.key(1)

    def step() -> object:
        nonlocal state, key
        state, key, losses = generation(state, key)
        return jax.block_until_ready((state, losses))

    return step
