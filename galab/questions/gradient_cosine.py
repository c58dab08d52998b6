"""How well mutations, selection, evolution strategies and the run's own steps point along the gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError
from galab.questions.analysis import Analysis, Heard
from galab.questions.choices import at_least, numbers_in

if TYPE_CHECKING:
    from galab.contracts import Examples
    from galab.lab.probe import Probe
    from galab.lab.rebuild import Saved

SINGLE, BEST_COSINE, MINIBATCH = "one mutation", "best of n by its cosine", "minibatch gradient"
TAKEN = "step taken by the run"
TARGETS = ("full", "minibatch")


@dataclass(slots=True)
class _Found:
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
    saved: Saved, heard: Heard, *, generation: int | None = None, batch: int = 0, samples: int = 256,
    repeats: int = 40, top: str = "2,16,64", sigma: float | None = None, sizes: str = "16,64,256,1024",
    examples: int = 0, steps: int = 40,
) -> Analysis:  # fmt: skip
    """Where mutations, estimates and steps taken point.

    Each repeat has a minibatch and mutations of its own, around one network. The gradient is that of minus the loss.

    Args:
        saved: the run.
        heard: hears how it comes along.
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
    from galab.lab.mutants import law_of
    from galab.lab.probe import Probe
    from galab.questions.cosine_report import report
    from galab.questions.trying import member_of, require_directions, step_size_of

    at_least("--samples", samples, 4), at_least("--repeats", repeats, 2), at_least("--steps", steps, 0)
    places = [int(k) for k in numbers_in(top, "--top", whole=True) if k <= samples]
    widths = [int(size) for size in numbers_in(sizes, "--sizes", whole=True)]
    heard("loading", 0.0)
    probe, member = Probe(saved), member_of(saved, generation)
    require_directions(probe)
    weights, full = member.floats(), probe.examples("train", at_least("--examples", examples, 0))
    size = _batch(saved, batch, len(full))
    step_size = _positive(step_size_of(saved, member) if sigma is None else sigma)
    uphill = _gradient(probe, weights, full)
    found, law = _Found(), law_of(saved)
    for repeat in range(repeats):
        heard("mutations", 0.02 + 0.6 * repeat / repeats)
        _try(found, probe, (weights, uphill), full, law, (repeat, samples, size, step_size), places)
    heard("minibatch gradients", 0.65)
    for width in sorted({*(width for width in widths if width < len(full)), size} - {len(full)}):
        _minibatches(found, probe, (weights, uphill), full, width, repeats)
    heard("the run's own steps", 0.75)
    note = _follow(found, saved, probe, full, steps)
    moment = {
        "generation": saved.generation if generation is None else generation, "dimensions": len(weights),
        "batch": size, "examples": len(full), "samples": samples, "repeats": repeats, "sigma": step_size,
        "distribution": law.name, "base": probe.base, "smooth": probe.smooth, "top": places,
        "gradient_norm": float(np.linalg.norm(uphill)), "note": note,
    }  # fmt: skip
    values, rows, picture, sentence = report(found, moment, probe.task)
    from galab.analysis.cosine_figure import draw_cosines

    return Analysis(sentence, values, rows, partial(draw_cosines, picture=picture))


def _batch(saved: Saved, batch: int, whole: int) -> int:
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
    found: _Found, probe: Probe, where: tuple[NDArray[np.float32], NDArray[np.float32]], full: Examples, law: Any,
    choice: tuple[int, int, int, float], top: Sequence[int],
) -> None:  # fmt: skip
    """One repeat: mutations on one minibatch, and what selection and estimates make of them."""
    from galab.analysis.cosines import BEST, cosines, directions, even_to_odd, mean_of_best
    from galab.questions.trying import fitness_of, minibatches_of, noise_of, tried

    (weights, uphill), (repeat, samples, size, sigma) = where, choice
    noise = noise_of(law, probe.run_key, repeat, (samples, len(weights)))
    minibatch = minibatches_of(probe, full, size).of(repeat + 1)
    some = tried(probe, weights, noise, sigma, minibatch, full)
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
    found: _Found, probe: Probe, where: tuple[NDArray[np.float32], NDArray[np.float32]], full: Examples, size: int,
    count: int,
) -> None:  # fmt: skip
    """Gradients on minibatches of one size."""
    from galab.analysis.cosines import cosines
    from galab.questions.trying import minibatches_of

    (weights, uphill), minibatches = where, minibatches_of(probe, full, size)
    for number in range(1, count + 1):
        slope = probe.gradient(weights, minibatches.of(number))
        found.batches.setdefault(size, []).append(float(cosines(slope[None], uphill)[0]))
        found.squares.setdefault(size, []).append(float(np.square(slope, dtype=np.float64).sum()))


def _positive(step_size: float) -> float:
    if not 0 < step_size < math.inf:
        raise UsageError(f"expected --sigma above 0, got {step_size}; choose a step size")
    return step_size


def _follow(found: _Found, saved: Saved, probe: Probe, full: Examples, most: int) -> str:
    """The steps that the run took; why there are none, if so."""
    from galab.analysis.cosines import cosines
    from galab.questions.trying import steps_taken

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
