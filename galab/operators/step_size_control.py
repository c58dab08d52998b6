"""Rules by which the population's success sets the step size of its next children: one number for a child.

Unlike the rules of ``step_size.py`` they have a state, which a checkpoint keeps; the step size that a child used is in
its birth, so decoding needs none of it. All but the schedule compare children with their parents on the same data.
"""

from __future__ import annotations

import bisect
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from galab.genome.random import Stream, codes, table
from galab.genome.step_sizes import PER_OCTAVE, snap


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
