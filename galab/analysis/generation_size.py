"""``generation-size``: how many children a generation should have, by what the best of n gains in all and per child."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.base import Analysis, Progress, at_least, or_none
from galab.analysis.mutation_fitness import children_of
from galab.config.strategy_kinds import kind_of
from galab.contracts import Examples
from galab.errors import UsageError
from galab.saved_runs.history import History
from galab.saved_runs.mutants import Mutants
from galab.saved_runs.probe import ProbedChampion, probe_champion
from galab.saved_runs.saved_run import SavedRun
from galab.stats.order_statistics import gains_interval, gains_of_best, normal_maximum
from galab.stats.plots import COLOURS, plain, save, sheet

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One champion's children.

    Attributes:
        label: in the legend.
        gains: (k,) what the best of n is worth.
        low: (k,) lower end of its interval.
        high: (k,) its upper end.
        linear: (k,) what it would be worth if fitness were linear; NaN where there is no gradient.
    """

    label: str
    gains: Floats
    low: Floats
    high: Floats
    linear: Floats


def draw_generation_sizes(
    path: Path, numbers: Sequence[int], moments: Sequence[Moment], *, base: str, title: str
) -> None:
    """Draw the gain of a generation on the left, and by child on the right; a moment has one colour in both.

    Args:
        path: the image to write; its suffix decides the format.
        numbers: (k,) children n.
        moments: one per champion.
        base: what fitness is.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(11.5, 5.2)
    left, right = figure.subplots(1, 2)
    n = np.asarray(numbers, dtype=np.float64)
    scale = max((float(np.max(np.abs(one.gains[np.isfinite(one.gains)]), initial=0.0)) for one in moments), default=0.0)
    for place, one in enumerate(moments):
        colour = COLOURS[place % len(COLOURS)]
        left.plot(n, one.gains, color=colour, marker="o", markersize=4, label=one.label)
        left.fill_between(n, one.low, one.high, color=colour, alpha=0.18, linewidth=0)
        left.plot(n, one.linear, color=colour, linestyle="--", linewidth=1.1)
        each = one.gains / n
        good = each > 0
        right.plot(n[good], each[good], color=colour, marker="o", markersize=4)
        right.plot(n[1:], (one.linear / n)[1:], color=colour, linestyle="--", linewidth=1.1)
        if good.any():
            best = int(np.argmax(np.where(good, each, -np.inf)))
            right.plot(n[best], each[best], "*", color=colour, markersize=14)
    left.plot([], [], color="black", linestyle="--", linewidth=1.1, label="if fitness were linear")
    right.plot([], [], "*", color="black", markersize=11, linestyle="none", label="most gained per child")
    left.axhline(0, color="black", linewidth=0.8)
    if scale > 0:
        smallest = min(
            (float(np.min(np.abs(one.gains[np.isfinite(one.gains) & (one.gains != 0)]), initial=scale))
             for one in moments), default=scale,
        )  # fmt: skip
        if scale > 30 * smallest:
            left.set_yscale("symlog", linthresh=max(smallest, scale * 1e-4))
        if any((one.gains > 0).any() or (one.linear[1:] > 0).any() for one in moments):
            right.set_yscale("log")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("children in a generation")
    left.set_ylabel(f"fitness gained by the best of them ({base})")
    right.set_ylabel("the same per child; only gains above 0")
    left.set_title("A generation", fontsize=11)
    right.set_title("A child", fontsize=11)
    plain(left, right)
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    save(figure, path, title)


_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Children:
    """Children of one champion.

    Attributes:
        champion: the champion.
        step_size: that they were born with.
        scores: (m,) by which they are chosen; minus infinity for failures.
        gains: (m,) fitness gained on the examples; failures count as the worst of the others.
        failed: how many failed.
        linear: standard deviation of the gain if fitness were linear; NaN without a gradient.
    """

    champion: ProbedChampion
    step_size: float
    scores: Floats
    gains: Floats
    failed: int
    linear: float


def generation_size(
    saved: SavedRun,
    progress: Progress,
    *,
    moments: int = 3,
    children: int = 4096,
    generation: int | None = None,
    split: str = "train",
    examples: int = 2000,
) -> Analysis:
    """What the best of n children gains, in all and each.

    Children are made by the run's own mutation at its own step size from one champion; the best is chosen on the
    minibatch of the next generation, or on the examples themselves where the run has none. The parent is not kept.

    Args:
        saved: the run.
        progress: called with what is being done, and the share of the whole that is done.
        moments: champions to look at, evenly spaced in the logarithm of the generation; the last is the checkpoint's.
        children: of each champion, from which all choices of n are made.
        generation: look at this generation's champion alone.
        split: the data that gains are measured on: train, validation or test.
        examples: the first so many of them; 0 is all.

    Raises:
        UsageError: there is no such data or generation.
    """
    at_least("--moments", moments, 1)
    at_least("--children", children, 2)
    _require_mutation(saved)
    champions = _champions(saved, moments, generation)
    numbers = [2**power for power in range(children.bit_length()) if 2**power <= children]
    shown = champions[0].probe.examples(split, examples)
    pictures, rows = [], []
    values: dict[str, Any] = {
        "split": split, "examples": len(shown), "data": champions[0].probe.task.description,
        "base": champions[0].probe.base,
        "children": children, "run_children": children_of(saved.config), "chosen_on": "", "moments": [],
    }  # fmt: skip
    for place, champion in enumerate(champions):
        born = _children_of(
            champion, shown, children, partial(_report_share, progress, place, len(champions), champion.generation)
        )
        picture = _picture(born, numbers)
        pictures.append(picture)
        values["moments"].append(_moment(born, picture, numbers))
        rows += [
            {"generation": champion.generation, "children": n, "gain": or_none(picture.gains[k]),
             "low": or_none(picture.low[k]), "high": or_none(picture.high[k]),
             "per_child": or_none(picture.gains[k] / n), "linear": or_none(picture.linear[k])}
            for k, n in enumerate(numbers)
        ]  # fmt: skip
    batch = _batch(saved)
    values["chosen_on"] = f"a minibatch of {batch:,}" if batch else "the same examples"
    title = (
        f"Best of n children of champions of {saved.path.name}, {children:,} mutants of each; chosen on "
        f"{values['chosen_on']}, gains on {len(shown):,} {split} examples of {champions[0].probe.task.name}"
    )
    draw = partial(draw_generation_sizes, numbers=numbers, moments=pictures, base=champions[0].probe.base, title=title)
    return Analysis(_sentence(values), values, rows, draw)


def _report_share(progress: Progress, place: int, total: int, generation: int, share: float) -> None:
    progress(f"children of generation {generation:,}", 0.95 * (place + share) / total)


def _champions(saved: SavedRun, moments: int, generation: int | None) -> list[ProbedChampion]:
    if generation is not None:
        return [probe_champion(saved, generation)]
    if saved.folder is None or moments == 1 or saved.generation < 2:
        return [probe_champion(saved)]
    named = [0, *(line["generation"] for line in History(saved).log if line.get("champion") is not None)]
    wanted = np.geomspace(1, saved.generation, moments + 1)[1:]
    chosen = dict.fromkeys(max(one for one in named if one <= max(moment, named[0])) for moment in wanted)
    return [probe_champion(saved, one) for one in dict.fromkeys([*list(chosen)[:-1], saved.generation])]


def _children_of(champion: ProbedChampion, shown: Examples, count: int, report_share: Any) -> Children:
    mutants, probe, batch = Mutants(champion.saved), champion.probe, _batch(champion.saved)
    chooser = probe.minibatches(batch).of(champion.generation + 1) if batch else shown
    here = float(probe.fitness([champion.member], shown)[0])
    if not np.isfinite(here):
        raise UsageError(
            f"expected a champion with a finite fitness at generation {champion.generation:,} of "
            f"'{champion.saved.path}', got {here}; choose another --generation"
        )
    try:
        slope = probe.gradient(champion.weights, shown).astype(np.float64) if probe.smooth else None
    except UsageError:
        slope = None
    gains, scores, first = np.empty(count), np.empty(count), np.full(count, np.nan)
    for start in range(0, count, _AT_ONCE):
        size = min(_AT_ONCE, count - start)
        part = slice(start, start + size)
        group = list(mutants.children(champion.member, size, generation=champion.generation, start=start))
        gains[part] = probe.fitness(group, shown) - here
        scores[part] = probe.fitness(group, chooser) if batch else gains[part]
        if slope is not None:
            first[part] = [(child.floats().astype(np.float64) - champion.weights) @ slope for child in group]
        report_share((start + size) / count)
    good = np.isfinite(gains) & np.isfinite(scores)
    known = first[np.isfinite(first)]
    return Children(
        champion, champion.saved.rms_step_size(champion.member, champion.generation),
        np.where(good, scores, -np.inf), np.where(good, gains, gains[good].min() if good.any() else 0.0),
        int((~good).sum()),
        float(known.std()) if known.size else float("nan"),
    )  # fmt: skip


def _batch(saved: SavedRun) -> int:
    """Examples that selection sees at once; 0 where it sees all, or where examples are always new."""
    return saved.config.batch


def _require_mutation(saved: SavedRun) -> None:
    """Refuse a run whose search has no mutation, and so no children."""
    kind = kind_of(saved.config.strategy)
    if not (kind.inherits or kind.estimates):
        raise UsageError(
            f"expected a run that mutates, got --strategy {saved.config.strategy} in '{saved.path}'; analyse a run of "
            "a genetic algorithm or of an evolution strategy"
        )


def _picture(born: Children, numbers: list[int]) -> Moment:
    gains = gains_of_best(born.scores, born.gains, numbers)
    low, high = gains_interval(born.scores, born.gains, numbers)
    linear = np.array([born.linear * normal_maximum(n) for n in numbers])
    label = f"generation {born.champion.generation:,}, step size {born.step_size:.3g}"
    return Moment(label, gains, low, high, linear)


def _moment(born: Children, picture: Moment, numbers: list[int]) -> dict[str, Any]:
    each = picture.gains / np.array(numbers)
    best = int(np.argmax(np.where(np.isfinite(each), each, -np.inf)))
    return {
        "generation": born.champion.generation,
        "number": born.champion.number,
        "step_size": born.step_size,
        "share_improving": float((born.gains > 0).mean()),
        "failed": born.failed,
        "gain_mean": or_none(born.gains.mean()),
        "gain_deviation": or_none(born.gains.std()),
        "linear_deviation": or_none(born.linear),
        "best_per_child": numbers[best] if each[best] > 0 else None,
        "gains": {str(n): or_none(gain) for n, gain in zip(numbers, picture.gains, strict=True)},
        "low": {str(n): or_none(gain) for n, gain in zip(numbers, picture.low, strict=True)},
        "high": {str(n): or_none(gain) for n, gain in zip(numbers, picture.high, strict=True)},
    }


def _sentence(values: dict[str, Any]) -> str:
    parts = []
    for one in values["moments"]:
        numbers = [int(n) for n in one["gains"]]
        own = min(numbers, key=lambda n: abs(np.log2(n / values["run_children"])))
        gain, low, high = (one[name][str(own)] for name in ("gains", "low", "high"))
        best = one["best_per_child"]
        spread = "" if low is None or high is None else f" [bootstrap 95 %: {low:.3g}, {high:.3g}]"
        parts.append(
            f"at generation {one['generation']:,} ({one['share_improving']:.0%} of children improve) the best of "
            f"{own:,} gains {'nothing finite' if gain is None else format(gain, '.3g')}{spread} and "
            + ("no number of children gains anything" if best is None else f"{best:,} children gain most per child")
        )
    return (
        f"In fitness ({values['base']}) on {values['examples']:,} {values['split']} examples, chosen on "
        f"{values['chosen_on']}, by the run's own mutation from one parent that is not kept: {'; '.join(parts)}."
    )
