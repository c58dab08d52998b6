"""Quantile tables of distributions that are not built in: laws of scipy, and samples in a file.

Each is made once, at the start of a run, and stored from then on: quantile functions differ between versions of a
library in the last bit, and a file of samples may be gone tomorrow. The values are scaled so that their variance is 1;
the mean stays where the distribution has it, so ``scipy:expon`` also drifts by one step size per mutation, and
``scipy:expon(loc=-1)`` does not.

Where scipy has no formula for the quantiles of a law it looks for each by bisection and integrates at each step: ten
minutes and more for a table. There the density is integrated once and inverted piecewise by polynomials (Derflinger,
Hörmann and Leydold, "Random variate generation by numerical inversion when only the density is known", 2010).
"""

from __future__ import annotations

import base64
import logging
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config.distribution import Distribution, parse, shown
from galab.config.spelling import OptionError
from galab.errors import UsageError, closest
from galab.genome.random import Table, table, table_of

#: Entries of a table; entry k belongs to the level (k + 0.5) / LEVELS.
LEVELS = 65_536
_TOLERANCE = 1e-3
logger = logging.getLogger("galab")

#: Largest error in the level of a quantile found by polynomials; the outermost levels are 8e-6 from 0 and 1.
_RESOLUTION = 1e-11

#: With fewer samples the tails would be made of a handful of numbers.
FEWEST = 100
_SUFFIXES = (".npy", ".txt", ".csv")


def make(distribution: str) -> Table:
    """The table of any distribution, computed where it is not built in.

    Args:
        distribution: see :mod:`galab.config.distribution`.

    Raises:
        UsageError: there is no such distribution, it has no finite variance, its file holds no samples, or its table
            is not the one whose hash was given.
    """
    meant = parse(distribution)
    if meant.source == "built-in":
        return table(meant.name)
    levels = (np.arange(LEVELS) + 0.5) / LEVELS
    if meant.source == "scipy":
        found = _scaled(meant, scipy_quantiles(meant, levels))
    else:
        found = _scaled(meant, sample_quantiles(meant.name, levels))
    if meant.sha256 not in (None, found.sha256):
        was = (meant.sha256 or "")[:12]
        change = "the file was changed" if meant.source == "table" else "scipy computes it differently here"
        raise OptionError(
            "expected {distribution} {law} to give the quantile table with hash {was} that was saved, got {got}: "
            "{change}; give {distribution} again to take it as it is now",
            law=shown(meant.text), was=was, got=found.sha256[:12], change=change,
        )  # fmt: skip
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
    # A genome from an unknown source may carry any bytes under their true hash.
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
        # One byte more than there should be is enough to see that the text is too long.
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
        raise OptionError(
            "expected {distribution} {law} to have quantiles that spread around their mean, got {low:.6g} to "
            "{high:.6g}, which float32 numbers of variance 1 cannot hold; choose one that is wider, or closer to 0",
            law=shown(meant.text), low=quantiles.min(), high=quantiles.max(),
        )  # fmt: skip
    return table_of(meant.text, values.tobytes())


def _of_unit_variance(values: NDArray[np.float32]) -> bool:
    with np.errstate(all="ignore"):
        return bool(abs(values.astype(np.float64).var() - 1) < _TOLERANCE)


