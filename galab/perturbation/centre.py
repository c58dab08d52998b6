"""The weights that an evolution strategy moves."""

from __future__ import annotations

from collections.abc import Sequence
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

    def write(self, parts: Sequence[NDArray[np.float32]]) -> None:
        """Write the weights into rows of memory one after the other."""
        at = 0
        for row in parts:
            row[:] = self.weights[at : at + len(row)]
            at += len(row)

    def floats(self) -> NDArray[np.float32]:
        """(D,) the weights."""
        return self.weights
