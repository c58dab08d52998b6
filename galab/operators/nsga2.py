"""Selection by several objectives: non-dominated sorting with crowding distance.

Source: K. Deb, A. Pratap, S. Agarwal, T. Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II",
IEEE Transactions on Evolutionary Computation 6 (2002). A member dominates another if it is as good in every objective
and better in one. Who is dominated by nobody is in the first front, who is dominated by members of the first front
alone in the second, and so on. Within a front those stand first who have the most room around them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.operators.selection import Candidates

#: Pairs that are compared at once.
_PAIRS = 1 << 22


def fronts(objectives: NDArray[np.float64]) -> NDArray[np.int64]:
    """The number of each member's front, from 0.

    Args:
        objectives: (n, M) higher is better, all finite.

    Returns:
        (n,)
    """
    count = len(objectives)
    dominated_by = np.zeros(count, dtype=np.int64)
    better = [_dominates(objectives, slice(start, start + step)) for start, step in _blocks(count)]
    for block in better:
        dominated_by += block.sum(0)
    front = np.full(count, -1, dtype=np.int64)
    number, left = 0, count
    while left:
        current = np.flatnonzero((front < 0) & (dominated_by == 0))
        front[current] = number
        for (start, step), block in zip(_blocks(count), better, strict=True):
            inside = current[(current >= start) & (current < start + step)] - start
            dominated_by -= block[inside].sum(0)
        left -= len(current)
        number += 1
    return front


def crowding(objectives: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much room each member of one front has: the sum over objectives of the distance between its neighbours.

    Args:
        objectives: (n, M) of the members of a front, all finite.

    Returns:
        (n,) in shares of the front's extent; infinite for those at an end of an objective.
    """
    count, room = len(objectives), np.zeros(len(objectives))
    for column in objectives.T:
        order = np.argsort(column, kind="stable")
        extent = column[order[-1]] - column[order[0]]
        if extent <= 0:
            continue
        room[order[[0, -1]]] = np.inf
        if count > 2:
            room[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / extent
    return room


class NSGA2:
    """The first fronts survive; of the front that does not fit as a whole, those with the most room. See this file."""

    def __call__(self, candidates: Candidates, count: int) -> NDArray[np.int64]:
        """See :class:`galab.operators.selection.Selection`; of a single objective this is truncation."""
        places = candidates.places(count)
        order = candidates.order
        several = candidates.fitness[:, None] if candidates.objectives is None else candidates.objectives
        objectives = several[order]
        alive = np.isfinite(objectives).all(axis=1)
        order, objectives = order[alive], objectives[alive]
        front, room = fronts(objectives), np.zeros(len(order))
        for number in range(int(front.max(initial=-1)) + 1):
            inside = front == number
            room[inside] = crowding(objectives[inside])
        # A stable sort: of equals the one that ranks first by the first objective, and then by age.
        best_first = np.lexsort((np.arange(len(order)), -room, front))
        return order[best_first[:places]]


def _blocks(count: int) -> list[tuple[int, int]]:
    step = max(1, _PAIRS // max(count, 1))
    return [(start, step) for start in range(0, count, step)]


def _dominates(objectives: NDArray[np.float64], rows: slice) -> NDArray[np.bool_]:
    """(rows, n) whether each of some members dominates each member."""
    mine = objectives[rows]
    as_good = np.ones((len(mine), len(objectives)), dtype=bool)
    better = np.zeros_like(as_good)
    for place in range(objectives.shape[1]):
        own, other = mine[:, place, None], objectives[None, :, place]
        as_good &= own >= other
        better |= own > other
    return as_good & better
