"""How well random directions, and what selection makes of them, point along a gradient; and the figure of that.

The cosine c between a direction drawn evenly from all directions of D dimensions and any fixed one has the density
(1 - c^2)^((D - 3) / 2) / B(1/2, (D - 1) / 2): (c + 1) / 2 is Beta((D - 1) / 2, (D - 1) / 2). Mean 0, variance exactly
1 / D; N(0, 1 / D) is its limit, good near 0 and too generous far out. A step of independent normal numbers has such a
direction; one of other numbers of mean 0 has the same variance, and nearly the same law when D is large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from galab.stats import vectors
from galab.stats.intervals import Interval, share_interval
from galab.stats.plots import COLOURS, plain, save, sheet
from galab.strategies.evolution import centred_ranks, pair_weights, raw, single_weights, without_failures

Floats = NDArray[np.float64]

#: Below this the logarithm of a probability is taken of a series.
_LOG_SMALL = -600.0
_MOST_TERMS = 10_000_000


def cosines(rows: NDArray[np.floating], direction: NDArray[np.floating]) -> Floats:
    """Cosine of each of several vectors with one; NaN where one of the two has no length, or an infinite one.

    Args:
        rows: (n, D).
        direction: (D,).

    Returns:
        (n,) from -1 to 1.
    """
    # Row by row, so that no copy of all of them is made in float64.
    return np.clip([vectors.cosine(row, direction) for row in rows], -1, 1).astype(np.float64)


def density(cosine: ArrayLike, dimensions: int) -> Floats:
    """The exact density of a random direction's cosine.

    Args:
        cosine: where, from -1 to 1.
        dimensions: D, at least 2.
    """
    shape = (dimensions - 1) / 2
    return np.asarray(stats.beta.pdf((np.asarray(cosine, dtype=np.float64) + 1) / 2, shape, shape) / 2)


def log_tail(cosine: float, dimensions: int) -> float:
    """Natural logarithm of the probability that a random direction has at least this cosine; exact.

    For c > 0 it is half of the regularised incomplete beta function I_{1 - c^2}((D - 1) / 2, 1/2), which far out is
    smaller than any float: there its series in x = 1 - c^2 is taken, x^a (1 - x)^b / (a B(a, b)) 2F1(a + b, 1; a + 1;
    x) (DLMF 8.17.8).

    Args:
        cosine: from -1 to 1.
        dimensions: D, at least 2.
    """
    if cosine <= 0:
        return math.log1p(-math.exp(log_tail(-cosine, dimensions))) if cosine < 0 else math.log(0.5)
    if cosine >= 1:
        return -math.inf
    a, b, x = (dimensions - 1) / 2, 0.5, (1 - cosine) * (1 + cosine)
    leading = a * math.log(x) + b * math.log1p(-x) - math.log(a) - float(special.betaln(a, b)) - math.log(2)
    if leading > _LOG_SMALL:
        return math.log(0.5 * float(special.betainc(a, b, x)))
    # Ratios of neighbouring terms fall towards x, so 40 / (1 - x) terms leave nothing that float64 could see.
    places = np.arange(min(math.ceil(40 / (1 - x)), _MOST_TERMS))
    return leading + math.log1p(float(np.cumprod((a + b + places) / (a + 1 + places) * x).sum()))


def log10_mutations_for(cosine: float, dimensions: int, *, normal: bool = False) -> float:
    """Decimal logarithm of how many random directions it takes, on average, until one has at least this cosine.

    Args:
        cosine: from -1 to 1.
        dimensions: D.
        normal: by the limit N(0, 1 / D) in place of the exact law.
    """
    log = float(stats.norm.logsf(cosine * math.sqrt(dimensions))) if normal else log_tail(cosine, dimensions)
    return -log / math.log(10)


def expected_best(count: int, dimensions: int) -> float:
    """Mean of the largest cosine among n random directions: the integral of the quantile at u^(1/n) over u.

    Args:
        count: n.
        dimensions: D.
    """
    shape, places = (dimensions - 1) / 2, (np.arange(4096) + 0.5) / 4096
    return float(np.mean(2 * stats.beta.ppf(places ** (1 / count), shape, shape) - 1))


def batch_cosine(size: ArrayLike, spread: float, whole: int) -> Floats:
    """Cosine of a minibatch gradient with the full one, of B out of N examples without replacement.

    1 / sqrt(1 + v (N - B) / ((N - 1) B)), where v is the trace of the covariance of the examples' gradients over |g|^2.

    Args:
        size: B.
        spread: v.
        whole: N.
    """
    sizes = np.asarray(size, dtype=np.float64)
    return np.asarray(1 / np.sqrt(1 + spread * (whole - sizes) / (max(whole - 1, 1) * sizes)))


def gradient_spread(squares: ArrayLike, full: float, size: int, whole: int) -> float:
    """The v of :func:`batch_cosine`, from squared lengths of minibatch gradients.

    E |g_B|^2 = |g|^2 (1 + v (N - B) / ((N - 1) B)).

    Args:
        squares: (R,) of minibatches of one size.
        full: squared length of the full gradient.
        size: B, below N.
        whole: N.
    """
    if not full > 0 or size >= whole:
        return math.nan
    return (float(np.mean(np.asarray(squares, dtype=np.float64))) / full - 1) * (whole - 1) * size / (whole - size)


@dataclass(frozen=True, slots=True)
class Share:
    """How often something happened.

    Attributes:
        count: so often.
        total: out of so many.
        share: their ratio; NaN out of none.
        low: lower end of Wilson's 95 % interval.
        high: its upper end.
    """

    count: int
    total: int
    share: float
    low: float
    high: float


def share_of(happened: NDArray[np.bool_]) -> Share:
    """A share with its interval, see :func:`galab.stats.intervals.share_interval`.

    Args:
        happened: (R,) whether it did.
    """
    count, total = int(np.count_nonzero(happened)), len(happened)
    if not total:
        return Share(0, 0, math.nan, math.nan, math.nan)
    return Share(count, total, count / total, *share_interval(count, total))


@dataclass(frozen=True, slots=True, eq=False)
class MutationGains:
    """What n mutations of one network gained, all of the same step size.

    Attributes:
        noise: (n, D) float32, the mutations in units of the step size.
        gains: (n,) fitness minus the parent's on a minibatch; NaN is a failure.
        mirrored: (n // 2,) the same of the first mutations with the opposite sign.
        full: (n,) fitness minus the parent's on the full data.
    """

    noise: NDArray[np.float32]
    gains: Floats
    mirrored: Floats
    full: Floats


BEST, BEST_FULL = "best of n by the minibatch", "best of n by the full data"
ESTIMATES = ("ES one-sided", "ES one-sided, ranks", "ES antithetic", "ES antithetic, ranks")


def mean_of_best(count: int) -> str:
    """What the mean of the best k is called."""
    return f"mean of the best {count:,} of n"


def best_places(gains: Floats, count: int) -> NDArray[np.int64]:
    """Places of the k largest gains, best first; failures last, of equals the earlier one."""
    return np.argsort(-np.where(np.isfinite(gains), gains, -np.inf), kind="stable")[:count]


def directions(tried: MutationGains, top: Sequence[int]) -> dict[str, NDArray[np.float32]]:
    """The steps that selection and evolution strategies make of the same mutations, up to their lengths.

    One-sided estimates use all n mutations, antithetic ones the first n / 2 with both signs: n evaluations each.
    Salimans et al., "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", 2017.

    Args:
        tried: the mutations.
        top: means of how many of the best by the minibatch.

    Returns:
        Name to (D,).
    """
    noise = tried.noise
    found = {BEST: noise[best_places(tried.gains, 1)[0]], BEST_FULL: noise[best_places(tried.full, 1)[0]]}
    found |= {mean_of_best(k): noise[best_places(tried.gains, k)].mean(axis=0) for k in top}
    pairs = len(tried.mirrored)
    both = np.empty(2 * pairs)
    both[0::2], both[1::2] = tried.gains[:pairs], tried.mirrored
    for place, shaping in enumerate((raw, centred_ranks)):
        single = single_weights(shaping(without_failures(tried.gains), 1), 1)
        odd = pair_weights(shaping(without_failures(both), 1))
        found[ESTIMATES[place]] = single.astype(np.float32) @ noise
        found[ESTIMATES[2 + place]] = odd.astype(np.float32) @ noise[:pairs]
    return found


def even_to_odd(tried: MutationGains) -> float:
    """Variance of the even part of the gains, which a pair cancels, over that of the odd part; NaN for none."""
    pairs = len(tried.mirrored)
    plus, minus = tried.gains[:pairs], tried.mirrored
    known = np.isfinite(plus) & np.isfinite(minus)
    odd, even = (plus - minus)[known] / 2, (plus + minus)[known] / 2
    energy = float(np.mean(odd**2)) if known.any() else 0.0
    return float(even.var()) / energy if energy > 0 else math.nan


_BLUE, _ORANGE, _GREEN, _PINK = COLOURS[:4]
_LOOKS = {"full": (_BLUE, "o", "with the full gradient"), "minibatch": (_ORANGE, "s", "with the minibatch gradient")}


@dataclass(frozen=True, slots=True, eq=False)
class CosinePicture:
    """What is drawn.

    Attributes:
        single: (n,) cosines of single mutations with the full gradient.
        dimensions: D.
        kinds: kind of step to target (``full``, ``minibatch``) to its median with interval.
        theory: kind of step to what a linear fitness would give it.
        batches: size of minibatches to the median cosine of their gradients with the full one.
        spread: v of :func:`galab.analysis.cosines.batch_cosine`, NaN if unknown.
        examples: N, what the full gradient is taken over.
        taken: (k, 3) generation, cosine with the full and with the minibatch gradient, of steps of the run.
        title: above the figure.
    """

    single: NDArray[np.float64]
    dimensions: int
    kinds: Mapping[str, Mapping[str, Interval]]
    theory: Mapping[str, float]
    batches: Mapping[int, Interval]
    spread: float
    examples: int
    taken: NDArray[np.float64]
    title: str


def draw_cosines(path: Path, *, picture: CosinePicture) -> None:
    """Draw four panels.

    Args:
        path: the image to write; its suffix decides the format.
        picture: what is drawn.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(13, 8.6)
    axes = figure.subplots(2, 2)
    _random(axes[0, 0], picture)
    _kinds(axes[0, 1], picture)
    _batches(axes[1, 0], picture)
    _taken(axes[1, 1], picture)
    for one in axes.flat:
        plain(one)
        if one.get_legend_handles_labels()[1]:
            # Below the axes: inside them a legend hides data sooner or later.
            one.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=9)
    save(figure, path, picture.title)


