"""The weights that an evolution strategy moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Centre:
    """See :class:`galab.contracts.Member`.

    Attributes:
        weights: (D,) float32.
    """

    weights: NDArray[np.float32]

    def write(self, row: NDArray[np.float32]) -> None:
        """Write the weights into (D,) memory."""
        row[:] = self.weights

    def floats(self) -> NDArray[np.float32]:
        """(D,) the weights."""
        return self.weights
