"""Rules by which a child's step sizes follow from its parents' alone.

All compute in whole units of 2^-16 octave and round once, at the end of a birth, to the grid of 1/256 octave; two
roundings would leave a dead zone around the parent's value. A rule sees S step sizes: one, one per tensor, rows and
columns, or one per weight (``genome/steps.py``). Rules that need the whole population's scores are in ``control.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from galab.genome.noise import Stream, codes, table
from galab.genome.scratch import scratch
from galab.genome.sigma import FINE_PER_OCTAVE
from galab.genome.steps import Steps

#: The golden rule of thumb for one step size: a fifth of an octave per birth.
_GLOBAL_RATE = 0.2
#: Nats in octaves: the literature's rates are per e, ours per doubling.
_OCTAVES = 1 / math.log(2)


class StepSizeRule(Protocol):
    """How step sizes mutate. Constructed as ``Rule(run_key, rate, **own)`` with rates in octaves per birth."""

    def mutate(self, fine: NDArray[np.int32], birth: int, steps: Steps) -> NDArray[np.int32]:
        """The child's step sizes.

        Args:
            fine: (S,) its parents', recombined, in units of 2^-16 octave; may be overwritten.
            birth: the child.
            steps: what each of them serves.
        """
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """The step size never changes."""

    run_key: int
    rate: float | None = None

    def mutate(self, fine: NDArray[np.int32], birth: int, steps: Steps) -> NDArray[np.int32]:
        """See :class:`StepSizeRule`."""
        return fine


@dataclass(frozen=True, slots=True)
class LogNormal:
    """sigma_i' = sigma_i * 2^(global N + local N_i) (Schwefel 1995; Beyer and Schwefel 2002, eqs. 18 and 21, in octaves).

    With one step size only the global term acts, 0.2 octave by default. With S of them the textbook's rates are
    global = 1/sqrt(2 S) and local = 1/sqrt(2 sqrt(S)) nats; ``rate`` replaces the local one.
    """

    run_key: int
    rate: float | None = None

    def mutate(self, fine: NDArray[np.int32], birth: int, steps: Steps) -> NDArray[np.int32]:
        """See :class:`StepSizeRule`."""
        size = len(fine)
        if size == 1:
            fine += normals(self.run_key, birth, 0, 1, _GLOBAL_RATE if self.rate is None else self.rate)
            return fine
        local = _OCTAVES / math.sqrt(2 * math.sqrt(size)) if self.rate is None else self.rate
        fine += normals(self.run_key, birth, 0, size, local)
        fine += normals(self.run_key, birth, size, 1, _OCTAVES / math.sqrt(2 * size))
        return centred(fine, steps)


@dataclass(frozen=True, slots=True)
class ThreePoint:
    """sigma' is sigma / g, sigma or sigma * g with equal odds, where g = 2^rate; the default g is 1.05.

    ``down`` gives the octaves of a step downwards where they differ from those upwards.
    """

    run_key: int
    rate: float | None = None
    down: float | None = None

    def mutate(self, fine: NDArray[np.int32], birth: int, steps: Steps) -> NDArray[np.int32]:
        """See :class:`StepSizeRule`."""
        up = math.log2(1.05) if self.rate is None else self.rate
        moves = (-(up if self.down is None else self.down), 0.0, up)
        drawn = codes(self.run_key, birth, Stream.STEP_SIZE, len(fine)).astype(np.int32) * 3 >> 16
        fine += np.array([round(move * FINE_PER_OCTAVE) for move in moves], dtype=np.int32)[drawn]
        return centred(fine, steps)


@dataclass(frozen=True, slots=True)
class MeanReverting:
    """Step sizes that drift apart only so far: each is drawn back to the mean of its layer.

    u_i = l_i + global N_layer + local N_i, then l_i' = mean(u) + (1 - r)(u_i - mean(u)), an Ornstein-Uhlenbeck process
    in log sigma around a mean that walks freely. Without selection the spread within a layer settles at
    local / sqrt(2r - r^2) octaves (:func:`predicted_spread`), where the log-normal rule's grows for ever. Defaults:
    global 0.1 nats, local 0.3/sqrt(2 sqrt(S)) nats, r = 0.01; ``rate`` replaces the local one.
    """

    run_key: int
    rate: float | None = None
    reversion: float = 0.01

    def mutate(self, fine: NDArray[np.int32], birth: int, steps: Steps) -> NDArray[np.int32]:
        """See :class:`StepSizeRule`."""
        size = len(fine)
        fine += normals(self.run_key, birth, 0, size, self.local(size))
        walk = normals(self.run_key, birth, size, len(steps.groups), 0.1 * _OCTAVES)
        share = round(self.reversion * 65_536)
        for place, group in enumerate(steps.groups):
            part = fine[group.start : group.stop]
            mean = _mean(part)
            part -= mean
            # r times the deviation in 16-bit fixed point, rounded to the nearest; 40 octaves times r = 1/20 fit int32.
            back = np.multiply(part, share, out=scratch("back", len(part), np.int32))
            back += 32_768
            back >>= 16
            part -= back
            part += 0 if group.columns else mean + int(walk[place])
        return centred(fine, steps)

    def local(self, size: int) -> float:
        """Octaves per birth by which each of ``size`` step sizes moves on its own."""
        return 0.3 * _OCTAVES / math.sqrt(2 * math.sqrt(size)) if self.rate is None else self.rate


@dataclass(frozen=True, slots=True)
class SelfAdaptive:
    """SAMR: sigma' = sigma * 2^U(-rate, rate), rate 1 by default (Clune et al. 2008; Kumar et al. 2022, section 4)."""

    run_key: int
    rate: float | None = None

    def mutate(self, fine: NDArray[np.int32], birth: int, steps: Steps) -> NDArray[np.int32]:
        """See :class:`StepSizeRule`."""
        drawn = codes(self.run_key, birth, Stream.STEP_SIZE, len(fine)).astype(np.float32)
        uniform = (drawn + np.float32(0.5)) / np.float32(32_768) - np.float32(1)
        fine += octaves(uniform, 1.0 if self.rate is None else self.rate)
        return centred(fine, steps)