def _random(axes: Axes, picture: CosinePicture) -> None:
    size, values = picture.dimensions, picture.single[np.isfinite(picture.single)]
    axes.hist(values, bins=60, density=True, color=_BLUE, alpha=0.35, label=f"{len(values):,} mutations")
    reach = min(1.0, max(5 / math.sqrt(size), float(np.abs(values).max(initial=0.0))))
    places = np.linspace(-reach, reach, 600)
    if size > 1:
        with np.errstate(divide="ignore"):
            axes.plot(places, density(places, size), color="black", lw=1.6, label="exact law (Beta)")
    normal = stats.norm.pdf(places, scale=size**-0.5)
    axes.plot(places, normal, color=_ORANGE, lw=1.6, ls="--", label=f"N(0, 1/D), D = {size:,}")
    axes.set(xlabel="cosine with the full gradient", ylabel="density", title="One random mutation")


def _kinds(axes: Axes, picture: CosinePicture) -> None:
    """A row for each kind of step, the first at the top."""
    names = [name for name, own in picture.kinds.items() if own]
    for row, name in enumerate(names):
        for target, interval in picture.kinds[name].items():
            colour, marker, _ = _LOOKS[target]
            height = row - 0.13 if target == "full" else row + 0.13
            ends = [interval.low, interval.high]
            if not math.isnan(interval.low):
                axes.plot(ends, [height, height], color=colour, lw=2)
            axes.plot(interval.median, height, marker, color=colour, ms=6)
        if name in picture.theory:
            axes.plot([picture.theory[name]] * 2, [row - 0.36, row + 0.36], color="black", lw=1.5)
    for colour, marker, label in _LOOKS.values():
        axes.plot([], [], marker, color=colour, label=label)
    axes.plot([], [], "|", color="black", ms=11, mew=1.5, label="law, linear fitness (minibatch)")
    axes.axvline(0, color="black", lw=0.8)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.set(xlabel="cosine (median, bootstrap 95 %)", title="What is made of n mutations")


