"""``gradient-cosine``: how well mutations, selection, ES estimates and a run's own steps follow the gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.base import Analysis, Progress, at_least, numbers_in, or_none
from galab.analysis.cosines import (
    BEST,
    BEST_FULL,
    ESTIMATES,
    CosinePicture,
    Share,
    cosines,
    directions,
    draw_cosines,
    even_to_odd,
    expected_best,
    gradient_spread,
    mean_of_best,
    share_of,
)
from galab.analysis.sampling import (
    fitness_of,
    minibatches_of,
    mutation_gains,
    noise_of,
    require_directions,
    steps_taken,
)
from galab.contracts import Examples, Task
from galab.errors import UsageError
from galab.operators import es_noise as es_law
from galab.saved_runs.history import champion_of
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import SavedRun
from galab.stats.intervals import Interval, median_interval

SINGLE, BEST_COSINE, MINIBATCH = "one mutation", "best of n by its cosine", "minibatch gradient"
TAKEN = "step taken by the run"
TARGETS = ("full", "minibatch")


@dataclass(slots=True)
class _Measured:
    """What was measured, by kind of step and by the gradient it is compared with."""

    cosines: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    gains: dict[str, list[float]] = field(default_factory=dict)
    even_to_odd: list[float] = field(default_factory=list)
    batches: dict[int, list[float]] = field(default_factory=dict)
    squares: dict[int, list[float]] = field(default_factory=dict)
    taken: list[dict[str, float]] = field(default_factory=list)

    def add(self, kind: str, target: str, values: Sequence[float]) -> None:
        self.cosines.setdefault((kind, target), []).extend(values)


def gradient_cosine(
    saved: SavedRun, progress: Progress, *, generation: int | None = None, batch: int = 0, samples: int = 256,
    repeats: int = 40, top: str = "2,16,64", sigma: float | None = None, sizes: str = "16,64,256,1024",
    examples: int = 0, steps: int = 40,
) -> Analysis:  # fmt: skip
    """Where mutations, estimates and steps taken point.

    Each repeat has a minibatch and mutations of its own, around one network. The gradient is that of minus the loss.

    Args:
        saved: the run.
        progress: called with what is being done, and the share of the whole that is done.
        generation: whose champion, or centre, is mutated; that of the checkpoint when absent.
        batch: training examples of a minibatch; the run's when 0.
        samples: n, mutations of each repeat.
        repeats: minibatches, each with mutations of its own.
        top: of how many of the best the mean is taken, numbers joined by commas.
        sigma: the step size of the mutations; the network's own when absent.
        sizes: of minibatches whose gradients are compared with the full one, joined by commas.
        examples: the first so many training examples stand for the full data; all when 0.
        steps: of the run itself, evenly spaced along its past.

    Raises:
        UsageError: the task has no gradient, or there is nothing to look at.
    """
    at_least("--samples", samples, 4), at_least("--repeats", repeats, 2), at_least("--steps", steps, 0)
    places = [int(k) for k in numbers_in(top, "--top", whole=True) if k <= samples]
    widths = [int(size) for size in numbers_in(sizes, "--sizes", whole=True)]
    progress("loading", 0.0)
    probe, champion = Probe(saved), champion_of(saved, generation)
    probe.require_real_weights()
    require_directions(probe)
    weights, full = champion.weights, probe.examples("train", at_least("--examples", examples, 0))
    size = _batch(saved, batch, len(full))
    own = saved.typical_step_size(champion.member, champion.generation)
    step_size = _positive(own if sigma is None else sigma)
    uphill = _gradient(probe, weights, full)
    found, law = _Measured(), saved.law
    for repeat in range(repeats):
        progress("mutations", 0.02 + 0.6 * repeat / repeats)
        _try(found, probe, (weights, uphill), full, law, (repeat, samples, size, step_size), places)
    progress("minibatch gradients", 0.65)
    for width in sorted({*(width for width in widths if width < len(full)), size} - {len(full)}):
        _minibatches(found, probe, (weights, uphill), full, width, repeats)
    progress("the run's own steps", 0.75)
    note = _follow(found, saved, probe, full, steps)
    moment = {
        "generation": champion.generation, "dimensions": len(weights),
        "batch": size, "examples": len(full), "samples": samples, "repeats": repeats, "sigma": step_size,
        "distribution": law.name, "base": probe.base, "smooth": probe.smooth, "top": places,
        "gradient_norm": float(np.linalg.norm(uphill)), "note": note,
    }  # fmt: skip
    values, rows, picture, sentence = _report(found, moment, probe.task)
    return Analysis(sentence, values, rows, partial(draw_cosines, picture=picture))


def _batch(saved: SavedRun, batch: int, whole: int) -> int:
    size = at_least("--batch", batch, 0) or saved.config.batch or whole
    return min(size, whole)


def _gradient(probe: Probe, weights: NDArray[np.float32], full: Examples) -> NDArray[np.float32]:
    found = probe.gradient(weights, full)
    if not np.isfinite(found).all() or not found.any():
        raise UsageError(
            f"expected a gradient that points somewhere at these weights of '{probe.saved.path}', got "
            f"{'0 everywhere' if not found.any() else 'NaN or infinity'}; look at another --generation"
        )
    return found


def _try(
    found: _Measured, probe: Probe, where: tuple[NDArray[np.float32], NDArray[np.float32]], full: Examples, law: Any,
    choice: tuple[int, int, int, float], top: Sequence[int],
) -> None:  # fmt: skip
    """One repeat: mutations on one minibatch, and what selection and estimates make of them."""
    (weights, uphill), (repeat, samples, size, sigma) = where, choice
    noise = noise_of(law, probe.run_key, repeat, (samples, len(weights)))
    minibatch = minibatches_of(probe, full, size).of(repeat + 1)
    some = mutation_gains(probe, weights, noise, sigma, minibatch, full)
    if not (np.isfinite(some.gains).any() and np.isfinite(some.full).any()):
        raise UsageError(
            f"expected mutations with a finite fitness at step size {sigma:.3g}, got none in '{probe.saved.path}'; "
            "choose a smaller --sigma, or another --generation"
        )
    slopes = {"full": uphill, "minibatch": probe.gradient(weights, minibatch)}
    own = {target: cosines(noise, slope) for target, slope in slopes.items()}
    made = directions(some, top)
    made[BEST_COSINE] = noise[int(np.argmax(np.nan_to_num(own["minibatch"], nan=-2)))]
    made[MINIBATCH] = slopes["minibatch"]
    stacked = np.stack(list(made.values()))
    for target, slope in slopes.items():
        found.add(SINGLE, target, own[target].tolist())
        for kind, value in zip(made, cosines(stacked, slope).tolist(), strict=True):
            if (kind, target) != (MINIBATCH, "minibatch"):  # with itself
                found.add(kind, target, [value])
    found.even_to_odd.append(even_to_odd(some))
    steps = [BEST, *(mean_of_best(k) for k in top)]
    before = probe.fitness(weights[None], full)[0]
    gains = fitness_of(probe, weights, np.stack([made[kind] for kind in steps]), sigma, full) - before
    for kind, gain in zip(steps, gains.tolist(), strict=True):
        found.gains.setdefault(kind, []).append(gain)


def _minibatches(
    found: _Measured, probe: Probe, where: tuple[NDArray[np.float32], NDArray[np.float32]], full: Examples, size: int,
    count: int,
) -> None:  # fmt: skip
    """Gradients on minibatches of one size."""
    (weights, uphill), minibatches = where, minibatches_of(probe, full, size)
    for number in range(1, count + 1):
        slope = probe.gradient(weights, minibatches.of(number))
        found.batches.setdefault(size, []).append(float(cosines(slope[None], uphill)[0]))
        found.squares.setdefault(size, []).append(float(np.square(slope, dtype=np.float64).sum()))


def _positive(step_size: float) -> float:
    if not 0 < step_size < math.inf:
        raise UsageError(f"expected --sigma above 0, got {step_size}; choose a step size")
    return step_size


def _follow(found: _Measured, saved: SavedRun, probe: Probe, full: Examples, most: int) -> str:
    """The steps that the run took; the reason where there are none, else an empty text."""
    if not most:
        return "steps of the run were not asked for"
    minibatches = probe.minibatches(saved.config.batch)
    try:
        for generation, before, change in steps_taken(saved, most):
            slopes = [probe.gradient(before, part) for part in (full, minibatches.of(generation))]
            own = [float(cosines(change[None], slope)[0]) for slope in slopes]
            length = float(np.linalg.norm(change.astype(np.float64)))
            found.taken.append({"generation": generation, "full": own[0], "minibatch": own[1], "length": length})
    except UsageError as error:
        return f"the run's own steps are not known ({error})"
    for target in TARGETS:
        known = [one[target] for one in found.taken if math.isfinite(one[target])]
        if known:
            found.add(TAKEN, target, known)
    return "" if found.taken else "the run has taken no step yet"


#: So many numbers are resampled for an interval.
_MOST = 2000


def _report(
    found: _Measured, moment: dict[str, Any], task: Task
) -> tuple[dict[str, Any], list[dict[str, Any]], CosinePicture, str]:
    """Put together what was measured.

    Args:
        found: the measurements.
        moment: of which network, on what.
        task: whose data it is.

    Returns:
        Values, rows, picture and sentence of the analysis.
    """
    theory = _theory(found, moment)
    rows = [_row(kind, target, values, theory) for (kind, target), values in found.cosines.items()]
    rows += [_row(f"minibatch gradient of {size:,}", "full", own, {}) for size, own in found.batches.items()]
    shares = {kind: share_of(np.array(gains) < 0) for kind, gains in found.gains.items()}
    single = np.array(found.cosines[SINGLE, "full"])
    spread = _spread(found, moment)
    values = moment | {
        "data": task.description,
        "single": _single(single, moment["dimensions"]),
        "cosines": {f"{row['step']}, {row['gradient']}": row["median"] for row in rows},
        "theory": theory,
        "worse_on_full_data": {kind: _share(share) for kind, share in shares.items()},
        "best_worse_share": shares[BEST].share,
        "mean_gain_on_full_data": {kind: _mean(gains) for kind, gains in found.gains.items()},
        "gradient_spread": or_none(spread),
        "taken": found.taken,
    }
    values |= _two(found, moment)
    picture = CosinePicture(
        single=single,
        dimensions=moment["dimensions"],
        kinds={kind: _intervals(found, kind) for kind in dict.fromkeys(kind for kind, _ in found.cosines)},
        theory=theory,
        batches={size: median_interval(own) for size, own in found.batches.items()},
        spread=spread,
        examples=moment["examples"],
        taken=np.array([[one["generation"], one["full"], one["minibatch"]] for one in found.taken]).reshape(-1, 3),
        title=_title(moment, task),
    )
    return values, rows, picture, _sentence(found, moment, rows, values, shares)


def _intervals(found: _Measured, kind: str) -> dict[str, Interval]:
    """By target; of many numbers only some are resampled."""
    own = {target: np.array(values)[:_MOST] for (name, target), values in found.cosines.items() if name == kind}
    known = {target: values[np.isfinite(values)] for target, values in own.items()}
    return {target: median_interval(values) for target, values in known.items() if len(values)}


def _theory(found: _Measured, moment: dict[str, Any]) -> dict[str, float]:
    """What is expected where the fitness is linear: of the best by its cosine, and of estimates with dense noise."""
    size, samples, variance = moment["dimensions"], moment["samples"], moment["dimensions"] + 1.0
    known = [value for value in found.even_to_odd if math.isfinite(value)]
    one, _, both, _ = ESTIMATES
    theory = {BEST_COSINE: expected_best(samples, size), both: es_law.cosine(variance, samples // 2)}
    if known:
        theory[one] = es_law.one_sided_cosine(variance, samples, float(np.median(known)))
    return theory


def _spread(found: _Measured, moment: dict[str, Any]) -> float:
    """How much the examples' gradients differ, by the smallest minibatches, where it shows most."""
    if not found.squares:
        return math.nan
    size = min(found.squares)
    return gradient_spread(found.squares[size], moment["gradient_norm"] ** 2, size, moment["examples"])


