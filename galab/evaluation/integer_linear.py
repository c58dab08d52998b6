"""Scores members of an integer matrix by the squares of their errors, all of them whole numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galab.contracts import Examples, FreshExamples, Member, Scores
from galab.evaluation.blocks import EachExample
from galab.evaluation.dense_evaluator import Measurements
from galab.genome.weights import Layout
from galab.integer.arithmetic import POINT, TOP, clip, scaled, scaling, stored
from galab.models.integer_linear import IntegerLinear
from galab.operators.integer_noise import TensorNoise

#: Numbers that are computed at once.
_AT_ONCE = 1 << 19


class MatrixPairs:
    """See :class:`galab.evaluation.executors.integer.Pairs`: all pairs see the same fresh examples.

    Args:
        model: the network.
        task: gives examples.
        run_key: of the run, to which they are fresh.
        count: B, examples of a generation.
        shift: s, by which the noise is shifted, that of the rank included.
    """

    def __init__(self, model: IntegerLinear, task: FreshExamples, run_key: int, count: int, shift: int) -> None:
        self._model, self._task, self._run_key, self._count = model, task, run_key, count
        self._shift = shift
        self._examples: tuple[Tensor, Tensor] | None = None

    @property
    def units(self) -> float:
        """Scores times this are whole numbers."""
        return self._count * self._model.weight.shape[0] * (16 / self._model.scale) ** 2

    def begin(self, generation: int) -> None:
        """Draw the examples of a generation."""
        drawn = self._task.sample(self._run_key, generation, self._count)
        targets = torch.round(drawn.targets.double() * (16 / self._model.scale)).to(torch.int64)
        if targets.abs().max() < 2**15:  # so squares of errors fit, and half as much memory is moved
            targets = targets.to(torch.int32)
        self._examples = stored(drawn.inputs.flatten(1)), targets

    def scores(
        self, weights: Mapping[str, NDArray[np.int8]], noise: Mapping[str, TensorNoise], first: int, pairs: int
    ) -> Scores:
        """Minus the mean squared errors of the members of some pairs, plus and minus side by side."""
        assert self._examples is not None, "no generation has begun"
        errors = squared_errors(
            torch.from_numpy(weights["weight"]), noise["weight"], *self._examples, self._shift
        ).numpy()
        return Scores(-errors / self.units, metrics={"loss": errors / self.units}, evaluations=2 * pairs)


def squared_errors(weights: Tensor, noise: TensorNoise, inputs: Tensor, targets: Tensor, shift: int) -> Tensor:
    """(2 P,) int64 sums of squares over examples and outputs, in units of what is stored.

    Args:
        weights: (m, n) int8.
        noise: of P pairs.
        inputs: (B, n) int8.
        targets: (B, m) int64, as they would be stored, or int32 where squares of errors fit.
        shift: s, that of the rank included.
    """
    assert noise.a is not None
    a, b = torch.from_numpy(noise.a), torch.from_numpy(noise.b)
    # Products of whole numbers in float64 are exact below 2^53.
    x = inputs.double()
    own = (x @ weights.double().T).to(torch.int32)  # (B, m)
    # As narrow as the sums allow: n r 127^3 leaves int32 early.
    wide = torch.int64 if TOP**3 * b.shape[1] * b.shape[2] >= 2**31 else torch.int32
    block = max(1, _AT_ONCE // max(1, targets.numel()))
    return torch.cat(
        [
            _errors(x, own, targets, part_a.to(wide), part_b, POINT + shift, scaling(weights.shape[1]))
            for part_a, part_b in zip(a.split(block), b.split(block), strict=True)
        ]
    )


def _errors(x: Tensor, own: Tensor, targets: Tensor, a: Tensor, b: Tensor, shift: int, scale: int) -> Tensor:
    """:func:`squared_errors` of a few pairs, whose numbers stay close to the processor."""
    inner = (x @ b.double().transpose(1, 2)).to(a.dtype)  # (P, B, r)
    added = torch.zeros((), dtype=a.dtype)
    for k in range(b.shape[1]):
        added = added + inner[:, :, k, None] * a[:, k, None, :]  # (P, B, m)
    found = []
    for signed in (added, -added):
        answers = clip(scaled((signed >> shift).to(torch.int32).add_(own), scale))
        found.append((answers - targets).square_().sum((1, 2)))
    return torch.stack(found, 1).flatten()


class MatrixEvaluator:
    """Measures matrices on fixed examples: float64 numbers whose sum is rounded once, the same on every machine.

    Args:
        model: the network.
        layout: where the matrix lies.
    """

    def __init__(self, model: IntegerLinear, layout: Layout) -> None:
        self._model, self._layout = model, layout

    def measure(
        self, members: Sequence[Member], examples: Examples, each: EachExample | None = None
    ) -> Measurements:
        """Means over the examples: ``loss``, the squared error averaged over the outputs, of each member.

        Args:
            members: the networks.
            examples: inputs and targets.
            each: not used: nothing here is made of a softmax.
        """
        losses = []
        for member in members:
            parts = self._layout.split(member.floats())
            with torch.no_grad():
                self._model.weight.copy_(torch.from_numpy(parts["weight"].copy()))
                answers = self._model(examples.inputs.cpu())
            squares = (answers.double() - examples.targets.cpu().double()).square_().flatten().tolist()
            losses.append(math.fsum(squares) / len(squares))
        return Measurements({"loss": np.array(losses)}, {}, len(losses) * len(examples), {})
