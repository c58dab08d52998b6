"""OpenAI-ES with dense noise as evosax has it: ask, evaluate under vmap, tell (arXiv 1703.03864).

Each of the three is compiled by itself, as in a plain loop around evosax: inside one jit, XLA took 1.2 to 1.5 times
as long here, and the peers are to be shown at their best.
"""

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
    rate = LEARNING_RATE * SIGMA**2 * population**0.5  # its estimate is divided by sigma, EGGROLL's is in sigmas
    strategy = Open_ES(population, mean, optimizer=optax.sgd(rate), std_schedule=optax.constant_schedule(SIGMA))
    options = strategy.default_params

    evaluate = jax.jit(evaluated)
    state, key = strategy.init(jax.random.key(0), mean, options), jax.random.key(1)

    def step() -> object:
        nonlocal state, key
        key, ask, tell = jax.random.split(key, 3)
        members, state = strategy.ask(ask, state, options)
        losses = evaluate(members, images, targets)
        state, _ = strategy.tell(tell, members, losses, state, options)
        return jax.block_until_ready((state, losses))

    return step


def centre(problem: Problem, precision: str) -> float:
    """Fitness of the unperturbed parameters."""
    parameters = {name: jnp.asarray(value) for name, value in problem.parameters.items()}
    images, targets = jnp.asarray(problem.inputs, precision), jnp.asarray(problem.targets, jnp.int32)
    return -float(_loss(parameters, images, targets))


def evaluated(members: Parameters, images: jax.Array, targets: jax.Array) -> jax.Array:
    """The losses (P,) of stacked members."""
    return jax.vmap(_loss, in_axes=(0, None, None))(members, images, targets)


def _loss(parameters: Parameters, images: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean cross-entropy, which evosax minimises; the layers in the images' precision."""
    own = {name: value.astype(images.dtype) for name, value in parameters.items()}
    hidden = jax.nn.relu(images @ own["weight1"].T + own["bias1"])
    logits = (hidden @ own["weight2"].T + own["bias2"]).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()
