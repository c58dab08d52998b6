"""Which worker computes which part of a cohort: evenly, and where possible where the parents are decoded already."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.evaluation.parts import Part


def votes(parts: Sequence[Part], decoded: Sequence[Collection[int]]) -> NDArray[np.int64]:
    """(parts, workers) how many of a part's members have a parent whom a worker alone has decoded.

    Args:
        parts: of one cohort.
        decoded: births by worker.
    """
    found = np.zeros((len(parts), len(decoded)), dtype=np.int64)
    for part in parts:
        if "parents" not in (part.births.dtype.names or ()):  # members around a centre
            continue
        for worker, births in enumerate(decoded):
            known: Any = np.isin(part.births["parents"], list(births))
            found[part.number, worker] = int(known.sum())
    return found


def spread(liked: NDArray[np.int64]) -> list[int]:
    """A worker for each part: no two workers' numbers of parts differ by more than one.

    Nothing of a result depends on it. Without preferences each worker gets parts that lie side by side, which have
    products and noise in common.

    Args:
        liked: (parts, workers) from :func:`votes`.

    Returns:
        The worker of each part.
    """
    count, workers = liked.shape
    homes = [part * workers // count for part in range(count)]
    pairs = sorted(
        ((part, worker) for part in range(count) for worker in range(workers)),
        key=lambda pair: (-int(liked[pair]), abs(homes[pair[0]] - pair[1]), pair),
    )
    least, more = divmod(count, workers)
    chosen: dict[int, int] = {}
    taken = [0] * workers
    for part, worker in pairs:
        if part in chosen or taken[worker] >= least + (more > 0):
            continue
        more -= taken[worker] == least  # one of the few workers who take one part more
        taken[worker] += 1
        chosen[part] = worker
    return [chosen[part] for part in range(count)]
