"""Angles between vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def cosine(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]], *, undefined: float = math.nan) -> float:
    """Cosine of the angle between two vectors, computed in float64; NaN where a number is not finite.

    Args:
        one: (D,).
        other: (D,).
        undefined: the answer where one of them has no length.
    """
    first, second = one.astype(np.float64, copy=False), other.astype(np.float64, copy=False)
    # NumPy's sums, unlike a BLAS's, do not depend on the number of threads.
    lengths = float(np.square(first).sum()) * float(np.square(second).sum())
    if not math.isfinite(lengths):
        return math.nan
    return float((first * second).sum()) / lengths**0.5 if lengths else undefined
