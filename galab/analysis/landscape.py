"""``landscape``: the loss along lines around a champion, in the plane of its history, and on the way to another one.

Slices along directions: Goodfellow, Vinyals and Saxe 2015; Li et al. 2018, "Visualizing the Loss Landscape of Neural
Nets", who take the plane of the first two principal components of a training's way. Barrier: Frankle et al. 2020,
"Linear Mode Connectivity and the Lottery Ticket Hypothesis".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from numpy.typing import NDArray

from galab.analysis.base import Analysis, Progress, at_least, or_none
from galab.analysis.weight_space import (
    aligned,
    barrier,
    distance,
    is_perceptron,
    layers_of,
    permuted,
    principal_plane,
    slope_at_zero,
    symmetric_steps,
    weights_in,
)
from galab.contracts import Examples
from galab.errors import UsageError
from galab.saved_runs.history import History
from galab.saved_runs.mutants import Mutants, random_directions
from galab.saved_runs.probe import ProbedChampion, other_run, probe_champion
from galab.saved_runs.saved_run import SavedRun
from galab.stats.intervals import mean_interval
from galab.stats.plots import COLOURS, plain, save, sheet
from galab.training.checkpoint import candidates_of

Floats = NDArray[np.float64]

#: Steps to each side of a line, points on the way to another champion, points to each side of the plane, ancestors.
_STEPS, _WAY, _GRID, _ANCESTORS = 16, 25, 10, 60
_KINDS = ("mutation", "gradient", "random")


def landscape(
    saved: SavedRun,
    progress: Progress,
    *,
    other: str | None = None,
    generation: int | None = None,
    level: float | None = None,
    directions: int = 6,
    reach: float = 0.0,
    split: str = "train",
    examples: int = 2000,
) -> Analysis:
    """Loss along lines, in a plane, and between champions.

    Args:
        saved: the run.
        progress: called with what is being done, and the share of the whole that is done.
        other: another run of the same network, to look at in the same way and to go to, with and without aligning its
            hidden neurons.
        generation: of the champion; that of the checkpoint when absent.
        level: look at the first reported champion whose generation had this best fitness, in both runs.
        directions: mutations and random directions that the loss is followed along, of each kind.
        reach: how far to follow them, in weight units; 0 is a quarter of the length of the champion's weights.
        split: the data: train, validation or test.
        examples: the first so many of them; 0 is all.

    Raises:
        UsageError: there is no such data, generation or level, or the other network has other parameters.
    """
    at_least("--directions", directions, 1)
    if not np.isfinite(reach) or reach < 0:
        raise UsageError(f"expected --reach of at least 0, got {reach:g}; choose a length in weight units")
    progress("loading the champion", 0.0)
    champions = [probe_champion(saved, generation, level, between=True)]
    if other is not None:
        champions.append(probe_champion(other_run(other, saved), generation if level is None else None, level))
    champion = champions[0]
    shown = champion.probe.examples(split, examples)
    reach = reach or 0.25 * float(np.linalg.norm(champion.weights)) or 1.0
    steps = symmetric_steps(reach, _STEPS)
    values, lines, rows = _facts(champion, split, len(shown), reach), list[Lines](), list[dict[str, Any]]()
    for number, one in enumerate(champions):
        progress("along lines", 0.1 + 0.2 * number)
        found = _lines(one, shown, steps, directions, number, len(champions))
        values |= _numbers(found, steps, "other_" if number else "")
        lines, rows = lines + found, rows + _rows(found, number)
    progress("in the plane of its history", 0.5)
    plane, facts = _slice(champion, shown)
    ways = list[Way]()
    if other is not None:
        progress("on the way to the other champion", 0.8)
        ways, between = _between(champions, shown)
        facts |= {"other": other, "other_generation": champions[1].generation, **between}
        rows += _way_rows(ways)
    values |= facts
    of = f"{len(shown):,} {split} examples of {champion.probe.task.name}"
    title = f"Loss around the champion of generation {champion.generation:,} of {saved.path.name}, {of}"
    own, loss = values["own_step"], champion.probe.loss_name
    draw = partial(draw_landscape, lines=lines, plane=plane, ways=ways, own_step=own, loss=loss, title=title)
    return Analysis(_sentence(values, champion), values, rows, draw)


def _facts(champion: ProbedChampion, split: str, count: int, reach: float) -> dict[str, Any]:
    children = Mutants(champion.saved).children(champion.member, 16, generation=champion.generation)
    lengths = [float(np.linalg.norm(child.floats() - champion.weights)) for child in children]
    return {
        "generation": champion.generation,
        "number": champion.number,
        "split": split,
        "examples": count,
        "data": champion.probe.task.description,
        "loss_is": champion.probe.loss_name,
        "weights_length": float(np.linalg.norm(champion.weights)),
        "reach": reach,
        "own_step": float(np.nanmedian(lengths)) if np.isfinite(lengths).any() else float("nan"),
    }


def _lines(champion: ProbedChampion, shown: Examples, steps: Floats, count: int, run: int, runs: int) -> list[Lines]:
    """The loss along directions of every kind, all of length 1."""
    own = []
    for child in Mutants(champion.saved).children(champion.member, count, generation=champion.generation, start=16):
        change = child.floats().astype(np.float64) - champion.weights
        if np.isfinite(change).all() and change.any():
            own.append(change / np.linalg.norm(change))
    kinds: dict[str, list[Floats]] = {"mutation": own, "gradient": []}
    try:
        slope = champion.probe.gradient(champion.weights, shown).astype(np.float64)
        if np.isfinite(slope).all() and slope.any():
            kinds["gradient"] = [slope / np.linalg.norm(slope)]
    except UsageError:
        pass  # a task without a gradient has the other lines
    kinds["random"] = list(random_directions(champion.probe.run_key, len(champion.weights), count))
    labels = {"mutation": f"{len(own)} own mutations", "gradient": "the gradient, uphill in fitness",
              "random": f"{count} random directions"}  # fmt: skip
    found = []
    for kind, several in kinds.items():
        if several:
            points = champion.weights.astype(np.float64) + np.stack(several)[:, None, :] * steps[None, :, None]
            losses = _losses(champion, points.reshape(-1, len(champion.weights)), shown).reshape(
                len(several), len(steps)
            )
            label = labels[kind] + (f", {champion.saved.path.name}" if runs > 1 else "")
            found.append(Lines(label, steps, losses, _KINDS.index(kind), run))
    return found


def _losses(champion: ProbedChampion, points: Floats, shown: Examples) -> Floats:
    """(n,) minus the fitness of weights (n, D), in groups so that memory stays small; NaN where one failed."""
    return np.concatenate([
        -champion.probe.fitness(points[start : start + 32].astype(np.float32), shown)
        for start in range(0, len(points), 32)
    ])  # fmt: skip


def _numbers(lines: list[Lines], steps: Floats, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    middle = len(steps) // 2
    for one in lines:
        kind = _KINDS[one.colour]
        here = one.losses[:, middle]
        rises = ((one.losses[:, 0] + one.losses[:, -1]) / 2 - here)[np.isfinite(one.losses[:, [0, -1]]).all(axis=1)]
        rise = mean_interval(rises)
        found[f"{prefix}loss"] = or_none(here[0])
        found[f"{prefix}{kind}_rise"] = or_none(rise.value)
        found[f"{prefix}{kind}_rise_low"] = or_none(rise.low)
        found[f"{prefix}{kind}_rise_high"] = or_none(rise.high)
        found[f"{prefix}{kind}_lowest"] = or_none(np.nanmin(one.losses)) if np.isfinite(one.losses).any() else None
        if kind == "gradient":
            found[f"{prefix}gradient_slope"] = or_none(slope_at_zero(steps, one.losses[0]))
    return found


def _rows(lines: list[Lines], run: int) -> list[dict[str, Any]]:
    return [
        {"kind": _KINDS[one.colour], "run": run, "direction": number, "step": float(step), "loss": or_none(loss)}
        for one in lines
        for number, losses in enumerate(one.losses)
        for step, loss in zip(one.steps, losses, strict=True)
    ]


def _way_rows(ways: list[Way]) -> list[dict[str, Any]]:
    return [
        {"kind": f"way {way.label}", "run": 0, "direction": 0, "step": float(share), "loss": or_none(loss)}
        for way in ways
        for share, loss in zip(np.linspace(0, 1, len(way.losses)), way.losses, strict=True)
    ]


def _slice(champion: ProbedChampion, shown: Examples) -> tuple[Slice | None, dict[str, Any]]:
    """The plane of the first two principal components of the champion's line and the parents, through the champion."""
    saved = champion.saved
    way: list[NDArray[np.float32]] = []
    if saved.folder is not None:
        history = History(saved)
        number = champion.number
        line = range(number + 1) if history.has_centre else [birth.id for birth in history.descent(number)]
        places = np.unique(np.linspace(0, len(line) - 1, min(len(line), _ANCESTORS)).astype(int))
        way = [member.floats() for _, member in history.walk([line[place] for place in places.tolist()])]
    parents = []
    if champion.generation == saved.generation and len(saved.numbers) > 1:
        parents = [member.floats() for member in candidates_of(saved.state)]
    points = np.array([*parents, *(way or [champion.weights])], dtype=np.float64)
    plane = principal_plane(points, origin=champion.weights)
    if not plane.axes[1].any():
        return None, {"plane": None}
    where, old = plane.coordinates(points), len(parents)
    low, high = where.min(axis=0), where.max(axis=0)
    middle, half = (low + high) / 2, max(0.62 * float((high - low).max()), 1e-6)
    x, y = (np.linspace(one - half, one + half, 2 * _GRID + 1) for one in middle)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    losses = _losses(champion, plane.points(grid), shown).reshape(len(y), len(x))
    picture = Slice(x, y, losses, where[old:] if way else np.empty((0, 2)), where[:old], np.zeros(2), plane.shares)
    facts = {
        "plane_share_first": float(plane.shares[0]),
        "plane_share_second": float(plane.shares[1]),
        "plane_furthest_point": float(plane.distances(points).max()),
        "plane_points": len(points),
    }
    return picture if np.isfinite(losses).any() else None, {"plane": facts}


