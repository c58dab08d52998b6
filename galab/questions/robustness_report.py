"""What is written down of mutational robustness: numbers, a row for each mutant, and the answer in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.resampling import mean_interval
from galab.analysis.robustness_figure import Side
from galab.analysis.statistics import mann_whitney, median_interval
from galab.questions.analysis import or_none
from galab.questions.spots import Spot

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What mutations do to one champion.

    Attributes:
        spot: the champion.
        fitness: its fitness.
        right: (B,) whether it answers each example right; None where there are no right answers.
        lost: (S, M) fitness lost by each mutant; infinite where it failed.
        kept: (S, M) share of the right answers that it keeps; NaN without any.
        kept_each: (S, B) share of mutants that keep each example right; NaN where the champion is wrong.
        since: (B,) generation in which each was learned for good; NaN where nobody knows.
    """

    spot: Spot
    fitness: float
    right: NDArray[np.bool_] | None
    lost: Floats
    kept: Floats
    kept_each: Floats
    since: Floats


def values_of(
    found: list[list[Found]], sides: list[Side], shares: Sequence[float], middle: int, split: str
) -> dict[str, Any]:
    """The numbers of both sides, and their comparison; ``middle`` is the place of the size that is looked at."""
    first = found[0][0]
    values: dict[str, Any] = {
        "split": split,
        "examples": len(first.since),
        "data": first.spot.probe.task.description,
        "base": first.spot.probe.base,
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


def rows_of(found: list[list[Found]], shares: Sequence[float]) -> list[dict[str, Any]]:
    """A row for each mutant."""
    return [
        {
            "side": side,
            "run": one.spot.saved.path.name,
            "generation": one.spot.generation,
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
