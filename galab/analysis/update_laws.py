"""Which law the numbers of an update follow: normal, Laplace (two-sided exponential) or Student's t; and the figure.

Each is fitted by maximum likelihood. Shapiro and Wilk, "An analysis of variance test for normality", 1965; the distance
of Kolmogorov and Smirnov, whose p value is too large here, as the law was fitted to the same numbers (Lilliefors 1967).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy import optimize, stats

from galab.genome.random import Stream, permutation
from galab.stats.plots import COLOURS, plain, save, sheet

Floats = NDArray[np.float64]

LAWS = ("normal", "laplace", "student-t")
#: Numbers that tests and fits look at; beyond it Shapiro's p value is not accurate.
MOST = 5000
#: Fewer numbers cannot distinguish the laws.
FEWEST = 50
#: Degrees of freedom of a fit: below, hardly any mass is left near the middle; above, it is the normal law.
_FREEDOM = (0.2, 1000.0)
#: Largest logarithm of a scale, either way.
_SCALES = 30.0
_KEY = 0x1A_35


@dataclass(frozen=True, slots=True)
class Fit:
    """A law fitted to numbers.

    Attributes:
        law: its name, out of :data:`LAWS`.
        parameters: ``location`` and ``scale`` (standard deviation of a normal law, mean absolute deviation of a Laplace
            one), and ``freedom`` of Student's.
        distance: of Kolmogorov and Smirnov, from 0 to 1.
        p: its p value.
        likelihood: mean logarithm of the density, in nats; larger is better.
    """

    law: str
    parameters: dict[str, float]
    distance: float
    p: float
    likelihood: float


@dataclass(frozen=True, slots=True)
class Shape:
    """How numbers are distributed; zeros are counted and left out, because no density has a point of mass.

    Attributes:
        count: numbers that are not 0.
        zeros: share of those that are.
        deviation: root of their mean square, in their own unit.
        kurtosis: excess over the normal law's; 3 for Laplace's.
        w: Shapiro and Wilk's W, of at most 5,000 numbers.
        p: its p value.
        fits: one for each law.
    """

    count: int
    zeros: float
    deviation: float
    kurtosis: float
    w: float
    p: float
    fits: tuple[Fit, ...]

    @property
    def best(self) -> Fit:
        """The most likely fit. Student's t has one parameter more, which costs log(n) / 2n nats (Schwarz 1978)."""
        count = min(self.count, MOST)

        def worth(fit: Fit) -> float:
            return fit.likelihood - len(fit.parameters) * math.log(count) / (2 * count)

        return max(self.fits, key=worth)


def sampled(values: Floats) -> Floats:
    """At most 5,000 of the numbers, drawn without replacement, the same ones every time."""
    if len(values) <= MOST:
        return values
    return values[np.sort(permutation(len(values), _KEY, len(values), Stream.CHOICE)[:MOST])]


def shape_of(values: NDArray[np.floating]) -> Shape | None:
    """How numbers are distributed.

    Args:
        values: of any shape, all finite.

    Returns:
        None where fewer than 50 of them are not 0, or where they are all equal.
    """
    every = np.asarray(values, dtype=np.float64).ravel()
    moving = every[every != 0]
    if len(moving) < FEWEST or not np.ptp(moving) > 0:
        return None
    # In units of their size: squares of tiny updates would vanish.
    size = float(np.sqrt(np.mean(np.square(moving / np.abs(moving).max())))) * float(np.abs(moving).max())
    some = sampled(moving) / size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ties, which rounding makes
        w, p = stats.shapiro(some)
    fits = tuple(_rescaled(one, size) for one in fits_of(some))
    kurtosis = float(stats.kurtosis(moving / size))
    return Shape(len(moving), 1 - len(moving) / len(every), size, kurtosis, float(w), float(p), fits)


def fits_of(values: Floats) -> tuple[Fit, ...]:
    """All laws fitted by maximum likelihood: mean and deviation; median and mean distance from it; and Student's t.

    Args:
        values: (n,) numbers of about unit size, not all equal.
    """
    middle = float(np.median(values))
    spread = float(np.mean(np.abs(values - middle)))
    freedom, location, scale = _student(values)
    return (
        _fit("normal", stats.norm(values.mean(), values.std()), values, values.mean(), values.std()),
        _fit("laplace", stats.laplace(middle, spread), values, middle, spread),
        _fit("student-t", stats.t(freedom, location, scale), values, location, scale, freedom),
    )


