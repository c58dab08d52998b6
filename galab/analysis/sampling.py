"""Steps whose directions are compared: mutations around one network, the run's own steps, and gradient steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.analysis.cosines import MutationGains
from galab.contracts import Examples
from galab.errors import UsageError
from galab.evaluation.blocks import Minibatches
from galab.genome.initial import tensors_of
from galab.genome.random import Stream, Table, draw
from galab.operators.es_noise import WeightVector
from galab.saved_runs.history import History
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import SavedRun
from galab.strategies.centre import Optimizers

#: Keeps these mutations apart from the run's own, which have the run's key itself.
_OTHER_KEY = 0xC0_51_4E
#: All mutations of a repeat are held in memory together.
_MOST_BYTES = 2 << 30


def require_directions(probe: Probe) -> None:
    """Refuse a network that is too small for directions to have a law.

    Raises:
        UsageError: it has one or two weights.
    """
    if probe.layout.size < 3:
        raise UsageError(
            f"expected a network of at least 3 weights, got {probe.layout.size}: in so few dimensions cosines tell "
            "nothing; analyse a larger one"
        )


def minibatches_of(probe: Probe, full: Examples, size: int) -> Minibatches:
    """The run's minibatches; of ``full`` alone, where that is only a part of the training data."""
    if len(full) < len(probe.task.train):
        return Minibatches(full, size, probe.run_key)
    return probe.minibatches(size)


def noise_of(law: Table, run_key: int, repeat: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Mutations of unit step size, the same ones every time.

    Args:
        law: of each number.
        run_key: the run's key.
        repeat: others for each.
        shape: n of them, D numbers each.

    Returns:
        (n, D).

    Raises:
        UsageError: they do not fit into memory.
    """
    count, size = shape
    if 4 * count * size > _MOST_BYTES:
        raise UsageError(
            f"expected --samples of at most {_MOST_BYTES // (4 * size):,} for {size:,} weights, as they are kept in "
            f"memory together, got {count:,}; choose fewer"
        )
    found = np.empty(shape, dtype=np.float32)
    for place in range(count):
        draw(law, run_key ^ _OTHER_KEY, repeat * count + place, Stream.PERTURBATION, size, found[place])
    return found


def mutation_gains(
    probe: Probe,
    weights: NDArray[np.float32],
    noise: NDArray[np.float32],
    sigma: float,
    minibatch: Examples,
    full: Examples,
) -> MutationGains:
    """What mutations gain on a minibatch, half of them with both signs, and on the full data.

    Args:
        probe: scores them.
        weights: (D,) what they are added to.
        noise: (n, D) the mutations in units of the step size.
        sigma: the step size.
        minibatch: some examples.
        full: the examples that stand for all.
    """
    first = probe.fitness(weights[None], minibatch)[0], probe.fitness(weights[None], full)[0]
    pairs = len(noise) // 2
    plus = fitness_of(probe, weights, noise, sigma, minibatch) - first[0]
    minus = fitness_of(probe, weights, noise[:pairs], -sigma, minibatch) - first[0]
    return MutationGains(noise, plus, minus, fitness_of(probe, weights, noise, sigma, full) - first[1])


def fitness_of(
    probe: Probe, weights: NDArray[np.float32], noise: NDArray[np.float32], sigma: float, examples: Examples
) -> NDArray[np.float64]:
    """(n,) fitness of a network with each of n (D,) mutations added, a chunk at a time; NaN is a failure."""
    step = probe.chunk
    with np.errstate(over="ignore", invalid="ignore"):  # such a mutation fails, and is counted as a failure
        rows = [
            probe.fitness(weights + np.float32(sigma) * noise[at : at + step], examples)
            for at in range(0, len(noise), step)
        ]
    found = np.concatenate(rows) if rows else np.empty(0)
    return np.where(np.isfinite(found), found, np.nan)


def steps_taken(saved: SavedRun, most: int) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
    """Steps along the line of the champion, or of the centre, evenly spaced.

    Args:
        saved: the run.
        most: so many of them, or as many as there are.

    Yields:
        The generation, (D,) the weights before it, and (D,) what it added to them: mutation and crossover together.

    Raises:
        UsageError: it is a lone checkpoint, without its history.
    """
    history = History(saved)
    count = history.generation if history.has_centre else len(history.descent(history.champion())) - 1
    wanted = {round(place) for place in np.linspace(1, count, min(most, count))} if count > 0 else set[int]()
    before: NDArray[np.float32] | None = None
    for place, (generation, member) in enumerate(history.trajectory()):
        if place + 1 not in wanted and place not in wanted:
            continue
        now = member.floats()
        # Under gene laws founders descend from the first of them, and no examples chose them.
        if place in wanted and before is not None and generation:
            yield generation, before, now - before
        before = now


@dataclass(frozen=True, slots=True, eq=False)
class GradientStep:
    """One step.

    Attributes:
        number: its place, from 1.
        before: (D,) the weights that it starts from.
        uphill: (D,) the gradient of the fitness, or of minus the loss, on the minibatch.
        update: (D,) what the optimiser adds.
    """

    number: int
    before: NDArray[np.float32]
    uphill: NDArray[np.float32]
    update: NDArray[np.float32]


def gradient_steps(
    probe: Probe,
    weights: NDArray[np.float32],
    minibatches: Minibatches,
    *,
    optimizer: str,
    learning_rate: float,
    steps: int,
) -> Iterator[GradientStep]:
    """Steps uphill, on minibatches 1, 2, ...

    Args:
        probe: differentiates.
        weights: (D,) where they start.
        minibatches: give each step its examples.
        optimizer: of ``torch.optim``, such as ``sgd(momentum=0.9)``.
        learning_rate: of every step.
        steps: how many.

    Raises:
        UsageError: there is no gradient, or the steps leave what float32 can hold.
    """
    layout = probe.layout
    parts = {name: nn.Parameter(part.clone()) for name, part in tensors_of(layout, WeightVector(weights)).items()}
    optimizers = Optimizers(optimizer, list(parts.values()), learning_rate, 0.0)
    before = np.array(weights, dtype=np.float32)
    for number in range(1, steps + 1):
        uphill = probe.gradient(before, minibatches.of(number))
        for name, slope in layout.split(uphill).items():
            parts[name].grad = torch.from_numpy(np.array(slope)).neg()
        optimizers.step(learning_rate)
        after = torch.cat([parts[name].detach().flatten() for name in layout.names]).numpy()
        if not np.isfinite(after).all():
            raise UsageError(
                f"expected steps of {optimizer} that stay finite, got NaN or infinity in step {number}; choose a "
                "smaller --lr, or look at another --generation"
            )
        yield GradientStep(number, before, uphill, after - before)
        before = after
