"""Dense mutations whose length follows a stated rule: of fixed length, relative to the weights, or keeping their norm.

All sums of squares are sums of whole numbers, as float sums depend on their order.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.random import Stream, Table, draw
from galab.genome.step_sizes import PER_OCTAVE, Steps, log_rms, sigma, spare_bits, sum_of_squares
from galab.genome.weights import Phenotype, add, scratch, to_change
from galab.operators.mutation.dense import Dense

#: A tensor of zeros has no scale of its own; it moves as if its weights were of this size (a grid point), 1/1024.
_SMALLEST_RMS = -10 * PER_OCTAVE


class _Scaled:
    """Dense noise, each tensor's times a factor of its own."""

    def __init__(self, run_key: int, law: Table) -> None:
        self._run_key = run_key
        self._law = law

    def apply(
        self, parent: Phenotype, birth: Birth, log_sigma: NDArray[np.int16], steps: Steps
    ) -> NDArray[np.int32]:
        """See :class:`galab.genome.develop.Mutation`."""
        n = len(parent.weights)
        z = draw(self._law, self._run_key, birth.id, Stream.WEIGHTS, n, out=scratch("z", n, np.float32))
        largest = 0.0
        for part in _parts(steps):
            factor = self._factor(z[part], parent.weights[part], steps.layout.domain.bits)
            z[part] *= factor
            largest = max(largest, float(factor))
        limit = steps.multiply(z, log_sigma) * self._law.peak * largest
        change = to_change(z, limit, steps.layout, birth.id, scratch("change", n, np.int32))
        return add(parent.weights, change, steps.layout, birth.id)

    def _factor(self, z: NDArray[np.float32], weights: NDArray[np.int32], bits: int) -> np.float32:
        raise NotImplementedError


class Normalised(_Scaled):
    """The noise of every tensor is scaled to exactly unit RMS: all children of one step size move equally far."""

    context_free = True

    def _factor(self, z: NDArray[np.float32], weights: NDArray[np.int32], bits: int) -> np.float32:
        return np.float32(1 / _rms(z))


class Relative(_Scaled):
    """The step size of every tensor is a share of the RMS of its weights: noise times norm."""

    context_free = False

    def _factor(self, z: NDArray[np.float32], weights: NDArray[np.int32], bits: int) -> np.float32:
        return sigma(max(log_rms(weights, bits), _SMALLEST_RMS))


class NormPreserving:
    """A dense mutation after which every tensor is scaled back to the norm that it had in the parent.

    Args:
        run_key: the run's key.
        law: the law of the noise.
    """

    context_free = False

    def __init__(self, run_key: int, law: Table) -> None:
        self._dense = Dense(run_key, law)

    def apply(
        self, parent: Phenotype, birth: Birth, log_sigma: NDArray[np.int16], steps: Steps
    ) -> NDArray[np.int32]:
        """See :class:`galab.genome.develop.Mutation`."""
        moved, spare = self._dense.apply(parent, birth, log_sigma, steps), spare_bits(steps.layout.domain.bits)
        for part in _parts(steps):
            before, after = sum_of_squares(parent.weights[part], spare), sum_of_squares(moved[part], spare)
            if before and after:
                # IEEE division and square root are exact to the last bit everywhere; the product is rounded once.
                scaled = np.rint(moved[part] * math.sqrt(before / after))
                if not np.all(np.abs(scaled) < 2.0**31):
                    raise steps.layout.lethal(part.start, birth.id)
                moved[part] = scaled.astype(np.int32)
        return moved


def _parts(steps: Steps) -> list[slice]:
    layout = steps.layout
    return [slice(start, start + size) for start, size in zip(layout.starts, layout.sizes, strict=True) if size]


def _rms(z: NDArray[np.float32]) -> float:
    """Root mean square of noise, from whole numbers of 2^-12; 1 where all of it is 0."""
    squares = sum_of_squares(np.rint(z * np.float32(4096)).astype(np.int32), shift=0)
    return math.sqrt(squares / len(z)) / 4096 or 1.0
