"""The continuous distributions of scipy.stats, by name.

Where scipy has no formula for the quantiles of a law it looks for each by bisection and integrates at each step: ten
minutes and more for a table. There the density is integrated once and inverted piecewise by polynomials (Derflinger,
Hörmann and Leydold, "Random variate generation by numerical inversion when only the density is known", 2010).
"""

from __future__ import annotations

import logging
import warnings
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.stats.sampling import NumericalInversePolynomial

from galab.distribution import Distribution, shown
from galab.errors import UsageError, closest

logger = logging.getLogger("galab")

#: Largest error in the level of a quantile found by polynomials; the outermost levels are 8e-6 from 0 and 1.
_RESOLUTION = 1e-11


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
                raise UsageError(
                    f"expected --distribution with a finite variance above 0, as its steps are scaled to 1, got "
                    f"{shown(meant.text)} with variance {variance}; choose other parameters, or the truncated 'cauchy'"
                )
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
    if type(frozen.dist)._ppf is stats.rv_continuous._ppf:
        density = SimpleNamespace(pdf=frozen.pdf)
        with suppress(Exception):  # a density that is infinite somewhere, or has more than one peak
            inverse = NumericalInversePolynomial(
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
        raise UsageError(
            f"expected a number for {' and '.join(missing)} of --distribution scipy:{meant.name}, got "
            f"{shown(meant.text)}; write scipy:{meant.name}({example})"
        )
