"""``step-size``: the step sizes of a run beside those that would have been best, at several moments.

:func:`drift` shows what step sizes do without selection: how far those of one layer drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from galab.analysis.base import Analysis, Progress, at_least, numbers_in, or_none
from galab.analysis.mutation_fitness import children_of
from galab.contracts import Examples
from galab.errors import UsageError
from galab.genome.step_sizes import PER_OCTAVE, Steps
from galab.genome.weights import Layout
from galab.operators.step_size import StepSizeRule
from galab.saved_runs.history import History
from galab.saved_runs.mutants import MutationScores
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import SavedRun
from galab.stats.intervals import median_interval
from galab.stats.order_statistics import SAMPLES_PER_DRAW, best_of, enough_for_interval
from galab.stats.plots import COLOURS, plain, save, sheet

Floats = NDArray[np.float64]

#: Estimates whose cosine comes so near to the best count as good.
_AS_GOOD = 0.95
#: A step size below this share of the oracle's has collapsed.
COLLAPSED = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The best step size at one generation, according to the oracle.

    Attributes:
        generation: which.
        sigma: the best step size; NaN where none is better than another.
        low: lower end of its interval: the best of resamples, or the smallest that is about as good; NaN where
            there are too few samples for one.
        high: upper end, or NaN.
        worth: (scalar) what it gives: the expected best change, or the cosine.
        sigmas: (S,) the step sizes that were tried.
        values: (S,) what each gives.
    """

    generation: int
    sigma: float
    low: float
    high: float
    worth: float
    sigmas: Floats
    values: Floats


def moment_of_mutations(generation: int, sigmas: Sequence[float], change: Floats, count: int) -> Moment:
    """The step size with the largest expected best of ``count``, and those that win in 95 % of resamples, if known.

    Args:
        generation: which.
        sigmas: S step sizes.
        change: (S, N) of the fitness, the same noise at each step size.
        count: of how many children.
    """
    steps, best = np.array(sigmas), best_of(change, count)
    if best.winner < 0 or np.nanmax(best.expected) == np.nanmin(best.expected):
        return Moment(generation, np.nan, np.nan, np.nan, np.nan, steps, best.expected)
    low, high = (np.nan, np.nan) if best.range is None else (float(steps[at]) for at in best.range)
    worth = float(best.expected[best.winner])
    return Moment(generation, float(steps[best.winner]), low, high, worth, steps, best.expected)


def moment_of_estimates(generation: int, sigmas: Sequence[float], estimates: Floats, gradient: Floats) -> Moment:
    """The largest step size whose estimate of the gradient is about as near to it as the best, and the range of these.

    On a smooth fitness the cosine falls with the step size, and hardly at all at first, so which is the best among
    small ones is chance; the largest of the good ones is not, and it is the least troubled by rounding.

    Args:
        generation: which.
        sigmas: S step sizes.
        estimates: (S, D) of the gradient, of any length.
        gradient: (D,) the true one.
    """
    steps = np.array(sigmas)
    lengths = np.linalg.norm(estimates, axis=1) * np.linalg.norm(gradient)
    cosines = np.where(lengths > 0, estimates @ gradient / np.where(lengths > 0, lengths, 1), np.nan)
    if np.isnan(cosines).all() or np.nanmax(cosines) <= 0:
        return Moment(generation, np.nan, np.nan, np.nan, np.nan, steps, cosines)
    winner = int(np.nanargmax(cosines))
    good = steps[np.nan_to_num(cosines, nan=-1) >= _AS_GOOD * cosines[winner]]
    worth = float(cosines[winner])
    return Moment(generation, float(good.max()), float(good.min()), float(good.max()), worth, steps, cosines)


@dataclass(frozen=True, slots=True)
class Collapse:
    """How far a run's step size was from the oracle's.

    Attributes:
        ratio: median of actual over oracle's at the oracle's moments; NaN without an oracle.
        low: lower end of its bootstrap interval.
        high: upper end.
        collapsed: share of the generations with less than a tenth of the oracle's.
        longest: the longest row of such generations.
        at_floor: mean share of the step sizes at their floor; NaN where that is not known.
    """

    ratio: float
    low: float
    high: float
    collapsed: float
    longest: int
    at_floor: float


