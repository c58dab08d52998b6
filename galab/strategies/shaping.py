"""From the fitness of a population to one weight for each of its directions.

An estimate of the gradient is (1 / (n sigma)) sum over directions of weight times direction, n directions in all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Fitness = NDArray[np.float64]
#: From (N,) finite fitness, and how many groups of members lie one after the other, to (N,) scores.
Shaping = Callable[[Fitness, int], Fitness]


def raw(fitness: Fitness, groups: int) -> Fitness:
    """The fitness as it is: the estimate is that of the fitness's own gradient."""
    return fitness


def z_score(fitness: Fitness, groups: int) -> Fitness:
    """Standard deviations from the mean of the member's group.

    The standard deviation is that of the whole population about the group means, so all groups weigh alike
    (arXiv 2511.16652, section 6.3). Equal fitness everywhere scores 0.
    """
    centred = _about_group_means(fitness, groups)
    deviation = float(np.sqrt(np.mean(np.square(centred))))
    # Equal fitness differs from its mean by rounding, which no score may be made of.
    rounding = 1e-12 * float(np.abs(fitness).max(initial=0.0))
    return centred / deviation if deviation > rounding else np.zeros_like(centred)


def centred_ranks(fitness: Fitness, groups: int) -> Fitness:
    """Ranks within the member's group, from -1/2 to 1/2; equal fitness shares its mean rank.

    Source: Salimans et al., "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", 2017.
    """
    from scipy.stats import rankdata  # scipy.stats takes a second to import

    by_group = fitness.reshape(groups, -1)
    ranks = rankdata(by_group, axis=1) - 1
    most = max(by_group.shape[1] - 1, 1)
    return np.asarray(ranks / most - 0.5, dtype=np.float64).reshape(-1)


def _about_group_means(fitness: Fitness, groups: int) -> Fitness:
    by_group = fitness.reshape(groups, -1)
    return (by_group - by_group.mean(axis=1, keepdims=True)).reshape(-1)


#: By the names that ``--shaping`` takes; ``sign`` works on pairs and is applied in :func:`pair_weights`.
SHAPINGS: dict[str, Shaping] = {"raw": raw, "z-score": z_score, "centred-ranks": centred_ranks, "sign": raw}


def pair_weights(scores: Fitness, *, sign: bool = False) -> Fitness:
    """Weights of antithetic pairs.

    Args:
        scores: (2 P,) shaped scores, plus and minus of each pair side by side.
        sign: only which of the two is better counts: +1, -1, or 0 for a tie.

    Returns:
        (P,) half the difference of each pair, or its sign.
    """
    odd = (scores[0::2] - scores[1::2]) / 2
    return np.sign(odd) if sign else odd


def single_weights(scores: Fitness, groups: int) -> Fitness:
    """Weights of members without a mirror image: the score minus the mean of the member's group, (N,)."""
    return _about_group_means(scores, groups)


def without_failures(fitness: Fitness) -> Fitness:
    """The fitness with failures ranked last: each counts as the worst member that has a finite fitness."""
    finite = np.isfinite(fitness)
    return np.where(finite, fitness, fitness[finite].min()) if finite.any() else fitness
