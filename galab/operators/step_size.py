"""Rules by which a child's step sizes follow from its parents' alone.

All compute in whole units of 2^-16 octave, or finer, and round once, at the end of a birth, to the grid of 1/256
octave; two roundings would leave a dead zone around the parent's value. A rule sees S step sizes: one, one per tensor,
rows and columns, or one per weight (``genome/step_sizes.py``). Rules that need the whole population's scores are in
``step_size_control.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from galab.genome.random import Stream, codes, table
from galab.genome.step_sizes import FINE_BITS, FINE_PER_OCTAVE, PER_OCTAVE, Steps, from_fine, mean_fine
from galab.genome.weights import scratch

#: Step sizes as a rule inherits them: one set of (S,) grid points, or several of which it takes the mean.
Inherited = Sequence[NDArray[np.int16]]
#: Grid points before bounds.
Points = NDArray[np.int16] | NDArray[np.int32]

#: The golden rule of thumb for one step size: a fifth of an octave per birth.
_GLOBAL_RATE = 0.2
#: Nats in octaves: the literature's rates are per e, ours per doubling.
_OCTAVES = 1 / math.log(2)
#: Mean of a layer's step sizes under the mean-reverting rule: octaves per birth by which it walks.
_WALK = 0.1 * _OCTAVES
#: The mean-reverting rule computes in units of 2^-16 grid point, in which (1 - r) l is one product of whole numbers.
_SHARE_BITS = 16
_ONE = 1 << _SHARE_BITS


class StepSizeRule(Protocol):
    """How step sizes mutate. Constructed as ``Rule(run_key, rate, **own)`` with rates in octaves per birth."""

    def mutate(self, inherited: Inherited, birth: int, steps: Steps) -> Points:
        """The child's step sizes.

        Args:
            inherited: its parent's, or several parents', of which it starts from the mean; not written to.
            birth: the child.
            steps: what each of them serves.

        Returns:
            (S,) grid points, before bounds; new memory.
        """
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """The step size never changes."""

    run_key: int
    rate: float | None = None

    def mutate(self, inherited: Inherited, birth: int, steps: Steps) -> Points:
        """See :class:`StepSizeRule`."""
        return from_fine(mean_fine(inherited))


@dataclass(frozen=True, slots=True)
class LogNormal:
    """sigma_i' = sigma_i * 2^(global N + local N_i) (Schwefel 1995; Beyer and Schwefel 2002, eqs. 18 and 21).

    The exponent is in octaves. With one step size only the global term acts, 0.2 octave by default. With S of them the
    textbook's rates are global = 1/sqrt(2 S) and local = 1/sqrt(2 sqrt(S)) nats; ``rate`` replaces the local one.
    """

    run_key: int
    rate: float | None = None

    def mutate(self, inherited: Inherited, birth: int, steps: Steps) -> Points:
        """See :class:`StepSizeRule`."""
        fine = mean_fine(inherited)
        size = len(fine)
        if size == 1:
            drawn = codes(self.run_key, birth, Stream.STEP_SIZE, 1)
            fine += normals(drawn, _GLOBAL_RATE if self.rate is None else self.rate)
            return from_fine(fine)
        drawn = codes(self.run_key, birth, Stream.STEP_SIZE, size + 1)
        fine += normals(drawn[:size], self.local(size))
        fine += normals(drawn[size:], _OCTAVES / math.sqrt(2 * size))
        return from_fine(centred(fine, steps))

    def local(self, size: int) -> float:
        """Octaves per birth by which each of ``size`` step sizes moves on its own."""
        return _OCTAVES / math.sqrt(2 * math.sqrt(size)) if self.rate is None else self.rate


@dataclass(frozen=True, slots=True)
class ThreePoint:
    """sigma' is sigma / g, sigma or sigma * g with equal odds, where g = 2^rate; the default g is 1.05.

    ``down`` gives the octaves of a step downwards where they differ from those upwards.
    """

    run_key: int
    rate: float | None = None
    down: float | None = None

    def mutate(self, inherited: Inherited, birth: int, steps: Steps) -> Points:
        """See :class:`StepSizeRule`."""
        fine = mean_fine(inherited)
        up = math.log2(1.05) if self.rate is None else self.rate
        moves = (-(up if self.down is None else self.down), 0.0, up)
        drawn = codes(self.run_key, birth, Stream.STEP_SIZE, len(fine)).astype(np.int32) * 3 >> 16
        fine += np.array([round(move * FINE_PER_OCTAVE) for move in moves], dtype=np.int32)[drawn]
        return from_fine(centred(fine, steps))


@dataclass(frozen=True, slots=True)
class MeanReverting:
    """Step sizes that drift apart only so far: each is drawn back to the mean of its layer.

    l_i' = l_i - r (l_i - mean(l)) + global N_layer + local N_i, an Ornstein-Uhlenbeck process in log sigma around a
    mean that walks freely. Without selection the spread within a layer settles at local / sqrt(2r - r^2) octaves
    (:func:`predicted_spread`), where the log-normal rule's grows for ever. Defaults: global 0.1 nats, local
    0.3/sqrt(2 sqrt(S)) nats, r = 0.01 (to the nearest 1/65536); ``rate`` replaces the local one.
    """

    run_key: int
    rate: float | None = None
    reversion: float = 0.01

    def mutate(self, inherited: Inherited, birth: int, steps: Steps) -> Points:
        """See :class:`StepSizeRule`."""
        size, count = steps.size, len(inherited)
        # One parent's stay int16: half the memory of what several add up to.
        total: NDArray[np.integer] = inherited[0] if count == 1 else np.sum(inherited, axis=0, dtype=np.int64)
        drawn = codes(self.run_key, birth, Stream.STEP_SIZE, size + len(steps.groups))
        walk = normals(drawn[size:], _WALK, bits=_SHARE_BITS).tolist()
        share = round(self.reversion * _ONE)
        # Halves go up here; one in 65,536 is a half, so that moves the mean by 2^-17 grid point per birth at the most.
        child = np.empty(size, dtype=np.int16)
        for place, group in enumerate(steps.groups):
            part = slice(group.start, group.stop)
            fine = self._alone(total[part], count, drawn[part], size)
            if group.columns:
                shift = -_mean(fine)
            else:
                shift = share * _sum(total[part]) // max(count * len(fine), 1) + walk[place]
            fine += np.int32(shift + _ONE // 2)
            np.copyto(child[part], np.right_shift(fine, _SHARE_BITS, out=fine), casting="unsafe")
        return child

    def _alone(
        self, total: NDArray[np.integer], count: int, drawn: NDArray[np.uint16], size: int
    ) -> NDArray[np.int32]:
        """(1 - r) l_i + local N_i in units of 2^-16 grid point, in scratch memory.

        Args:
            total: (n,) the sum of ``count`` parents' l_i.
            count: how many.
            drawn: (n,) codes of N_i.
            size: S.
        """
        keep = _ONE - round(self.reversion * _ONE)
        fine = scratch("fine", len(drawn), np.int32)
        if count == 1:
            np.copyto(fine, total)
            fine *= keep
        else:
            np.copyto(fine, (total.astype(np.int64) * (2 * keep) + count) // (2 * count), casting="unsafe")
        fine += normals(drawn, self.local(size), bits=_SHARE_BITS)
        return fine

    def local(self, size: int) -> float:
        """Octaves per birth by which each of ``size`` step sizes moves on its own."""
        return 0.3 * _OCTAVES / math.sqrt(2 * math.sqrt(size)) if self.rate is None else self.rate


@dataclass(frozen=True, slots=True)
class SelfAdaptive:
    """SAMR: sigma' = sigma * 2^U(-rate, rate), rate 1 by default (Clune et al. 2008; Kumar et al. 2022, section 4)."""

    run_key: int
    rate: float | None = None

    def mutate(self, inherited: Inherited, birth: int, steps: Steps) -> Points:
        """See :class:`StepSizeRule`."""
        fine = mean_fine(inherited)
        drawn = codes(self.run_key, birth, Stream.STEP_SIZE, len(fine)).astype(np.float32)
        uniform = (drawn + np.float32(0.5)) / np.float32(32_768) - np.float32(1)
        fine += octaves(uniform, 1.0 if self.rate is None else self.rate)
        return from_fine(centred(fine, steps))