def predicted_spread(local: float, reversion: float) -> float:
    """Stationary standard deviation of the mean-reverting rule: local / sqrt(2r - r^2), in the unit of ``local``."""
    return local / math.sqrt(2 * reversion - reversion**2)


def normals(run_key: int, birth: int, start: int, n: int, rate: float) -> NDArray[np.int32]:
    """(n,) normal numbers times ``rate`` octaves, in units of 2^-16 octave; scratch memory of the thread.

    Args:
        run_key: the run's key.
        birth: whose step sizes mutate.
        start: how many of the birth's numbers come before.
        n: how many.
        rate: octaves per standard deviation.
    """
    raw = codes(run_key, birth, Stream.STEP_SIZE, start + n)[start:]
    indices = scratch("indices", n, np.intp)
    np.copyto(indices, raw, casting="safe")
    return _scaled_normals(rate).take(indices, mode="wrap", out=scratch("normals", n, np.int32))


@lru_cache(maxsize=16)
def _scaled_normals(rate: float) -> NDArray[np.int32]:
    """The table of normal quantiles times a rate: one float32 product each, rounded half to even."""
    return octaves(table("normal").quantiles, rate)


def octaves(z: NDArray[np.float32], rate: float) -> NDArray[np.int32]:
    """``rate * z`` in units of 2^-16 octave: one float32 product, rounded half to even."""
    return np.rint(z * np.float32(rate * FINE_PER_OCTAVE)).astype(np.int32)


def centred(fine: NDArray[np.int32], steps: Steps) -> NDArray[np.int32]:
    """Columns back around 0: rows times 2 and columns divided by 2 are the same step sizes, and must not drift apart."""
    for group in steps.groups:
        if group.columns:
            part = fine[group.start : group.stop]
            part -= _mean(part)
    return fine


def _mean(part: NDArray[np.int32]) -> int:
    """The mean of whole numbers, rounded down."""
    # Sums of 512 step sizes stay within int32, and int32 sums are several times as fast as int64 sums of int32.
    whole = len(part) // 512 * 512
    total = int(part[:whole].reshape(-1, 512).sum(axis=1, dtype=np.int32).sum(dtype=np.int64))
    return (total + int(part[whole:].sum(dtype=np.int64))) // max(len(part), 1)
