"""Hidden neurons of one multilayer perceptron in the order of another's: the same function, nearer weights.

Ainsworth, Hayase and Srinivasa 2022, "Git Re-Basin: Merging Models modulo Permutation Symmetries", weight matching
(Section 3.2, Algorithm 1): layer by layer a linear assignment, again and again until nothing changes. The layers of a
perceptron are taken out of its weight vector, and put back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch import nn as kinds

from galab.genome.random import Stream, permutation
from galab.genome.weights import Layout

Floats = NDArray[np.floating]
Places = NDArray[np.int64]
#: A layer: weights (neurons, inputs), and biases (neurons,) or None.
Layer = tuple[Floats, Floats | None]

_ROUNDS = 100
#: Orders of visiting the layers that are tried; the nearest result is taken.
_TRIES = 8


def permuted(layers: Sequence[Layer], orders: Sequence[Places]) -> list[Layer]:
    """The same network with its hidden neurons in other orders.

    Args:
        layers: of a perceptron, first to last.
        orders: for each hidden layer, which of its neurons comes at each place.

    Returns:
        New arrays; the function of the network is the same.
    """
    found = []
    for number, (weights, biases) in enumerate(layers):
        if number:
            weights = weights[:, orders[number - 1]]
        if number < len(orders):
            weights = weights[orders[number]]
            biases = None if biases is None else biases[orders[number]]
        found.append((weights.copy(), None if biases is None else biases.copy()))
    return found


def aligned(first: Sequence[Layer], second: Sequence[Layer], key: int = 0) -> list[Places]:
    """Orders of the second network's hidden neurons that bring its weights nearest to the first's.

    A local optimum: exact for one hidden layer, where a single assignment decides; else the best of several starts.

    Args:
        first: layers of a perceptron.
        second: another's, of the same shapes.
        key: of the random orders in which layers are visited.

    Returns:
        For each hidden layer, which of the second's neurons comes at each place; see :func:`permuted`.
    """
    hidden = len(first) - 1
    best: tuple[float, list[Places]] | None = None
    for attempt in range(_TRIES if hidden > 1 else 1):
        orders = [np.arange(len(weights)) for weights, _ in second[:hidden]]
        orders = _improved(first, second, orders, key + attempt)
        away = distance(first, permuted(second, orders))
        if best is None or away < best[0]:
            best = away, orders
    return best[1] if best is not None else []


def _improved(first: Sequence[Layer], second: Sequence[Layer], orders: list[Places], key: int) -> list[Places]:
    for turn in range(_ROUNDS):
        moved = False
        for layer in permutation(len(orders), key, turn, Stream.CHOICE).tolist():
            gain = _products(first, second, orders, layer)
            order = np.asarray(linear_sum_assignment(gain, maximize=True)[1], dtype=np.int64)
            rows = np.arange(len(order))
            before, after = gain[rows, orders[layer]].sum(), gain[rows, order].sum()
            if after > before + 1e-9 * max(1.0, abs(before)):
                orders[layer], moved = order, True
        if not moved:
            break
    return orders


def _products(first: Sequence[Layer], second: Sequence[Layer], orders: Sequence[Places], layer: int) -> Floats:
    """(n, n) inner products of a layer's neurons, all weights in and out and the bias, the other layers as they are."""
    (mine, bias), (other, other_bias) = first[layer], second[layer]
    if layer:
        other = other[:, orders[layer - 1]]
    found = mine.astype(np.float64) @ other.astype(np.float64).T
    if bias is not None and other_bias is not None:
        found += np.outer(bias, other_bias)
    above, other_above = first[layer + 1][0], second[layer + 1][0]
    if layer + 1 < len(orders):
        other_above = other_above[orders[layer + 1]]
    found += above.T.astype(np.float64) @ other_above.astype(np.float64)
    return found


def distance(first: Sequence[Layer], second: Sequence[Layer]) -> float:
    """The Euclidean distance between two networks, in weight units."""
    total = 0.0
    for (weights, biases), (others, other_biases) in zip(first, second, strict=True):
        total += float(((weights.astype(np.float64) - others) ** 2).sum())
        if biases is not None and other_biases is not None:
            total += float(((biases.astype(np.float64) - other_biases) ** 2).sum())
    return float(np.sqrt(total))


def is_perceptron(module: nn.Module) -> bool:
    """Whether all parameters lie in linear layers, each of which takes what the one before gives."""
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
