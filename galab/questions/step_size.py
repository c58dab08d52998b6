"""The step sizes of a run against an oracle that knows which would have been best."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.oracle import Collapse, Moment, collapse, interpolated, moment_of_estimates, moment_of_mutations
from galab.analysis.order_statistics import SAMPLES_PER_DRAW, enough_for_interval
from galab.errors import UsageError
from galab.questions.analysis import Analysis, Heard, or_none
from galab.questions.choices import at_least, numbers_in
from galab.questions.mutation_fitness import children_of

if TYPE_CHECKING:
    from galab.contracts import Examples
    from galab.lab.history import History
    from galab.lab.mutation_scores import MutationScores
    from galab.lab.probe import Probe
    from galab.lab.rebuild import Saved


def step_size(
    saved: Saved,
    heard: Heard,
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
    a smooth fitness all small ones are about as good, and the range of those within 5 % of the best is told, too.

    Args:
        saved: the run.
        heard: hears how it comes along.
        sigmas: step sizes that the oracle tries, joined by commas.
        moments: at how many generations, evenly spread over their logarithms.
        samples: mutations, or pairs, for each step size; an interval of the best of n takes 8 n.
        split: the data that it is measured on: train, validation or test.
        examples: the first so many of them; 0 is all.

    Raises:
        UsageError: a choice makes no sense, or the run has logged no step size.
    """
    from galab.lab.history import History
    from galab.lab.mutation_scores import MutationScores
    from galab.lab.probe import Probe

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
        heard("the oracle", place / len(numbers))
        moment = partial(_estimated if history.evolution else _mutated, probe, mutants, weights, steps, shown)
        found.append(moment(number, count if not history.evolution else samples, samples))
    actual = np.array([line["step_size"] for line in logged], dtype=np.float64)
    generations = np.array([line["generation"] for line in logged])
    report = collapse(generations, actual, found, floor_share=_floor_shares(logged))
    return _told(saved, history, steps, found, generations, actual, report, children, samples, shown, split, probe)


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
    from galab.lab.mutants import law_of

    changes = mutants.changes(weights, law_of(probe.saved), steps, samples, shown)
    return moment_of_mutations(generation, steps, changes.change[0], count)


def _estimated(
    probe: Probe, mutants: MutationScores, weights: NDArray[np.float32], steps: list[float], shown: Examples,
    generation: int, pairs: int, samples: int,
) -> Moment:  # fmt: skip
    from galab.lab.mutants import law_of

    gradient = probe.gradient(weights, shown).astype(np.float64)
    both = [*steps, *(-sigma for sigma in steps)]
    estimates = np.zeros((len(steps), len(weights)))
    for z, fitness in mutants.drawn(weights, law_of(probe.saved), both, samples, shown):
        estimates += np.nan_to_num(fitness[0, : len(steps)] - fitness[0, len(steps) :]) @ z
    return moment_of_estimates(generation, steps, estimates, gradient)


def _told(
    saved: Saved, history: History, steps: list[float], found: list[Moment], generations: NDArray[np.int64],
    actual: NDArray[np.float64], report: Collapse, children: int, samples: int, shown: Examples, split: str,
    probe: Probe,
) -> Analysis:  # fmt: skip
    logs = np.log2(actual)
    data = f"{len(shown):,} {split} examples of {probe.task.name}"
    count = min(children, samples)
    fewer = "" if count == children else f", as {samples:,} samples are too few for the run's {children:,}"
    best = not history.evolution
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
    draw = partial(_draw, found=found, generations=generations, actual=actual, title=title)
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


def _draw(
    path: Any, found: list[Moment], generations: NDArray[np.int64], actual: NDArray[np.float64], title: str
) -> None:  # fmt: skip
    from galab.analysis.oracle_figure import draw_oracle

    draw_oracle(path, found, generations, actual, title=title)
