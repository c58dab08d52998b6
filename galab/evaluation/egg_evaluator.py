"""Scores EGG networks on fixed examples by whole numbers, so that validation too is the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from galab.contracts import Examples, Member
from galab.evaluation.blocks import EachExample
from galab.evaluation.dense_evaluator import Measurements
from galab.genome.weights import Layout
from galab.integer.arithmetic import Centre, log_likelihood, stored
from galab.models.egg import Egg


class EggEvaluator:
    """Runs one network after the other.

    Args:
        model: says its sizes.
        layout: where each parameter lies in a flat weight vector.
    """

    def __init__(self, model: Egg, layout: Layout) -> None:
        self._model, self._layout = model, layout

    def measure(
        self, members: Sequence[Member], examples: Examples, each: EachExample | None = None
    ) -> Measurements:
        """Means over the examples: ``loss`` in nats a byte, ``bits`` a byte, and ``correct``, of each member.

        Args:
            members: the networks.
            examples: sequences of bytes.
            each: not used: nothing here is made of a softmax.
        """
        found = [self._counts(member, examples) for member in members]
        size = examples.targets.numel()
        bits = np.array([-likelihood / (16 * size) for likelihood, _ in found])
        right = np.array([correct / size for _, correct in found])
        means = {"loss": bits * math.log(2), "bits": bits, "correct": right}
        return Measurements(means, {}, len(found) * len(examples), {})

    def _counts(self, member: Member, examples: Examples) -> tuple[int, int]:
        """The log-likelihood of all bytes, in 1/16 bit, and how many are the likeliest."""
        parts = self._layout.split(member.floats())
        centre = Centre({name: stored(torch.from_numpy(part.copy())) for name, part in parts.items()})
        inputs, targets = examples.inputs.to(torch.int64).cpu(), examples.targets.cpu()
        state: Tensor = torch.zeros(len(inputs), self._model.layers, self._model.width, dtype=torch.int32)
        likelihood = correct = 0
        for byte, following in zip(inputs.unbind(1), targets.unbind(1), strict=True):
            logits, state = self._model.step(centre, byte, state)
            likelihood += int(log_likelihood(logits, following).sum())
            correct += int((logits.argmax(1) == following).sum())
        return likelihood, correct
