"""What a replay reports: its steps and generations, the ways to fail, the answer in a sentence, and the figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from galab.analysis.base import or_none
from galab.analysis.mutation_fitness import linear_reach
from galab.stats.intervals import share_interval
from galab.stats.plots import COLOURS, plain, save, sheet

IMPROVING, NEUTRAL, HARMFUL, FAILED = "improving", "neutral", "harmful", "failed"
KINDS = (IMPROVING, NEUTRAL, HARMFUL, FAILED)


@dataclass(frozen=True, slots=True)
class Step:
    """One birth of the lineage, or one update of a centre.

    Attributes:
        generation: when.
        number: the birth, or the generation of the centre.
        fitness: afterwards, on all examples.
        change: against the parent, the mean of the parents, or the centre before.
        kind: one of :data:`KINDS`.
    """

    generation: int
    number: int
    fitness: float
    change: float
    kind: str

    def to_row(self) -> dict[str, Any]:
        """For the CSV file; None where a fitness failed."""
        row = asdict(self)
        return row | {name: or_none(row[name]) for name in ("fitness", "change")}


@dataclass(frozen=True, slots=True, eq=False)
class ReplayedGeneration:
    """A generation of which all children are known.

    Attributes:
        generation: its number.
        change: (C,) each child's change against its parents on all examples; NaN for failures.
        selected: (C,) which became parents.
        counts: how many children are beneficial, harmful, selected, and so on.
    """

    generation: int
    change: NDArray[np.float64]
    selected: NDArray[np.bool_]
    counts: dict[str, Any]

    @classmethod
    def of(
        cls,
        generation: int,
        measured: NDArray[np.float64],
        change: NDArray[np.float64],
        selected: NDArray[np.bool_],
        lost: NDArray[np.bool_],
        tolerance: float,
    ) -> ReplayedGeneration:
        """Count.

        Args:
            generation: its number.
            measured: (C,) fitness as the run measured it.
            change: (C,) against the parents on all examples.
            selected: (C,) which became parents.
            lost: (C,) whose line died out later.
            tolerance: the largest change that counts as none.
        """
        good, bad = change > tolerance, change < -tolerance
        luckiest = int(np.nanargmax(measured)) if np.isfinite(measured).any() else -1
        best = int(np.nanargmax(change)) if np.isfinite(change).any() else -1
        counts = {
            "children": len(change),
            "failed": int(np.isnan(change).sum()),
            "beneficial": int(good.sum()),
            "harmful": int(bad.sum()),
            "beneficial_selected": int((good & selected).sum()),
            "harmful_selected": int((bad & selected).sum()),
            "beneficial_lost": int((good & selected & lost).sum()),
            "selected": int(selected.sum()),
            "best_selected": bool(best >= 0 and selected[best]),
            "luckiest_harmful": bool(luckiest >= 0 and bad[luckiest]),
        }
        return cls(generation, change, selected, counts)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"generation": self.generation, **self.counts}


def kind_of(change: float, tolerance: float) -> str:
    """One of :data:`KINDS`."""
    if not np.isfinite(change):
        return FAILED
    return IMPROVING if change > tolerance else HARMFUL if change < -tolerance else NEUTRAL


def totals(steps: Sequence[Step]) -> dict[str, Any]:
    """How many steps of each kind there are, with the intervals of their shares, and what they add up to."""
    found: dict[str, Any] = {"steps": len(steps)}
    for kind in KINDS:
        own = [one.change for one in steps if one.kind == kind]
        low, high = share_interval(len(own), len(steps))
        found[kind] = {"count": len(own), "share": len(own) / len(steps), "low": low, "high": high}
        if kind != FAILED:
            found[kind]["sum"] = float(np.sum(own))
    return found


def failure_modes(steps: Sequence[Step], broods: Sequence[ReplayedGeneration]) -> dict[str, Any]:
    """How often each way to fail was seen, and of how many: see the help of ``galab analyze replay``."""

    def total(name: str) -> int:
        return sum(int(one.counts[name]) for one in broods)

    with_good = [one for one in broods if one.counts["beneficial"]]
    good, good_selected = total("beneficial"), total("beneficial_selected")
    return {
        "1_none": _share(len(broods) - len(with_good), len(broods)),
        "2_missed": _share(sum(not one.counts["beneficial_selected"] for one in with_good), len(with_good)),
        "3_lost": _share(total("beneficial_lost"), good_selected),
        "4_hitchhiking": _share(sum(one.kind == HARMFUL for one in steps), len(steps)),
        "beneficial_births": _share(good, total("children")),
        "beneficial_births_not_selected": _share(good - good_selected, good),
        "selected_harmful": _share(total("harmful_selected"), total("selected")),
        "best_not_selected": _share(sum(not one.counts["best_selected"] for one in broods), len(broods)),
        "minibatch_best_harmful": _share(sum(one.counts["luckiest_harmful"] for one in broods), len(broods)),
    }


def _share(hits: int, of: int) -> dict[str, Any]:
    low, high = share_interval(hits, of)
    return {"count": hits, "of": of, "share": hits / of if of else None, "low": low, "high": high}


def sentence_of(values: dict[str, Any], broods: Sequence[ReplayedGeneration], data: str) -> str:
    """The answer in one sentence."""
    good, bad, modes = values[IMPROVING], values[HARMFUL], values["failure_modes"]
    text = (
        f"Of {values['steps']:,} steps on the {values['who']} up to generation {values['generation']:,}, measured on "
        f"{data}, {_percent(good)} improve fitness ({values['fitness']}; together {good['sum']:+.4g}), "
        f"{_percent(bad)} harm it ({bad['sum']:+.4g}) and {values[NEUTRAL]['share']:.1%} are neutral"
    )
    if values[FAILED]["count"]:
        text += f" ({values[FAILED]['count']:,} could not be measured)"
    if broods:
        text += (
            f"; of {len(broods)} generations made again {modes['1_none']['count']} had no beneficial child and in "
            f"{modes['2_missed']['count']} none of those was selected, "
            f"{_of(modes['beneficial_births_not_selected'])} of beneficial births were not selected, "
            f"{_of(modes['selected_harmful'])} of the selected were harmful, and of the beneficial ones that were "
            f"selected {_of(modes['3_lost'])} died out"
        )
    if values.get("fixation_generations") is not None:
        text += f"; a step that spread to all parents took {values['fixation_generations']:.3g} generations (median)"
    return text + "."


def _percent(part: dict[str, Any]) -> str:
    return f"{part['share']:.1%} (95 % {part['low']:.1%} to {part['high']:.1%})"


def _of(part: dict[str, Any]) -> str:
    return "none" if part["share"] is None else f"{part['share']:.0%} ({part['low']:.0%} to {part['high']:.0%})"


_KIND_COLOURS = (COLOURS[2], COLOURS[7], COLOURS[1], COLOURS[6])


def draw_replay(
    path: Path,
    generations: NDArray[np.int64],
    fitness: NDArray[np.float64],
    change: NDArray[np.float64],
    kind: Sequence[str],
    broods: Sequence[ReplayedGeneration],
    *,
    kinds: Sequence[str],
    texts: tuple[str, str],
) -> None:
    """Draw changes, sums, and the children of the generations that were made again.

    Args:
        path: the image to write; its suffix decides the format.
        generations: (n,) when each step was made.
        fitness: (n,) after it.
        change: (n,) by it; NaN is not drawn.
        kind: n names of kinds.
        broods: generations with all their children; may be none.
        kinds: the names, best first.
        texts: what the fitness is called, and the title.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(12, 8.5 if broods else 6.2)
    panels = list(figure.subplots(3 if broods else 2, 1, height_ratios=(1.3, 1, 1.2)[: 3 if broods else 2]))
    word, title = texts
    top, sums = panels[:2]
    _draw_changes(top, generations, change, np.array(kind), kinds)
    top.set_ylabel(f"change of fitness ({word})\nby each step")
    _draw_sums(sums, generations, change)
    sums.set_ylabel(f"sum of changes\nof {word}")
    if broods:
        _draw_broods(panels[2], broods)
        panels[2].set_ylabel(f"change of fitness ({word}),\nchild against its parents")
    for axes in panels[:2]:
        axes.set_xlabel("generation")
        axes.set_xlim(left=0)
    for axes in panels:
        plain(axes)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    save(figure, path, title)


