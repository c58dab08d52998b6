"""Rules of step sizes: self-adaptation of each child's own, and control by the success of the whole population.

A :class:`StepSizeRule` makes a child's step sizes from its parents' alone. All compute in whole units of 2^-16 octave,
or finer, and round once, at the end of a birth, to the grid of 1/256 octave; two roundings would leave a dead zone
around the parent's value. A rule sees S step sizes: one, one per tensor, rows and columns, or one per weight
(``genome/step_sizes.py``).

A :class:`PopulationStepSize` chooses one number for each of the next children. It has a state, which a checkpoint
keeps; the step size that a child used is in its birth, so decoding needs none of it. All but the schedule compare
children with their parents on the same data.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from galab.genome.random import Stream, codes, table
from galab.genome.step_sizes import FINE_BITS, FINE_PER_OCTAVE, PER_OCTAVE, Steps, from_fine, mean_fine, snap
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


@runtime_checkable
class PopulationStepSize(Protocol):
    """Constructed as ``Rule(run_key, rate, start=log_sigma, **own)``; log step sizes are grid points.

    Attributes:
        needs_gain: whether ``learn`` must know by how much each child is better than its parents.
    """

    needs_gain: bool

    def propose(self, generation: int, births: list[int]) -> list[int]:
        """The step size of each child as a grid point, before bounds are applied.

        Args:
            generation: the generation that the children are born in.
            births: their ids.
        """
        ...

    def learn(self, generation: int, log_sigma: NDArray[np.int64], gain: NDArray[np.float64]) -> None:
        """Hear how the children fared.

        Args:
            generation: the generation.
            log_sigma: (children,) the step sizes that they used, as grid points.
            gain: (children,) fitness minus the mean of its parents'; -inf for a child that failed, NaN where its
                parents' is not known.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain data."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue."""
        ...


class Schedule:
    """Step sizes given in advance: points (generation, sigma), with straight lines in log sigma in between.

    Args:
        run_key: unused; nothing is random.
        rate: unused.
        start: the step size where there are no points, as a grid point.
        points: (generation, step size) in order of generations; the first holds before its generation, too.
    """

    needs_gain = False

    def __init__(
        self, run_key: int, rate: float | None = None, *, start: int, points: tuple[tuple[int, float], ...] = ()
    ) -> None:
        self._generations = [generation for generation, _ in points] or [0]
        self._values = [snap(value) for _, value in points] or [start]

    def propose(self, generation: int, births: list[int]) -> list[int]:
        """See :class:`PopulationStepSize`."""
        after = bisect.bisect_right(self._generations, generation)
        if after == 0 or after == len(self._values):
            value = self._values[min(after, len(self._values) - 1)]
        else:
            first, last = self._generations[after - 1], self._generations[after]
            low, high = self._values[after - 1], self._values[after]
            value = low + round((high - low) * (generation - first) / (last - first))
        return [value] * len(births)

    def learn(self, generation: int, log_sigma: NDArray[np.int64], gain: NDArray[np.float64]) -> None:
        """See :class:`PopulationStepSize`; a schedule learns nothing."""

    def state_dict(self) -> dict[str, Any]:
        """See :class:`PopulationStepSize`."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :class:`PopulationStepSize`."""


