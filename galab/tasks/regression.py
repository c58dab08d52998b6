"""Linear regression: whether a search finds a known matrix, the first thing to try a new strategy on.

Everything about it is known: the loss is quadratic, its curvature the same in every direction, its optimum one matrix.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from galab.contracts import Examples
from galab.genome.random import Stream, draw, table

INPUTS, OUTPUTS = 64, 16
#: Examples of each fixed set.
FIXED = 1024
#: Key of the matrix and of the fixed sets. The keys of runs lie below 2^63, so no run's examples are one of these sets.
KEY = 2**63 + 0x6C696E656172
_MATRIX, _TRAIN, _VALIDATION, _TEST = range(4)
#: Numbers lie on this grid: products and sums of them are then exact in float64, in any order, so the targets are the
#: same on every machine.
_GRID = 2.0**16


class LinearRegression:
    """Find the matrix that made the targets.

    Inputs x are 64 independent standard normal numbers, targets the 16 numbers W* x, without noise. The entries of W*
    are standard normal too, and the same in every run. Every generation is shown fresh examples; ``train``,
    ``validation`` and ``test`` are fixed ones.

    Attributes:
        matrix: (16, 64) float32, W*.
        name, description, fingerprint, input_shape, outputs, train, validation, test: see
            :class:`galab.contracts.Task`.
    """

    def __init__(self) -> None:
        self.name = "linear-regression"
        self.description = (
            f"linear-regression, {INPUTS} inputs and {OUTPUTS} outputs, {FIXED:,} training (a generation sees fresh "
            f"ones), {FIXED:,} validation and {FIXED:,} test examples"
        )
        self.input_shape = (INPUTS,)
        self.outputs = OUTPUTS
        self._exact = _normals(KEY, _MATRIX, (OUTPUTS, INPUTS))
        self.matrix = torch.from_numpy(self._exact.astype(np.float32))
        self.train, self.validation, self.test = (
            self.sample(KEY, index, FIXED) for index in (_TRAIN, _VALIDATION, _TEST)
        )
        self.fingerprint = self._fingerprint()

    def _fingerprint(self) -> str:
        """SHA-256 (hex) of W* and of the fixed sets, little-endian on every machine."""
        digest = hashlib.sha256(b"linear-regression\n")
        sets = (self.train, self.validation, self.test)
        for tensor in (self.matrix, *(part for examples in sets for part in (examples.inputs, examples.targets))):
            digest.update(f"{tuple(tensor.shape)}\n".encode())
            digest.update(np.ascontiguousarray(tensor.numpy(), dtype="<f4").data)
        return digest.hexdigest()

    def sample(self, run_key: int, generation: int, size: int) -> Examples:
        """Fresh examples, see :class:`galab.contracts.FreshExamples`.

        Returns:
            inputs (size, 64) and targets (size, 16), float32.
        """
        inputs = _normals(run_key, generation, (size, INPUTS))
        targets = inputs @ self._exact.T
        return Examples(torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(targets.astype(np.float32)))

    def measure(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """Squared errors, averaged over the 16 outputs and summed over the examples.

        With weights W the expected mean over examples is ||W - W*||^2 / 16: its curvature is 1/8 in every weight.

        Args:
            outputs: (P, B, 16).
            targets: (B, 16).

        Returns:
            ``loss`` (P,) float32.
        """
        return {"loss": (outputs.float() - targets).square_().mean(2).sum(1)}

    def inspect(self, parameters: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """How far a network is from the optimum, see :class:`galab.contracts.DescribesWeights`.

        Returns:
            ``distance``, the Frobenius norm of the weights less W*, where the network is a single linear layer; nothing
            of other networks.
        """
        matrices = [value for value in parameters.values() if value.ndim > 1]
        if len(matrices) != 1 or matrices[0].shape != self.matrix.shape:
            return {}
        return {"distance": float(torch.linalg.norm(matrices[0].double() - self.matrix.double()))}


def linear_regression() -> LinearRegression:
    """A known linear map of 64 numbers onto 16: does a search find its matrix?"""
    return LinearRegression()


def _normals(key: int, index: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Standard normal numbers on the grid of 2^-16, exact in float32."""
    drawn = draw(table("normal"), key, index, Stream.EXAMPLES, shape[0] * shape[1])
    return np.rint(drawn.astype(np.float64) * _GRID).reshape(shape) / _GRID
