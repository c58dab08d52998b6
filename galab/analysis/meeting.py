"""``meeting``: how soon two mutations of different individuals meet in one: calculated, simulated, and observed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from galab.analysis.base import Analysis, Progress, at_least, or_none
from galab.analysis.meeting_theory import (
    LAWS,
    MOST_PARENTS,
    SELECTIONS,
    Breeding,
    descents,
    meeting_odds,
    meetings,
    one_generation,
)
from galab.config.strategy_kinds import kind_of
from galab.errors import UsageError, closest
from galab.saved_runs.history import History
from galab.saved_runs.saved_run import SavedRun
from galab.stats.intervals import share_interval
from galab.stats.plots import COLOURS, plain, save, sheet

Floats = NDArray[np.float64]
_STYLES = {"neutral": "-", "ranked": "--"}


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A probability by generation.

    Attributes:
        label: in the legend.
        odds: (G,) of generations 1 to G; of a simulation or an observation a share.
        low: (G,) lower end of its interval; NaN where it is calculated.
        high: (G,) its upper end.
        colour: number among the colours.
        selection: ``neutral`` or ``ranked``; empty for what was observed.
    """

    label: str
    odds: Floats
    low: Floats
    high: Floats
    colour: int
    selection: str

    @property
    def counted(self) -> bool:
        """Whether it was simulated or observed, and not calculated."""
        return bool(np.isfinite(self.low).any())


@dataclass(frozen=True, slots=True, eq=False)
class BySize:
    """A probability by the number of parents.

    Attributes:
        label: in the legend.
        parents: (k,) how many.
        odds: (k,) the probability.
        colour: number among the colours.
        selection: ``neutral`` or ``ranked``.
    """

    label: str
    parents: Sequence[int]
    odds: Sequence[float]
    colour: int
    selection: str


