"""What operators share that move a part of the weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.phenotype import Phenotype, add, to_change
from galab.genome.scratch import scratch
from galab.genome.steps import Steps


def move(
    parent: Phenotype,
    birth: Birth,
    log_sigma: NDArray[np.int16],
    steps: Steps,
    places: NDArray[np.int64] | list[slice],
    z: NDArray[np.float32],
    peak: float,
) -> NDArray[np.int32]:
    """The parent's weights with noise times step sizes added at some places.

    Args:
        parent: whose weights they are.
        birth: the child.
        log_sigma: (S,) its step sizes.
        steps: what they serve.
        places: indices of the (n,) weights that move, or slices of n weights in all.
        z: (n,) noise of unit variance.
        peak: an upper bound of ``|z|``.

    Raises:
        LethalMutationError: a weight leaves +-128.
    """
    n = len(parent.weights)
    noise = scratch("z", n, np.float32)
    noise[:] = 0
    if isinstance(places, list):
        at = 0
        for part in places:
            noise[part] = z[at : at + part.stop - part.start]
            at += part.stop - part.start
    else:
        noise[places] = z
    factor = steps.multiply(noise, log_sigma)
    change = to_change(noise, factor * peak, steps.layout, birth.id, scratch("change", n, np.int32))
    return add(parent.weights, change, steps.layout, birth.id)
