"""Every mutation of a run's lineage on the whole data: which helped, which harmed, and which were missed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from galab.errors import UsageError
from galab.questions.analysis import Analysis, Heard
from galab.questions.choices import at_least
from galab.questions.replay_report import KINDS, Brood, Step, failure_modes, kind_of, sentence_of, totals

if TYPE_CHECKING:
    from galab.contracts import Examples, Member
    from galab.lab.history import History
    from galab.lab.probe import Probe
    from galab.lab.rebuild import Saved

_WHO = ("champion", "parents", "centre")


def replay(
    saved: Saved,
    heard: Heard,
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
        heard: hears how it comes along.
        who: champion, parents (all that were ever selected) or centre (of an evolution strategy).
        broods: generations made again, after so many checkpoints.
        tolerance: the largest change of the fitness that counts as none.
        split: the data that it is measured on: train, validation or test.
        examples: the first so many of them; 0 is all.

    Raises:
        UsageError: a choice makes no sense, or the run has no lineage.
    """
    from galab.lab.history import History
    from galab.lab.probe import Probe

    history = History(saved)
    _check(history, saved, who, broods, tolerance)
    probe = Probe(saved)
    shown = probe.examples(split, examples)
    steps = _steps(history, probe, shown, who, tolerance, heard)
    if not steps:
        raise UsageError(
            f"expected a lineage with mutations in it, got only founders up to generation {saved.generation} in "
            f"'{saved.path}'; analyse a longer run, or one of another --strategy"
        )
    fixation, kinship = _fixation(history, saved.numbers)
    found = _broods(saved, probe, shown, broods, tolerance, fixation, heard)
    whose = "centre's way" if history.evolution else "champion's line" if who == "champion" else "lines of all parents"
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


def _check(history: History, saved: Saved, who: str, broods: int, tolerance: float) -> None:
    at_least("--broods", broods, 0)
    if who not in _WHO or (history.evolution and who == "parents") or (not history.evolution and who == "centre"):
        known = "centre" if history.evolution else "champion or parents"
        raise UsageError(f"expected --who {known} for --strategy {saved.config.strategy}, got '{who}'; choose that")
    if not tolerance >= 0:
        raise UsageError(f"expected --tolerance of at least 0, got {tolerance}; choose a larger one")


def _draw(path: Any, steps: list[Step], broods: list[Brood], fitness: str, title: str) -> None:
    from galab.analysis.replay_figure import BroodPicture, draw_replay

    pictures = [BroodPicture(one.generation, one.shown, one.selected) for one in broods]
    draw_replay(
        path, np.array([one.generation for one in steps]), np.array([one.fitness for one in steps]),
        np.array([one.change for one in steps]), [one.kind for one in steps], pictures, kinds=KINDS,
        texts=(fitness, title),
    )  # fmt: skip


def _steps(
    history: History, probe: Probe, shown: Examples, who: str, tolerance: float, heard: Heard
) -> list[Step]:
    """What each step did, oldest first."""
    families: dict[int, tuple[int, ...]]
    if history.evolution:
        numbers = list(range(history.generation + 1))
        families = {number: (number - 1,) if number else () for number in numbers}
        born = dict(zip(numbers, numbers, strict=True))
    else:
        from galab.genome.births import from_rows

        births = history.line(history.champion()) if who == "champion" else from_rows(history.rows)
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
        heard("the lineage on all examples", 0.75 * len(fitness) / max(1, len(numbers)))
    found = []
    for number in numbers:
        parents = [fitness[parent] for parent in families[number] if parent in fitness]
        if parents and number in fitness and born[number]:  # under gene laws founders descend from the first of them
            change = fitness[number] - float(np.mean(parents))
            found.append(Step(born[number], number, fitness[number], change, kind_of(change, tolerance)))
    return found


def _fixation(history: History, living: list[int]) -> tuple[dict[int, tuple[float, ...]], list[float]]:
    """Birth to (generations until fixed, until lost, share at birth, a generation later); and the ages of ancestors."""
    if history.evolution:
        return {}, []
    from galab.analysis.fixation import fates

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

    Whoever is on the champion's line has survived, so their shares grow whatever they do: ``unbiased`` says whether
    everybody who was selected is among the steps.
    """
    if not fixation:
        return {"fixation_generations": None, "common_ancestor_generations": None, "selection_coefficient": None}
    from galab.analysis.fixation import growth

    times = np.array([fixation[one.number][0] for one in steps if one.number in fixation])
    times = times[np.isfinite(times)]
    ages = np.array(kinship)
    ages = ages[np.isfinite(ages)]
    coefficients = {}
    for kind in KINDS:
        ends = np.array([fixation[one.number][2:] for one in steps if one.kind == kind and one.number in fixation])
        value = growth(ends[:, 0], ends[:, 1]) if len(ends) else float("nan")
        coefficients[kind] = value if np.isfinite(value) else None
    return {
        "fixation_generations": float(np.median(times)) if times.size else None,
        "fixed": int(times.size),
        "common_ancestor_generations": float(np.median(ages)) if ages.size else None,
        "selection_coefficient": coefficients if unbiased else None,
    }


def _broods(
    saved: Saved, probe: Probe, shown: Examples, count: int, tolerance: float, fixation: dict[int, tuple[float, ...]],
    heard: Heard,
) -> list[Brood]:  # fmt: skip
    """Generations with all their children, on all examples."""
    from galab.lab.reborn import generations_before, reborn, spread

    chosen = spread(generations_before(saved), count)
    found: list[Brood] = []
    for number, one in enumerate(reborn(saved, count)):
        heard("generations made again", 0.75 + 0.2 * number / len(chosen))
        there = [place for place, member in enumerate(one.members) if member is not None]
        whole = np.full(len(one.members), np.nan)
        whole[there] = probe.fitness([member for member in one.members if member is not None], shown)
        size = len(one.births)
        # A child without parents here, of a random search, is never made again.
        before = np.array([whole[family].mean() if family else np.nan for family in one.families])
        lost = np.array([np.isfinite(fixation.get(birth, (np.nan, np.nan))[1]) for birth in one.births])
        found.append(Brood.of(one.generation, one.fitness, whole[:size] - before, one.selected, lost, tolerance))
    return found


