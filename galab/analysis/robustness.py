"""``robustness``: how much random mutations harm champions, overall and in what they have learned, by its age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from galab.analysis.base import Analysis, Progress, at_least, numbers_in, or_none
from galab.contracts import Examples
from galab.saved_runs.history import History
from galab.saved_runs.mutants import random_directions
from galab.saved_runs.probe import ProbedChampion, probe_champion
from galab.saved_runs.saved_run import SavedRun, open_below
from galab.stats.intervals import Estimate, mann_whitney, mean_interval, median_interval
from galab.stats.plots import COLOURS, plain, save, sheet

Floats = NDArray[np.float64]
_AT_ONCE = 64


def robustness(
    runs: Sequence[SavedRun],
    progress: Progress,
    *,
    other: str | None = None,
    sizes: str = "0.01,0.03,0.1,0.2,0.5",
    mutants: int = 64,
    ancestors: int = 24,
    generation: int | None = None,
    level: float | None = None,
    split: str = "train",
    examples: int = 2000,
) -> Analysis:
    """What random mutations break of what was learned.

    Args:
        runs: whose champions.
        progress: called with what is being done, and the share of the whole that is done.
        other: a run or a group of runs to compare them with, such as lineages of more parents.
        sizes: lengths of the random mutations, as shares of the length of the weights.
        mutants: of each champion, per size.
        ancestors: how many of a champion's line are asked since when it knows each answer.
        generation: of the champions; that of the checkpoints when absent.
        level: the first reported champion of each run whose generation had this best fitness.
        split: the data: train, validation or test.
        examples: the first so many of them; 0 is all.

    Raises:
        UsageError: there is no such data, generation or level.
    """
    shares = numbers_in(sizes, "--sizes")
    at_least("--mutants", mutants, 2)
    at_least("--ancestors", ancestors, 2)
    groups = [list(runs)]
    if other is not None:
        groups.append(open_below([Path(other)], trust=any(saved.trust for saved in runs)))
    number, total, sides, found = 0, sum(map(len, groups)), list[Side](), list[list[ChampionRobustness]]()
    middle = len(shares) // 2
    for group in groups:
        each = []
        for saved in group:
            progress(f"mutants of {saved.path.name}", 0.9 * number / total)
            champion = probe_champion(saved, generation, level, between=True)
            each.append(_champion(champion, champion.probe.examples(split, examples), shares, mutants, ancestors))
            number += 1
        found.append(each)
        sides.append(_side(each, middle))
    values = values_of(found, sides, shares, middle, split)
    first = found[0][0]
    title = (
        f"Random mutations of champions of {first.champion.probe.task.name} (generation "
        f"{first.champion.generation:,}), {mutants} of each size, {len(first.since):,} {split} examples"
    )
    draw = partial(
        draw_robustness, sizes=shares, sides=sides, base=first.champion.probe.base, size=shares[middle], title=title
    )
    return Analysis(sentence_of(values), values, rows_of(found, shares), draw)


def _champion(
    champion: ProbedChampion, shown: Examples, shares: Sequence[float], mutants: int, ancestors: int
) -> ChampionRobustness:
    weights = champion.weights.astype(np.float64)
    length = float(np.linalg.norm(weights))
    fitness, right = _scored(champion, weights[None], shown)
    known = right is not None and bool(right[0].any())
    lost, kept = np.empty((len(shares), mutants)), np.full((len(shares), mutants), np.nan)
    each = np.full((len(shares), len(shown)), np.nan)
    directions = np.stack(list(random_directions(champion.probe.run_key, len(weights), mutants)))
    for place, share in enumerate(shares):
        after, still = _scored(champion, weights + share * length * directions, shown)
        lost[place] = np.where(np.isfinite(after), fitness[0] - after, np.inf)
        if known and right is not None and still is not None:
            kept[place] = still[:, right[0]].mean(axis=1)
            each[place, right[0]] = still[:, right[0]].mean(axis=0)
    since = np.full(len(shown), np.nan)
    if known and right is not None and champion.saved.folder is not None:
        generations, line = _ancestors(champion, ancestors)
        answers = _scored(champion, line, shown)[1]
        if answers is not None:
            since = learned_since(np.concatenate([answers, right]), [*generations, champion.generation])
    return ChampionRobustness(
        champion, float(fitness[0]), right[0] if right is not None else None, lost, kept, each, since
    )


def _ancestors(champion: ProbedChampion, count: int) -> tuple[list[int], Floats]:
    """Generations and weights of some of a champion's line, evenly spaced in the logarithm of the generation."""
    history = History(champion.saved)
    if history.has_centre:
        line = {generation: generation for generation in range(champion.generation)}
    else:
        line = {birth.id: birth.generation for birth in history.descent(champion.number)[:-1]}
    numbers = list(line)
    wanted = np.unique(np.rint(np.geomspace(1, max(len(numbers), 1), count)).astype(int)) - 1
    chosen = [numbers[place] for place in wanted.tolist() if place < len(numbers)]
    walked = [(line[number], member.floats()) for number, member in history.walk(chosen)]
    return [generation for generation, _ in walked], np.array([w for _, w in walked], dtype=np.float64)


