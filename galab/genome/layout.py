"""Where each parameter tensor lies in the flat weight vector."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: For each layer its number of neurons, and (start, width of a row) for each of its tensors.
Neurons = tuple[tuple[int, tuple[tuple[int, int], ...]], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each parameter tensor lies in the flat weight vector.

    Attributes:
        names: parameter names, in the module's order.
        shapes: their shapes.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of weights in each tensor."""
        return _sizes(self)

    @property
    def size(self) -> int:
        """D, the number of weights."""
        return sum(_sizes(self))

    @property
    def starts(self) -> tuple[int, ...]:
        """Index of each tensor's first weight."""
        return _starts(self)

    @property
    def layers(self) -> tuple[int, ...]:
        """For each tensor the number of its layer: a weight and its bias lie in one module, so in one layer."""
        return _layers(self)

    @property
    def neurons(self) -> Neurons:
        """Neurons by layer: how many, and for each tensor with that many rows its start and the width of a row.

        A neuron is a row of a layer's matrix with the same entry of its bias. Tensors of one module with another number
        of rows form neurons of their own; a scalar is one neuron.
        """
        return _neurons(self)

    def tensor_at(self, index: int) -> int:
        """Number of the tensor that holds weight number ``index``."""
        return bisect_right(self.starts, index) - 1

    def name_at(self, index: int) -> str:
        """Name of the tensor that holds weight number ``index``."""
        return self.names[self.tensor_at(index)]

    def split(self, flat: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        """Views of (..., D) by name, each (..., *shape)."""
        parts = zip(self.names, self.shapes, self.starts, self.sizes, strict=True)
        lead = flat.shape[:-1]
        return {name: flat[..., at : at + size].reshape((*lead, *shape)) for name, shape, at, size in parts}


@lru_cache(maxsize=64)
def _sizes(layout: Layout) -> tuple[int, ...]:
    return tuple(int(np.prod(shape, dtype=np.int64)) for shape in layout.shapes)


@lru_cache(maxsize=64)
def _starts(layout: Layout) -> tuple[int, ...]:
    ends = np.cumsum((0, *_sizes(layout)))
    return tuple(int(start) for start in ends[:-1])


@lru_cache(maxsize=64)
def _layers(layout: Layout) -> tuple[int, ...]:
    modules = [name.rpartition(".")[0] for name in layout.names]
    numbers = {module: number for number, module in enumerate(dict.fromkeys(modules))}
    return tuple(numbers[module] for module in modules)


@lru_cache(maxsize=64)
def _neurons(layout: Layout) -> Neurons:
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for layer, shape, start, size in zip(layout.layers, layout.shapes, layout.starts, layout.sizes, strict=True):
        rows = shape[0] if shape else 1
        if size:
            found.setdefault((layer, rows), []).append((start, size // rows))
    return tuple((rows, tuple(tensors)) for (_, rows), tensors in found.items())
