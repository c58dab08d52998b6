"""How the shipped quantile tables were made: ``python -m galab.genome.make_tables FOLDER``.

Entry k of a table is the quantile ppf((k + 0.5) / 65536) of a distribution, scaled so that the mean square over the
whole table is 1, as little-endian float32. The files are shipped and pinned by hash because ppf differs between
libraries in the last bit; this module is only their provenance, galab never runs it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVELS = 65_536


def quantile_table(law: stats.rv_continuous) -> NDArray[np.float32]:
    """The table of a symmetric continuous law.

    Args:
        law: a frozen ``scipy.stats`` distribution, symmetric around 0.

    Returns:
        (65536,) float32, ascending, antisymmetric to the bit, mean square 1.
    """
    levels = (np.arange(LEVELS // 2, LEVELS) + 0.5) / LEVELS
    upper = law.ppf(levels)
    upper /= np.sqrt(np.mean(upper**2))
    return np.concatenate([-upper[::-1], upper]).astype("<f4")


def all_tables() -> dict[str, NDArray[np.float32]]:
    """Every built-in table by name; ``sign`` is the two-point law of +-1."""
    signs = np.repeat(np.array([-1, 1], dtype="<f4"), LEVELS // 2)
    return {
        "normal": quantile_table(stats.norm()),
        "laplace": quantile_table(stats.laplace()),
        "uniform": quantile_table(stats.uniform(-1, 2)),
        "sign": signs,
    }


def main(folder: str) -> None:
    """Write every table to ``folder``."""
    for name, table in all_tables().items():
        (Path(folder) / f"{name}.f32").write_bytes(table.tobytes())


if __name__ == "__main__":
    main(sys.argv[1])