def _draw_changes(
    top: Axes,
    generations: NDArray[np.int64],
    change: NDArray[np.float64],
    which: NDArray[np.str_],
    kinds: Sequence[str],
) -> None:
    for name, colour in zip(kinds, _KIND_COLOURS, strict=False):
        own = (which == name) & np.isfinite(change)
        if own.any():
            size = float(np.clip(6000 / len(change), 2, 14))
            label = f"{name} ({int((which == name).sum()):,})"
            top.scatter(generations[own], change[own], s=size, color=colour, label=label, linewidths=0, alpha=0.7)
    top.set_yscale("symlog", linthresh=linear_reach([change]))
    top.axhline(0, color="0.4", linewidth=0.8)


def _draw_sums(axes: Axes, generations: NDArray[np.int64], change: NDArray[np.float64]) -> None:
    known = np.nan_to_num(change)
    order = np.argsort(generations, kind="stable")
    parts = ((np.maximum(known, 0), "gains", COLOURS[2]), (np.minimum(known, 0), "losses", COLOURS[1]))
    for part, label, colour in (*parts, (known, "both", COLOURS[6])):
        width = 1.2 if label == "both" else 2.8  # where nothing is lost, it lies on the gains
        axes.plot(generations[order], np.cumsum(part[order]), label=label, color=colour, linewidth=width)


def _draw_broods(axes: Axes, broods: Sequence[ReplayedGeneration]) -> None:
    axes.set_yscale("symlog", linthresh=linear_reach([one.change for one in broods]))
    axes.axhline(0, color="0.4", linewidth=0.8)
    for place, one in enumerate(broods):
        known = np.isfinite(one.change)
        # Side by side in order of their change, so that many children can be distinguished.
        across = np.empty(len(one.change))
        across[np.argsort(one.change, kind="stable")] = np.linspace(-0.36, 0.36, len(one.change))
        for chosen, face, label in ((~one.selected, "none", "not selected"), (one.selected, COLOURS[0], "selected")):
            own = known & chosen
            axes.scatter(
                place + across[own], one.change[own], s=14, facecolors=face, edgecolors=COLOURS[0], linewidths=0.7,
                label=None if place else label,
            )  # fmt: skip
    axes.set_xticks(range(len(broods)), [f"{one.generation:,}" for one in broods])
    axes.set_xlabel("generation made again")