def collapse(
    generations: NDArray[np.int64], actual: Floats, moments: Sequence[Moment], *, floor_share: Floats
) -> Collapse:
    """Compare the step sizes of a log with the oracle's, which is interpolated between its moments in logarithms.

    Args:
        generations: (n,) rising.
        actual: (n,) step sizes.
        moments: of the oracle.
        floor_share: (n,) share of the step sizes at their floor, or NaN.
    """
    floor = float(np.nanmean(floor_share)) if np.isfinite(floor_share).any() else float("nan")
    known = [one for one in moments if np.isfinite(one.sigma)]
    if not known:
        return Collapse(np.nan, np.nan, np.nan, np.nan, 0, floor)
    when = [one.generation for one in known]
    oracle = np.array([one.sigma for one in known])
    found = median_interval(interpolated(generations, actual, when) / oracle)
    few = actual < COLLAPSED * interpolated(when, oracle, generations)
    return Collapse(found.median, found.low, found.high, float(few.mean()), _longest(generations, few), floor)


def interpolated(x: Sequence[int] | NDArray[np.int64], y: Floats, at: Sequence[int] | NDArray[np.int64]) -> Floats:
    """Positive values between known ones, straight in logarithms; the first and last go on beyond the ends.

    Args:
        x: (n,) rising places.
        y: (n,) positive values.
        at: (m,) where they are wanted.
    """
    return np.asarray(np.exp(np.interp(at, x, np.log(y))))


def _longest(generations: NDArray[np.int64], marked: NDArray[np.bool_]) -> int:
    """Generations from the first to the last of the longest row of marks."""
    longest, start = 0, -1
    for generation, mark in zip(generations.tolist(), marked.tolist(), strict=True):
        start = (generation if start < 0 else start) if mark else -1
        longest = max(longest, generation - start + 1 if mark else 0)
    return longest


def draw_oracle(
    path: Path, moments: Sequence[Moment], generations: NDArray[np.int64], actual: NDArray[np.float64], *, title: str
) -> None:
    """Draw step sizes over generations, and what each step size would have given at the oracle's moments.

    Args:
        path: the image to write; its suffix decides the format.
        moments: of the oracle.
        generations: (n,) of the log.
        actual: (n,) step sizes of the log.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(12, 5)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    left.plot(generations, actual, color=COLOURS[0], linewidth=1.5, label="the run")
    known = [one for one in moments if np.isfinite(one.sigma)]
    if known:
        x = np.array([one.generation for one in known])
        low, middle, high = (np.array([getattr(one, name) for one in known]) for name in ("low", "sigma", "high"))
        left.plot(x, middle, "o-", color=COLOURS[1], markersize=4, label="oracle")
        left.fill_between(x, low, high, color=COLOURS[1], alpha=0.18, linewidth=0)
        left.plot(x, COLLAPSED * middle, ":", color=COLOURS[7], label="a tenth of it")
    left.set_yscale("log")
    if len(generations) and generations[-1] > 20:
        left.set_xscale("log")
    left.set(xlabel="generation", ylabel="step size sigma")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False)
    span = [float(max(1, one.generation)) for one in moments]
    norm = LogNorm(min(span), max(*span, min(span) + 1))
    mapped = ScalarMappable(norm, "viridis")
    colours = mapped.to_rgba(np.array(span))
    for colour, one in zip(colours, moments, strict=True):
        # Each moment on its own scale: what can be gained falls by orders of magnitude along a run.
        top = np.nanmax(one.values) if np.isfinite(one.values).any() else np.nan
        share = one.values / top if top > 0 else np.full(len(one.values), np.nan)
        right.plot(one.sigmas, share, "o-", markersize=3, color=tuple(colour))
    right.axhline(0, color="0.4", linewidth=0.8)
    right.set_ylim(-0.25, 1.08)
    right.set_xscale("log")
    right.set(xlabel="step size sigma", ylabel="worth, as a share of the best one's")
    figure.colorbar(mapped, ax=right, label="generation", pad=0.02)
    for axes in (left, right):
        plain(axes)
    save(figure, path, title)


def step_size(
    saved: SavedRun,
    progress: Progress,
    *,
    sigmas: str = "0.0001,0.0002,0.0005,0.001,0.002,0.005,0.01,0.02,0.05,0.1,0.2,0.5",
    moments: int = 8,
    samples: int = 256,
    split: str = "train",
    examples: int = 2000,
) -> Analysis:
    """The run's step sizes against the best ones.

    At several generations the oracle tries step sizes on the champion, with the same noise at all of them. Of a genetic
    algorithm the best one has the largest expected fitness of the best of as many dense mutations as the run has
    children, or as there are samples. An evolution strategy has no best child: there the oracle estimates the gradient
    from dense pairs, and the best step size is the one whose estimate has the largest cosine with the true gradient; on
    a smooth fitness all small ones are about as good, and the range of those within 5 % of the best is reported, too.

    Args:
        saved: the run.
        progress: called with what is being done, and the share of the whole that is done.
        sigmas: step sizes that the oracle tries, joined by commas.
        moments: at how many generations, evenly spread over their logarithms.
        samples: mutations, or pairs, for each step size; an interval of the best of n takes 8 n.
        split: the data that it is measured on: train, validation or test.
        examples: the first so many of them; 0 is all.

    Raises:
        UsageError: a choice makes no sense, or the run has logged no step size.
    """
    steps = numbers_in(sigmas, "--sigmas")
    at_least("--moments", moments, 1)
    history = History(saved)
    children = children_of(saved.config)
    count = min(children, at_least("--samples", samples, 2))
    logged = [line for line in history.log if _known(line.get("step_size"))]
    if not logged:
        raise UsageError(
            f"expected step sizes in the log of '{saved.path}', got none up to generation {saved.generation}; analyse "
            "a longer run of a search that has step sizes"
        )
    probe = Probe(saved)
    shown, mutants = probe.examples(split, examples), MutationScores(probe)
    numbers = _when(history, moments)
    found: list[Moment] = []
    for place, (number, weights) in enumerate(_members(history, numbers)):
        progress("the oracle", place / len(numbers))
        moment = partial(_estimated if history.has_centre else _mutated, probe, mutants, weights, steps, shown)
        found.append(moment(number, count if not history.has_centre else samples, samples))
    actual = np.array([line["step_size"] for line in logged], dtype=np.float64)
    generations = np.array([line["generation"] for line in logged])
    report = collapse(generations, actual, found, floor_share=_floor_shares(logged))
    return _analysis(saved, history, steps, found, generations, actual, report, children, samples, shown, split, probe)


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value)) and value > 0


def _floor_shares(logged: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """(n,) share of the parents' step sizes at the floor; NaN where it is not logged."""
    return np.array([line.get("step_size_at_floor", np.nan) for line in logged], dtype=np.float64)