def density(fit: Fit, places: Floats) -> Floats:
    """The density of a fit at some places."""
    own = fit.parameters
    if fit.law == "normal":
        return np.asarray(stats.norm.pdf(places, own["location"], own["scale"]))
    if fit.law == "laplace":
        return np.asarray(stats.laplace.pdf(places, own["location"], own["scale"]))
    return np.asarray(stats.t.pdf(places, own["freedom"], own["location"], own["scale"]))


def _fit(law: str, frozen: Any, values: Floats, location: float, scale: float, freedom: float | None = None) -> Fit:
    test = stats.kstest(values, frozen.cdf)
    parameters = {"location": float(location), "scale": float(scale)}
    parameters |= {} if freedom is None else {"freedom": freedom}
    likelihood = float(np.mean(frozen.logpdf(values)))
    return Fit(law, parameters, float(test.statistic), float(test.pvalue), likelihood)


def _rescaled(fit: Fit, size: float) -> Fit:
    """A fit to numbers that were divided by their size, as one of the numbers themselves."""
    own = {name: value if name == "freedom" else value * size for name, value in fit.parameters.items()}
    return Fit(fit.law, own, fit.distance, fit.p, fit.likelihood - math.log(size))


def _student(values: Floats) -> tuple[float, float, float]:
    """Degrees of freedom, location and scale of the most likely Student's t, by the simplex of Nelder and Mead."""
    middle = float(np.median(values))
    spread = float(np.median(np.abs(values - middle))) * 1.4826 or float(values.std())
    low, high = np.log(_FREEDOM)

    def cost(point: Floats) -> float:
        # Outside, the cost rises with the distance; the numbers are of about unit size.
        log_scale = min(max(point[2], -_SCALES), _SCALES)
        freedom, scale = math.exp(min(max(point[0], low), high)), math.exp(log_scale)
        outside = max(low - point[0], point[0] - high, 0.0) + abs(point[2] - log_scale)
        square = np.square((values - point[1]) / scale) / freedom
        known = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2 - log_scale
        return float((freedom + 1) / 2 * np.log1p(square).mean() - known + outside)

    start = np.array([math.log(4.0), middle, math.log(spread)])
    step = np.diag([0.7, max(0.1 * spread, 1e-3), 0.3])
    simplex = np.vstack([start, start + step])
    options = {"initial_simplex": simplex, "xatol": 1e-5, "fatol": 1e-10, "maxiter": 2000}
    found = optimize.minimize(cost, start, method="Nelder-Mead", options=options).x
    return math.exp(min(max(found[0], low), high)), float(found[1]), math.exp(min(max(found[2], -_SCALES), _SCALES))


