"""What cosines with gradients come to: numbers, rows, a picture and a sentence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from galab.analysis import cosines as of
from galab.analysis.cosine_figure import CosinePicture
from galab.analysis.statistics import Interval, median_interval
from galab.perturbation import law as es_law

if TYPE_CHECKING:
    from galab.contracts import Task
    from galab.questions.gradient_cosine import _Found


#: So many numbers are resampled for an interval.
_MOST = 2000


def report(
    found: _Found, moment: dict[str, Any], task: Task
) -> tuple[dict[str, Any], list[dict[str, Any]], CosinePicture, str]:
    """Put together what was measured.

    Args:
        found: the measurements.
        moment: of which network, on what.
        task: whose data it is.

    Returns:
        Values, rows, picture and sentence of the analysis.
    """
    from galab.questions.gradient_cosine import SINGLE

    theory = _theory(found, moment)
    rows = [_row(kind, target, values, theory) for (kind, target), values in found.cosines.items()]
    rows += [_row(f"minibatch gradient of {size:,}", "full", own, {}) for size, own in found.batches.items()]
    shares = {kind: of.share_of(np.array(gains) < 0) for kind, gains in found.gains.items()}
    single = np.array(found.cosines[SINGLE, "full"])
    spread = _spread(found, moment)
    values = moment | {
        "data": task.description,
        "single": _single(single, moment["dimensions"]),
        "cosines": {f"{row['step']}, {row['gradient']}": row["median"] for row in rows},
        "theory": theory,
        "worse_on_full_data": {kind: _share(share) for kind, share in shares.items()},
        "best_worse_share": shares[of.BEST].share,
        "mean_gain_on_full_data": {kind: _mean(gains) for kind, gains in found.gains.items()},
        "gradient_spread": spread if math.isfinite(spread) else None,
        "taken": found.taken,
    }
    values |= _two(found, moment)
    picture = CosinePicture(
        single=single,
        dimensions=moment["dimensions"],
        kinds={
            kind: _intervals(found, kind) for kind in dict.fromkeys(kind for kind, _ in found.cosines)
        },
        theory=theory,
        batches={size: median_interval(own) for size, own in found.batches.items()},
        spread=spread,
        examples=moment["examples"],
        taken=np.array([[one["generation"], one["full"], one["minibatch"]] for one in found.taken]).reshape(-1, 3),
        title=_title(moment, task),
    )
    return values, rows, picture, _sentence(found, moment, rows, values, shares)


def _intervals(found: _Found, kind: str) -> dict[str, Interval]:
    """By target; of many numbers only some are resampled."""
    own = {target: np.array(values)[:_MOST] for (name, target), values in found.cosines.items() if name == kind}
    known = {target: values[np.isfinite(values)] for target, values in own.items()}
    return {target: median_interval(values) for target, values in known.items() if len(values)}


def _theory(found: _Found, moment: dict[str, Any]) -> dict[str, float]:
    """What is expected where the fitness is linear: of the best by its cosine, and of estimates with dense noise."""
    from galab.questions.gradient_cosine import BEST_COSINE

    size, samples, variance = moment["dimensions"], moment["samples"], moment["dimensions"] + 1.0
    known = [value for value in found.even_to_odd if math.isfinite(value)]
    one, _, both, _ = of.ESTIMATES
    theory = {BEST_COSINE: of.expected_best(samples, size), both: es_law.cosine(variance, samples // 2)}
    if known:
        theory[one] = es_law.one_sided_cosine(variance, samples, float(np.median(known)))
    return theory


def _spread(found: _Found, moment: dict[str, Any]) -> float:
    """How much the examples' gradients differ, by the smallest minibatches, which tell most of it."""
    if not found.squares:
        return math.nan
    size = min(found.squares)
    return of.gradient_spread(found.squares[size], moment["gradient_norm"] ** 2, size, moment["examples"])


