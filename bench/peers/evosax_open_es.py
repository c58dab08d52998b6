"""OpenAI-ES with dense noise as evosax has it: ask, evaluate under vmap, tell, in one jit (arXiv 1703.03864)."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from evosax.algorithms import Open_ES

from .problem import LEARNING_RATE, SIGMA, Problem

Parameters = dict[str, jax.Array]


def make(problem: Problem, population: int, rank: int, precision: str) -> Callable[[], object]:
    """A call that does one generation, compiled at its first; ``rank`` has no meaning here."""
    del rank
    mean = {name: jnp.asarray(value) for name, value in problem.parameters.items()}
    images, targets = jnp.asarray(problem.inputs, precision), jnp.asarray(problem.targets, jnp.int32)
    strategy = Open_ES(
        population, mean, optimizer=optax.sgd(LEARNING_RATE), std_schedule=optax.constant_schedule(SIGMA)
    )
    options = strategy.default_params

    @jax.jit
    def generation(key: jax.Array, state: object, images: jax.Array, targets: jax.Array) -> tuple[object, jax.Array]:
        ask, tell = jax.random.split(key)
        members, state = strategy.ask(ask, state, options)
        losses = jax.vmap(_loss, in_axes=(0, None, None))(members, images, targets)
        state, _ = strategy.tell(tell, members, losses, state, options)
        return state, losses

    state, key = strategy.init(jax.random.key(0), mean, options), jax.random.key(1)

    def step() -> object:
        nonlocal state, key
        key, now = jax.random.split(key)
        state, losses = generation(now, state, images, targets)
        return jax.block_until_ready((state, losses))

    return step


def centre(problem: Problem, precision: str) -> float:
    """Fitness of the unperturbed parameters."""
    parameters = {name: jnp.asarray(value) for name, value in problem.parameters.items()}
    images, targets = jnp.asarray(problem.inputs, precision), jnp.asarray(problem.targets, jnp.int32)
    return -float(_loss(parameters, images, targets))


def _loss(parameters: Parameters, images: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean cross-entropy, which evosax minimises; the layers in the images' precision."""
    own = {name: value.astype(images.dtype) for name, value in parameters.items()}
    hidden = jax.nn.relu(images @ own["weight1"].T + own["bias1"])
    logits = (hidden @ own["weight2"].T + own["bias2"]).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()
