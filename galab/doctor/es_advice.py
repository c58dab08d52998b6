"""What findings about an evolution strategy mean, in sentences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from galab.doctor.es_measurements import EstimateFindings, SigmaMeasurement
from galab.operators.es_noise import pairs_for
from galab.strategies.centre import parse_optimizer

#: Cosines that a user may want, and the one below which an estimate is hardly more than noise.
_WANTED, _POOR = (0.1, 0.3, 0.5, 0.7, 0.9), 0.05
#: Share of the best cosine among the step sizes that is as good as the best.
_AS_GOOD = 0.9
_MANY_TIES, _SOME_FAILURES = 0.2, 0.05
#: Gain in cosine for which more noise is worth drawing.
_WORTH = 1.05
#: Share of the best single step that can be taken again and again: the fitness bends more as training goes on.
#: Measured on digits and MNIST: all of it diverges, half of it does so on MNIST and trains badly on digits, a quarter
#: trains well.
_SUSTAINED = 0.2
#: Adam moves every weight by about its learning rate: this share of a typical weight.
_ADAM_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Advice:
    """One sentence.

    Attributes:
        about: what it is about, in a word.
        good: whether nothing has to be changed.
        say: the sentence.
    """

    about: str
    good: bool
    say: str


def advice(findings: EstimateFindings) -> list[Advice]:
    """All that there is to say, the most important first."""
    found = [rule(findings) for rule in _RULES]
    return [one for one in found if one is not None]


def starting_rate(findings: EstimateFindings) -> float | None:
    """A learning rate to begin with; None where no step along the estimate helped."""
    name, arguments = parse_optimizer(findings.config.optimizer)
    if name == "sgd":
        if findings.best_step is None:
            return None
        # Momentum m adds up to 1 / (1 - m) steps.
        return _rounded(findings.best_step * _SUSTAINED * (1 - float(arguments.get("momentum", 0.0))))
    return _rounded(_ADAM_SHARE * findings.weights_rms) or None


def _estimate(f: EstimateFindings) -> Advice:
    count = f.config.population // 2 if f.in_pairs else f.config.population
    who = f"{count:,} {'pairs' if f.in_pairs else 'single members'} for {f.parameters:,} weights"
    generations = 1 / f.cosine**2
    say = (
        f"{who}: cosine {_cosine(f.cosine)} with the true gradient is predicted, so about {_count(generations)} "
        "generations do what one step of gradient descent does"
    )
    if f.cosine < _POOR:
        return Advice("estimate", False, f"{say}; far too few: raise --population, or train fewer weights")
    return Advice("estimate", True, say)


def _measured(f: EstimateFindings) -> Advice | None:
    if not f.measured:
        say = "no true gradient to compare with: the fitness has none, so the prediction stands alone"
        return Advice("measured", True, say)
    mean = statistics.fmean(f.measured)
    # With fewer members than configured, the law for those is what has to be met.
    factor = math.sqrt(f.measured_population / f.config.population)
    expected = f.cosine if factor == 1 else math.sqrt(1 / (1 + (1 / f.cosine**2 - 1) / factor**2))
    members = "" if factor == 1 else f" with {f.measured_population:,} members, where {_cosine(expected)} is predicted"
    say = (
        f"{_cosine(mean)} at the start ({_cosine(min(f.measured))} to {_cosine(max(f.measured))} in "
        f"{len(f.measured)} generations{members})"
    )
    if mean < 0.75 * expected:
        say = f"{say}: less than predicted, as the fitness bends within sigma; lower --sigma"
        return Advice("measured", False, say)
    return Advice("measured", True, say)


def _pairs(f: EstimateFindings) -> Advice | None:
    ratio, alone = f.configured.even_to_odd, f.one_sided_cosine
    if ratio is None or alone is None:
        return None
    pairs = _cosine(f.pairs_cosine)
    if ratio >= 1:
        say = (
            f"antithetic pairs are worth it: even/odd energy {ratio:.2g}, cosine {pairs} against {_cosine(alone)} "
            "one-sided"
        )
        return Advice("pairs", f.in_pairs, say if f.in_pairs else f"{say}; use --pairs auto")
    say = f"one-sided would give cosine {_cosine(alone)} instead of {pairs}: even/odd energy {ratio:.2g}"
    if not f.in_pairs:
        return Advice("pairs", True, f"{say}, and that is what the run does")
    return Advice("pairs", False, f"{say}; use --pairs auto or one-sided")


def _ties(f: EstimateFindings) -> Advice | None:
    if f.configured.ties < _MANY_TIES:
        return None
    smoother = "" if f.config.fitness == "cross-entropy" else f" a smoother fitness than {f.config.fitness} or"
    return Advice(
        "ties",
        False,
        f"ties in {f.configured.ties:.0%} of the pairs, which then say nothing: use{smoother} a larger --sigma",
    )


def _failures(f: EstimateFindings) -> Advice | None:
    if f.configured.failures < _SOME_FAILURES:
        return None
    say = f"{f.configured.failures:.0%} of the members have no finite fitness: lower --sigma, or look at the task"
    return Advice("failures", False, say)


def _sigma(f: EstimateFindings) -> Advice | None:
    known = [one for one in f.sigmas if one.cosine is not None]
    if len(known) < len(f.sigmas):
        return _sigma_without_gradient(f)
    best = max(one.cosine or 0.0 for one in known)
    good = [one for one in known if (one.cosine or 0.0) >= _AS_GOOD * best]
    # Among equals the largest looks furthest, and is furthest from the rounding of the scores.
    largest = max(one.sigma for one in good)
    if f.configured in good:
        say = f"{_number(f.configured.sigma)} is small enough for the fitness to be straight within it"
        return Advice(
            "sigma", True, say + (f"; {_number(largest)} would do too" if largest > f.configured.sigma else "")
        )
    way = "lower" if largest < f.configured.sigma else "raise"
    return Advice(
        "sigma", False, f"at {_number(f.configured.sigma)} the estimate points worse than at {_number(largest)}: "
        f"{_cosine(f.configured.cosine or 0.0)} instead of {_cosine(best)} with {f.tried_pairs} pairs; {way} --sigma",
    )  # fmt: skip


def _sigma_without_gradient(f: EstimateFindings) -> Advice | None:
    """By ties and failures alone: the smallest step size at which pairs mostly differ."""
    fine = [one for one in f.sigmas if one.ties < _MANY_TIES and one.failures < _SOME_FAILURES]
    if not fine or f.configured in fine:
        return None
    other = min(fine, key=lambda one: abs(math.log(one.sigma / f.configured.sigma)))
    return Advice("sigma", False, f"{_number(other.sigma)} has fewer ties and failures: {_described(other)}")


def _rank(f: EstimateFindings) -> Advice | None:
    if not f.ranks:
        return None
    own = next((one for one in f.ranks if f.config.strategy == "eggroll" and one.rank == f.config.rank), None)
    full = f.ranks[-1]
    if own is None:  # openai-es, or a rank that is not in the table
        first = f.ranks[0]
        if f.config.strategy == "eggroll":
            return None
        return Advice(
            "rank", True, f"--strategy eggroll with rank {first.rank} would give cosine "
            f"{_cosine(first.cosine)} instead of {_cosine(full.cosine)} with {first.numbers:,} random numbers for a "
            f"direction instead of {full.numbers:,}",
        )  # fmt: skip
    better = next((one for one in f.ranks if one.rank and one.cosine >= _WORTH * own.cosine), None)
    if better is not None:
        return Advice(
            "rank", False, f"rank {better.rank} would raise the cosine in pairs from {_cosine(own.cosine)} to "
            f"{_cosine(better.cosine)} at {better.numbers / own.numbers:.2g} times the noise",
        )  # fmt: skip
    say = f"{own.rank} is enough: full rank would give cosine {_cosine(full.cosine)} instead of {_cosine(own.cosine)}"
    return Advice("rank", True, f"{say} in pairs at {full.numbers / own.numbers:.2g} times the noise")


def _population(f: EstimateFindings) -> Advice | None:
    wanted = next((cosine for cosine in _WANTED if cosine > 1.1 * f.cosine), None)
    if wanted is None:
        return Advice("population", True, "large enough: more members would hardly change the estimate")
    factor = pairs_for(1.0, wanted) / pairs_for(1.0, f.cosine)
    members = _even(f.config.population * factor)
    say = f"for cosine {wanted} use population {members:,}, about {_seconds(f.seconds * factor)} a generation"
    return Advice("population", f.cosine >= _POOR, say)


def _rate(f: EstimateFindings) -> Advice:
    rate, name = starting_rate(f), f.config.optimizer
    if rate is None:
        return Advice(
            "lr", False, "no step along the estimate improved other examples: the estimate is mostly noise, or the "
            "start is an optimum; raise --population",
        )  # fmt: skip
    why = (
        f"a fifth of the single step that improved most ({_number(f.best_step or 0.0)})"
        if name.startswith("sgd")
        else f"{_ADAM_SHARE:.0%} of a typical weight ({_number(f.weights_rms)}), which is what {name} moves it by"
    )
    fits = 1 / 3 < f.config.lr / rate < 3
    start = f"begin with --lr {_number(rate)}" if not fits else f"--lr {_number(f.config.lr)} fits: {_number(rate)} is"
    return Advice("lr", fits, f"{start}{'' if fits else ' for ' + name + ':'} {why}")


def _time(f: EstimateFindings) -> Advice:
    return Advice("time", True, f"a generation takes about {_seconds(f.seconds)}")


_RULES: tuple[Callable[[EstimateFindings], Advice | None], ...] = (
    _estimate, _measured, _failures, _ties, _sigma, _pairs, _rank, _population, _rate, _time,
)  # fmt: skip


def findings_json(findings: EstimateFindings) -> dict[str, Any]:
    """Findings and advice as plain data."""
    f = findings
    return {
        "data": f.data,
        "strategy": f.config.strategy,
        "parameters": f.parameters,
        "population": f.config.population,
        "pairs": f.config.pairs,
        "rank": f.config.rank if f.config.strategy == "eggroll" else None,
        "sigma": f.config.sigma,
        "fitness": f.config.fitness,
        "cosine_predicted": f.cosine,
        "cosine_predicted_in_pairs": f.pairs_cosine,
        "cosine_predicted_one_sided": f.one_sided_cosine,
        "gradient_shares": "measured" if f.shares_known else "by size",
        "cosine_measured": list(f.measured),
        "measured_population": f.measured_population,
        "sigmas": {
            "pairs": f.tried_pairs,
            "cosine_predicted": f.tried_cosine,
            "tried": [_row(one) for one in f.sigmas],
        },
        "ranks": [{"rank": one.rank, "cosine": one.cosine, "numbers": one.numbers} for one in f.ranks],
        "seconds": f.seconds,
        "lr": starting_rate(f),
        "advice": [{"about": one.about, "good": one.good, "say": one.say} for one in advice(f)],
    }


def _row(one: SigmaMeasurement) -> dict[str, Any]:
    return {
        "sigma": one.sigma,
        "even_to_odd": one.even_to_odd,
        "ties": one.ties,
        "failures": one.failures,
        "cosine": one.cosine,
    }


def _described(one: SigmaMeasurement) -> str:
    return f"ties {one.ties:.0%}, failures {one.failures:.0%}"


def _cosine(value: float) -> str:
    return f"{value:.3f}" if abs(value) >= 0.1 else f"{value:.2g}"


def _number(value: float) -> str:
    return f"{value:.3g}"


def _rounded(value: float) -> float:
    """To two digits."""
    return float(f"{value:.2g}")


def _count(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{float(f'{value:.2g}'):,.0f}"


def _even(value: float) -> int:
    """An even number, with two digits that are not zero."""
    return max(2, 2 * round(float(f"{value:.2g}") / 2))


def _seconds(value: float) -> str:
    if value < 0.1:
        return f"{1000 * value:.0f} ms"
    if value < 120:
        return f"{value:.2g} s"
    return f"{value / 60:,.0f} minutes" if value < 7200 else f"{value / 3600:,.0f} hours"