def _when(history: History, moments: int) -> list[int]:
    """Generations at which a champion is known, spread over their logarithms, the last among them."""
    known = [line["generation"] for line in history.log if line.get("champion") is not None]
    known = sorted({number for number in [*known, history.generation] if number <= history.generation})
    wanted = np.geomspace(max(1, known[0]), max(1, known[-1]), moments)
    places = {int(np.argmin(np.abs(np.array(known) - one))) for one in wanted}
    return [known[place] for place in sorted(places | {len(known) - 1})]


def _members(history: History, generations: list[int]) -> list[tuple[int, NDArray[np.float32]]]:
    births = {number: history.champion(number) for number in generations}
    made = {number: member.floats() for number, member in history.walk(list(dict.fromkeys(births.values())))}
    return [(number, made[birth]) for number, birth in births.items() if birth in made]


def _mutated(
    probe: Probe, mutants: MutationScores, weights: NDArray[np.float32], steps: list[float], shown: Examples,
    generation: int, count: int, samples: int,
) -> Moment:  # fmt: skip
    changes = mutants.changes(weights, probe.saved.law, steps, samples, shown)
    return moment_of_mutations(generation, steps, changes.change[0], count)


def _estimated(
    probe: Probe, mutants: MutationScores, weights: NDArray[np.float32], steps: list[float], shown: Examples,
    generation: int, pairs: int, samples: int,
) -> Moment:  # fmt: skip
    gradient = probe.gradient(weights, shown).astype(np.float64)
    both = [*steps, *(-sigma for sigma in steps)]
    estimates = np.zeros((len(steps), len(weights)))
    for z, fitness in mutants.drawn(weights, probe.saved.law, both, samples, shown):
        estimates += np.nan_to_num(fitness[0, : len(steps)] - fitness[0, len(steps) :]) @ z
    return moment_of_estimates(generation, steps, estimates, gradient)


