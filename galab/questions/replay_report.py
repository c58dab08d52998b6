"""What is told of a replay: steps and broods, the ways to fail, and the answer in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.statistics import share_interval
from galab.questions.analysis import or_none

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
class Brood:
    """A generation of which all children are known.

    Attributes:
        generation: its number.
        shown: (C,) each child's change against its parents on all examples; NaN for failures.
        selected: (C,) which became parents.
        counts: how many children are beneficial, harmful, selected, and so on.
    """

    generation: int
    shown: NDArray[np.float64]
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
    ) -> Brood:
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


def failure_modes(steps: Sequence[Step], broods: Sequence[Brood]) -> dict[str, Any]:
    """How often each way to fail was seen, and of how many: see the help of the question."""

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


def sentence_of(values: dict[str, Any], broods: Sequence[Brood], data: str) -> str:
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
            f"{_told(modes['beneficial_births_not_selected'])} of beneficial births were not selected, "
            f"{_told(modes['selected_harmful'])} of the selected were harmful, and of the beneficial ones that were "
            f"selected {_told(modes['3_lost'])} died out"
        )
    if values.get("fixation_generations") is not None:
        text += f"; a step that spread to all parents took {values['fixation_generations']:.3g} generations (median)"
    return text + "."


def _percent(part: dict[str, Any]) -> str:
    return f"{part['share']:.1%} (95 % {part['low']:.1%} to {part['high']:.1%})"


def _told(part: dict[str, Any]) -> str:
    return "none" if part["share"] is None else f"{part['share']:.0%} ({part['low']:.0%} to {part['high']:.0%})"
