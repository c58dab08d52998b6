"""Regression of one's own data, and linear regression: whether a search finds a known matrix.

Everything about linear regression is known, so it is the first thing to try a new strategy on: the loss is quadratic,
its curvature the same in every direction, its optimum one matrix.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from galab.contracts import Examples
from galab.errors import UsageError
from galab.genome.random import Stream, draw, table
from galab.tasks.arrays import read_pair, shares, to_tensor
from galab.tasks.classification import check_examples, permutation

INPUTS, OUTPUTS = 64, 16
#: Examples of each fixed set.
FIXED = 1024
#: Key of the matrix and of the fixed sets. The keys of runs lie below 2^63, so no run's examples are one of these sets.
KEY = 2**63 + 0x6C696E656172
_MATRIX, _TRAIN, _VALIDATION, _TEST = range(4)
#: Numbers lie on this grid: products and sums of them are then exact in float64, in any order, so the targets are the
#: same on every machine.
_GRID = 2.0**16


class Regression:
    """A task with numbers as the targets of every example; give it ``--fitness loss``.

    Args:
        name: the name of the task.
        train: a pair of inputs (B, ...) and targets (B,) or (B, K), as arrays, tensors, lists or frames of any kind and
            byte order, or a data set or loader of torch. Inputs of 8 bits are divided by 255.
        validation: the same, for the champion.
        test: the same, only ever reported.
        description: one line about the data; when absent, one is made of name and sizes.

    Attributes:
        name, description, fingerprint, input_shape, outputs, train, validation, test: see
            :class:`galab.contracts.Task`.

    Raises:
        UsageError: the data is not as described; the sentence says which part and why.
    """

    def __init__(self, *, name: str, train: Any, validation: Any, test: Any, description: str | None = None) -> None:
        self.name = name
        splits = {"train": train, "validation": validation, "test": test}
        self.train, self.validation, self.test = (
            _numbers(read_pair(data, f"task '{name}', {split}"), name, split) for split, data in splits.items()
        )
        self.input_shape = tuple(self.train.inputs.shape[1:])
        self.outputs = int(self.train.targets.shape[1])
        for split, examples in (("validation", self.validation), ("test", self.test)):
            shapes = tuple(examples.inputs.shape[1:]), tuple(examples.targets.shape[1:])
            if shapes != (self.input_shape, (self.outputs,)):
                raise UsageError(
                    f"task '{name}', {split}: expected inputs of shape {self.input_shape} and {self.outputs} targets "
                    f"an example as in train, got {shapes[0]} and {shapes[1][0]}; use one shape"
                )
        self.description = description or (
            f"{name}, {len(self.train):,} training, {len(self.validation):,} validation and {len(self.test):,} test "
            "examples"
        )
        digest = hashlib.sha256(b"regression\n")
        for split, examples in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            for part, tensor in (("inputs", examples.inputs), ("targets", examples.targets)):
                digest.update(f"{split} {part} {tuple(tensor.shape)}\n".encode())
                digest.update(np.ascontiguousarray(tensor.numpy(), dtype="<f4").data)
        self.fingerprint = digest.hexdigest()

    @classmethod
    def split(cls, name: str, data: Any, *, validation: float = 0.15, test: float = 0.15) -> Self:
        """A task from one set of examples, cut into three parts in the same way on every machine.

        Args:
            name: the name of the task.
            data: as ``train`` above.
            validation: share of the examples.
            test: share of the examples.

        Raises:
            UsageError: the data is not as described, or too little.
        """
        inputs, targets = read_pair(data, f"task '{name}'")
        count = len(inputs)
        order = permutation(count)
        ends = np.cumsum(shares(count, validation, test))
        pairs = [(inputs[torch.from_numpy(part)], targets[part]) for part in np.split(order, ends)]
        return cls(name=name, train=pairs[0], validation=pairs[1], test=pairs[2])

    def measure(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """Squared errors, averaged over the K outputs and summed over the examples.

        Args:
            outputs: (P, B, K).
            targets: (B, K).

        Returns:
            ``loss`` (P,) float32.
        """
        return {"loss": (outputs.float() - targets).square_().mean(2).sum(1)}


def _numbers(pair: tuple[torch.Tensor, Any], name: str, split: str) -> Examples:
    """Inputs and (B, K) float32 targets, checked."""
    where = f"task '{name}', {split}"
    targets = to_tensor(pair[1], f"{where}: expected targets that are numbers")
    if targets.is_complex():
        raise UsageError(f"{where}: expected targets that are real numbers, got {targets.dtype}; give their parts")
    targets = targets.to(torch.float32)
    targets = targets[:, None] if targets.ndim == 1 else targets
    if targets.ndim != 2 or not targets.isfinite().all():
        got = f"shape {tuple(targets.shape)}" if targets.ndim != 2 else "some that are NaN or infinite"
        raise UsageError(f"{where}: expected finite targets of shape (B,) or (B, K), got {got}; correct them")
    examples = Examples(pair[0], targets.contiguous())
    check_examples(name, split, examples)
    return examples


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
