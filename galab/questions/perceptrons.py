"""Perceptrons in weight vectors: their layers out of them, and back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from galab.analysis.alignment import Layer

if TYPE_CHECKING:
    from torch import nn

    from galab.genome.layout import Layout


def is_perceptron(module: nn.Module) -> bool:
    """Whether all parameters lie in linear layers, each of which takes what the one before gives."""
    from torch import nn as kinds

    holders = [part for part in module.modules() if list(part.parameters(recurse=False))]
    if not holders or not all(type(part) is kinds.Linear for part in holders):
        return False
    widths = [(part.in_features, part.out_features) for part in holders if isinstance(part, kinds.Linear)]
    return all(one[1] == after[0] for one, after in pairwise(widths))


def layers_of(layout: Layout, weights: NDArray[np.float32]) -> list[Layer]:
    """The layers in a weight vector (D,), first to last."""
    parts = layout.split(weights)
    found: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, values in parts.items():
        module, _, kind = name.rpartition(".")
        found.setdefault(module, {})[kind] = values.astype(np.float32)
    return [(part["weight"], part.get("bias")) for part in found.values()]


def weights_in(layers: Sequence[Layer], layout: Layout) -> NDArray[np.float32]:
    """(D,) the weight vector of layers."""
    flat = np.empty(layout.size, dtype=np.float32)
    parts = layout.split(flat)
    modules = list(dict.fromkeys(name.rpartition(".")[0] for name in layout.names))
    for name, part in parts.items():
        module, _, kind = name.rpartition(".")
        weights, biases = layers[modules.index(module)]
        values = weights if kind == "weight" else biases
        assert values is not None
        part[...] = values
    return flat
