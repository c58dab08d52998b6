"""Quantile tables of distributions that are not built in.

Each is made once, at the start of a run, and stored from then on: quantile functions differ between versions of a
library in the last bit, and a file of samples may be gone tomorrow. The values are scaled so that their variance is 1;
the mean stays where the distribution has it, so ``scipy:expon`` also drifts by one step size per mutation, and
``scipy:expon(loc=-1)`` does not.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

from galab.distribution import Distribution, parse, shown
from galab.errors import UsageError
from galab.genome.noise import Table, table, table_of

#: Entries of a table; entry k belongs to the level (k + 0.5) / LEVELS.
LEVELS = 65_536
_TOLERANCE = 1e-3


def make(distribution: str) -> Table:
    """The table of any distribution, computed where it is not built in.

    Args:
        distribution: see :mod:`galab.distribution`.

    Raises:
        UsageError: there is no such distribution, it has no finite variance, its file holds no samples, or its table
            is not the one whose hash was given.
    """
    meant = parse(distribution)
    if meant.source == "built-in":
        return table(meant.name)
    levels = (np.arange(LEVELS) + 0.5) / LEVELS
    if meant.source == "scipy":
        from galab.genome.scipy_laws import scipy_quantiles  # scipy.stats takes a second to import

        found = _scaled(meant, scipy_quantiles(meant, levels))
    else:
        from galab.genome.samples import sample_quantiles

        found = _scaled(meant, sample_quantiles(meant.name, levels))
    if meant.sha256 not in (None, found.sha256):
        was = (meant.sha256 or "")[:12]
        change = "the file was changed" if meant.source == "table" else "scipy computes it differently here"
        raise UsageError(
            f"expected --distribution {shown(meant.text)} to give the quantile table with hash {was} that was "
            f"saved, got {found.sha256[:12]}: {change}; give --distribution again to take it as it is now"
        )
    return found


def load(meant: Distribution, data: bytes) -> Table:
    """A stored table.

    Args:
        meant: the distribution with its hash.
        data: the bytes that were stored.

    Raises:
        ValueError: they are not those of the hash, or no table at all.
    """
    if len(data) != 4 * LEVELS:
        raise ValueError(f"{len(data):,} bytes where a quantile table has {4 * LEVELS:,}")
    found = table_of(meant.text, data)
    if found.sha256 != meant.sha256:
        raise ValueError(f"a quantile table with hash {found.sha256[:12]}")
    # A stranger's genome may carry any bytes under their true hash.
    if not _of_unit_variance(found.quantiles):
        raise ValueError("numbers that are no quantile table of unit variance")
    return found


def pack(law: Table) -> str:
    """A table as a short text, for JSON.

    The bits of neighbouring quantiles, read as whole numbers, differ by little. Of these differences, first all their
    lowest bytes, then all the next: so packed, a table takes an eighth of the room that its bytes alone would.
    """
    bits = law.quantiles.astype("<f4").view("<u4")
    planes = np.diff(bits, prepend=np.uint32(0)).astype("<u4").view(np.uint8).reshape(-1, 4).T
    return base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode()


def unpack(meant: Distribution, text: str) -> Table:
    """A table out of the text that :func:`pack` made.

    Raises:
        ValueError: the text is no such table, or not the one that is meant.
    """
    try:
        # One byte more than there should be is enough to see that a stranger's text is too long.
        data = zlib.decompressobj().decompress(base64.b64decode(text), 4 * LEVELS + 1)
    except zlib.error as error:
        raise ValueError(f"no packed quantile table: {error}") from None
    if len(data) == 4 * LEVELS:
        differences = np.frombuffer(data, np.uint8).reshape(4, -1).T.copy().view("<u4")
        data = np.cumsum(differences, dtype=np.uint32).astype("<u4").tobytes()
    return load(meant, data)


def _scaled(meant: Distribution, quantiles: NDArray[np.float64]) -> Table:
    """A table of unit variance around the mean that the quantiles have."""
    with np.errstate(all="ignore"):
        # First by the largest, so that squares neither overflow nor vanish; the rest is exact enough in float64.
        relative = quantiles / np.abs(quantiles).max()
        values = (relative / relative.std()).astype("<f4")
    if not np.ptp(quantiles) > 0 or not _of_unit_variance(values):
        raise UsageError(
            f"expected --distribution {shown(meant.text)} to have quantiles that spread around their mean, got "
            f"{quantiles.min():.6g} to {quantiles.max():.6g}, which float32 numbers of variance 1 cannot hold; choose "
            "one that is wider, or closer to 0"
        )
    return table_of(meant.text, values.tobytes())


def _of_unit_variance(values: NDArray[np.float32]) -> bool:
    with np.errstate(all="ignore"):
        return bool(abs(values.astype(np.float64).var() - 1) < _TOLERANCE)
