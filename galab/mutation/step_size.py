"""Rules that adapt a global step size from parent to child.

All compute in whole units of 2^-16 octave and round once, at the end of a birth, to the grid of 1/256 octave; two
roundings would leave a dead zone around the parent's value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from galab.genome.noise import Stream, codes, table
from galab.genome.sigma import FINE_PER_OCTAVE, from_fine, to_fine


class StepSizeRule(Protocol):
    """How a child's step size follows from its parent's. Constructed as ``Rule(run_key, rate)``."""

    def mutate(self, log_sigma: int, birth: int) -> int:
        """The child's step size, as a grid point, from its parent's."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """The step size never changes."""

    run_key: int
    rate: float | None = None

    def mutate(self, log_sigma: int, birth: int) -> int:
        """See :class:`StepSizeRule`."""
        return log_sigma


@dataclass(frozen=True, slots=True)
class LogNormal:
    """sigma' = sigma * 2^(rate * N(0, 1)) (Schwefel 1995; Beyer and Schwefel 2002, eq. 18, in octaves)."""

    run_key: int
    rate: float | None = None

    def mutate(self, log_sigma: int, birth: int) -> int:
        """See :class:`StepSizeRule`."""
        law = table("normal")
        z = law.quantiles[codes(self.run_key, birth, Stream.STEP_SIZE, 1)[0]]
        rate = np.float32((0.2 if self.rate is None else self.rate) * FINE_PER_OCTAVE)
        return from_fine(to_fine(log_sigma) + int(np.rint(rate * z)))


@dataclass(frozen=True, slots=True)
class ThreePoint:
    """sigma' is sigma / g, sigma or sigma * g with equal odds, where g = 2^rate; the default g is 1.05."""

    run_key: int
    rate: float | None = None

    def mutate(self, log_sigma: int, birth: int) -> int:
        """See :class:`StepSizeRule`."""
        code = int(codes(self.run_key, birth, Stream.STEP_SIZE, 1)[0])
        direction = (code * 3 >> 16) - 1
        octaves = math.log2(1.05) if self.rate is None else self.rate
        return from_fine(to_fine(log_sigma) + direction * round(octaves * FINE_PER_OCTAVE))
