"""``replay``: every mutation of a run's lineage on the whole data: which helped, which harmed, which were missed.

A birth is fixed once all parents descend from it, and lost once none does. Time to fixation of a neutral mutation:
Kimura and Ohta 1969, "The average number of generations until fixation of a mutant gene in a finite population".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import and_, or_
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.base import Analysis, Progress, at_least, or_none
from galab.analysis.replay_report import (
    KINDS,
    ReplayedGeneration,
    Step,
    draw_replay,
    failure_modes,
    kind_of,
    sentence_of,
    totals,
)
from galab.contracts import Examples, Member
from galab.errors import UsageError
from galab.genome.births import from_rows
from galab.saved_runs.history import History, evenly_spaced, replay_generations, replayable_generations
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import SavedRun

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Fates:
    """What became of N births that were selected.

    Attributes:
        fixed: (N,) generations from birth until all parents descended from it; NaN where that never came.
        lost: (N,) generations from birth until none did; NaN where that never came.
        first: (N,) share of the parents that it was at its birth: one of them.
        second: (N,) share of the parents that descend from it a generation later; NaN in the last generation.
        kinship: generation to how many generations ago the youngest ancestor lived of whom all parents descend; NaN
            where there is none.
    """

    fixed: Floats
    lost: Floats
    first: Floats
    second: Floats
    kinship: dict[int, float]


def fates(
    births: Sequence[int], parents: Sequence[Sequence[int]], generations: Sequence[int], living: Sequence[int]
) -> Fates:
    """Follow births through the generations.

    A birth of an earlier generation counts among the parents as long as children of it are still selected: of parents
    that survive (elites) no more is written down.

    Args:
        births: N ids of those that became parents, in order of generation.
        parents: N times the ids of its parents.
        generations: N times when it was born.
        living: ids of the parents of the last generation.
    """
    size = len(births)
    place = {birth: at for at, birth in enumerate(births)}
    above = [[place[parent] for parent in several if parent in place] for several in parents]
    last_child = np.full(size, -1, dtype=np.int64)
    for at, several in enumerate(above):
        last_child[several] = np.maximum(last_child[several], generations[at])
    born: dict[int, list[int]] = {}
    for at, generation in enumerate(generations):
        born.setdefault(generation, []).append(at)
    last_child[[place[birth] for birth in living if birth in place]] = np.iinfo(np.int64).max
    fixed, lost, first, second = (np.full(size, np.nan) for _ in range(4))
    kinship: dict[int, float] = {}
    alive: list[int] = []
    carried: dict[int, int] = {}  # of each living one, its ancestors and itself as bits counted from `base`
    base, open_bits, common = 0, 0, -1
    for generation in sorted(born):
        new = born[generation]
        alive = [at for at in alive if last_child[at] > generation]
        own = {at: reduce(or_, (carried.get(one, 0) for one in above[at]), 1 << (at - base)) for at in new}
        carried = {at: carried[at] for at in alive} | own
        alive = list(carried)
        open_bits |= sum(1 << (at - base) for at in new)
        everyone, anyone = reduce(and_, carried.values()), reduce(or_, carried.values())
        first[new] = 1 / len(alive)
        for at in born.get(generation - 1, ()):
            if at >= base:
                second[at] = sum(bits >> (at - base) & 1 for bits in carried.values()) / len(alive)
        for at in _places(open_bits & everyone, base):
            fixed[at] = generation - generations[at]
            common = max(common, at)
        for at in _places(open_bits & ~anyone, base):
            lost[at] = generation - generations[at]
        open_bits &= anyone & ~everyone
        kinship[generation] = generation - generations[common] if common >= 0 else np.nan
        # Bits of births that are decided, and are not needed in the next generation, are dropped.
        oldest = min([*_places(open_bits & -open_bits, base), *new[:1]])
        carried = {at: bits >> (oldest - base) for at, bits in carried.items()}
        open_bits >>= oldest - base
        base = oldest
    return Fates(fixed, lost, first, second, kinship)


def _places(bits: int, base: int) -> list[int]:
    """The births behind the bits that are set."""
    found = []
    while bits:
        lowest = bits & -bits
        found.append(base + lowest.bit_length() - 1)
        bits ^= lowest
    return found


def growth(first: Floats, second: Floats) -> float:
    """The selection coefficient of a kind of births, per generation: log of the ratio of their mean shares.

    Args:
        first: (n,) shares at birth.
        second: (n,) shares a generation later; NaN where unknown, which does not count.

    Returns:
        NaN without any of whom it is known; minus infinity where all were lost at once.
    """
    known = ~np.isnan(second)
    if not known.any():
        return float("nan")
    after = float(second[known].mean())
    return float(np.log(after / first[known].mean())) if after > 0 else float("-inf")


_WHO = ("champion", "parents", "centre")


def replay(
    saved: SavedRun,
    progress: Progress,
    *,
    who: str = "champion",
    broods: int = 12,
    tolerance: float = 1e-7,
    split: str = "train",
    examples: int = 0,
) -> Analysis:
    """Which mutations of a lineage helped, on all data.

    Each step of the lineage, crossover and mutation together, is measured on all examples. And whole generations are
    made again, unselected children too, to tell four ways to fail apart. A birth is beneficial where its fitness on all
    examples is above the mean of its parents'.

    1. none: no child of a generation is beneficial;
    2. missed: some are, and none of them is selected (the luck of a minibatch);
    3. lost: a beneficial child is selected, and its line dies out before the end;
    4. hitchhiking: a harmful step lies on the line of the champion.

    Args:
        saved: the run.
        progress: called with what is being done, and the share of the whole that is done.
        who: champion, parents (all that were ever selected) or centre (of an evolution strategy).
        broods: generations made again, after so many checkpoints.
        tolerance: the largest change of the fitness that counts as none.
        split: the data that it is measured on: train, validation or test.
        examples: the first so many of them; 0 is all.

    Raises:
        UsageError: a choice makes no sense, or the run has no lineage.
    """
    history = History(saved)
    _check(history, saved, who, broods, tolerance)
    probe = Probe(saved)
    shown = probe.examples(split, examples)
    steps = _steps(history, probe, shown, who, tolerance, progress)
    if not steps:
        raise UsageError(
            f"expected a lineage with mutations in it, got only founders up to generation {saved.generation} in "
            f"'{saved.path}'; analyse a longer run, or one of another --strategy"
        )
    fixation, kinship = _fixation(history, saved.numbers)
    found = _replayed_generations(saved, probe, shown, broods, tolerance, fixation, progress)
    whose = "centre's way" if history.has_centre else "champion's line" if who == "champion" else "lines of all parents"
    values: dict[str, Any] = {
        "generation": saved.generation, "who": whose, "split": split, "examples": len(shown),
        "data": probe.task.description, "fitness": probe.base, "tolerance": tolerance, **totals(steps),
        "failure_modes": failure_modes(steps, found), **_spread(steps, fixation, kinship, unbiased=who == "parents"),
    }  # fmt: skip
    data = f"{len(shown):,} {split} examples of {probe.task.name}"
    title = f"Every step of the {whose} to generation {saved.generation:,}, on {data}; up to {tolerance:g} is neutral."
    return Analysis(
        sentence_of(values, found, data), values | {"broods": [one.to_dict() for one in found]},
        [step.to_row() for step in steps], partial(_draw, steps=steps, broods=found, fitness=probe.base, title=title),
    )  # fmt: skip


def _check(history: History, saved: SavedRun, who: str, broods: int, tolerance: float) -> None:
    at_least("--broods", broods, 0)
    if who not in _WHO or (history.has_centre and who == "parents") or (not history.has_centre and who == "centre"):
        known = "centre" if history.has_centre else "champion or parents"
        raise UsageError(f"expected --who {known} for --strategy {saved.config.strategy}, got '{who}'; choose that")
    if not tolerance >= 0:
        raise UsageError(f"expected --tolerance of at least 0, got {tolerance}; choose a larger one")


def _draw(path: Path, steps: list[Step], broods: list[ReplayedGeneration], fitness: str, title: str) -> None:
    draw_replay(
        path, np.array([one.generation for one in steps]), np.array([one.fitness for one in steps]),
        np.array([one.change for one in steps]), [one.kind for one in steps], broods, kinds=KINDS,
        texts=(fitness, title),
    )  # fmt: skip


def _steps(
    history: History, probe: Probe, shown: Examples, who: str, tolerance: float, progress: Progress
) -> list[Step]:
    """What each step did, oldest first."""
    families: dict[int, tuple[int, ...]]
    if history.has_centre:
        numbers = list(range(history.generation + 1))
        families = {number: (number - 1,) if number else () for number in numbers}
        born = dict(zip(numbers, numbers, strict=True))
    else:
        births = history.descent(history.champion()) if who == "champion" else from_rows(history.rows)
        numbers = [birth.id for birth in births]
        born = {birth.id: birth.generation for birth in births}
        # On a line a child of two is compared with the one that the line follows, so that changes add up.
        ends = {birth.id: birth.parents[:1] if who == "champion" else birth.parents for birth in births}
        families = {number: ends[number] for number in numbers}
    order: list[int] = []

    def members() -> Iterator[Member]:
        for number, member in history.walk(numbers):
            order.append(number)
            yield member

    fitness: dict[int, float] = {}
    for values in probe.fitness_along(members(), shown):
        fitness |= dict(zip(order[len(fitness) :], values.tolist(), strict=False))
        progress("the lineage on all examples", 0.75 * len(fitness) / max(1, len(numbers)))
    found = []
    for number in numbers:
        parents = [fitness[parent] for parent in families[number] if parent in fitness]
        if parents and number in fitness and born[number]:  # under gene laws founders descend from the first of them
            change = fitness[number] - float(np.mean(parents))
            found.append(Step(born[number], number, fitness[number], change, kind_of(change, tolerance)))
    return found


def _fixation(history: History, living: list[int]) -> tuple[dict[int, tuple[float, ...]], list[float]]:
    """Birth to (generations until fixed, until lost, share at birth, a generation later); and the ages of ancestors."""
    if history.has_centre:
        return {}, []
    rows = history.rows
    ids = rows["id"].tolist()
    several = [[parent for parent in one if parent >= 0] for one in rows["parents"].tolist()]
    found = fates(ids, several, rows["generation"].tolist(), living)
    columns = np.stack([found.fixed, found.lost, found.first, found.second], axis=1).tolist()
    return dict(zip(ids, map(tuple, columns), strict=True)), list(found.kinship.values())


def _spread(
    steps: list[Step], fixation: dict[int, tuple[float, ...]], kinship: list[float], *, unbiased: bool
) -> dict[str, Any]:
    """How fast mutations spread, and how old the common ancestor is.

    All births on the champion's line have survived, so their shares grow whatever they do: ``unbiased`` says whether
    all selected births are among the steps.
    """
    if not fixation:
        return {"fixation_generations": None, "common_ancestor_generations": None, "selection_coefficient": None}
    times = np.array([fixation[one.number][0] for one in steps if one.number in fixation])
    times = times[np.isfinite(times)]
    ages = np.array(kinship)
    ages = ages[np.isfinite(ages)]
    coefficients = {}
    for kind in KINDS:
        ends = np.array([fixation[one.number][2:] for one in steps if one.kind == kind and one.number in fixation])
        coefficients[kind] = or_none(growth(ends[:, 0], ends[:, 1])) if len(ends) else None
    return {
        "fixation_generations": float(np.median(times)) if times.size else None,
        "fixed": int(times.size),
        "common_ancestor_generations": float(np.median(ages)) if ages.size else None,
        "selection_coefficient": coefficients if unbiased else None,
    }


def _replayed_generations(
    saved: SavedRun, probe: Probe, shown: Examples, count: int, tolerance: float,
    fixation: dict[int, tuple[float, ...]], progress: Progress,
) -> list[ReplayedGeneration]:  # fmt: skip
    """Generations with all their children, on all examples."""
    chosen = evenly_spaced(replayable_generations(saved), count)
    found: list[ReplayedGeneration] = []
    for number, one in enumerate(replay_generations(saved, count)):
        progress("generations made again", 0.75 + 0.2 * number / len(chosen))
        there = [place for place, member in enumerate(one.members) if member is not None]
        whole = np.full(len(one.members), np.nan)
        whole[there] = probe.fitness([member for member in one.members if member is not None], shown)
        size = len(one.births)
        # A child without parents here, of a random search, is never made again.
        before = np.array([whole[family].mean() if family else np.nan for family in one.families])
        lost = np.array([np.isfinite(fixation.get(birth, (np.nan, np.nan))[1]) for birth in one.births])
        change = whole[:size] - before
        found.append(ReplayedGeneration.of(one.generation, one.fitness, change, one.selected, lost, tolerance))
    return found