def _batches(axes: Axes, picture: CosinePicture) -> None:
    if not picture.batches:
        axes.text(0.5, 0.5, "every minibatch holds all examples", ha="center", transform=axes.transAxes)
        return
    sizes = np.array(list(picture.batches), dtype=np.float64)
    own = list(picture.batches.values())
    middle = np.array([one.median for one in own])
    bars = np.abs(np.array([[one.median - one.low, one.high - one.median] for one in own])).T
    axes.errorbar(sizes, middle, np.nan_to_num(bars), fmt="o", color=_BLUE, capsize=3, label="median, bootstrap 95 %")
    if math.isfinite(picture.spread):
        along = np.geomspace(sizes.min(), picture.examples, 200)
        law = batch_cosine(along, max(picture.spread, 0.0), picture.examples)
        axes.plot(along, law, color="black", lw=1.4, label=f"law from the smallest size, v = {picture.spread:.3g}")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{int(size):,}" for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(min(0.0, float(middle.min()) - 0.05), 1.03)
    axes.set(xlabel="training examples in the minibatch", ylabel="cosine", title="Minibatch against full gradient")


def _taken(axes: Axes, picture: CosinePicture) -> None:
    axes.set_title("Steps that the run took (champion's line, or centre)")
    if not len(picture.taken):
        axes.text(0.5, 0.5, "no step is known", ha="center", transform=axes.transAxes)
        return
    for column, target in enumerate(_LOOKS, 1):
        colour, marker, label = _LOOKS[target]
        axes.plot(picture.taken[:, 0], picture.taken[:, column], marker, color=colour, ms=4.5, alpha=0.8, label=label)
    band = 2 * picture.dimensions**-0.5
    axes.axhspan(-band, band, color="black", alpha=0.08, lw=0, label="95 % of random directions")
    axes.axhline(0, color="black", lw=0.8)
    axes.set(xlabel="generation", ylabel="cosine of the step")
