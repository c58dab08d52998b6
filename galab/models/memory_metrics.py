"""What a bank of memories does: which memory answers which input, by what margin, and how much room is left.

A memory is a vector with a class; an input is answered by the memory that is nearest to it. Letters: B inputs, H
memories (heads), C classes, ``dims`` numbers in a vector. A row of zeros is an empty memory; its nearness is -inf.

A change orthogonal to every input changes no dot product with one, so mutation may put anything there; it still adds
to a vector's length. Directions that break no answer: how robust a bank is to mutation, as in Wagner, "Robustness and
Evolvability in Living Systems", 2005.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galab.genome.random import Stream, draw, table

Floats = NDArray[np.floating]
#: Nearness of inputs (B, dims) to vectors (H, dims): (B, H), higher is closer.
Nearness = Callable[[Floats, Floats], Floats]


def winners(nearness: Floats) -> NDArray[np.int64]:
    """The memory that answers each input.

    Args:
        nearness: (B, H), higher is closer; -inf for empty memories.

    Returns:
        (B,) indices, of equally near ones the first; -1 where every memory is empty.
    """
    if not nearness.shape[1]:
        return np.full(len(nearness), -1)
    best = np.argmax(nearness, axis=1)
    best[np.isneginf(nearness.max(axis=1))] = -1
    return best


def use(served: NDArray[np.int64], heads: int) -> NDArray[np.int64]:
    """How many inputs each memory answers.

    Args:
        served: (B,) as :func:`winners` gives it.
        heads: H.

    Returns:
        (H,) counts.
    """
    return np.bincount(served[served >= 0], minlength=heads).astype(np.int64)


def margins(nearness: Floats) -> NDArray[np.float64]:
    """How much nearer each input's winner is than the runner-up.

    Args:
        nearness: (B, H).

    Returns:
        (B,) at least 0; infinity where there is no other filled memory, NaN where there is no memory at all.
    """
    found = np.full(len(nearness), np.nan)
    filled = np.isfinite(nearness).sum(axis=1)
    found[filled == 1] = np.inf
    several = filled > 1
    two = np.partition(nearness[several], -2, axis=1)[:, -2:] if several.any() else np.empty((0, 2))
    found[several] = two[:, 1].astype(np.float64) - two[:, 0]
    return found


def smallest_margins(margin: Floats, served: NDArray[np.int64], heads: int) -> NDArray[np.float64]:
    """The smallest margin of each memory over the inputs that it serves: how close it is to losing one.

    Args:
        margin: (B,) as :func:`margins` gives it.
        served: (B,) winners.
        heads: H.

    Returns:
        (H,) NaN for a memory that serves nothing.
    """
    found = np.full(heads, np.inf)
    there = served >= 0
    np.minimum.at(found, served[there], np.asarray(margin, dtype=np.float64)[there])
    found[use(served, heads) == 0] = np.nan
    return found


def norms(vectors: Floats) -> NDArray[np.float64]:
    """(H,) Euclidean length of each vector, of (H, dims)."""
    return np.linalg.norm(vectors.astype(np.float64), axis=1)


def right(served: NDArray[np.int64], classes: Floats, targets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which inputs are answered rightly: the largest logit of their memory is that of their class.

    Args:
        served: (B,) winners.
        classes: (H, C) logits of each memory.
        targets: (B,) class numbers.

    Returns:
        (B,) without any memory every answer is wrong; of equal logits the first counts.
    """
    if not len(classes):
        return np.zeros(len(served), dtype=np.bool_)
    said = classes.argmax(axis=1)[served.clip(0)]
    return np.asarray((said == targets) & (served >= 0))


@dataclass(frozen=True, slots=True, eq=False)
class Others:
    """What the memories but one do, which is all that a change of that one leaves as it was.

    Attributes:
        head: the one that is left out.
        nearness: (B,) of the nearest other memory; -inf where there is none.
        served: (B,) that memory; -1 where there is none.
    """

    head: int
    nearness: NDArray[np.float64]
    served: NDArray[np.int64]

    def lose(self, near: Floats) -> NDArray[np.bool_]:
        """Which inputs the one left out would answer, at (B, n) nearness in n versions of it."""
        ties = (near == self.nearness[:, None]) & (self.head < self.served)[:, None]
        return np.asarray((near > self.nearness[:, None]) | ties)


def without(nearness: Floats, head: int) -> Others:
    """The memories but one.

    Args:
        nearness: (B, H).
        head: the one that is left out.
    """
    rest = nearness.astype(np.float64)
    rest[:, head] = -np.inf
    return Others(head, rest.max(axis=1), winners(rest))


@dataclass(frozen=True, slots=True)
class Planting:
    """What happens to a bank when one memory is set to exactly one input, with its class.

    Attributes:
        head: the memory that was set.
        unused: whether it had served nothing before.
        points: how many inputs were tried, one after the other, each in the bank as it was.
        tried_wrong: whether these were the wrong ones; else there were none, and all inputs were tried.
        before: how many answers were right before.
        after: how many are right after it, in the mean over the inputs tried.
        broken: how many right answers become wrong, in the mean.
        mended: how many wrong answers become right, in the mean.
        length: of the planted vectors, in the mean.
    """

    head: int
    unused: bool
    points: int
    tried_wrong: bool
    before: int
    after: float
    broken: float
    mended: float
    length: float


def planted(
    vectors: Floats,
    classes: Floats,
    inputs: Floats,
    targets: NDArray[np.int64],
    nearness: Nearness,
    *,
    scaled: bool = False,
) -> Planting:
    """Set the least used memory to each wrongly answered input in turn, or to each input when none is wrong.

    Args:
        vectors: (H, dims) the bank, at least one memory.
        classes: (H, C) logits.
        inputs: (B, dims), at least one.
        targets: (B,) class numbers.
        nearness: of inputs to vectors; a row is empty where all its numbers are zero.
        scaled: give the planted vector the median length of the bank's filled memories, instead of the input's.
    """
    before = nearness(inputs, vectors)
    served = winners(before)
    good = right(served, classes, targets)
    counts = use(served, len(vectors))
    head = int(np.argmin(counts))
    lengths = norms(vectors)
    typical = float(np.median(lengths[lengths > 0])) if (lengths > 0).any() else None
    tried = np.flatnonzero(~good) if not good.all() else np.arange(len(inputs))
    points = inputs[tried].astype(np.float64)
    length = norms(points)
    if scaled and typical is not None:
        # A point at the origin has no direction to be scaled along.
        points = points * np.where(length > 0, typical / np.where(length > 0, length, 1.0), 1.0)[:, None]
        length = norms(points)
    others = without(before, head)
    takes = others.lose(nearness(inputs, points.astype(vectors.dtype)))
    same = targets[:, None] == targets[tried]
    now = np.where(takes, same, right(others.served, classes, targets)[:, None])
    was = good[:, None]
    return Planting(
        head=head,
        unused=bool(counts[head] == 0),
        points=len(tried),
        tried_wrong=not good.all(),
        before=int(good.sum()),
        after=float(now.sum(axis=0).mean()),
        broken=float((was & ~now).sum(axis=0).mean()),
        mended=float((~was & now).sum(axis=0).mean()),
        length=float(length.mean()),
    )


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