def _row(kind: str, target: str, values: list[float], theory: dict[str, float]) -> dict[str, Any]:
    finite = [value for value in values if math.isfinite(value)]
    interval = median_interval(finite) if 0 < len(finite) <= _MOST else None
    middle = float(np.median(finite)) if finite else None
    return {
        "step": kind,
        "gradient": target,
        "count": len(finite),
        "median": middle,
        "low": None if interval is None or math.isnan(interval.low) else interval.low,
        "high": None if interval is None or math.isnan(interval.high) else interval.high,
        "deviation": float(np.std(finite)) if finite else None,
        # Of a linear fitness and of the gradient that it is chosen by.
        "predicted": theory.get(kind) if target == "minibatch" else None,
    }


def _single(values: np.ndarray, size: int) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "deviation": float(values.std()),
        "predicted_deviation": size**-0.5,
        "deviation_times_root_dimensions": float(values.std() * size**0.5),
        "largest": float(values.max()),
    }


def _mean(gains: list[float]) -> float | None:
    """Of those that did not fail."""
    known = [gain for gain in gains if math.isfinite(gain)]
    return float(np.mean(known)) if known else None


def _share(share: of.Share) -> dict[str, float]:
    return {"count": share.count, "total": share.total, "share": share.share, "low": share.low, "high": share.high}


def _two(found: _Found, moment: dict[str, Any]) -> dict[str, Any]:
    """Whether the mean of the best two gains more on the full data than the best alone."""
    if 2 not in moment["top"]:
        return {}
    better = np.array(found.gains[of.mean_of_best(2)]) > np.array(found.gains[of.BEST])
    return {"best_two_better": _share(of.share_of(better)), "best_two_better_share": float(better.mean())}


def _title(moment: dict[str, Any], task: Task) -> str:
    return (
        f"Cosines with the gradient: generation {moment['generation']:,}, D = {moment['dimensions']:,}, step size "
        f"{moment['sigma']:.2g}, {moment['repeats']} minibatches of {moment['batch']:,} with n = {moment['samples']:,} "
        f"mutations each; full data: {moment['examples']:,} training examples of {task.name}"
    )


def _sentence(
    found: _Found,
    moment: dict[str, Any],
    rows: list[dict[str, Any]],
    values: dict[str, Any],
    shares: dict[str, of.Share],
) -> str:
    from galab.questions.gradient_cosine import MINIBATCH, SINGLE, TAKEN

    single = values["single"]
    wanted = [of.BEST, of.BEST_FULL, *map(of.mean_of_best, moment["top"]), of.ESTIMATES[2], MINIBATCH, TAKEN]
    parts = [
        f"{row['step']} {_number(row)}"
        for row in rows
        if row["gradient"] == "full" and row["step"] in wanted and row["step"] != SINGLE and row["count"]
    ]
    worse = shares[of.BEST]
    text = (
        f"At generation {moment['generation']:,} (D = {moment['dimensions']:,}, step size {moment['sigma']:.3g}, "
        f"minibatches of {moment['batch']:,}, {moment['repeats']} of them with {moment['samples']:,} mutations each), "
        f"cosine with the gradient of {'the fitness' if moment['smooth'] else 'minus the loss'} on "
        f"{moment['examples']:,} training examples: one mutation has deviation {single['deviation']:.4g} "
        f"(1/sqrt(D) = {single['predicted_deviation']:.4g}); medians [bootstrap 95 %]: {'; '.join(parts)}. The best by "
        f"the minibatch is worse than its parent on these examples in {_times(worse)}"
    )
    if 2 in moment["top"]:
        two = shares[of.mean_of_best(2)]
        better = values["best_two_better"]
        text += (
            f", the mean of the best two in {_times(two)}; that mean gains more than the best alone in "
            f"{better['share']:.0%} [{better['low']:.0%}, {better['high']:.0%}]"
        )
    return text + (f". Note: {moment['note']}." if moment["note"] else ".")


def _times(share: of.Share) -> str:
    return f"{share.count} of {share.total} ({share.share:.0%} [{share.low:.0%}, {share.high:.0%}])"


def _number(row: dict[str, Any]) -> str:
    around = "" if row["low"] is None else f" [{row['low']:.3g}, {row['high']:.3g}]"
    return f"{row['median']:.3g}{around}"
