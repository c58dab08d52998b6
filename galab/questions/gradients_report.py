"""What the updates of an optimiser come to: numbers, a picture and a sentence."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from galab.analysis.cosines import log10_mutations_for
from galab.analysis.gradients_figure import UpdatePicture
from galab.analysis.statistics import Interval, median_interval
from galab.analysis.update_laws import LAWS, Shape
from galab.questions.analysis import or_none

if TYPE_CHECKING:
    from galab.lab.probe import Probe

#: A test that finds less than this rejects.
_LEVEL = 0.001

Seen = dict[Any, Shape]


def report(
    moment: dict[str, Any],
    measured: tuple[list[dict[str, Any]], list[dict[str, Any]], Seen],
    last: dict[str, Any],
    probe: Probe,
) -> tuple[dict[str, Any], UpdatePicture, str]:
    """Put together what was measured.

    Args:
        moment: of which network, by which optimiser.
        measured: rows of the table; sizes of each step; and how numbers are distributed, by step, kind and layer.
        last: the update and the full gradient of the last step that was looked at.
        probe: whose data it is.

    Returns:
        Values, picture and sentence of the analysis.
    """
    from galab.questions.gradients import ALL, KINDS

    rows, lengths, seen = measured
    laws = {kind: _laws({key: one for key, one in seen.items() if key[1] == kind}) for kind in KINDS}
    cosine = median_interval([row["cosine"] for row in rows if row["cosine"] is not None and row["of"] == KINDS[0]])
    sizes = median_interval([row[ALL] for row in lengths])
    size = moment["dimensions"]
    values = moment | {
        "data": probe.task.description,
        "laws": laws,
        "zeros": _middle([row["zeros"] for row in rows if row["layer"] == ALL and row["of"] == KINDS[0]]),
        "update_sigma": _plain(sizes),
        "norm_ratio": sizes.median / moment["sigma"],
        "cosine_with_full_gradient": _plain(cosine),
        "log10_mutations_for_that_cosine": or_none(log10_mutations_for(cosine.median, size)),
        "log10_mutations_by_the_normal_law": or_none(log10_mutations_for(cosine.median, size, normal=True)),
        "sizes": lengths,
    }
    picture = UpdatePicture(
        values={kind: flat[flat != 0].astype(np.float64) for kind, flat in last.items()},
        shapes={kind: seen.get((max(row["step"] for row in rows), kind, ALL)) for kind in KINDS},
        distances={
            kind: {
                name: _distances({key: one for key, one in seen.items() if key[1:] == (kind, name)})
                for name in dict.fromkeys(n for _, _, n in seen)
            }
            for kind in KINDS
        },
        steps=np.array([row["step"] for row in lengths]),
        sizes={name: np.array([row[name] for row in lengths]) for name in lengths[0] if name != "step"},
        sigma=moment["sigma"],
        title=_title(moment, probe),
    )
    return values, picture, _sentence(moment, values, laws, sizes, cosine)


def _laws(seen: Seen) -> dict[str, Any]:
    """Over layers and steps: how often normality is rejected, which law is most likely, and how far each is off.

    Of single layers: all of them together are a mixture of several scales.
    """
    from galab.questions.gradients import ALL

    single = [one for (_, _, name), one in seen.items() if name != ALL]
    if not single:
        return {"looks": 0, "rejected": 0, "best": {}, "distance": {}, "kurtosis": None, "freedom": None}
    best = Counter(one.best.law for one in single)
    return {
        "looks": len(single),
        "rejected": sum(one.p < _LEVEL for one in single),
        "best": {law: best[law] for law in LAWS},
        "distance": {law: _middle([_distance(one, law) for one in single]) for law in LAWS},
        "kurtosis": _middle([one.kurtosis for one in single]),
        "freedom": _middle([one.fits[-1].parameters["freedom"] for one in single]),
    }


def _distances(seen: Seen) -> dict[str, list[float]]:
    return {law: [_distance(one, law) for one in seen.values()] for law in LAWS}


def _distance(shape: Shape, law: str) -> float:
    return next(fit.distance for fit in shape.fits if fit.law == law)


def _middle(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None


def _plain(one: Interval) -> dict[str, Any]:
    return {"median": one.median, "low": or_none(one.low), "high": or_none(one.high), "count": one.count}


def _title(moment: dict[str, Any], probe: Probe) -> str:
    return (
        f"{moment['steps']} steps of {moment['optimizer']} (lr {moment['lr']:g}, minibatches of {moment['batch']:,}) "
        f"from generation {moment['generation']:,}, D = {moment['dimensions']:,}; full gradient over "
        f"{moment['examples']:,} training examples of {probe.task.name}; zeros left out"
    )


def _sentence(
    moment: dict[str, Any], values: dict[str, Any], laws: dict[str, Any], sizes: Interval, cosine: Interval
) -> str:
    from galab.questions.gradients import KINDS

    tries = values["log10_mutations_for_that_cosine"]
    wanted = "no random mutation ever points as well" if tries is None else (
        f"a random mutation points as well once in 10^{tries:.1f} (exact law of directions in {moment['dimensions']:,} "
        "dimensions)"
    )  # fmt: skip
    return (
        f"{moment['steps']} steps of {moment['optimizer']} (lr {moment['lr']:g}) from generation "
        f"{moment['generation']:,} on minibatches of {moment['batch']:,} training examples: "
        f"{_of_laws(laws[KINDS[0]])}. Of the full gradient on {moment['examples']:,} examples: "
        f"{_of_laws(laws[KINDS[1]], short=True)}. {values['zeros']:.0%} of an update is exactly 0 and left out. An "
        f"update is as long as a mutation with sigma {_around(sizes)}, {values['norm_ratio']:.3g} times the run's "
        f"({moment['sigma']:.3g}); its cosine with the full gradient is {_around(cosine)}, and {wanted}."
    )


def _of_laws(found: dict[str, Any], *, short: bool = False) -> str:
    if not found["looks"]:
        return "no layer has 50 numbers that are not 0"
    best = ", ".join(f"{law} in {count}" for law, count in found["best"].items())
    distances = ", ".join(f"{law} {value:.3f}" for law, value in found["distance"].items())
    if short:
        return f"normal rejected in {found['rejected']} of {found['looks']}; most likely {best}"
    return (
        f"Shapiro-Wilk (at most 5,000 numbers) rejects the normal law with p < 0.001 in {found['rejected']} of "
        f"{found['looks']} layers and steps; most likely is {best}; Kolmogorov-Smirnov distance (medians) {distances}; "
        f"excess kurtosis {found['kurtosis']:.3g}, Student's t with {found['freedom']:,.1f} degrees of freedom"
    )


def _around(one: Interval) -> str:
    return f"{one.median:.3g}" + ("" if math.isnan(one.low) else f" [{one.low:.3g}, {one.high:.3g}]")
