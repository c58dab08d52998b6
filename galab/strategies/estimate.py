"""The estimate of a gradient from weighted directions: one product of matrices for each tensor, no direction formed.

Source: Sarkar et al., arXiv 2511.16652, section 4: sum_p w_p A_p B_p^T = A^T diag(w) B with the factors of all
directions side by side. Sums are float32 in a fixed order; memory does not depend on the population, as directions come
by the group.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galab.perturbation.directions import Dense, Directions, Factors


def estimate(
    directions: Directions, generation: int, weights: NDArray[np.float64], sigma: float, device: torch.device
) -> dict[str, Tensor]:
    """``(1 / (n sigma)) sum_i weights[i] E_i`` for the first n directions of a generation.

    Args:
        directions: where the noise comes from.
        generation: whose noise.
        weights: (n,) one for each direction.
        sigma: the step size that the directions were tried with, in weight units.
        device: where to compute.

    Returns:
        Name of each parameter to a float32 tensor of its shape: an estimate of the fitness's gradient.
    """
    plan = directions.plan
    sums = {tensor.name: torch.zeros(tensor.shape, device=device) for tensor in plan.tensors}
    scale = 1 / (len(weights) * sigma)
    factors = torch.from_numpy((weights * scale).astype(np.float32)).to(device)
    for first, noise in directions.between(generation, 0, len(weights)):
        for name, part in noise.items():
            sums[name] += _weighted_sum(part, factors[first : first + part.count]).view_as(sums[name])
    return sums


def _weighted_sum(noise: Factors | Dense, weights: Tensor) -> Tensor:
    """sum_q weights[q] E_q: the tensor as an (m, n) matrix, or flat."""
    if isinstance(noise, Dense):
        return weights @ noise.values.flatten(1)
    count, rows, rank = noise.a.shape
    left = noise.a * (weights / rank**0.5).view(-1, 1, 1)
    # All directions and ranks side by side: (m, Q r) times (Q r, n).
    return left.transpose(1, 2).reshape(count * rank, rows).t() @ noise.b.transpose(1, 2).reshape(count * rank, -1)