def draw_meetings(
    path: Path, curves: Sequence[Curve], sizes: Sequence[BySize], *, parents: int, generations: int, title: str
) -> None:
    """Draw both panels: lines are calculated, points with bars are counted.

    Args:
        path: the image to write; its suffix decides the format.
        curves: by generation.
        sizes: by number of parents.
        parents: the run's own, marked on the right.
        generations: after which the right panel looks.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(12.5, 5.6)
    left, right = figure.subplots(1, 2)
    for one in curves:
        x, colour = np.arange(1, len(one.odds) + 1), COLOURS[one.colour]
        if one.counted:
            marker = {"neutral": "o", "ranked": "s"}.get(one.selection, "D")
            left.errorbar(
                x, one.odds, yerr=np.abs(np.stack([one.odds - one.low, one.high - one.odds])), color=colour,
                marker=marker, markersize=4.5, linestyle="none", linewidth=1.0, label=one.label, alpha=0.85,
            )  # fmt: skip
        else:
            left.plot(x, one.odds, color=colour, linestyle=_STYLES[one.selection], linewidth=1.8, label=one.label)
    for size in sizes:
        right.plot(
            size.parents, size.odds, color=COLOURS[size.colour], linestyle=_STYLES[size.selection], marker=".",
            linewidth=1.6,
        )  # fmt: skip
    right.axvline(parents, color="black", linewidth=0.9, linestyle=":")
    right.set_xscale("log", base=2)
    right.set_xticks([2**power for power in range(1, 7)], [str(2**power) for power in range(1, 7)])
    left.set(xlabel="generations since both arose", ylabel="probability that a child has carried both")
    right.set(
        xlabel="parents (dotted: this run), with as many children for each",
        ylabel=f"the same after {generations} generations",
    )
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (left, right):
        axes.set_ylim(-0.03, 1.03)
    plain(left, right)
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    save(figure, path, title)


_NAMES = {
    "none": "one parent", "genes-independent": "independent (1/2 each)", "genes-union": "union",
    "genes-aligned": "aligned (both born in one generation)",
}  # fmt: skip
_SIZES = (2, 4, 8, 16, 32, 64)


def meeting(
    saved: SavedRun,
    progress: Progress,
    *,
    generations: int = 20,
    trials: int = 200,
    pairs: int = 1000,
    parents: int | None = None,
    children: int | None = None,
    law: str | None = None,
) -> Analysis:
    """How soon do two mutations of different individuals meet?

    A Markov chain over the numbers of parents that carry A alone and B alone, against populations bred with galab's own
    operators; and in the run's lineage, how soon an individual descends from both of two parents of one generation.

    Args:
        saved: the run.
        progress: called with what is being done, and the share of the whole that is done.
        generations: how far to look.
        trials: populations that are bred, for each way of selection.
        pairs: pairs of parents that are followed in the run's lineage.
        parents: how many there are; the run's when absent.
        children: of a generation; the run's when absent.
        law: none, genes-independent, genes-union or genes-aligned; the run's when absent, and genes-independent where a
            run crosses weights.

    Raises:
        UsageError: an evolution strategy has no parents and none are given, or the numbers are impossible.
    """
    for option, value in (("--generations", generations), ("--trials", trials), ("--pairs", pairs)):
        at_least(option, value, 1)
    breeding = _breeding(saved, parents, children, law)
    progress("calculating", 0.0)
    calculated = breeding.parents <= MOST_PARENTS
    values: dict[str, Any] = _facts(saved, breeding, generations)
    curves = _calculated(breeding, generations, values) if calculated else []
    colour = max(LAWS.index(breeding.law) - 1, 0)
    for number, selection in enumerate(SELECTIONS):
        bred = []
        for one in meetings(_with(breeding, selection=selection), generations, trials, saved.config.seed or 0):
            bred.append(one)
            progress("breeding", 0.1 + 0.35 * (number + len(bred) / trials))
        curve = _counted(np.array(bred), generations, f"bred, {_NAMES[breeding.law]}, {selection}", colour, selection)
        values[f"bred_{selection}"] = curve.odds.tolist()
        curves.append(curve)
    progress("the run's lineage", 0.85)
    values |= _observed(saved, generations, pairs, curves)
    sizes = _by_size(breeding, generations)
    values["by_parents"] = _size_rows(sizes)
    title = (
        f"Two mutations of different parents, {breeding.parents} parents and {breeding.children} children; lines are "
        f"calculated, points are counted with binomial 95 % intervals ({trials:,} bred populations)"
    )
    draw = partial(
        draw_meetings, curves=curves, sizes=sizes, parents=breeding.parents, generations=generations, title=title
    )
    return Analysis(_sentence(values, breeding, generations, calculated), values, _rows(curves), draw)


def _size_rows(sizes: list[BySize]) -> list[dict[str, Any]]:
    return [
        {"law": LAWS[1 + one.colour], "selection": one.selection, "parents": n, "odds": odds}
        for one in sizes
        for n, odds in zip(one.parents, one.odds, strict=True)
    ]


def _calculated(breeding: Breeding, generations: int, values: dict[str, Any]) -> list[Curve]:
    curves = []
    for number, name in enumerate(LAWS[1:3]):
        for selection in SELECTIONS:
            odds = meeting_odds(_with(breeding, law=name, selection=selection), generations)
            values[f"calculated_{name}_{selection}"] = odds.tolist()
            curves.append(_line(f"{_NAMES[name]}, {selection}", odds, number, selection))
    return curves


def _rows(curves: list[Curve]) -> list[dict[str, Any]]:
    return [
        {"what": one.label, "generation": place + 1, "odds": float(odds), "low": or_none(one.low[place]),
         "high": or_none(one.high[place])}
        for one in curves
        for place, odds in enumerate(one.odds)
    ]  # fmt: skip


def _breeding(saved: SavedRun, parents: int | None, children: int | None, law: str | None) -> Breeding:
    config = saved.config
    evolution = not kind_of(config.strategy).breeds
    if evolution and (parents is None or children is None):
        raise UsageError(
            f"expected --parents and --children, as '{saved.path}' is a run of --strategy {config.strategy}, which "
            "has one centre and no parents, got none; give both, or analyse a run of a genetic algorithm"
        )
    if law is not None and law not in LAWS:
        raise UsageError(f"expected --law among {', '.join(LAWS)}, got '{law}'.{closest(law, list(LAWS))}")
    own = "none" if evolution else config.crossover
    chosen = law or (own if own in LAWS else "genes-independent")
    n, count = parents or config.parents, children or config.children
    if not 2 <= n <= count:
        raise UsageError(
            f"expected at least 2 parents, as one alone holds no two individuals' mutations, and as many children, got "
            f"{n} and {count}; choose them with --parents and --children"
        )
    ways = 2 if evolution else config.parents_per_child or 2
    rate = 1.0 if evolution or ways != 2 or own == "none" else config.crossover_rate
    return Breeding(n, count, chosen, rate)


def _with(breeding: Breeding, **changes: Any) -> Breeding:
    return dataclasses.replace(breeding, **changes)


def _facts(saved: SavedRun, breeding: Breeding, generations: int) -> dict[str, Any]:
    return {
        "generation": saved.generation,
        "parents": breeding.parents,
        "children": breeding.children,
        "law": breeding.law,
        "crossover": saved.config.crossover,
        "crossover_rate": breeding.rate,
        "generations": generations,
        "next_generation": one_generation(breeding),
        "states": (breeding.parents + 1) * (breeding.parents + 2) // 2,
    }


def _line(label: str, odds: Floats, colour: int, selection: str) -> Curve:
    nothing = np.full(len(odds), np.nan)
    return Curve(label, odds, nothing, nothing, colour, selection)


def _counted(when: NDArray[np.int64], generations: int, label: str, colour: int, selection: str) -> Curve:
    """The share that has met by each generation, with Wilson's binomial interval."""
    met = [(when > 0) & (when <= one) for one in range(1, generations + 1)]
    low, high = np.array([share_interval(int(one.sum()), len(when)) for one in met]).T
    return Curve(label, np.array([one.mean() for one in met]), low, high, colour, selection)