def _scored(champion: ProbedChampion, points: Floats, shown: Examples) -> tuple[Floats, NDArray[np.bool_] | None]:
    """(n,) fitness of weights (n, D), and (n, B) whether each answers each example right, if there is a right."""
    if not len(points):
        return np.empty(0), None
    fitness, rows = [], []
    for start in range(0, len(points), _AT_ONCE):
        part = points[start : start + _AT_ONCE].astype(np.float32)
        fitness.append(champion.probe.fitness(part, shown))
        rows.append(champion.probe.right(part, shown))
    answers = [row for row in rows if row is not None]
    return np.concatenate(fitness), np.concatenate(answers) if len(answers) == len(rows) else None


def _side(each: list[ChampionRobustness], middle: int) -> Side:
    with np.errstate(invalid="ignore"):
        lost = np.array([np.where(np.isfinite(one.lost), one.lost, np.nan) for one in each])
        kept = np.array([one.kept for one in each])
    since = np.concatenate([one.since for one in each])
    by_age = retention_by_age(since, np.concatenate([one.kept_each[middle] for one in each]))
    names = [one.champion.saved.path.name for one in each]
    home = each[0].champion.saved.path
    label = names[0] if len(names) == 1 else home.parent.name
    return Side(label, _mean(lost), _mean(kept), by_age)


def _mean(values: Floats) -> Floats:
    """The mean over the last axis of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def learned_since(right: ArrayLike, generations: ArrayLike) -> NDArray[np.float64]:
    """Since when a lineage answers each example right without ever unlearning it again.

    Args:
        right: (K, B) whether each ancestor, oldest first, answers each example right; the last is the one in question.
        generations: (K,) the generation of each ancestor.

    Returns:
        (B,) generation of the first ancestor from which on all are right; NaN where the last one is wrong.
    """
    answers = np.asarray(right, dtype=bool)
    ages = np.asarray(generations, dtype=np.float64)
    # Ancestors from the end that are right without a break.
    streak = np.logical_and.accumulate(answers[::-1], axis=0).sum(axis=0)
    since = np.full(answers.shape[1], np.nan)
    since[streak > 0] = ages[len(ages) - streak[streak > 0]]
    return since


@dataclass(frozen=True, slots=True)
class AgeGroup:
    """Examples learned at about the same time.

    Attributes:
        first: the first generation that they were learned in.
        last: the last.
        examples: how many there are.
        kept: the mean share of mutants that still answer one of them right, with its interval over the examples.
    """

    first: float
    last: float
    examples: int
    kept: Estimate


def retention_by_age(since: ArrayLike, kept: ArrayLike, groups: int = 4) -> list[AgeGroup]:
    """How safe examples are by when they were learned, oldest knowledge first.

    Args:
        since: (B,) as :func:`learned_since` gives it.
        kept: (B,) share of the mutants that answer each example right.
        groups: about how many groups of about equal size; examples learned at the same time stay together.
    """
    times, shares = np.asarray(since, dtype=np.float64), np.asarray(kept, dtype=np.float64)
    known = np.isfinite(times) & np.isfinite(shares)
    times, shares = times[known], shares[known]
    return [
        AgeGroup(float(times[part].min()), float(times[part].max()), int(part.sum()), mean_interval(shares[part]))
        for part in _groups(times, groups)
    ]


def _groups(times: NDArray[np.float64], groups: int) -> Sequence[NDArray[np.bool_]]:
    if not times.size:
        return []
    moments, counts = np.unique(times, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / len(times)
    which = np.minimum((middle * groups).astype(int), groups - 1)
    return [np.isin(times, moments[which == one]) for one in np.unique(which)]


_MARKERS = ("o", "s")


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """The champions of one run or group.

    Attributes:
        label: in the legend.
        lost: (n, S) fitness lost by a mutant in the mean, by champion and size of mutation.
        kept: (n, S) share of right answers that a mutant keeps.
        by_age: answers by when they were learned, oldest first, at one size; empty where that is unknown.
    """

    label: str
    lost: Floats
    kept: Floats
    by_age: Sequence[AgeGroup]


def draw_robustness(
    path: Path, sizes: Sequence[float], sides: Sequence[Side], *, base: str, size: float, title: str
) -> None:
    """Draw three panels; each side has one colour and marker in all of them.

    Args:
        path: the image to write; its suffix decides the format.
        sizes: (S,) of mutations, as shares of the length of the weights.
        sides: one or two.
        base: what fitness is.
        size: at which answers are grouped by age.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    aged = any(side.by_age for side in sides)
    figure = sheet(15 if aged else 10.2, 4.9)
    panels = figure.subplots(1, 3 if aged else 2)
    for number, side in enumerate(sides):
        _draw_side(panels[0], sizes, side.lost, number, side.label)
        _draw_side(panels[1], sizes, side.kept, number, None)
    panels[0].set(xlabel="length of the mutation / length of the weights", ylabel=f"fitness lost, mean ({base})")
    panels[1].set(xlabel="length of the mutation / length of the weights", ylabel="share of right answers kept")
    panels[0].set_title("What a mutation costs", fontsize=11)
    panels[1].set_title("What stays right", fontsize=11)
    values = np.concatenate([side.lost.ravel() for side in sides])
    if np.isfinite(values).any() and np.nanmin(values) > 0 and np.nanmax(values) > 20 * np.nanmin(values):
        panels[0].set_yscale("log")
    if aged:
        _draw_ages(panels[2], sides)
        panels[2].set_title(f"By age, mutations of {size:g} of the weights' length", fontsize=11)
    plain(*panels)
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    save(figure, path, title)