def _between(champions: list[ProbedChampion], shown: Examples) -> tuple[list[Way], dict[str, Any]]:
    """The straight way to the other champion, as it is and with its hidden neurons in the first one's order."""
    champion, end = champions[0], champions[1].weights
    shares = np.linspace(0, 1, _WAY)[:, None]

    def way(label: str, there: NDArray[np.float32]) -> Way:
        points = (1 - shares) * champion.weights.astype(np.float64) + shares * there.astype(np.float64)
        return Way(label, _losses(champion, points, shown))

    ways = [way("as they are", end)]
    facts: dict[str, Any] = {
        "barrier": or_none(barrier(ways[0].losses)),
        "distance": float(np.linalg.norm(champion.weights - end)),
        "barrier_aligned": None,
        "not_aligned_because": None,
    }
    layout = champion.saved.layout
    if not is_perceptron(champion.saved.module):
        facts["not_aligned_because"] = (
            f"the hidden neurons of {champion.saved.config.model} are not those of linear layers"
        )
        return ways, facts
    first, second = layers_of(layout, champion.weights), layers_of(layout, end)
    orders = aligned(first, second, key=champion.probe.run_key)
    moved = permuted(second, orders)
    after = way("with hidden neurons aligned", weights_in(moved, layout))
    if not np.isclose(after.losses[-1], ways[0].losses[-1], rtol=1e-3, atol=1e-5, equal_nan=True):
        facts["not_aligned_because"] = "its layers do not follow one another, as exchanging neurons changes its loss"
        return ways, facts
    facts["barrier_aligned"] = or_none(barrier(after.losses))
    facts["distance_aligned"] = distance(first, moved)
    facts["neurons_moved"] = int(sum((order != np.arange(len(order))).sum() for order in orders))
    return [*ways, after], facts


