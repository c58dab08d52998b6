"""How well an estimate of a gradient points along it, by exact second moments.

For a fitness that is linear where the population looks, with gradient g, and P antithetic pairs, the estimate
(1 / P) sum of <g, E_p> E_p has E |estimate|^2 = |g|^2 (1 + V / P), so its cosine with g is about 1 / sqrt(1 + V / P). V
is one less than E <g, E>^2 |E|^2 / |g|^2 of a single direction. For an (m, n) matrix alone, E = A B^T / sqrt(r):

    V = (1 - 1/r) (m n + 2) + (m + 2) (n + 2) / r - 1,   and for dense noise   V = m n + 1.

The gradient of a network is spread over tensors t in shares s_t of |g|^2. Directions of different tensors are
independent, so a tensor's noise of d_t weights also carries the others' signal:

    V + 1 = sum over t of s_t (V_t + 1 - d_t), plus D.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from galab.perturbation.plan import Plan, TensorPlan


def tensor_variance(tensor: TensorPlan) -> float:
    """V of a tensor alone."""
    if tensor.rank is None:
        return tensor.size + 1.0
    m, n, r = tensor.rows, tensor.columns, tensor.rank
    return (1 - 1 / r) * (m * n + 2) + (m + 2) * (n + 2) / r - 1


def variance(plan: Plan, shares: Mapping[str, float] | None = None) -> float:
    """V of a whole network.

    Args:
        plan: how its tensors are perturbed.
        shares: how much of the squared gradient lies in each tensor; by size where nobody knows.
    """
    total = plan.size
    known = {tensor.name: tensor.size / total for tensor in plan.tensors} if shares is None else shares
    excess = sum(
        known.get(tensor.name, 0.0) * (tensor_variance(tensor) + 1 - tensor.size) for tensor in plan.tensors
    )
    return total + excess - 1


def cosine(variance: float, pairs: float) -> float:
    """The cosine that P antithetic pairs give."""
    return 1 / math.sqrt(1 + variance / pairs)


def one_sided_cosine(variance: float, members: float, even_to_odd: float) -> float:
    """The cosine that N single members with the mean as baseline give.

    Args:
        variance: V.
        members: N.
        even_to_odd: variance of the even part of the fitness, (f(+) + f(-)) / 2, over that of its odd part. The even
            part cancels in a pair; alone it is noise.
    """
    return 1 / math.sqrt(1 + variance * (1 + even_to_odd) / members)


def pairs_for(variance: float, cosine: float) -> float:
    """Pairs that a cosine between 0 and 1 needs."""
    return variance * cosine**2 / (1 - cosine**2)
