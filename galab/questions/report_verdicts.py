"""What a run's log says of how it went: what ended it, what it was warned of, what a reader should know first."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import Any

from galab.config import RunConfig
from galab.errors import GalabError
from galab.evolution_compatibility import EVOLUTION_STRATEGIES
from galab.questions.report_facts import Facts

#: Share of the last generations over which noisy numbers are averaged.
_END = 0.25
#: Measured cosine, as a share of the predicted one, below which the fitness bends within sigma.
_AS_PREDICTED = 0.75
#: How far below its best a curve ends before that is worth a sentence: so much, and so many typical changes between
#: two reports, as the best of many noisy reports is better than it is.
_FELL, _CHANGES = 0.01, 3.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence.

    Attributes:
        good: whether nothing has to be done.
        say: the sentence.
    """

    good: bool
    say: str


def verdicts(facts: Facts) -> list[Verdict]:
    """All that there is to say, problems first."""
    found = [Verdict(False, problem) for problem in facts.problems]
    return [*found, *_ended(facts), *_warnings(facts), *_failures(facts), *_fell(facts), *_estimate(facts)]


def _ended(facts: Facts) -> list[Verdict]:
    why = f": {facts.message}" if facts.message else ""
    match facts.state:
        case "":
            return []
        case "new":
            return [Verdict(False, "the run has not begun: it has a configuration and nothing else")]
        case "killed":
            return [Verdict(False, "the run was killed: it is marked as running, and nobody writes in it")]
        case _:
            return [Verdict(facts.state in ("finished", "running"), f"{facts.state}{why}")]


def _warnings(facts: Facts) -> list[Verdict]:
    return [
        Verdict(False, f"generation {line.get('generation', 0):,}: {sentence}")
        for line in facts.log
        for sentence in line.get("warnings") or ()
    ]


def _failures(facts: Facts) -> list[Verdict]:
    failed = sum(line.get("failures") or 0 for line in facts.log)
    if not failed:
        return []
    members = facts.log[-1].get("members") or 0
    reasons = next((line["failure_reasons"] for line in facts.log if line.get("failure_reasons")), [""])
    share = f"{failed / members:.2%} of {members:,}" if members else f"{failed:,}"
    return [Verdict(False, f"{share} members had no finite fitness; the first reason: {reasons[0]}")]


def _fell(facts: Facts) -> list[Verdict]:
    """Whether validation was better before the end."""
    points = series(facts.log, "validation_accuracy")
    if len(points) < 2:
        return []
    (end, last), (when, best) = points[-1], max(points, key=lambda point: point[1])
    changes = [abs(after[1] - before[1]) for before, after in itertools.pairwise(points)]
    if best - last > max(_FELL, _CHANGES * statistics.median(changes)):
        say = f"validation accuracy was best in generation {when:,}, {best:.2%}, and ended at {last:.2%}"
        return [Verdict(False, f"{say}: a checkpoint from then may serve better")]
    near = f"its best is {best:.2%}, in generation {when:,}" if best > last else "its best"
    return [Verdict(True, f"validation accuracy was {last:.2%} at the last report, generation {end:,}: {near}")]


def _estimate(facts: Facts) -> list[Verdict]:
    """Whether an evolution strategy's steps point where the law predicts."""
    found = series(facts.log, "estimate_cosine")
    law = dict(series(facts.log, "estimate_cosine_predicted"))
    pairs = [(value, law[generation]) for generation, value in found if generation in law]
    pairs = pairs[-max(1, math.ceil(_END * len(pairs))) :]
    if not pairs:
        return []
    mean, predicted = (statistics.fmean(column) for column in zip(*pairs, strict=True))
    say = f"the estimate's cosine with the true gradient was {mean:.3f} at the end, {predicted:.3f} is predicted"
    if mean < _AS_PREDICTED * predicted:
        return [Verdict(False, f"{say}: less, as the fitness bends within sigma; try a lower --sigma")]
    return [Verdict(True, say)]


def examined(facts: Facts, budget: float, *, trust: bool = False) -> list[Verdict]:
    """What ``galab doctor es`` says of the run's configuration; measured anew, where the run began.

    Args:
        facts: the run.
        budget: seconds that it may take, roughly.
        trust: run code that the run names even if nobody here has run it before.
    """
    from galab.lab import trust as trust_rules
    from galab.lab.advice import advice
    from galab.lab.doctor import examine

    if facts.strategy not in EVOLUTION_STRATEGIES:
        return [Verdict(True, "the doctor knows evolution strategies alone, and this run is none")]
    try:
        config = RunConfig.from_saved(facts.values)
        trust_rules.check(config, trust=trust)
        found = advice(examine(config, budget=budget))
    except GalabError as error:
        return [Verdict(False, f"the doctor could not look at the run: {error}")]
    return [Verdict(one.good, f"doctor, {one.about}: {one.say}") for one in found]


def series(log: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    """Generations and values of a field, where it is a finite number."""
    return [
        (int(line["generation"]), float(line[name]))
        for line in log
        if "generation" in line and isinstance(line.get(name), (int, float)) and math.isfinite(line[name])
    ]
