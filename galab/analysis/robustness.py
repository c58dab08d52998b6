"""``robustness``: how much random mutations harm champions, overall and in what they have learned, by its age."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galab.analysis.base import Analysis, Progress, at_least, numbers_in
from galab.analysis.robustness_report import (
    ChampionRobustness,
    Side,
    draw_robustness,
    learned_since,
    retention_by_age,
    rows_of,
    sentence_of,
    values_of,
)
from galab.contracts import Examples
from galab.saved_runs.history import History
from galab.saved_runs.mutants import random_directions
from galab.saved_runs.probe import ProbedChampion, probe_champion
from galab.saved_runs.saved_run import SavedRun, open_below

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
            champion = probe_champion(saved, generation, level)
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
        line = {birth.id: birth.generation for birth in history.line(champion.number)[:-1]}
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