class OneFifth:
    """sigma <- sigma * 2^(rate (p - 1/5) / (4/5)), p the share of children better than their parents (Rechenberg 1973).

    A child that failed is not better, or large steps of which most are lethal would seem to succeed.

    ``rate`` is the change in octaves per generation when every child is better, 0.2 by default; when none is, it is
    a quarter of that downwards.
    """

    needs_gain = True

    def __init__(self, run_key: int, rate: float | None = None, *, start: int) -> None:
        self._rate = 0.2 if rate is None else rate
        self._log_sigma = float(start)

    def propose(self, generation: int, births: list[int]) -> list[int]:
        """See :class:`PopulationStepSize`."""
        return [round(self._log_sigma)] * len(births)

    def learn(self, generation: int, log_sigma: NDArray[np.int64], gain: NDArray[np.float64]) -> None:
        """See :class:`PopulationStepSize`."""
        known = gain[~np.isnan(gain)]
        if known.size:
            used = int(log_sigma[0])
            # Where a bound was in the way, it goes on from the bound and not from what it wished for.
            before = self._log_sigma if round(self._log_sigma) == used else used
            share = float(np.mean(known > 0))
            self._log_sigma = before + self._rate * PER_OCTAVE * (share - 0.2) / 0.8

    def state_dict(self) -> dict[str, Any]:
        """See :class:`PopulationStepSize`."""
        return {"log_sigma": self._log_sigma}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :class:`PopulationStepSize`."""
        self._log_sigma = float(state["log_sigma"])


class GroupElite:
    """GESMR: several step sizes, each for a group of children; a group is worth its *best* child's gain.

    The best step size stays, the better half is drawn from and multiplied by 2^U(-rate, rate), rate 1 by default. By
    the best gain instead of the mean, large steps that are mostly bad and sometimes very good survive (Kumar et al.
    2022).
    """

    needs_gain = True

    def __init__(self, run_key: int, rate: float | None = None, *, start: int, groups: int = 2) -> None:
        self._run_key = run_key
        self._rate = 1.0 if rate is None else rate
        spread = (np.linspace(-1, 1, groups) if groups > 1 else np.zeros(1)) * self._rate * PER_OCTAVE
        self._log_sigmas = [round(start + offset) for offset in spread]

    def propose(self, generation: int, births: list[int]) -> list[int]:
        """See :class:`PopulationStepSize`; child i belongs to group i mod K."""
        return [self._log_sigmas[place % len(self._log_sigmas)] for place in range(len(births))]

    def learn(self, generation: int, log_sigma: NDArray[np.int64], gain: NDArray[np.float64]) -> None:
        """See :class:`PopulationStepSize`."""
        groups = len(self._log_sigmas)
        score = np.where(np.isfinite(gain), gain, -np.inf)
        best = np.array([score[group::groups].max(initial=-np.inf) for group in range(groups)])
        used = np.array([int(log_sigma[group]) if group < len(log_sigma) else 0 for group in range(groups)])
        order = np.argsort(-best, kind="stable")
        better = used[order[: max(1, groups // 2)]]
        drawn = codes(self._run_key, generation, Stream.CONTROL, 2 * groups).astype(np.int64)
        chosen = better[drawn[:groups] * len(better) >> 16]
        factor = (drawn[groups:] + 0.5) / 32_768 - 1
        moved = chosen + np.rint(factor * self._rate * PER_OCTAVE).astype(np.int64)
        self._log_sigmas = [int(better[0]), *moved[1:].tolist()]

    def state_dict(self) -> dict[str, Any]:
        """See :class:`PopulationStepSize`."""
        return {"log_sigmas": list(self._log_sigmas)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :class:`PopulationStepSize`."""
        self._log_sigmas = [int(value) for value in state["log_sigmas"]]


class SuccessHistory:
    """A centre that moves toward the mean step size of the children that improved (JADE: Zhang and Sanderson 2009).

    Children are drawn around it, 0.2 octave apart (standard deviation); ``rate`` is the share of the way that the
    centre goes per generation, 0.1 by default.
    """

    needs_gain = True
    _SPREAD = 0.2 * PER_OCTAVE

    def __init__(self, run_key: int, rate: float | None = None, *, start: int) -> None:
        self._run_key = run_key
        self._rate = 0.1 if rate is None else rate
        self._centre = float(start)

    def propose(self, generation: int, births: list[int]) -> list[int]:
        """See :class:`PopulationStepSize`."""
        normal = table("normal").quantiles
        drawn = [normal[codes(self._run_key, birth, Stream.STEP_SIZE, 1)[0]] for birth in births]
        return [round(self._centre + self._SPREAD * float(z)) for z in drawn]

    def learn(self, generation: int, log_sigma: NDArray[np.int64], gain: NDArray[np.float64]) -> None:
        """See :class:`PopulationStepSize`."""
        better = np.isfinite(gain) & (gain > 0)
        if better.any():
            self._centre += self._rate * (float(log_sigma[better].mean()) - self._centre)

    def state_dict(self) -> dict[str, Any]:
        """See :class:`PopulationStepSize`."""
        return {"centre": self._centre}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :class:`PopulationStepSize`."""
        self._centre = float(state["centre"])
