"""EGGROLL as HyperscaleES computes it in JAX, written from its description, not from its code (arXiv 2511.16652).

A key per parameter, folded with the epoch and the pair; A and B from one draw; one matmul shared by all members
plus a rank-r correction each, under vmap; z-scores; factors drawn again for one einsum; SGD. All in one jit.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from .problem import LEARNING_RATE, SIGMA, Problem

Parameters = dict[str, jax.Array]


def make(problem: Problem, population: int, rank: int, precision: str) -> Callable[[], object]:
    """A call that does one generation, compiled at its first."""
    generation = jax.jit(_generation, static_argnames=("population", "rank", "precision"))
    state = {name: jnp.asarray(value) for name, value in problem.parameters.items()}
    images, targets = jnp.asarray(problem.inputs, precision), jnp.asarray(problem.targets, jnp.int32)
    epoch = 0

    def step() -> object:
        nonlocal state, epoch
        state, scores = generation(state, epoch, images, targets, population=population, rank=rank, precision=precision)
        epoch += 1
        return np.asarray(scores), jax.block_until_ready(state)

    return step


def centre(problem: Problem, precision: str) -> float:
    """Fitness of the unperturbed parameters: member 0 under noise of scale zero."""
    parameters = {name: jnp.asarray(value) for name, value in problem.parameters.items()}
    images, targets = jnp.asarray(problem.inputs, precision), jnp.asarray(problem.targets, jnp.int32)
    silent = {
        name: jax.tree.map(jnp.zeros_like, _noise(key, value.shape, 0, 0, 1))
        for (name, value), key in zip(parameters.items(), _keys(parameters), strict=True)
    }
    return float(_fitness(parameters, silent, images, targets, precision))


def _keys(parameters: Parameters) -> jax.Array:
    return jax.random.split(jax.random.key(0), len(parameters))


def _noise(
    key: jax.Array, shape: tuple[int, ...], epoch: int | jax.Array, member: int | jax.Array, rank: int
) -> tuple[jax.Array, ...]:
    """A member's perturbation of one parameter: (A (out, r), B (in, r)) of a matrix, a dense draw of anything else."""
    key = jax.random.fold_in(jax.random.fold_in(key, epoch), member // 2)
    scale = jnp.where(member % 2 == 0, SIGMA, -SIGMA)
    if len(shape) != 2:
        return (scale * jax.random.normal(key, shape),)
    rows, columns = shape
    draw = jax.random.normal(key, (rows + columns, rank))
    return draw[columns:] * (scale / rank**0.5), draw[:columns]


def _linear(x: jax.Array, weight: jax.Array, factors: tuple[jax.Array, ...]) -> jax.Array:
    """X W^T + (X B) A^T; under vmap the first product is done once while x is the same for all members."""
    a, b = (factor.astype(x.dtype) for factor in factors)
    return x @ weight.astype(x.dtype).T + (x @ b) @ a.T


def _fitness(
    parameters: Parameters,
    noise: dict[str, tuple[jax.Array, ...]],
    images: jax.Array,
    targets: jax.Array,
    precision: str,
) -> jax.Array:
    def bias(name: str) -> jax.Array:
        return (parameters[name] + noise[name][0]).astype(precision)

    hidden = jax.nn.relu(_linear(images, parameters["weight1"], noise["weight1"]) + bias("bias1"))
    logits = _linear(hidden, parameters["weight2"], noise["weight2"]) + bias("bias2")
    logarithms = jax.nn.log_softmax(logits.astype(jnp.float32))
    return jnp.take_along_axis(logarithms, targets[:, None], axis=1).mean()


def _generation(
    parameters: Parameters,
    epoch: int,
    images: jax.Array,
    targets: jax.Array,
    *,
    population: int,
    rank: int,
    precision: str,
) -> tuple[Parameters, jax.Array]:
    """The parameters after one step, and the members' fitness (P,)."""
    members = jnp.arange(population)
    keys = dict(zip(parameters, _keys(parameters), strict=True))

    def evaluate(member: jax.Array) -> jax.Array:
        noise = {name: _noise(keys[name], value.shape, epoch, member, rank) for name, value in parameters.items()}
        return _fitness(parameters, noise, images, targets, precision)

    scores = jax.vmap(evaluate)(members)
    shaped = (scores - scores.mean()) / jnp.sqrt(scores.var() + 1e-5)

    def moved(name: str, value: jax.Array) -> jax.Array:
        again = jax.vmap(lambda member: _noise(keys[name], value.shape, epoch, member, rank))(members)
        total = jnp.einsum("p,p...->...", shaped, again[0])
        if len(again) == 2:
            total = jnp.einsum("p,pmr,pnr->mn", shaped, *again, optimize="optimal")
        return value + LEARNING_RATE * population**-0.5 * total  # sqrt(P) times the mean over members

    return {name: moved(name, value) for name, value in parameters.items()}, scores