def _draw_side(axes: Axes, sizes: Sequence[float], values: Floats, number: int, label: str | None) -> None:
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "no task with right answers", transform=axes.transAxes, ha="center")
        return
    look: dict[str, Any] = {"color": COLOURS[number], "marker": _MARKERS[number % 2]}
    if len(values) > 1:
        axes.plot(sizes, values.T, color=COLOURS[number], linewidth=0.7, alpha=0.45)
        label = label and f"{label}: median of {len(values)} champions, thin: each one"
    # A size at which every mutant failed is left open.
    middle = [float(np.median(known)) if (known := one[np.isfinite(one)]).size else np.nan for one in values.T]
    axes.plot(sizes, middle, linewidth=1.9, label=label, **look)
    axes.set_xscale("log")


def _draw_ages(axes: Axes, sides: Sequence[Side]) -> None:
    """A level bar for each group of answers, as wide as the time in which they were learned, with its interval."""
    for number, side in enumerate(sides):
        for one in side.by_age:
            middle = np.sqrt((one.first + 1) * (one.last + 1)) - 1
            axes.plot([one.first, one.last], [one.kept.value] * 2, color=COLOURS[number], linewidth=2.5)
            axes.plot([middle], [one.kept.value], color=COLOURS[number], marker=_MARKERS[number % 2], linestyle="none")
            if np.isfinite(one.kept.low):
                axes.plot([middle, middle], [one.kept.low, one.kept.high], color=COLOURS[number], linewidth=1.2)
    axes.set_xscale("symlog", linthresh=1)  # founders know some answers, at generation 0
    axes.set_xlim(left=-0.1)
    axes.set(xlabel="generation in which the answer was learned for good", ylabel="share of mutants that keep it")


@dataclass(frozen=True, slots=True, eq=False)
class ChampionRobustness:
    """What mutations do to one champion.

    Attributes:
        champion: the champion.
        fitness: its fitness.
        right: (B,) whether it answers each example right; None where there are no right answers.
        lost: (S, M) fitness lost by each mutant; infinite where it failed.
        kept: (S, M) share of the right answers that it keeps; NaN without any.
        kept_each: (S, B) share of mutants that keep each example right; NaN where the champion is wrong.
        since: (B,) generation in which each was learned for good; NaN where that is unknown.
    """

    champion: ProbedChampion
    fitness: float
    right: NDArray[np.bool_] | None
    lost: Floats
    kept: Floats
    kept_each: Floats
    since: Floats