def predicted_spread(local: float, reversion: float) -> float:
    """Stationary standard deviation of the mean-reverting rule: local / sqrt(2r - r^2), in the unit of ``local``."""
    return local / math.sqrt(2 * reversion - reversion**2)


def normals(drawn: NDArray[np.uint16], rate: float, bits: int = FINE_BITS) -> NDArray[np.int32]:
    """Normal numbers times ``rate`` octaves; scratch memory of the thread.

    Args:
        drawn: (n,) their codes.
        rate: octaves per standard deviation.
        bits: they are in units of 2^-bits grid point.
    """
    indices = scratch("indices", len(drawn), np.intp)
    np.copyto(indices, drawn, casting="safe")
    return _scaled_normals(rate, bits).take(indices, mode="wrap", out=scratch("normals", len(drawn), np.int32))


@lru_cache(maxsize=16)
def _scaled_normals(rate: float, bits: int) -> NDArray[np.int32]:
    """The table of normal quantiles times a rate: one float32 product each, rounded half to even."""
    return octaves(table("normal").quantiles, rate, bits)


def octaves(z: NDArray[np.float32], rate: float, bits: int = FINE_BITS) -> NDArray[np.int32]:
    """``rate * z`` octaves in units of 2^-bits grid point: one float32 product, rounded half to even."""
    return np.rint(z * np.float32(rate * (PER_OCTAVE << bits))).astype(np.int32)


def centred(fine: NDArray[np.int32], steps: Steps) -> NDArray[np.int32]:
    """Columns back around 0: rows times 2 and columns over 2 are the same step sizes, and must not drift apart."""
    for group in steps.groups:
        if group.columns:
            part = fine[group.start : group.stop]
            part -= _mean(part)
    return fine


def _mean(part: NDArray[np.int32]) -> int:
    """The mean of whole numbers, rounded down."""
    return int(part.sum(dtype=np.int64)) // max(len(part), 1)


def _sum(part: NDArray[np.integer]) -> int:
    """The exact sum of whole numbers; those of int16 in parts that int32 holds, which is twice as fast as int64."""
    if part.dtype != np.int16:
        return int(part.sum(dtype=np.int64))
    return sum(int(part[start : start + 65_536].sum(dtype=np.int32)) for start in range(0, len(part), 65_536))