def _analysis(
    saved: SavedRun, history: History, steps: list[float], found: list[Moment], generations: NDArray[np.int64],
    actual: NDArray[np.float64], report: Collapse, children: int, samples: int, shown: Examples, split: str,
    probe: Probe,
) -> Analysis:  # fmt: skip
    logs = np.log2(actual)
    data = f"{len(shown):,} {split} examples of {probe.task.name}"
    count = min(children, samples)
    fewer = "" if count == children else f", as {samples:,} samples are too few for the run's {children:,}"
    best = not history.has_centre
    rule = f"expected best of {count:,}{fewer}" if best else "cosine with the gradient"
    rows = [
        {
            "generation": one.generation, "oracle": or_none(one.sigma), "oracle_low": or_none(one.low),
            "oracle_high": or_none(one.high), "worth": or_none(one.worth), "actual": actual_at,
            "ratio": or_none(actual_at / one.sigma),
        }
        for one in found
        for actual_at in [float(interpolated(generations, actual, [one.generation])[0])]
    ]  # fmt: skip
    values: dict[str, Any] = {
        "generation": saved.generation, "split": split, "examples": len(shown), "data": probe.task.description,
        "oracle": rule, "samples": samples, "best_of": count if best else None, "children": children, "sigmas": steps,
        "ratio_median": or_none(report.ratio), "ratio_low": or_none(report.low), "ratio_high": or_none(report.high),
        "below_a_tenth_share": or_none(report.collapsed), "below_a_tenth_longest": report.longest,
        "at_floor_share": or_none(report.at_floor), "step_size_mean": float(actual.mean()),
        "step_size_variance": float(actual.var()), "step_size_log2_mean": float(logs.mean()),
        "step_size_log2_variance": float(logs.var()), "step_size_first": float(actual[0]),
        "step_size_last": float(actual[-1]),
    }  # fmt: skip
    band = "Band: best of 95 % of resamples" if best else "Band: within 5 % of the best"
    if best and not enough_for_interval(samples, count):
        band = f"No band: an interval takes {SAMPLES_PER_DRAW * count:,} samples"
    title = (
        f"Step sizes of the run up to generation {saved.generation:,} and the oracle's ({rule}, {samples:,} samples of "
        f"dense noise at each), on {data}. {band}."
    )
    draw = partial(draw_oracle, moments=found, generations=generations, actual=actual, title=title)
    return Analysis(_sentence(values, found, data, rule), values, rows, draw)


def _sentence(values: dict[str, Any], found: list[Moment], data: str, rule: str) -> str:
    spread = (
        f"The run's step size has mean {values['step_size_mean']:.3g}, variance {values['step_size_variance']:.3g} and "
        f"went from {values['step_size_first']:.3g} to {values['step_size_last']:.3g}"
    )
    if values["ratio_median"] is None:
        return f"{spread}; no oracle could be found on {data}, as no step size was better than another."
    ends = (
        "a single generation, no interval"
        if values["ratio_low"] is None
        else f"95 % {values['ratio_low']:.3g} to {values['ratio_high']:.3g}"
    )
    floor = "" if values["at_floor_share"] is None else f" and {values['at_floor_share']:.0%} of it lay at the floor"
    return (
        f"Over {len(found)} generations, measured on {data}, the run's step size is {values['ratio_median']:.3g} times "
        f"the oracle's by {rule} (median; {ends}); it lay below a tenth of it for {values['below_a_tenth_share']:.0%} "
        f"of the run (at most {values['below_a_tenth_longest']:,} generations on end){floor}. {spread}."
    )


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """One line of descent without selection and without bounds.

    Attributes:
        generations: (n,) when it was measured.
        spread: (n,) standard deviation of the layer's log step sizes, in octaves.
        mean: (n,) mean of the layer's log step sizes, in octaves from the founder's.
    """

    generations: NDArray[np.int64]
    spread: NDArray[np.float64]
    mean: NDArray[np.float64]


def drift(rule: StepSizeRule, size: int, generations: int, *, every: int = 1) -> Drift:
    """Let a founder have one child, it one child, and so on; the founder's step sizes are all the same.

    Args:
        rule: how step sizes mutate.
        size: S, the number of step sizes, one per weight of one layer.
        generations: how many births.
        every: how many births lie between two measurements.
    """
    steps = Steps(Layout(("layer",), ((size,),)), "parameter")
    log_sigma = np.zeros(size, dtype=np.int16)
    looks = []
    for birth in range(1, generations + 1):
        # Within +-128 octaves of the founder, which int16 holds; no bound stops them before.
        log_sigma = rule.mutate([log_sigma], birth, steps).astype(np.int16)
        if birth % every == 0:
            looks.append((birth, log_sigma.std(dtype=np.float64), log_sigma.mean(dtype=np.float64)))
    seen = np.array(looks, dtype=np.float64).reshape(-1, 3)
    return Drift(seen[:, 0].astype(np.int64), seen[:, 1] / PER_OCTAVE, seen[:, 2] / PER_OCTAVE)


def with_rounding(local: float) -> float:
    """Octaves per birth by which a step size really moves, where a rule moves it by ``local`` and rounds to the grid.

    Rounding to 1/256 octave adds a uniform error of variance (1/256)^2 / 12 at each birth, as long as ``local`` is not
    much smaller than a grid step.
    """
    return float(np.hypot(local, 1 / (PER_OCTAVE * np.sqrt(12))))
