"""Steps of an optimiser along the gradient on a run's minibatches: what mutations are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.errors import UsageError
from galab.evaluation.minibatch import Minibatches
from galab.genome.torch_laws import tensors_of
from galab.lab.probe import Probe
from galab.perturbation.centre import Centre
from galab.strategies.optimizers import Optimizers


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
    parts = {name: nn.Parameter(part.clone()) for name, part in tensors_of(layout, Centre(weights)).items()}
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
