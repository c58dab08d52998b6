"""When runs first reached a level, where some were not watched as long as others.

A run that ended below the level is censored: it would have needed more than it was given (Kaplan and Meier,
"Nonparametric estimation from incomplete observations", 1958). It is "never", later than every other, only among runs
that were watched no longer than itself; so all are looked at up to one horizon, and what came later counts as never.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from galab.analysis.trials import first_reaching


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """When runs reached a level.

    Attributes:
        first: (n,) the first place of each run at that level; infinity where it was not reached up to the horizon.
        horizon: how far all runs were watched: the end of the shortest one that never reached the level; infinity
            where all reached it.
        shortest: the index of that run, None where all reached it.
        late: (n,) whether a run reached the level after the horizon.
    """

    first: NDArray[np.float64]
    horizon: float
    shortest: int | None
    late: NDArray[np.bool_]

    @property
    def beyond(self) -> int:
        """How many runs reached the level after the horizon."""
        return int(self.late.sum())


def times_to(
    places: Sequence[ArrayLike], values: Sequence[ArrayLike], level: float, *, lower_is_better: bool = False
) -> Times:
    """When each run reached a level, as far as all of them were watched.

    Args:
        places: each run's (n,) evaluations, generations or seconds at its measurements, rising.
        values: each run's (n,) values.
        level: to reach.
        lower_is_better: whether values have to go down to it.

    Raises:
        ValueError: there are no runs, or one was never measured.
    """
    if not places or any(not np.size(run) for run in places):
        raise ValueError("expected at least one run, and a measurement in each, got none")
    pairs = zip(places, values, strict=True)
    first = np.array([first_reaching(run, own, level, lower_is_better=lower_is_better) for run, own in pairs])
    ends = np.array([float(np.max(run)) for run in places])
    ends[np.isfinite(first)] = math.inf
    shortest = int(np.argmin(ends))
    horizon = float(ends[shortest])
    late = np.isfinite(first) & (first > horizon)
    limited = None if math.isinf(horizon) else shortest
    return Times(np.where(late, math.inf, first), horizon, limited, late)