def scipy_quantiles(meant: Distribution, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of a distribution of scipy.stats.

    Args:
        meant: its name and parameters.
        levels: where to take them, each between 0 and 1.

    Raises:
        UsageError: there is no such distribution, a parameter is missing, unknown or out of bounds, or the variance is
            not finite.
    """
    law = _law(meant.name)
    _check_parameters(meant, [part.strip() for part in (law.shapes or "").split(",") if part.strip()])
    try:
        # scipy warns of every overflow on the way; what counts is looked at below.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            frozen = law(**meant.parameters)
            if not np.isfinite(frozen.ppf(0.5)):
                raise UsageError(
                    f"expected parameters that scipy.stats.{meant.name} is defined for, got {shown(meant.text)}; "
                    "choose others"
                )
            variance = float(frozen.var())
            if not 0 < variance < np.inf:
                raise OptionError(
                    "expected {distribution} with a finite variance above 0, as its steps are scaled to 1, got {law} "
                    "with variance {variance}; choose other parameters, or the truncated 'cauchy'",
                    law=shown(meant.text), variance=variance,
                )  # fmt: skip
            quantiles = _quantiles(frozen, levels)
    except UsageError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"expected quantiles of {shown(meant.text)} from scipy, got {type(error).__name__}: {reason:.80}; "
            "choose other parameters"
        ) from error
    if not np.isfinite(quantiles).all():
        absent = np.count_nonzero(~np.isfinite(quantiles))
        raise UsageError(
            f"expected finite quantiles of {shown(meant.text)}, got {absent} that scipy cannot compute; choose other "
            "parameters"
        )
    return quantiles


def _quantiles(frozen: Any, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quantiles, by the law's own formula or by polynomials where those pass a check."""
    from scipy.stats import rv_continuous, sampling  # takes a second to import

    if type(frozen.dist)._ppf is rv_continuous._ppf:
        density = SimpleNamespace(pdf=frozen.pdf)
        with suppress(Exception):  # a density that is infinite somewhere, or has more than one peak
            inverse = sampling.NumericalInversePolynomial(
                density, domain=frozen.support(), center=float(frozen.ppf(0.5)), u_resolution=_RESOLUTION
            )
            found = np.asarray(inverse.ppf(levels), dtype=np.float64)
            some = np.linspace(0, len(levels) - 1, 9).astype(int)
            if np.abs(frozen.cdf(found[some]) - levels[some]).max() < 10 * _RESOLUTION:
                return found
        logger.warning("scipy has no formula for the quantiles of this distribution: this may take many minutes")
    return np.asarray(frozen.ppf(levels), dtype=np.float64)


def _law(name: str) -> Any:
    """A continuous distribution by its name; nothing else of scipy.stats is ever called."""
    from scipy import stats  # takes a second to import

    laws = {key: value for key, value in vars(stats).items() if isinstance(value, stats.rv_continuous)}
    if name not in laws:
        raise UsageError(
            f"no continuous distribution of scipy.stats is called '{name}'.{closest(name, sorted(laws))} Its page "
            "'Statistical functions' lists the names."
        )
    return laws[name]


def _check_parameters(meant: Distribution, shapes: list[str]) -> None:
    """Refuse an unknown parameter, or a law with one missing."""
    known = [*shapes, "loc", "scale"]
    for name in meant.parameters:
        if name not in known:
            raise UsageError(
                f"scipy.stats.{meant.name} has no parameter '{name}'.{closest(name, known)} It takes "
                f"{', '.join(known)}."
            )
    missing = [name for name in shapes if name not in meant.parameters]
    if missing:
        example = ", ".join(f"{name}=..." for name in shapes)
        raise OptionError(
            "expected a number for {missing} of {distribution} scipy:{name}, got {law}; write scipy:{name}({example})",
            missing=" and ".join(missing), name=meant.name, law=shown(meant.text), example=example,
        )  # fmt: skip


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
        raise OptionError(
            "expected at least {fewest} finite samples in {file} ({distribution}), got {count}; record more",
            fewest=FEWEST, file=shown(name), count=len(finite),
        )  # fmt: skip
    if len(finite) < len(samples):
        absent = len(samples) - len(finite)
        logger.warning("%d of %d samples in %s are not finite: left out", absent, len(samples), shown(name))
    # Sorted once: numpy.quantile searches for each of 65,536 levels, which takes a minute for 200,000 samples.
    with np.errstate(all="ignore"):
        return np.interp(levels, (np.arange(len(finite)) + 0.5) / len(finite), np.sort(finite))


def _read(name: str) -> NDArray[np.float64]:
    """All numbers in a file, in one row."""
    path = Path(name)
    try:
        if path.suffix not in _SUFFIXES:
            raise OptionError(
                "expected {distribution:table:FILE} with a .npy, .txt or .csv file, got {file}", file=shown(name)
            )
        if not path.is_file():
            raise OptionError(
                "expected samples at {file} ({distribution}), found no file; check the path", file=shown(name)
            )
        values: Any
        if path.suffix == ".npy":
            # Mapped, because a damaged header may promise more numbers than memory holds; pickles are not read.
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            values = np.array(path.read_text(encoding="utf-8").replace(",", " ").split(), dtype=np.float64)
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
            got = getattr(values, "dtype", "other data")
            raise OptionError(
                "expected real numbers in {file} ({distribution}), got {got}; save an array with numpy.save",
                file=shown(name), got=got,
            )  # fmt: skip
        return np.asarray(values, dtype=np.float64).ravel()
    except UsageError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise OptionError(
            "expected a file of numbers, without a header, at {file} ({distribution}), got {reason:.120}; correct the "
            "file",
            file=shown(name), reason=reason,
        ) from error  # fmt: skip
