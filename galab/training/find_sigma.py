"""Finding the step size at which a share of the answers changes, before a run of prompts begins.

A reward of greedy answers is flat where steps are too small, as no answer changes, and noise where they are too large.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from galab.config import RunConfig
from galab.config.strategy_kinds import kind_of
from galab.errors import UsageError
from galab.training.resolve import resolve
from galab.training.search import RunComponents

logger = logging.getLogger("galab")
#: Step sizes that are tried at most, and the share of answers that should change.
POINTS, AIM = 5, (0.2, 0.6)
#: Each step size is so many times the one before, until the share that is wanted lies between two.
_FACTOR = 4.0


@dataclass(frozen=True, slots=True)
class Tried:
    """One step size.

    Attributes:
        sigma: the step size.
        changed: share of the answers that differ from the base model's.
    """

    sigma: float
    changed: float

    @property
    def off(self) -> float:
        """How far the share is from the aim; 0 within, and infinite where no member answered."""
        return math.inf if math.isnan(self.changed) else max(AIM[0] - self.changed, self.changed - AIM[1], 0.0)


def find_sigma(
    config: RunConfig, build: Callable[[RunConfig], RunComponents], *, floor: float | None = None
) -> RunConfig:
    """A configuration with the step size that changes a share of the answers within :data:`AIM`.

    The first one tried is the configuration's own, which is kept where it does. Others are larger or smaller by factors
    until the share that is wanted lies between two, and then between those.

    Args:
        config: a resolved one.
        build: the components of a run from a configuration; the first generation of each is scored, and not counted.
        floor: of a genetic algorithm's step sizes as it was asked for; when None it follows each step size.

    Raises:
        UsageError: no step size that was tried changes answers, or none leaves one as it is.
    """

    def with_sigma(sigma: float) -> RunConfig:
        return resolve(dataclasses.replace(config, sigma=sigma, sigma_floor=floor))

    tried = list[Tried]()
    low, high = 0.0, math.inf  # too small, and too large
    own = config
    for _ in range(POINTS):
        components = build(own)
        scores = components.search.executor.score(components.strategy.ask())
        found = Tried(own.sigma, float(np.nanmean(scores.metrics["changed"])))
        logger.warning("sigma %.3g changes %.0f %% of the answers", found.sigma, 100 * found.changed)
        tried.append(found)
        if not found.off:
            return own
        if found.changed < AIM[0]:  # NaN, where all failed, is too large
            low = found.sigma
        else:
            high = found.sigma
        between = low * _FACTOR if high == math.inf else high / _FACTOR if not low else math.sqrt(low * high)
        own = with_sigma(_within(config, floor, between))
    best = min(tried, key=lambda one: one.off)
    if best.changed in (0.0, 1.0) or math.isinf(best.off):
        raise UsageError(
            f"expected a step size at which some answers change, found {best.changed:.0%} of them changed at each of "
            f"{', '.join(f'{one.sigma:.3g}' for one in tried)}; give another --sigma to begin with"
        )
    return with_sigma(best.sigma)


def _within(config: RunConfig, floor: float | None, sigma: float) -> float:
    """A step size that may be: also, of a genetic algorithm, between its floor and its ceiling."""
    bounds = RunConfig.__dataclass_fields__["sigma"].metadata
    low, high = bounds["low"], bounds["high"]
    if kind_of(config.strategy).breeds:
        low, high = max(low, floor or low), min(high, config.sigma_ceiling)
    return float(min(max(sigma, low), high))
