"""How the shipped quantile tables were made: ``python -m galab.genome.make_tables FOLDER``.

Entry k of a table is the quantile ppf((k + 0.5) / 65536) of a distribution, scaled so that the mean square over the
whole table is 1, as little-endian float32. The files are shipped and pinned by hash because ppf differs between
libraries in the last bit; this module is only their provenance, galab never runs it.

The variance of the Cauchy law is infinite. What is shipped is the standard Cauchy law given that |z| <= 64, whose
variance 64 / arctan(64) - 1 = 40.2 is then made 1 like any other: half of its steps are below 0.16 sigma and the
largest is 10.1 sigma.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVELS = 65_536
#: Where the Cauchy law is cut off, in units of its own scale.
CAUCHY_LIMIT = 64.0


def quantile_table(ppf: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float32]:
    """The table of a symmetric continuous law.

    Args:
        ppf: the law's quantile function; the law is symmetric around 0.

    Returns:
        (65536,) float32, ascending, antisymmetric to the bit, mean square 1.
    """
    levels = (np.arange(LEVELS // 2, LEVELS) + 0.5) / LEVELS
    upper = ppf(levels)
    upper /= np.sqrt(np.mean(upper**2))
    return np.concatenate([-upper[::-1], upper]).astype("<f4")


def truncated_cauchy(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of the standard Cauchy law given that ``|z| <= CAUCHY_LIMIT``."""
    return np.tan((2 * levels - 1) * np.arctan(CAUCHY_LIMIT))


def all_tables() -> dict[str, NDArray[np.float32]]:
    """Every built-in table by name; ``sign`` is the two-point law of +-1."""
    signs = np.repeat(np.array([-1, 1], dtype="<f4"), LEVELS // 2)
    return {
        "normal": quantile_table(stats.norm.ppf),
        "laplace": quantile_table(stats.laplace.ppf),
        "uniform": quantile_table(stats.uniform(-1, 2).ppf),
        "sign": signs,
        "cauchy": quantile_table(truncated_cauchy),
    }


def main(folder: str) -> None:
    """Write every table to ``folder``."""
    for name, table in all_tables().items():
        (Path(folder) / f"{name}.f32").write_bytes(table.tobytes())


if __name__ == "__main__":
    main(sys.argv[1])
