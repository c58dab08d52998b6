"""Conditions that a person should hear of, in words: once each, until they end.

Whether a condition holds is read off one generation's log line; since when it holds, and whether somebody was warned,
is kept in the checkpoint's totals. So a resumed run warns where an unbroken one does.
"""

from __future__ import annotations

import logging
from typing import Any

from galab.compatibility import decided
from galab.config import RunConfig
from galab.contracts import Scores
from galab.evolution_compatibility import is_evolution
from galab.lab.describe import Totals

logger = logging.getLogger("galab")

#: Generations for which a condition must hold before anybody is warned; at once where it is not named.
PATIENCE = {"floor": 100, "no-success": 100}
#: Generations without a change of the best parent.
STALE = 50
#: Age of the common ancestor, in generations per parent; unselected lines of descent meet after about one or two.
APART = 20
#: Rules under which step sizes do what they were told.
_TOLD = ("fixed", "schedule")


def warnings_of(
    config: RunConfig, line: dict[str, Any], scores: Scores, children: int, totals: Totals
) -> dict[str, list[str]]:
    """What is to be said in this generation: ``{"warnings": sentences}``, or nothing; it is logged too.

    Args:
        config: the run's configuration.
        line: the generation's log line.
        scores: of its cohort.
        children: how many of the cohort are children.
        totals: where it is noted which conditions hold; changed.
    """
    generation = line["generation"]
    said = []
    for name, sentence in observed(config, line, scores, children).items():
        if sentence is None:
            totals.began.pop(name, None)
            totals.warned[:] = [other for other in totals.warned if other != name]
            continue
        lasted = generation - totals.began.setdefault(name, generation)
        if lasted >= PATIENCE.get(name, 0) and name not in totals.warned:
            totals.warned.append(name)
            said.append(sentence)
            logger.warning("generation %d: %s", generation, sentence)
    return {"warnings": said} if said else {}


def observed(config: RunConfig, line: dict[str, Any], scores: Scores, children: int) -> dict[str, str | None]:
    """The conditions that this generation can tell of: a sentence for each that holds, None for each that does not."""
    found: dict[str, str | None] = {"failures": _failures(config, scores, children)}
    free = config.sigma_floor is not None and config.sigma_floor < config.sigma_ceiling
    if "step_size_at_floor" in line and free and decided(config)["step_size"] not in _TOLD:
        found["floor"] = _floor(config, line["step_size_at_floor"])
    if line.get("selection_success_rate") is not None:
        found["no-success"] = _no_success(line["selection_success_rate"])
    if "selection_age_best" in line:
        found["stale"] = _stale(line["selection_age_best"])
    if "diversity_common_ancestor" in line and config.parents > 1:
        found["apart"] = _apart(config, line)
    if "diversity_distance" in line and config.parents > 1:
        found["alike"] = _alike(line["diversity_distance"])
    return found


def _failures(config: RunConfig, scores: Scores, children: int) -> str | None:
    failed = [index for index in sorted(scores.failures) if index < children]
    if 2 * len(failed) < children:
        return None
    if is_evolution(config):
        return (
            f"{len(failed)} of {children} members have no finite fitness ({scores.failures[failed[0]]}): the estimate "
            "hardly knows where to go; try a smaller --sigma or --lr, or look at the task"
        )
    return (
        f"{len(failed)} of {children} children have no finite fitness ({scores.failures[failed[0]]}): selection has "
        "little left to choose from; try a smaller --sigma or --sigma-ceiling, or look at the task"
    )


def _floor(config: RunConfig, share: float) -> str | None:
    if share < 0.5:
        return None
    return (
        f"half of the step sizes or more have been at their floor, {config.sigma_floor:.3g}, for {PATIENCE['floor']} "
        "generations: selection favours children that hardly move, as it does where gains drown in the luck of the "
        "minibatch, or near an optimum; try a larger --batch or --fitness improvement, then a lower --sigma-floor"
    )


def _no_success(rate: float) -> str | None:
    if rate > 0:
        return None
    return (
        f"in {PATIENCE['no-success']} generations no child was better than its parents, wherever that was measured: "
        "steps are too large, or too small to change a score; look at step_size and step_size_share, and try a smaller "
        "--sigma-ceiling or, if step sizes are tiny, a higher --sigma-floor"
    )


def _stale(age: int) -> str | None:
    if age < STALE:
        return None
    return (
        f"the best parent was born {age} generations ago and no child has replaced it: steps may be too large for "
        "where it stands, or it is a local optimum; try a smaller --sigma-ceiling, more --children, or --elites 0"
    )


def _apart(config: RunConfig, line: dict[str, Any]) -> str | None:
    age = line["diversity_common_ancestor"]
    if (line["generation"] if age is None else age) <= APART * config.parents:
        return None
    found = f"had their last common ancestor {age} generations ago"
    when = "have no common ancestor that is known" if age is None else found
    advice = (
        "raise --migrants or lower --migrate-every"
        if config.islands > 1
        else "try more --children for each parent, or drop what protects lines of descent, such as --elites or --niche"
    )
    return (
        f"the parents {when}, more than {APART} for each parent: lines of descent run side by side and a success in "
        f"one does not reach the others; if you did not ask for that, {advice}"
    )


def _alike(distance: float) -> str | None:
    if distance > 0:
        return None
    return (
        "all parents have the same weights: the search stands on one point, and crossover does nothing; try a higher "
        "--sigma-floor or more --parents"
    )
