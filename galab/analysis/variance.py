"""``variance``: how much runs of many seeds differ, and whether those that start best end best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from galab.analysis.base import Analysis, Progress, lower_is_better, numbers_in, or_none
from galab.errors import UsageError, closest
from galab.saved_runs.history import History
from galab.saved_runs.saved_run import SavedRun
from galab.stats.intervals import Correlation, holm, spearman
from galab.stats.plots import COLOURS, plain, save, sheet

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Early:
    """An early moment of the runs, compared with their end.

    Attributes:
        share: how early, as a share of the run.
        generation: that moment.
        early: (n,) the runs' values then.
        correlation: Spearman's with the final values.
        explained: share of the variance of final values that a straight line through the early ones explains, R^2.
    """

    share: float
    generation: int
    early: Floats
    correlation: Correlation
    explained: float


def spread(values: ArrayLike) -> Floats:
    """(G,) variance over runs (ddof 1) at each generation, of (n, G) values; NaN with fewer than two finite values."""
    table = np.asarray(values, dtype=np.float64)
    known = np.isfinite(table)
    count = known.sum(axis=0)
    filled = np.where(known, table, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = filled.sum(axis=0) / count
        squares = (np.where(known, table - means, 0.0) ** 2).sum(axis=0)
        found: Floats = np.where(count > 1, squares / (count - 1), np.nan)
    return found


def explained(early: ArrayLike, final: ArrayLike) -> float:
    """R^2 of the line of least squares from early to final values; NaN where either is constant."""
    a, b = np.asarray(early, dtype=np.float64), np.asarray(final, dtype=np.float64)
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1] ** 2)


def early_and_final(values: ArrayLike, generations: Sequence[int], shares: Sequence[float]) -> list[Early]:
    """How well early values predict the final ones; runs with a value missing at either moment are left out there.

    Args:
        values: (n, G) one row a run, at the same generations.
        generations: (G,) rising.
        shares: how early, as shares of the last generation; each at the first measurement from there on.
    """
    table, when = np.asarray(values, dtype=np.float64), np.asarray(generations)
    final = table[:, -1]
    found = []
    for share in shares:
        place = min(int(np.searchsorted(when, share * when[-1])), len(when) - 1)
        early = table[:, place]
        both = np.isfinite(early) & np.isfinite(final)
        found.append(
            Early(
                share, int(when[place]), early, spearman(early[both], final[both]),
                explained(early[both], final[both]),
            )
        )  # fmt: skip
    return found


_BLUE, _ORANGE = COLOURS[:2]
_GREY = COLOURS[7]


def draw_starts(
    path: Path,
    generations: NDArray[np.int64],
    values: Floats,
    variance: Floats,
    early: Sequence[Early],
    *,
    metric: str,
    title: str,
) -> None:
    """Draw three panels; the runs that are best at the earliest moment of ``early`` stand out.

    Args:
        path: the image to write; its suffix decides the format.
        generations: (G,) rising.
        values: (n, G) one row a run.
        variance: (G,) over the runs.
        early: moments, earliest first.
        metric: what was measured.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(15, 4.9)
    left, middle, right = figure.subplots(1, 3)
    first = early[0].early
    best = np.zeros(len(values), dtype=bool)
    best[np.argsort(-np.nan_to_num(first, nan=-np.inf), kind="stable")[: max(1, len(values) // 3)]] = True
    for chosen, colour, label in (
        (~best, _GREY, "the others"), (best, _ORANGE, f"best third at generation {early[0].generation:,}"),
    ):  # fmt: skip
        for number, row in enumerate(values[chosen]):
            left.plot(generations, row, color=colour, linewidth=1.0, alpha=0.8, label=label if not number else None)
    for one in early:
        middle.axvline(one.generation, color=_GREY, linewidth=0.8, linestyle=":")
    middle.plot(generations, variance, color=_BLUE, linewidth=1.8, label="variance over the runs")
    if np.isfinite(variance).any() and np.nanmax(variance) > 20 * max(np.nanmin(variance), 1e-300) > 0:
        middle.set_yscale("log")
    _draw_early(right, early)
    for axes in (left, middle):
        axes.set_xscale("log")
        axes.set_xlabel("generation")
    left.set_ylabel(metric)
    middle.set_ylabel(f"variance of {metric}")
    left.set_title("The runs", fontsize=11)
    middle.set_title("How much they differ (dots: the moments on the right)", fontsize=11)
    right.set_title("What the start says of the end", fontsize=11)
    plain(left, middle, right)
    figure.legend(loc="outside lower left", ncols=5, frameon=False, fontsize=9)
    save(figure, path, title)


def _draw_early(right: Axes, early: Sequence[Early]) -> None:
    places = np.arange(len(early))
    rho = np.array([one.correlation.rho for one in early])
    low, high = (np.array([getattr(one.correlation, end) for one in early]) for end in ("low", "high"))
    right.axhline(0, color="black", linewidth=0.8)
    right.vlines(places, low, high, color=_BLUE, linewidth=1.4)
    right.plot(places, rho, "o", color=_BLUE, label="rank correlation with the end, bootstrap 95 %")
    right.plot(places, [one.explained for one in early], "s", color=_ORANGE, label="share of final variance explained")
    right.set_xticks(places, [f"{one.share:.0%}\n({one.generation:,})" for one in early])
    right.set(xlabel="share of the run that is over (generation)", ylabel="correlation, share", ylim=(-1.05, 1.05))
    right.set_xlim(-0.5, len(early) - 0.5)


_LEVEL = 0.05


def variance(
    runs: Sequence[SavedRun], progress: Progress, *, metric: str = "fitness_best", early: str = "1,2,5,10,20,50"
) -> Analysis:
    """Do the best starts end best, over many seeds?

    Args:
        runs: of one configuration with different seeds, such as `galab run --seeds 0-9` makes.
        progress: called with what is being done, and the share of the whole that is done.
        metric: a field of the log; where it is a loss or an error, lower is better.
        early: moments that are compared with the end, in percent of the generations that all runs have.

    Raises:
        UsageError: there are fewer than three runs, or they have other configurations or no such metric.
    """
    shares = [percent / 100 for percent in numbers_in(early, "--early")]
    if shares[-1] >= 1:
        raise UsageError(f"expected --early below 100 percent, got {100 * shares[-1]:g}; leave it out")
    if len(runs) < 3:
        raise UsageError(
            f"expected at least 3 runs with different seeds, got {len(runs)}; make them with `galab run --seeds 0-9` "
            "and give the folder of all"
        )
    _same(runs)
    progress("reading the logs", 0.0)
    curves = [_curve(saved, metric) for saved in runs]
    shared = sorted(set.intersection(*(set(curve) for curve in curves)))
    if len(shared) < 2:
        raise UsageError(
            f"expected two generations at which all runs have measured '{metric}', got {len(shared)}; "
            "run them longer, or with one --report-every"
        )
    table = np.array([[curve[generation] for generation in shared] for curve in curves], dtype=np.float64)
    down = lower_is_better(metric)
    progress("comparing starts and ends", 0.5)
    found = early_and_final(-table if down else table, shared, shares)
    over = spread(table)
    names = [saved.path.name for saved in runs]
    values = _values(table, over, found, shared, metric) | {"data": runs[0].state["task"]["description"]}
    when = np.array(shared, dtype=np.int64)
    title = (
        f"{len(runs)} runs of one configuration, {metric} of generations {shared[0]:,} to {shared[-1]:,}; "
        f"{runs[0].state['task']['description']}"
    )
    draw = partial(
        draw_starts, generations=when, values=table, variance=over, early=found,
        metric=metric, title=title,
    )  # fmt: skip
    return Analysis(_sentence(values), values, _rows(names, runs, table, found, down), draw)


def _same(runs: Sequence[SavedRun]) -> None:
    """Refuse runs that differ in more than their seeds: what differs then is not the start."""
    own = {
        "seed", "origin", "generations", "seconds", "threads", "workers", "member_seconds", "data", "device", "keep",
        "save_every", "executor", "address", "worker_cpus", "worker_gpus", "price_per_hour",
    }  # fmt: skip
    first = runs[0]
    for saved in runs[1:]:
        for name in first.config.__dataclass_fields__:
            one, other = getattr(first.config, name), getattr(saved.config, name)
            if name not in own and one != other:
                raise UsageError(
                    f"expected runs that differ in their seeds alone, got '{first.path}' with {name} {one} and "
                    f"'{saved.path}' with {other}; give the runs of one configuration"
                )
    seeds = {saved.config.seed for saved in runs}
    if len(seeds) < len(runs):
        raise UsageError(f"expected {len(runs)} runs with different seeds, got {len(seeds)} seeds; give each seed once")


def _curve(saved: SavedRun, metric: str) -> dict[int, float]:
    log = History(saved).log
    found = {
        int(line["generation"]): float(line[metric])
        for line in log
        if isinstance(line.get(metric), (int, float)) and not isinstance(line.get(metric), bool)
    }
    if not found:
        known = dict.fromkeys(name for line in log for name, value in line.items() if isinstance(value, (int, float)))
        raise UsageError(
            f"expected a metric that '{saved.path}' has measured, got '{metric}'.{closest(metric, list(known))} "
            f"It has measured: {', '.join(known) or 'nothing yet'}."
        )
    return found


def _values(
    table: NDArray[np.float64], over: NDArray[np.float64], found: Sequence[Early], shared: Sequence[int], metric: str
) -> dict[str, Any]:
    # Two shares of a short run may fall on the same generation, which is one test.
    tested = {one.generation: one.correlation.p for one in found if np.isfinite(one.correlation.p)}
    corrected = dict(zip(tested, holm(list(tested.values())).tolist(), strict=True))
    return {
        "tests": len(tested),
        "runs": len(table),
        "metric": metric,
        "generations": shared[-1],
        "final_mean": or_none(np.nanmean(table[:, -1])) if np.isfinite(table[:, -1]).any() else None,
        "final_variance": or_none(over[-1]),
        "first_variance": or_none(over[0]),
        "early": [
            {
                "share": one.share, "generation": one.generation, "rho": or_none(one.correlation.rho),
                "low": or_none(one.correlation.low), "high": or_none(one.correlation.high),
                "p": or_none(one.correlation.p),
                "p_holm": corrected.get(one.generation),
                "runs": one.correlation.pairs, "explained": or_none(one.explained),
                "variance": or_none(over[shared.index(one.generation)]),
            }
            for one in found
        ],
        "variance": [or_none(one) for one in over],
        "at": list(shared),
    }  # fmt: skip


def _rows(
    names: Sequence[str], runs: Sequence[SavedRun], table: NDArray[np.float64], found: Sequence[Early], down: bool
) -> list[dict[str, Any]]:
    sign = -1 if down else 1
    return [
        {"run": name, "seed": saved.config.seed}
        | {f"at_{one.share:g}": or_none(sign * one.early[place]) for one in found}
        | {"final": or_none(table[place, -1])}
        for place, (name, saved) in enumerate(zip(names, runs, strict=True))
    ]


def _sentence(values: dict[str, Any]) -> str:
    def words(one: dict[str, Any]) -> str:
        if one["rho"] is None:
            return f"at {one['share']:.0%} (generation {one['generation']:,}) all are alike"
        around = (
            f"({'the same' if one['rho'] > 0 else 'the reverse'} order, no interval)"
            if one["low"] is None
            else f"[{one['low']:.2f}, {one['high']:.2f}]"
        )
        return (
            f"at {one['share']:.0%} (generation {one['generation']:,}) it is {one['rho']:.2f} {around}, "
            f"p = {one['p']:.2g}, and explains {one['explained']:.0%} of the final variance"
        )

    sure = [one for one in values["early"] if one["p_holm"] is not None and one["p_holm"] < _LEVEL and one["rho"] > 0]
    tests = values["tests"]
    corrected = "" if tests < 2 else f" after Holm's correction for {tests} moments"
    if sure:
        shares = " and ".join(format(one["share"], ".0%") for one in sure)
        verdict = f"those that are better at {shares} of the run end better (p < {_LEVEL}{corrected})"
    else:
        verdict = "nothing shows that the best starts end best"
        if tests:
            verdict += f" (no p below {_LEVEL}{corrected}{_too_few(values['early'], tests)})"
    chosen = values["early"][:: max(1, len(values["early"]) - 1)]
    return (
        f"In {values['runs']} runs of one configuration over {values['generations']:,} generations, {verdict}: "
        f"Spearman's correlation of early and final {values['metric']} [bootstrap 95 %, permutation p]: "
        f"{'; '.join(map(words, chosen))}."
    )


def _too_few(early: Sequence[dict[str, Any]], tests: int) -> str:
    """Added where not even a complete order would be significant: two of n! orders are complete."""
    pairs = max(one["runs"] for one in early)
    return ", which so few runs cannot have" if tests * 2 / math.factorial(min(pairs, 20)) >= _LEVEL else ""
