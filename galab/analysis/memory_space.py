"""The room that a bank of memories has: directions that no input sees, and directions that break no answer.

What lies orthogonal to every input changes no dot product with one, so mutation may fill it with anything; it still
adds to a vector's length. Directions: how robust a bank is to mutation, as in Wagner, "Robustness and Evolvability in
Living Systems", 2005.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galab.analysis.memory import Floats, Nearness, right, winners, without
from galab.genome.noise import Stream, draw, table

#: Singular values below this share of the largest are zero: float32 inputs carry no more digits.
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class FreeSubspace:
    """What of the memories no input sees.

    Attributes:
        rank: dimensions that the inputs span.
        free: dimensions orthogonal to all inputs.
        shares: (H,) share of each memory's squared length that lies there; NaN for an empty memory.
    """

    rank: int
    free: int
    shares: NDArray[np.float64]


def free_subspace(inputs: Floats, vectors: Floats, tolerance: float = TOLERANCE) -> FreeSubspace:
    """Split the memories into what the inputs span and what they cannot see.

    Args:
        inputs: (B, dims).
        vectors: (H, dims).
        tolerance: a singular value of the inputs counts if it is above this share of the largest.
    """
    wide = inputs.astype(np.float64)
    _, values, directions = np.linalg.svd(wide, full_matrices=False)
    rank = int((values > tolerance * values.max(initial=0.0)).sum())
    rows = vectors.astype(np.float64)
    total = np.square(rows).sum(axis=1)
    seen = np.square(rows @ directions[:rank].T).sum(axis=1)
    shares = np.full(len(rows), np.nan)
    filled = total > 0
    # Rounding may leave a vector inside the span a trifle longer than itself.
    shares[filled] = (1.0 - seen[filled] / total[filled]).clip(0.0, 1.0)
    return FreeSubspace(rank, inputs.shape[1] - rank, shares)


def free_directions(
    vectors: Floats,
    classes: Floats,
    inputs: Floats,
    targets: NDArray[np.int64],
    nearness: Nearness,
    *,
    sigma: float,
    draws: int = 64,
    key: int = 0,
) -> NDArray[np.float64]:
    """Share of random steps of each memory, one memory at a time, that make no right answer wrong.

    Args:
        vectors: (H, dims) the bank.
        classes: (H, C) logits.
        inputs: (B, dims).
        targets: (B,) class numbers.
        nearness: of inputs to vectors.
        sigma: length of a step, in units of the vectors.
        draws: steps tried per memory; the same directions for every ``sigma``.
        key: of the random numbers.

    Returns:
        (H,) between 0 and 1; NaN for empty memories.
    """
    before = nearness(inputs, vectors).astype(np.float64)
    good = right(winners(before), classes, targets)
    dims, found = vectors.shape[1], np.full(len(vectors), np.nan)
    for head in np.flatnonzero(vectors.any(axis=1)):
        noise = draw(table("normal"), key, int(head), Stream.OPERATOR, draws * dims).reshape(draws, dims)
        length = np.linalg.norm(noise.astype(np.float64), axis=1, keepdims=True)
        steps = noise.astype(np.float64) * (sigma / np.maximum(length, 1e-30))
        moved = (vectors[head].astype(np.float64) + steps).astype(vectors.dtype)
        others = without(before, int(head))
        takes = others.lose(nearness(inputs, moved))
        own = right(np.full(len(inputs), head), classes, targets)[:, None]
        now = np.where(takes, own, right(others.served, classes, targets)[:, None])
        found[head] = (~(good[:, None] & ~now).any(axis=0)).mean()
    return found