def _row(kind: str, target: str, values: list[float], theory: dict[str, float]) -> dict[str, Any]:
    finite = [value for value in values if math.isfinite(value)]
    interval = median_interval(finite) if 0 < len(finite) <= _MOST else None
    middle = float(np.median(finite)) if finite else None
    return {
        "step": kind,
        "gradient": target,
        "count": len(finite),
        "median": middle,
        "low": or_none(interval.low) if interval else None,
        "high": or_none(interval.high) if interval else None,
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


def _share(share: Share) -> dict[str, float]:
    return {"count": share.count, "total": share.total, "share": share.share, "low": share.low, "high": share.high}


def _two(found: _Measured, moment: dict[str, Any]) -> dict[str, Any]:
    """Whether the mean of the best two gains more on the full data than the best alone."""
    if 2 not in moment["top"]:
        return {}
    better = np.array(found.gains[mean_of_best(2)]) > np.array(found.gains[BEST])
    return {"best_two_better": _share(share_of(better)), "best_two_better_share": float(better.mean())}


def _title(moment: dict[str, Any], task: Task) -> str:
    return (
        f"Cosines with the gradient: generation {moment['generation']:,}, D = {moment['dimensions']:,}, step size "
        f"{moment['sigma']:.2g}, {moment['repeats']} minibatches of {moment['batch']:,} with n = {moment['samples']:,} "
        f"mutations each; full data: {moment['examples']:,} training examples of {task.name}"
    )


def _sentence(
    found: _Measured,
    moment: dict[str, Any],
    rows: list[dict[str, Any]],
    values: dict[str, Any],
    shares: dict[str, Share],
) -> str:
    single = values["single"]
    wanted = [BEST, BEST_FULL, *map(mean_of_best, moment["top"]), ESTIMATES[2], MINIBATCH, TAKEN]
    parts = [
        f"{row['step']} {_number(row)}"
        for row in rows
        if row["gradient"] == "full" and row["step"] in wanted and row["step"] != SINGLE and row["count"]
    ]
    worse = shares[BEST]
    text = (
        f"At generation {moment['generation']:,} (D = {moment['dimensions']:,}, step size {moment['sigma']:.3g}, "
        f"minibatches of {moment['batch']:,}, {moment['repeats']} of them with {moment['samples']:,} mutations each), "
        f"cosine with the gradient of {'the fitness' if moment['smooth'] else 'minus the loss'} on "
        f"{moment['examples']:,} training examples: one mutation has deviation {single['deviation']:.4g} "
        f"(1/sqrt(D) = {single['predicted_deviation']:.4g}); medians [bootstrap 95 %]: {'; '.join(parts)}. The best by "
        f"the minibatch is worse than its parent on these examples in {_times(worse)}"
    )
    if 2 in moment["top"]:
        two = shares[mean_of_best(2)]
        better = values["best_two_better"]
        text += (
            f", the mean of the best two in {_times(two)}; that mean gains more than the best alone in "
            f"{better['share']:.0%} [{better['low']:.0%}, {better['high']:.0%}]"
        )
    return text + (f". Note: {moment['note']}." if moment["note"] else ".")


def _times(share: Share) -> str:
    return f"{share.count} of {share.total} ({share.share:.0%} [{share.low:.0%}, {share.high:.0%}])"


def _number(row: dict[str, Any]) -> str:
    around = "" if row["low"] is None else f" [{row['low']:.3g}, {row['high']:.3g}]"
    return f"{row['median']:.3g}{around}"
