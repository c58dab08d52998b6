"""Whether the best starts end best: spread over seeds, and how well early fitness tells final fitness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from galab.analysis.resampling import Correlation, spearman

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Early:
    """What an early moment says of the end.

    Attributes:
        share: how early, as a share of the run.
        generation: that moment.
        early: (n,) the runs' values then.
        correlation: Spearman's with the final values.
        explained: share of the variance of final values that a straight line through the early ones explains, R^2.
    """

    share: float
    generation: int
    early: Floats
    correlation: Correlation
    explained: float


def spread(values: ArrayLike) -> Floats:
    """(G,) variance over runs (ddof 1) at each generation, of (n, G) values; NaN with fewer than two finite values."""
    table = np.asarray(values, dtype=np.float64)
    known = np.isfinite(table)
    count = known.sum(axis=0)
    filled = np.where(known, table, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = filled.sum(axis=0) / count
        squares = (np.where(known, table - means, 0.0) ** 2).sum(axis=0)
        found: Floats = np.where(count > 1, squares / (count - 1), np.nan)
    return found


def explained(early: ArrayLike, final: ArrayLike) -> float:
    """R^2 of the line of least squares from early to final values; NaN where either is constant."""
    a, b = np.asarray(early, dtype=np.float64), np.asarray(final, dtype=np.float64)
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1] ** 2)


def foretold(values: ArrayLike, generations: Sequence[int], shares: Sequence[float]) -> list[Early]:
    """How well early values tell the final ones; runs with a value missing at either moment are left out there.

    Args:
        values: (n, G) one row a run, at the same generations.
        generations: (G,) rising.
        shares: how early, as shares of the last generation; each at the first measurement from there on.
    """
    table, when = np.asarray(values, dtype=np.float64), np.asarray(generations)
    final = table[:, -1]
    found = []
    for share in shares:
        place = min(int(np.searchsorted(when, share * when[-1])), len(when) - 1)
        early = table[:, place]
        both = np.isfinite(early) & np.isfinite(final)
        found.append(
            Early(
                share, int(when[place]), early, spearman(early[both], final[both]),
                explained(early[both], final[both]),
            )
        )  # fmt: skip
    return found
