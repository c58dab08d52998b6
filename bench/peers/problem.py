"""The one problem that all sides compute on: a two-layer classifier and its images, as numbers in an .npz file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Spread of the perturbations and step of the update; every library learns with these, and no time depends on them.
SIGMA, LEARNING_RATE = 0.03, 0.1
#: Individuals that breed in a genetic algorithm.
PARENTS = 8

#: The file's arrays and how many dimensions they have.
_DIMENSIONS = {"inputs": 2, "targets": 1, "weight1": 2, "bias1": 1, "weight2": 2, "bias2": 1}


@dataclass(frozen=True, slots=True)
class Problem:
    """relu(x weight1^T + bias1) weight2^T + bias2 against ``targets``; fitness is minus the mean cross-entropy.

    Attributes:
        inputs: images, float32 (B, inputs).
        targets: classes, int64 (B,).
        weight1: float32 (hidden, inputs), as torch has it.
        bias1: float32 (hidden,).
        weight2: float32 (classes, hidden).
        bias2: float32 (classes,).
    """

    inputs: np.ndarray
    targets: np.ndarray
    weight1: np.ndarray
    bias1: np.ndarray
    weight2: np.ndarray
    bias2: np.ndarray

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The four tensors that are evolved."""
        return {name: getattr(self, name) for name in ("weight1", "bias1", "weight2", "bias2")}

    def save(self, path: Path) -> None:
        """Write the numbers for the other interpreter."""
        np.savez(path, **{name: getattr(self, name) for name in _DIMENSIONS})

    @classmethod
    def load(cls, path: Path) -> Problem:
        """The numbers that :meth:`save` wrote."""
        with np.load(path) as file:
            missing = sorted(set(_DIMENSIONS) - set(file.files))
            if missing:
                raise ValueError(f"expected the arrays {', '.join(_DIMENSIONS)} in {path}, got none named {missing[0]}")
            arrays = {name: file[name] for name in _DIMENSIONS}
        for name, dimensions in _DIMENSIONS.items():
            if arrays[name].ndim != dimensions:
                raise ValueError(f"expected {name} to have {dimensions} dimensions, got shape {arrays[name].shape}")
            arrays[name] = arrays[name].astype(np.int64 if name == "targets" else np.float32)
        return cls(**arrays)