def values_of(
    found: list[list[ChampionRobustness]], sides: list[Side], shares: Sequence[float], middle: int, split: str
) -> dict[str, Any]:
    """The numbers of both sides, and their comparison; ``middle`` is the place of the size that is compared."""
    first = found[0][0]
    values: dict[str, Any] = {
        "split": split,
        "examples": len(first.since),
        "data": first.champion.probe.task.description,
        "base": first.champion.probe.base,
        "sizes": list(shares),
        "size": shares[middle],
        "sides": [],
    }
    for group, side in zip(found, sides, strict=True):
        # Of a single champion its mutants are what varies; of several the champions are.
        single = len(group) == 1
        kept = group[0].kept[middle] if single else side.kept[:, middle]
        lost = group[0].lost[middle] if single else side.lost[:, middle]
        values["sides"].append({
            "label": side.label,
            "champions": len(group),
            "fitness": [one.fitness for one in group],
            "right": [None if one.right is None else float(one.right.mean()) for one in group],
            "kept": _interval(kept),
            "lost": _interval(lost),
            "share_harmful": float(np.mean([(one.lost[middle] > 0).mean() for one in group])),
            "failed": int(sum(np.isinf(one.lost).sum() for one in group)),
            "by_age": [
                {"first": age.first, "last": age.last, "examples": age.examples, "kept": age.kept.value,
                 "low": or_none(age.kept.low), "high": or_none(age.kept.high)}
                for age in side.by_age
            ],
        })  # fmt: skip
    if len(found) == 2:
        several = all(len(group) > 1 for group in found)
        values["compared"] = "champions" if several else "mutants"
        for name in ("kept", "lost"):
            pair = [
                getattr(side, name)[:, middle] if several else np.concatenate([getattr(o, name)[middle] for o in group])
                for group, side in zip(found, sides, strict=True)
            ]
            values[f"{name}_test"] = _test(*pair)
    return values


def _interval(values: Floats) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    if not known.size:
        return {"median": None, "low": None, "high": None, "mean": None}
    one = median_interval(known)
    low, high = or_none(one.low), or_none(one.high)
    return {"median": one.median, "low": low, "high": high, "mean": mean_interval(known).value}


def _test(first: Floats, second: Floats) -> dict[str, Any] | None:
    a, b = first[~np.isnan(first)], second[~np.isnan(second)]
    if not (a.size and b.size):
        return None
    found = mann_whitney(a, b)
    return {"p": found.p, "superiority": found.superiority}


def rows_of(found: list[list[ChampionRobustness]], shares: Sequence[float]) -> list[dict[str, Any]]:
    """A row for each mutant."""
    return [
        {
            "side": side,
            "run": one.champion.saved.path.name,
            "generation": one.champion.generation,
            "size": share,
            "mutant": mutant,
            "fitness_lost": or_none(one.lost[place, mutant]),
            "kept": or_none(one.kept[place, mutant]),
        }
        for side, group in enumerate(found)
        for one in group
        for place, share in enumerate(shares)
        for mutant in range(one.lost.shape[1])
    ]


def sentence_of(values: dict[str, Any]) -> str:
    """The answer in one sentence."""
    parts = []
    for one in values["sides"]:
        who = f"the champion of {one['label']}" if one["champions"] == 1 else (
            f"the {one['champions']} champions of {one['label']}"
        )  # fmt: skip
        kept = f"keeps {_words(one['kept'], '.1%')} of the right answers and "
        parts.append(
            f"of {who}, a mutant {'' if one['kept']['median'] is None else kept}loses {_words(one['lost'], '.3g')} in "
            f"fitness ({values['base']}; {one['share_harmful']:.0%} lose some)"
        )
        if len(one["by_age"]) > 1:
            old, new = one["by_age"][0], one["by_age"][-1]
            parts[-1] += (
                f"; what was learned by generation {old['last']:,.0f} stays right in {old['kept']:.1%} of mutants, "
                f"what was learned from {new['first']:,.0f} on in {new['kept']:.1%}"
            )
    text = (
        f"After random mutations of {values['size']:g} of the weights' length, on {values['examples']:,} "
        f"{values['split']} examples (medians [bootstrap 95 %]): {'; '.join(parts)}"
    )
    if (test := values.get("kept_test") or values.get("lost_test")) is not None:
        text += f"; Mann-Whitney over {values['compared']}: p = {test['p']:.2g}"
        if values["compared"] == "mutants":
            text += ", which says something of these champions alone and nothing of runs like theirs"
    return text + "."


def _words(one: dict[str, Any], style: str) -> str:
    if one["median"] is None:
        return "nothing finite"
    text = format(one["median"], style)
    return text if one["low"] is None else f"{text} [{one['low']:{style}}, {one['high']:{style}}]"