def unit_quantiles(values: NDArray[np.floating], most: int) -> Floats:
    """Numbers as a table of mutations is made of: sorted, and no more than wanted, then quantiles at (i + 0.5) / most.

    Of variance 1, and centred, because a mean would push all weights one way in each mutation.

    Args:
        values: (n,) numbers, not all equal.
        most: at most so many are given.

    Returns:
        (min(n, most),) rising.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if len(ordered) > most:
        levels = (np.arange(most) + 0.5) / most
        ordered = np.interp(levels, (np.arange(len(ordered)) + 0.5) / len(ordered), ordered)
    centred = ordered - ordered.mean()
    return np.asarray(centred / centred.std())


_OF_LAW = dict(zip(LAWS, COLOURS[:3], strict=True))
_STYLES = dict(zip(LAWS, ("--", "-.", "-"), strict=True))
#: How far out a histogram goes, in root mean squares.
_REACH = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class UpdatePicture:
    """What is drawn.

    Attributes:
        values: kind (update, full gradient) to (n,) numbers that are not 0, of all layers at one step.
        shapes: how they are distributed; None for too few numbers.
        distances: kind to layer to law to the distances of Kolmogorov and Smirnov, one for each look.
        steps: (k,) numbers of the steps.
        sizes: layer to (k,) root mean square of its updates.
        sigma: step size of the run's mutations.
        title: above the figure.
    """

    values: Mapping[str, NDArray[np.float64]]
    shapes: Mapping[str, Shape | None]
    distances: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
    steps: NDArray[np.int64]
    sizes: Mapping[str, NDArray[np.float64]]
    sigma: float
    title: str


def draw_updates(path: Path, *, picture: UpdatePicture) -> None:
    """Draw four panels.

    Args:
        path: the image to write; its suffix decides the format.
        picture: what is drawn.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(13, 9)
    axes = figure.subplots(2, 2)
    for one, (kind, values) in zip(axes[0], picture.values.items(), strict=True):
        _histogram(one, kind, values, picture.shapes[kind])
    _distances(axes[1, 0], picture)
    _sizes(axes[1, 1], picture)
    for one in axes.flat:
        plain(one)
        if one.get_legend_handles_labels()[1]:
            # Below the axes: inside them a legend hides data sooner or later.
            one.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=9)
    save(figure, path, picture.title)


def _histogram(axes: Axes, kind: str, values: NDArray[np.float64], shape: Shape | None) -> None:
    axes.set_title(f"{kind.capitalize()}, all layers, last step looked at")
    if shape is None:
        axes.text(0.5, 0.5, "too few numbers", ha="center", transform=axes.transAxes)
        return
    size = shape.deviation
    reach = min(_REACH, float(np.abs(values).max()) / size)
    heights, edges = np.histogram(values / size, bins=101, range=(-reach, reach), density=True)
    axes.stairs(heights, edges, fill=True, color="#999999", alpha=0.5, label=f"{len(values):,} numbers")
    places = np.linspace(-reach, reach, 1201)
    for fit in shape.fits:
        freedom = f", {fit.parameters['freedom']:.2g} degrees" if "freedom" in fit.parameters else ""
        axes.plot(
            places, density(fit, places * size) * size, color=_OF_LAW[fit.law], ls=_STYLES[fit.law], lw=1.6,
            label=f"{fit.law}{freedom}: KS {fit.distance:.3f}",
        )  # fmt: skip
    lowest = 1 / (len(values) * float(edges[1] - edges[0]))
    axes.set(yscale="log", xlabel="value / root mean square", ylabel="density")
    axes.set_ylim(lowest / 3, max(float(heights.max()) * 3, 1.0))


def _distances(axes: Axes, picture: UpdatePicture) -> None:
    """A row for each layer, the first at the top; updates are filled, the full gradient is hollow."""
    names = list(dict.fromkeys(name for own in picture.distances.values() for name in own))
    for filled, (kind, layers) in enumerate(picture.distances.items()):
        for row, name in enumerate(names):
            for place, law in enumerate(LAWS):
                found = layers.get(name, {}).get(law, [])
                height = row + 0.22 * (place - 1) + (0.06 if filled else -0.06)
                face = "none" if filled else _OF_LAW[law]
                axes.plot(
                    found, np.full(len(found), height), "o", ms=5, alpha=0.8, mfc=face, mec=_OF_LAW[law], ls="none"
                )  # fmt: skip
        axes.plot([], [], "o", color="black", mfc="none" if filled else "black", label=kind)
    for law in LAWS:
        axes.plot([], [], "s", color=_OF_LAW[law], label=law)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set(xlabel="Kolmogorov-Smirnov distance, a dot for each look", title="How far each law is off")


def _sizes(axes: Axes, picture: UpdatePicture) -> None:
    for number, (name, sizes) in enumerate(picture.sizes.items()):
        known = np.where(sizes > 0, sizes, np.nan)
        style = ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
        marker = "o" if len(sizes) == 1 else None
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(picture.steps, known, color=colour, ls=style, marker=marker, lw=1.5, label=name)
    axes.axhline(picture.sigma, color="black", lw=1, ls=(0, (1, 3)), label="the run's step size")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(yscale="log", xlabel="step", ylabel="root mean square of an update", title="Size of the updates")
