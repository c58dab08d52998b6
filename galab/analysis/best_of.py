"""The best of n: what is to be expected of it, from a sample.

The mean over all subsets of n of a sample of N is sum_i x_(i) C(i - 1, n - 1) / C(N, n), without bias: a U-statistic
(Hoeffding 1948).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galab.analysis.order_statistics import enough_for_interval, maximum_odds
from galab.analysis.resampling import picks

Floats = NDArray[np.float64]

RESAMPLES = 500


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """The expected best of n under several conditions that share their noise.

    Attributes:
        expected: (S,) the estimate; NaN where the best of n may be a failure.
        low: (S,) lower end of its bootstrap 95 % interval; NaN where there are too few samples for one.
        high: (S,) upper end, or NaN.
        winner: the condition with the largest expectation; -1 where there is none.
        winners: (R,) the same in every resample; empty where there are too few samples.
        largest: (resamples,) the largest expectation in every resample, NaN where there is none; empty likewise.
    """

    expected: Floats
    low: Floats
    high: Floats
    winner: int
    winners: NDArray[np.int64]
    largest: Floats

    @property
    def range(self) -> tuple[int, int] | None:
        """The conditions between which 95 % of the resamples' winners lie; None where that is not known."""
        if not self.winners.size:
            return None
        low, high = np.quantile(self.winners, [0.025, 0.975], method="closest_observation")
        return int(low), int(high)


def expected_best(values: Floats | NDArray[np.bool_], count: int) -> Floats:
    """(...) the expected largest of ``count`` draws, estimated from samples without bias.

    Args:
        values: (..., N) samples; NaN is a failure and worse than anything. Of truths it is the chance that one is true.
        count: of how many.

    Returns:
        (...) NaN where the best of ``count`` may be a failure.
    """
    ordered = np.sort(np.where(np.isnan(values), -np.inf, values), axis=-1)
    weights = maximum_odds(values.shape[-1], count)
    used = weights > 0
    total: Floats = np.where(used, ordered, 0.0) @ weights
    return np.where(np.isfinite(total), total, np.nan)


def best_of(values: Floats, count: int) -> Best:
    """The expected best of ``count`` under several conditions; draws of the same place share their noise.

    Args:
        values: (S, N) samples.
        count: of how many.
    """
    conditions, size = values.shape
    expected = expected_best(values, count)
    low, high = np.full(conditions, np.nan), np.full(conditions, np.nan)
    winner = -1 if np.isnan(expected).all() else int(np.nanargmax(expected))
    if not enough_for_interval(size, count):
        return Best(expected, low, high, winner, np.empty(0, dtype=np.int64), np.empty(0))
    chosen = picks(size, RESAMPLES, 0)
    drawn = np.stack([expected_best(row[chosen], count) for row in values])  # (S, R)
    known = ~np.isnan(drawn).all(axis=1)
    if known.any():
        low[known], high[known] = np.nanquantile(drawn[known], [0.025, 0.975], axis=1)
    some = ~np.isnan(drawn).all(axis=0)
    largest = np.full(RESAMPLES, np.nan)
    largest[some] = np.nanmax(drawn[:, some], axis=0)
    winners = np.nanargmax(drawn[:, some], axis=0) if winner >= 0 else np.empty(0, dtype=np.int64)
    return Best(expected, low, high, winner, winners, largest)


def wins(first: Best, second: Best) -> float:
    """The share of resamples in which the first one's best condition is better than the second one's.

    Args:
        first: of samples that share their noise with those of ``second``; as many.
        second: of these.

    Returns:
        NaN where there are too few samples to tell.
    """
    if not first.largest.size or len(first.largest) != len(second.largest):
        return math.nan
    mine, other = (np.nan_to_num(one.largest, nan=-np.inf, posinf=np.inf, neginf=-np.inf) for one in (first, second))
    return float((mine > other).mean())
