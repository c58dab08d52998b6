"""Shapes of a loss landscape: a plane through points in weight space, the height of a barrier, spread of several lines.

Slices along directions: Goodfellow, Vinyals and Saxe 2015; Li et al. 2018, "Visualizing the Loss Landscape of Neural
Nets", who take the plane of the first two principal components of a training's way. Barrier: Frankle et al. 2020,
"Linear Mode Connectivity and the Lottery Ticket Hypothesis".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


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