def _sentence(values: dict[str, Any], champion: ProbedChampion) -> str:
    def rise(kind: str, prefix: str = "") -> str:
        middle, low, high = (values.get(f"{prefix}{kind}_rise{end}") for end in ("", "_low", "_high"))
        if middle is None:
            return "unknown"
        return f"{middle:.3g}" + ("" if low is None else f" [bootstrap 95 %: {low:.3g}, {high:.3g}]")

    here = "unknown" if values.get("loss") is None else f"{values['loss']:.4g}"
    text = (
        f"Around the champion of generation {champion.generation:,}, whose loss ({values['loss_is']}) is {here} on "
        f"{values['examples']:,} {values['split']} examples, a step of {values['reach']:.3g} weight units, "
        f"{values['reach'] / max(values['own_step'], 1e-30):.3g} of its own mutations, costs {rise('mutation')} along "
        f"its mutations and {rise('random')} along random directions"
    )
    if values.get("gradient_rise") is not None:
        text += f", and {values['gradient_rise']:.3g} along the gradient (mean of both ways)"
    if "barrier" in values:
        text += (
            f"; along the other champion's mutations (generation {values['other_generation']:,}) it costs "
            f"{rise('mutation', 'other_')}; the barrier between the two is {_barrier(values['barrier'])}"
        )
        if values["not_aligned_because"]:
            text += f", and they were not aligned, because {values['not_aligned_because']}"
        else:
            text += f", and {_barrier(values['barrier_aligned'])} with hidden neurons aligned"
    return text + "."


