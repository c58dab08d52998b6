"""An empirical distribution: quantiles of samples in a file, such as the updates of gradient descent."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.distribution import shown
from galab.errors import UsageError

logger = logging.getLogger("galab")

#: With fewer samples the tails would be made of a handful of numbers.
FEWEST = 100
_SUFFIXES = (".npy", ".txt", ".csv")


def sample_quantiles(name: str, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of the samples in a file.

    Between two samples they are interpolated (Hazen's rule: of n sorted samples, number i, counted from 0, lies at
    level (i + 0.5) / n), so as many samples as levels are their own quantiles.

    Args:
        name: path of a ``.npy`` array of any shape, or of a ``.txt`` or ``.csv`` file of numbers.
        levels: where to take them, each between 0 and 1.

    Raises:
        UsageError: the file cannot be read, or holds fewer than 100 finite numbers.
    """
    samples = _read(name)
    finite = samples[np.isfinite(samples)]
    if len(finite) < FEWEST:
        raise UsageError(
            f"expected at least {FEWEST} finite samples in {shown(name)} (--distribution), got {len(finite)}; "
            "record more"
        )
    if len(finite) < len(samples):
        absent = len(samples) - len(finite)
        logger.warning("%d of %d samples in %s are not finite: left out", absent, len(samples), shown(name))
    # Sorted once: numpy.quantile looks for each of 65,536 levels anew, which takes a minute for 200,000 samples.
    with np.errstate(all="ignore"):
        return np.interp(levels, (np.arange(len(finite)) + 0.5) / len(finite), np.sort(finite))


def _read(name: str) -> NDArray[np.float64]:
    """All numbers in a file, in one row."""
    path = Path(name)
    try:
        if path.suffix not in _SUFFIXES:
            raise UsageError(f"expected --distribution table:FILE with a .npy, .txt or .csv file, got {shown(name)}")
        if not path.is_file():
            raise UsageError(f"expected samples at {shown(name)} (--distribution), found no file; check the path")
        values: Any
        if path.suffix == ".npy":
            # Mapped, because a damaged header may promise more numbers than memory holds; pickles are not read.
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            values = np.array(path.read_text(encoding="utf-8").replace(",", " ").split(), dtype=np.float64)
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
            got = getattr(values, "dtype", "other data")
            raise UsageError(
                f"expected real numbers in {shown(name)} (--distribution), got {got}; save an array with numpy.save"
            )
        return np.asarray(values, dtype=np.float64).ravel()
    except UsageError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"expected a file of numbers, without a header, at {shown(name)} (--distribution), got {reason:.120}; "
            "correct the file"
        ) from error
