"""The one function that ranks, everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.genome.noise import Stream, permutation


def rank(
    fitness: NDArray[np.float64],
    ids: NDArray[np.int64],
    *,
    further: NDArray[np.float64] | None = None,
    ties: str = "younger",
    run_key: int = 0,
    generation: int = 0,
) -> NDArray[np.int64]:
    """Indices from best to worst: by score, then by the further keys in their order, then by age.

    Args:
        fitness: (P,) higher is better; anything that is not finite is a failure and ranks last.
        ids: (P,) births; a larger id is younger.
        further: (P, K - 1) keys, each of which decides where the score and the keys before are equal; higher is
            better, and anything that is not finite is the worst.
        ties: which of two equals comes first: ``younger`` (drifts along plateaus), ``older`` or ``random``.
        run_key: key of the coin for ``random``.
        generation: likewise.

    Returns:
        (P,) indices; failures are ordered by age or the coin alone.
    """
    alive = np.isfinite(fitness)
    score = np.where(alive, fitness, -np.inf)
    if ties == "random":
        # Shuffled by age and not by place, so that the result does not depend on the order of the arguments.
        order = np.argsort(ids, kind="stable")[permutation(len(ids), run_key, generation, Stream.TIES)]
    else:
        order = np.argsort(ids if ties == "older" else -ids, kind="stable")
    # Sorting by the lesser key first and by the greater key with a stable sort ranks by both.
    for key in () if further is None else reversed(further.T):
        worth = np.where(alive & np.isfinite(key), key, -np.inf)
        order = order[np.argsort(-worth[order], kind="stable")]
    return order[np.argsort(-score[order], kind="stable")]
