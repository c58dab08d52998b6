"""Which worker scores which part of a cohort. No result depends on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.evaluation.sources import Part


def parent_affinity(parts: Sequence[Part], decoded: Sequence[Collection[int]]) -> NDArray[np.int64]:
    """(parts, workers) how many members of a part have a parent that this worker alone has decoded.

    Args:
        parts: of one cohort.
        decoded: ids of births, for each worker.
    """
    found = np.zeros((len(parts), len(decoded)), dtype=np.int64)
    for part in parts:
        if "parents" not in (part.births.dtype.names or ()):  # members around a centre
            continue
        for worker, births in enumerate(decoded):
            known: Any = np.isin(part.births["parents"], list(births))
            found[part.number, worker] = int(known.sum())
    return found


def assign_parts(affinity: NDArray[np.int64]) -> list[int]:
    """A worker for each part; the numbers of parts of any two workers differ by at most one.

    No result depends on it. Without affinities each worker gets neighbouring parts, which share products and noise.

    Args:
        affinity: (parts, workers) from :func:`parent_affinity`.

    Returns:
        The worker of each part.
    """
    count, workers = affinity.shape
    homes = [part * workers // count for part in range(count)]
    pairs = sorted(
        ((part, worker) for part in range(count) for worker in range(workers)),
        key=lambda pair: (-int(affinity[pair]), abs(homes[pair[0]] - pair[1]), pair),
    )
    least, more = divmod(count, workers)
    chosen: dict[int, int] = {}
    taken = [0] * workers
    for part, worker in pairs:
        if part in chosen or taken[worker] >= least + (more > 0):
            continue
        more -= taken[worker] == least  # one of the few workers that take one part more
        taken[worker] += 1
        chosen[part] = worker
    return [chosen[part] for part in range(count)]
