"""What the best of n draws is on average, from one large sample or from the normal law.

Order statistics: David and Nagaraja, "Order Statistics" (2003). That the best of n children is worth sigma c_n on a
linear fitness: Beyer, "The Theory of Evolution Strategies" (2001), the progress coefficient c_{1,n}.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def expected_maximum(sample: ArrayLike, n: int) -> float:
    """The mean of the largest of n values drawn from a sample without replacement, exactly, over all such draws.

    That is unbiased for the expected maximum of n fresh draws: value i from below, of m, is the largest in
    ``C(i - 1, n - 1)`` of the ``C(m, n)`` subsets.

    Args:
        sample: (m,) values; no NaN.
        n: how many are drawn, from 1 to m.

    Raises:
        ValueError: n is not in that range, or a value is NaN.
    """
    from scipy.special import gammaln

    values = np.sort(np.asarray(sample, dtype=np.float64))
    m = len(values)
    if not 1 <= n <= m or np.isnan(values).any():
        raise ValueError(f"expected numbers, and n from 1 to their number {m:,}, got n = {n:,}")
    place = np.arange(n, m + 1, dtype=np.float64)
    # log of C(i - 1, n - 1) / C(m, n): the binomials themselves overflow.
    odds = gammaln(place) - gammaln(place - n + 1) - gammaln(n)
    odds -= gammaln(m + 1) - gammaln(n + 1) - gammaln(m - n + 1)
    share = np.exp(odds)
    return float(share @ values[n - 1 :] / share.sum())


def normal_maximum(n: int) -> float:
    """The expected maximum of n independent standard normal numbers, c_n: 0, 0.564, 0.846, 1.029, ...

    Args:
        n: how many, at least 1.

    Raises:
        ValueError: n is smaller than 1.
    """
    from scipy.special import log_ndtr

    if n < 1:
        raise ValueError(f"expected at least one number, got {n}")
    # The integral of x n phi(x) Phi(x)^(n-1); trapezoids are exact to rounding for so smooth and fast-falling a curve.
    x = np.linspace(-12.0, 12.0, 48_001)
    density = np.exp(np.log(n) - 0.5 * x * x - 0.5 * np.log(2 * np.pi) + (n - 1) * log_ndtr(x))
    return float((x * density).sum() * (x[1] - x[0]))


def best_of_gains(gains: ArrayLike, numbers: ArrayLike, *, keep: bool = True) -> NDArray[np.float64]:
    """The expected gain of the best of n children, for several n.

    Args:
        gains: (m,) fitness of children minus that of their parent; minus infinity for failures, never NaN.
        numbers: n, each from 1 to m.
        keep: whether the parent stays where no child is better, so that a gain is at least 0.

    Returns:
        One expectation for each n.
    """
    sample = np.asarray(gains, dtype=np.float64)
    if keep:
        sample = np.maximum(sample, 0.0)
    return np.array([expected_maximum(sample, int(n)) for n in np.asarray(numbers).tolist()])