def _barrier(value: float | None) -> str:
    return "infinite" if value is None else f"{value:.3g}"


_BLUE, _ORANGE, _GREEN, _PINK = COLOURS[:4]
_STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Loss along directions of one kind.

    Attributes:
        label: in the legend.
        steps: (k,) lengths in weight units, symmetric about 0.
        losses: (n, k) along n directions; NaN where there is none.
        colour: number among the colours: one for each kind of direction.
        style: number among the line styles: one for each run.
    """

    label: str
    steps: Floats
    losses: Floats
    colour: int
    style: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Loss in a plane.

    Attributes:
        x: (n,) coordinates in weight units.
        y: (m,) likewise.
        losses: (m, n).
        way: (k, 2) the way to the champion, oldest first.
        parents: (P, 2) the population.
        champion: (2,) the champion.
        shares: (2,) share of the points' variance along both axes.
    """

    x: Floats
    y: Floats
    losses: Floats
    way: Floats
    parents: Floats
    champion: Floats
    shares: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """Loss from one network to another.

    Attributes:
        label: in the legend.
        losses: (k,) at equal steps.
    """

    label: str
    losses: Floats


def draw_landscape(
    path: Path,
    lines: Sequence[Lines],
    plane: Slice | None,
    ways: Sequence[Way],
    *,
    own_step: float,
    loss: str,
    title: str,
) -> None:
    """Draw the lines, and the other two panels where they are given.

    Args:
        path: the image to write; its suffix decides the format.
        lines: loss along directions.
        plane: a slice, or None.
        ways: from one network to another; may be none.
        own_step: length of the run's own mutations, in weight units.
        loss: what the loss is, with its unit.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    panels = 1 + (plane is not None) + bool(ways)
    figure = sheet(5.4 * panels + 0.6, 5.4)
    all_axes = np.atleast_1d(figure.subplots(1, panels))
    _draw_lines(all_axes[0], lines, own_step, loss)
    if plane is not None:
        _draw_slice(all_axes[1], plane, loss)
    if ways:
        _draw_ways(all_axes[-1], ways, loss)
    save(figure, path, title)


def _draw_lines(axes: Axes, lines: Sequence[Lines], own_step: float, loss: str) -> None:
    for one in lines:
        colour, style = COLOURS[one.colour], _STYLES[one.style % len(_STYLES)]
        losses = np.ma.masked_invalid(one.losses)  # where one failed the others are drawn
        middle = losses.mean(axis=0).filled(np.nan)
        axes.plot(one.steps, middle, color=colour, linestyle=style, label=one.label, linewidth=1.8)
        if len(one.losses) > 1:
            low, high = losses.min(axis=0).filled(np.nan), losses.max(axis=0).filled(np.nan)
            axes.fill_between(one.steps, low, high, color=colour, alpha=0.16, linewidth=0)
    if np.isfinite(own_step) and own_step > 0:
        # Inside the frame whatever its height, and named in the legend: a label there would hide a curve.
        axes.axvspan(-own_step, own_step, color="black", alpha=0.12, linewidth=0, label="the run's own mutations")
    values = np.concatenate([one.losses[np.isfinite(one.losses)] for one in lines])
    if values.size and values.min() > 0 and values.max() > 20 * values.min():
        axes.set_yscale("log")
    axes.set(xlabel="step from the champion (weight units)", ylabel=f"loss ({loss})", title="Along lines; bands: range")
    _below(axes)


def _draw_slice(axes: Axes, plane: Slice, loss: str) -> None:
    values = np.ma.masked_invalid(plane.losses)
    low, high = float(values.min()), float(values.max())
    log = low > 0 and high > 10 * low
    levels = np.geomspace(low, high, 18) if log else np.linspace(low, max(high, low + 1e-12), 18)
    norm = LogNorm(low, high) if log else Normalize(low, max(high, low + 1e-12))
    filled = axes.contourf(plane.x, plane.y, values, levels=levels, norm=norm, cmap="Greys")
    bar = axes.figure.colorbar(filled, ax=axes, pad=0.02, fraction=0.05)
    bar.set_label(f"loss ({loss})")
    ticks = levels[[0, 4, 8, 13, 17]]
    bar.set_ticks(ticks.tolist(), labels=[f"{tick:.3g}" for tick in ticks])
    bar.minorticks_off()
    if len(plane.way) > 1:
        axes.plot(*plane.way.T, color=_BLUE, linewidth=1.4, marker=".", markersize=4, label="way to the champion")
        axes.plot(*plane.way[0], "s", color=_GREEN, markersize=7, label="its oldest ancestor", linestyle="none")
    axes.plot(*plane.champion, "*", color=_ORANGE, markersize=15, label="champion", linestyle="none")
    if len(plane.parents):  # on top, as they are often all within the champion's star
        axes.plot(
            *plane.parents.T, "o", color=_PINK, markersize=4.5, label="parents", linestyle="none",
            markeredgecolor="white", markeredgewidth=0.5,
        )  # fmt: skip
    axes.set_aspect("equal", adjustable="box")
    axes.set(
        xlabel=f"first principal component, {plane.shares[0]:.0%} (weight units)",
        ylabel=f"second, {plane.shares[1]:.0%} (weight units)",
        title="In the plane of its history (way projected)",
        xlim=(plane.x[0], plane.x[-1]),
        ylim=(plane.y[0], plane.y[-1]),
    )
    _below(axes)


def _draw_ways(axes: Axes, ways: Sequence[Way], loss: str) -> None:
    for number, one in enumerate(ways):
        places = np.linspace(0, 1, len(one.losses))
        axes.plot(places, one.losses, color=COLOURS[number], linestyle=_STYLES[number], label=one.label, linewidth=1.8)
        axes.plot([0, 1], one.losses[[0, -1]], color=COLOURS[number], linewidth=0.8, alpha=0.6)
    axes.set(xlabel="share of the way to the other champion", ylabel=f"loss ({loss})", title="Between two champions")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    plain(axes)
    _legend(axes)


def _below(axes: Axes) -> None:
    if axes.collections and axes.get_aspect() == 1.0:
        axes.spines[["top", "right"]].set_visible(False)
    else:
        plain(axes)
    _legend(axes)


def _legend(axes: Axes) -> None:
    # Below the axes: inside them a legend hides data sooner or later.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=9)