def _observed(saved: SavedRun, generations: int, pairs: int, curves: list[Curve]) -> dict[str, Any]:
    """Descent from both in the run's own lineage: that both *could* be carried, and under union are."""
    if saved.folder is None or not kind_of(saved.config.strategy).breeds:
        return {"observed": None, "observed_pairs": 0}
    when, count = descents(History(saved).rows, generations, pairs, saved.config.seed or 0)
    if not count:
        return {"observed": None, "observed_pairs": 0}
    curve = _counted(when, generations, f"this run: a later parent descends from both ({count:,} pairs)", 3, "")
    curves.append(curve)
    return {"observed": curve.odds.tolist(), "observed_pairs": count}


def _by_size(breeding: Breeding, generations: int) -> list[BySize]:
    each = max(1, round(breeding.children / breeding.parents))
    found = []
    for number, law in enumerate(LAWS[1:3]):
        for selection in SELECTIONS:
            odds = [
                float(meeting_odds(Breeding(n, each * n, law, breeding.rate, selection), generations)[-1])
                for n in _SIZES
            ]
            found.append(BySize(f"{_NAMES[law]}, {selection}", _SIZES, odds, number, selection))
    return found


def _sentence(values: dict[str, Any], breeding: Breeding, generations: int, calculated: bool) -> str:
    name = f"calculated_{breeding.law}"
    parts = []
    for selection, words in (("neutral", "without selection"), ("ranked", "where their carriers are selected")):
        bred = values[f"bred_{selection}"][-1]
        odds = values.get(f"{name}_{selection}")
        told = 0.0 if odds is None and calculated else None if odds is None else odds[-1]
        parts.append(
            f"{words} {'not calculated' if told is None else format(told, '.3f')} (bred with galab's operators: "
            f"{bred:.3f})"
        )
    text = (
        f"With {breeding.parents} parents, {breeding.children} children and the law {_NAMES[breeding.law]}, two "
        f"mutations of different parents meet in the next generation with probability {values['next_generation']:.3f} "
        f"and within {generations} generations {', '.join(parts)}"
    )
    if not calculated:
        text += f"; beyond {MOST_PARENTS} parents the chain is not calculated"
    if values["observed"] is not None:
        text += (
            f"; in this run (crossover {values['crossover']}) a later parent descends from both of two parents within "
            f"{generations} generations in {values['observed'][-1]:.1%} of {values['observed_pairs']:,} pairs "
            "(its lineage holds the selected children alone)"
        )
    return text + "."
