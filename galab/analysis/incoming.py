"""Weights into neurons: which neurons matter, what they look like, and what they would be without selection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Spread:
    """Weights into a neuron against those that somebody else has.

    Attributes:
        deviation: root mean square of the weights.
        reference: the same of the others.
        p: two-sided p value of a Kolmogorov-Smirnov test that both come of one law.
    """

    deviation: float
    reference: float
    p: float


def strengths(weights: Floats, following: Floats | None) -> NDArray[np.float64]:
    """How much of what comes after hangs on each neuron.

    Args:
        weights: (n, ...) into n neurons.
        following: (m, k, ...) the next layer's, k being n or, where a channel is flattened into several inputs, a
            multiple of it; None where there is none.

    Returns:
        (n,) Euclidean lengths of the outgoing weights; of the incoming ones where no layer follows them.
    """
    count = len(weights)
    if following is None or following.ndim < 2 or following.shape[1] % count:
        return np.linalg.norm(weights.reshape(count, -1).astype(np.float64), axis=1)
    parts = following.astype(np.float64).reshape(len(following), count, -1)
    return np.sqrt((parts**2).sum(axis=(0, 2)))


def drifted(founder: Floats, deviation: float, noise: Floats) -> NDArray[np.float64]:
    """Weights that a founder's would have become by mutations that nothing selected.

    A sum of independent mutations of variances s1^2, s2^2, ... has the variance s1^2 + s2^2 + ...; of many it is
    normal.

    Args:
        founder: (n,) its weights.
        deviation: the root of the sum of squared step sizes along a line of descent.
        noise: (n,) standard normal.
    """
    found: NDArray[np.float64] = founder.astype(np.float64) + deviation * noise.astype(np.float64)
    return found


def compared(weights: Floats, others: Floats) -> Spread:
    """Weights into a neuron against others.

    Args:
        weights: (n,).
        others: (m,).
    """
    from scipy.stats import ks_2samp

    mine, theirs = (values.astype(np.float64).ravel() for values in (weights, others))
    return Spread(
        float(np.sqrt((mine**2).mean())), float(np.sqrt((theirs**2).mean())), float(ks_2samp(mine, theirs).pvalue)
    )


def picture_of(weights: Floats, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """The weights into a neuron as an image: (height, width), channels side by side.

    Args:
        weights: (...) of one neuron: of inputs in the order of an image, or a kernel (channels, height, width).
        shape: of one input.

    Returns:
        None where they have no such form.
    """
    values = weights.astype(np.float64)
    if values.ndim == 1 and values.size == int(np.prod(shape)) and 2 <= len(shape) <= 3:
        values = values.reshape(shape)
    if values.ndim == 2:
        return values
    if values.ndim != 3:
        return None
    gap = np.full((values.shape[1], 1), np.nan)
    columns = [part for channel in values for part in (channel, gap)][:-1]
    return np.concatenate(columns, axis=1)
