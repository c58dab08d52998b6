"""The geometry of weight space: planes through many networks, the way between two, and neurons put into the same order.

Neurons: Ainsworth, Hayase and Srinivasa 2022, "Git Re-Basin: Merging Models modulo Permutation Symmetries", weight
matching (Section 3.2, Algorithm 1): layer by layer a linear assignment, again and again until nothing changes. The
hidden neurons of one multilayer perceptron come in the order of another's: the same function, nearer weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch import nn as kinds

from galab.genome.random import Stream, permutation
from galab.genome.weights import Layout

Floats = NDArray[np.float64]
AnyFloats = NDArray[np.floating]
Places = NDArray[np.int64]
#: A layer: weights (neurons, inputs), and biases (neurons,) or None.
Layer = tuple[AnyFloats, AnyFloats | None]

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


def _products(first: Sequence[Layer], second: Sequence[Layer], orders: Sequence[Places], layer: int) -> AnyFloats:
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


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A plane in weight space.

    Attributes:
        origin: (D,) a point of it.
        axes: (2, D) orthogonal directions of length 1; the second is 0 where the points lie on a line, and both where
            they are one point.
        shares: (2,) share of the points' variance along each axis.
    """

    origin: Floats
    axes: Floats
    shares: Floats

    def coordinates(self, points: ArrayLike) -> Floats:
        """(n, 2) where points (n, D), projected onto the plane, lie in it, in weight units from the origin."""
        found: Floats = (np.asarray(points, dtype=np.float64) - self.origin) @ self.axes.T
        return found

    def points(self, coordinates: ArrayLike) -> Floats:
        """(n, D) the points of the plane with coordinates (n, 2)."""
        found: Floats = self.origin + np.asarray(coordinates, dtype=np.float64) @ self.axes
        return found

    def distances(self, points: ArrayLike) -> Floats:
        """(n,) how far points (n, D) are from the plane, in weight units."""
        values = np.asarray(points, dtype=np.float64)
        return np.linalg.norm(values - self.points(self.coordinates(values)), axis=1)


def principal_plane(points: ArrayLike, origin: ArrayLike | None = None) -> Plane:
    """The plane of the first two principal components of points.

    Args:
        points: (n, D).
        origin: (D,) a point that the plane goes through; the mean of the points when absent.
    """
    values = np.asarray(points, dtype=np.float64)
    centre = values.mean(axis=0) if origin is None else np.asarray(origin, dtype=np.float64)
    axes, shares = np.zeros((2, values.shape[1])), np.zeros(2)
    _, lengths, directions = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    total = float((lengths**2).sum())
    for number in range(min(2, len(lengths))):
        if total and lengths[number] > 1e-9 * lengths[0]:
            # Of the two signs the one by which the last point lies further than the first.
            sign = 1.0 if (values[-1] - values[0]) @ directions[number] >= 0 else -1.0
            axes[number] = sign * directions[number]
            shares[number] = lengths[number] ** 2 / total
    return Plane(centre, axes, shares)


def barrier(losses: ArrayLike) -> float:
    """The most that the loss on the straight way between two networks exceeds the straight line between their losses.

    Args:
        losses: (k,) at equal steps from one network to the other, both included; lower is better. Where one is NaN
            the barrier is infinite.

    Returns:
        At least 0, in units of the loss.
    """
    values = np.asarray(losses, dtype=np.float64)
    if np.isnan(values).any():
        return float("inf")
    line = np.linspace(values[0], values[-1], len(values))
    return float(max(0.0, (values - line).max()))


def symmetric_steps(reach: float, count: int) -> Floats:
    """``2 count + 1`` steps from -reach to reach, with 0 in the middle, closer together near 0 (quadratically)."""
    half = reach * (np.arange(1, count + 1) / count) ** 2
    return np.concatenate([-half[::-1], [0.0], half])


def slope_at_zero(steps: ArrayLike, values: ArrayLike) -> float:
    """The slope at 0 of values at symmetric steps: the central difference of the two steps nearest to 0.

    Args:
        steps: (2 k + 1,) as :func:`symmetric_steps` gives them.
        values: (2 k + 1,).
    """
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    middle = len(x) // 2
    return float((y[middle + 1] - y[middle - 1]) / (x[middle + 1] - x[middle - 1]))
