"""Fixed divisions of examples into parts, the same on every machine and with every version of NumPy.

Only the raw bits of the counter-based generator Philox are used, which NumPy guarantees, never a method of
``numpy.random.Generator``, whose stream may change. Source: J. Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Key of the generator; another one would be another split, and every fingerprint would change.
SPLIT_KEY = 0x67616C6162


def permutation(count: int) -> NDArray[np.int64]:
    """The numbers 0 to ``count - 1`` in a fixed random order."""
    bits = np.random.Philox(key=[SPLIT_KEY, 0]).random_raw(count)
    return np.argsort(bits, kind="stable")


def stratified(labels: NDArray[np.integer], sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Indices of parts in which every class has its share, each part in a fixed random order.

    Args:
        labels: (B,) class numbers.
        sizes: size of each part but the last, which takes the rest.

    Returns:
        ``len(sizes) + 1`` arrays of indices, together every example once.
    """
    order = permutation(len(labels))
    shuffled = labels[order]
    # An example's place is its rank within its class over the size of the class: cutting the examples sorted by place
    # takes the same share of every class.
    place = np.empty(len(labels), dtype=np.float64)
    for label in np.unique(labels):
        where = np.flatnonzero(shuffled == label)
        place[where] = (np.arange(len(where)) + 0.5) / len(where)
    by_place = np.argsort(place, kind="stable")
    return [order[np.sort(part)] for part in np.split(by_place, np.cumsum(sizes))]
