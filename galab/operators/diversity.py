"""Niching: scores to select by that keep a population's behaviour diverse.

Behaviour is what a member answers to each example. Scores look at fitness and at distances between behaviours; a member
whose fitness is not finite is a failure: it does not count as a neighbour or as beaten, and its score is NaN. No score
depends on the order in which members are listed, to the last bit, so that no tie is broken by it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError


def distances(behaviour: NDArray[np.integer]) -> NDArray[np.float64]:
    """How differently members behave, two by two.

    Args:
        behaviour: (n, B) predicted class, from 0, of each member on each example.

    Returns:
        (n, n) share of examples on which two members answer differently, from 0 to 1.

    Raises:
        UsageError: the behaviour is not a table of classes, or has no examples.
    """
    classes = np.asarray(behaviour)
    if classes.ndim != 2 or classes.shape[1] == 0 or not np.issubdtype(classes.dtype, np.integer):
        raise UsageError(
            f"expected classes of shape (members, 1 or more examples), got {classes.dtype} of shape {classes.shape}; "
            "give the index of each predicted class"
        )
    if classes.size and classes.min() < 0:
        raise UsageError(f"expected classes from 0, got {classes.min()}; number the classes from 0")
    # Two classes differ if any of their bits does. Bits of 64 examples are compared at once, which is several times
    # faster than comparing the classes.
    digits = int(classes.max(initial=0)).bit_length()
    planes = [_packed((classes >> digit & 1).astype(np.uint8)) for digit in range(digits)]
    different = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for i in range(1, len(classes)):
        answers = np.zeros((i, 1), dtype=np.uint64)
        for plane in planes:
            answers = answers | (plane[:i] ^ plane[i])
        different[i, :i] = different[:i, i] = np.bitwise_count(answers).sum(axis=1, dtype=np.int64)
    return different / classes.shape[1]


def shared(fitness: NDArray[np.float64], distances: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Fitness shared among those that behave alike.

    Goldberg and Richardson 1987, "Genetic algorithms with sharing for multimodal function optimization", with a
    triangular sharing function. Shared is not the fitness but its rank scaled to (0, 1], so that neither scale nor
    sign matters; equals have their mean rank.

    Args:
        fitness: (n,) higher is better.
        distances: (n, n) from :func:`distances`.
        radius: members further apart than this share nothing, in shares of the examples.

    Returns:
        (n,) scaled rank divided by the niche count, which is at least 1.

    Raises:
        UsageError: ``radius`` is not in (0, 1], or the shapes do not fit.
    """
    if not 0 < radius <= 1:
        raise UsageError(f"expected a niche radius above 0 and at most 1, got {radius}; it is a share of the examples")
    alive = _alive(fitness, distances)
    values, among = fitness[alive], distances[np.ix_(alive, alive)]
    ordered = np.sort(values)
    below, up_to = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    ranks = (below + up_to + 1) / (2 * max(len(values), 1))
    return _for_all(fitness, alive, ranks / _row_sums(np.maximum(1 - among / radius, 0)))


def local(fitness: NDArray[np.float64], distances: NDArray[np.float64], neighbours: int) -> NDArray[np.float64]:
    """How many of the nearest in behaviour one beats.

    Lehman and Stanley 2011, "Evolving a diversity of virtual creatures through novelty search and local competition".

    Args:
        fitness: (n,) higher is better.
        distances: (n, n) from :func:`distances`.
        neighbours: how many of the nearest compete with one; all others where there are fewer.

    Returns:
        (n,) number of neighbours with a lower fitness, from 0 to ``neighbours``. Where several are equally far and
        not all can be neighbours, it is the mean over all choices, so it may be a fraction.

    Raises:
        UsageError: ``neighbours`` is below 1, or the shapes do not fit.
    """
    if neighbours < 1:
        raise UsageError(f"expected 1 or more neighbours, got {neighbours}; use 5, say")
    alive = _alive(fitness, distances)
    values, among = fitness[alive], distances[np.ix_(alive, alive)].copy()
    count = min(neighbours, len(values) - 1)
    if count < 1:
        return _for_all(fitness, alive, np.zeros(len(values)))
    np.fill_diagonal(among, np.inf)
    limit = np.partition(among, count - 1, axis=1)[:, count - 1 : count]
    beaten = values[:, None] > values
    nearer, edge = among < limit, among == limit
    share = (count - nearer.sum(axis=1)) / edge.sum(axis=1)
    return _for_all(fitness, alive, (nearer & beaten).sum(axis=1) + share * (edge & beaten).sum(axis=1))


def diversity(fitness: NDArray[np.float64], distances: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Fitness with a bonus for behaving unlike the others.

    Args:
        fitness: (n,) higher is better.
        distances: (n, n) from :func:`distances`.
        weight: what one standard deviation of mean distance is worth, in standard deviations of fitness.

    Returns:
        (n,) standardised fitness plus ``weight`` times the standardised mean distance to the others. What is the same
        for all counts as 0.

    Raises:
        UsageError: ``weight`` is not finite, or the shapes do not fit.
    """
    if not math.isfinite(weight):
        raise UsageError(f"expected a finite weight of diversity, got {weight}; use 0 for none")
    alive = _alive(fitness, distances)
    apart = _row_sums(distances[np.ix_(alive, alive)]) / max(len(alive) - 1, 1)
    return _for_all(fitness, alive, _standardised(fitness[alive]) + weight * _standardised(apart))


def _packed(bits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n, B) bits as (n, B / 64) words, filled up with zeros."""
    octets = np.packbits(bits, axis=1)
    return np.pad(octets, ((0, 0), (0, -octets.shape[1] % 8))).view(np.uint64)


def _alive(fitness: NDArray[np.float64], distances: NDArray[np.float64]) -> NDArray[np.int64]:
    """The indices of the members with a finite fitness."""
    if fitness.ndim != 1 or distances.shape != (len(fitness), len(fitness)):
        raise UsageError(
            f"expected distances between all of the members with a fitness, got shape {distances.shape} for fitness "
            f"of shape {fitness.shape}; use the same members for both"
        )
    return np.flatnonzero(np.isfinite(fitness))


def _for_all(
    fitness: NDArray[np.float64], alive: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The scores of the living, and NaN for the failures."""
    everybody = np.full(len(fitness), np.nan)
    everybody[alive] = scores
    return everybody


def _row_sums(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exactly rounded sums, which the order of the columns cannot change."""
    return np.array([math.fsum(row) for row in matrix.tolist()], dtype=np.float64)


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shifted and scaled to mean 0 and standard deviation 1; all zeros where all are equal."""
    if len(values) == 0 or values.min() == values.max():
        return np.zeros(len(values))
    # Scaled first, because squares of large numbers would overflow and those of small ones vanish.
    scaled = values / np.abs(values).max()
    centred = scaled - math.fsum(scaled) / len(scaled)
    return np.asarray(centred / math.sqrt(math.fsum(centred**2) / len(scaled)))
