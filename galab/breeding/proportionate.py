"""Selection with chances in proportion to a weight: linear ranking and the roulette wheel.

Linear ranking: Baker 1985, "Adaptive selection methods for genetic algorithms". The roulette wheel: Holland 1975,
"Adaptation in natural and artificial systems"; Goldberg 1989. Both fill the places one after the other: whoever
is drawn leaves the wheel, and the others' chances grow in proportion.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from galab.breeding.selection import Field
from galab.errors import UsageError

logger = logging.getLogger("galab")

#: Weights are whole numbers of 2^-32, so that sums and draws are exact on any machine.
GRAIN = 2**32


@dataclass(frozen=True, slots=True)
class LinearRanking:
    """Chances fall linearly with the rank, from ``pressure`` for the best to ``2 - pressure`` for the worst.

    The unit is an average competitor's chance. Pressure 1 is a uniform draw; under 2 the worst never survives a
    competition for fewer places than there are competitors. Scale and offset of the fitness do not matter.

    Raises:
        UsageError: ``pressure`` is not in [1, 2].
    """

    pressure: float = 1.5

    def __post_init__(self) -> None:
        if not 1 <= self.pressure <= 2:
            raise UsageError(f"expected a selection pressure from 1 to 2, got {self.pressure}; use 1.5, say")

    def __call__(self, field: Field, count: int) -> NDArray[np.int64]:
        """See :class:`galab.breeding.selection.Selection`."""
        n = len(field.order)
        fall = (2 * self.pressure - 2) * np.arange(n) / max(n - 1, 1)
        return _spin(field, count, np.maximum(self.pressure - fall, 0))


@dataclass(frozen=True, slots=True)
class Proportional:
    """Chances in proportion to how much fitter one is than the worst competitor.

    The shift by the worst is there because fitness may be negative, and it means that the worst survives only when
    nobody else is left. The chances depend on the scale and offset of the fitness: the same ranking measured as
    accuracy or as log-likelihood is selected differently, one outlier takes most of the wheel, and one disaster
    makes everybody else equal. Rank selection has none of this.
    """

    def __call__(self, field: Field, count: int) -> NDArray[np.int64]:
        """See :class:`galab.breeding.selection.Selection`."""
        _warn()
        # Halved first: the distance between two large numbers of opposite sign would overflow.
        fitness = field.fitness[field.order] / 2
        above = fitness - fitness.min(initial=np.inf)
        # All equal: nobody has a chance by fitness, so all have the same.
        return _spin(field, count, above / (above.max(initial=0.0) or 1.0))


@cache
def _warn() -> None:
    """Cached, so that it is said once per process."""
    logger.warning(
        "proportional selection depends on the scale and offset of the fitness (it is measured from the worst "
        "competitor); rank selection does not"
    )


def _spin(field: Field, count: int, chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draw survivors without replacement, with (n,) chances by rank relative to one another.

    Those whose chance is zero are drawn evenly once nobody else is left.
    """
    weights = np.rint(chances * GRAIN).astype(np.int64)
    left = np.ones(len(weights), dtype=np.int64)
    drawn = []
    for word in field.words(field.places(count)).tolist():
        wheel = np.cumsum(weights * left)
        if wheel[-1] == 0:
            wheel = np.cumsum(left)
        # Python's integers: the product has up to 128 bits.
        drawn.append(int(np.searchsorted(wheel, word * int(wheel[-1]) >> 64, side="right")))
        left[drawn[-1]] = 0
    return field.survivors(drawn)
