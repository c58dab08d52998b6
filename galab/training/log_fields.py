"""The fields of one line of the log: scores, step sizes, warnings, and what a network of memories uses.

A warning is given once, until its condition ends. Whether a condition holds is read off one log line; since when it
holds, and whether it was warned of, is kept in the checkpoint's totals, so a resumed run warns where an unbroken one
does.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from galab.config import RunConfig
from galab.config.strategy_kinds import kind_of
from galab.contracts import Cohort, Examples, Member, ReportsMemoryUse, Scores
from galab.evaluation.executors.pool_worker import WorkerUse
from galab.genome.decoder import Decoder
from galab.genome.initial import tensors_of
from galab.genome.parameters import evolved_parameters
from galab.genome.step_sizes import mean_log_sigma, sigma
from galab.genome.weights import Layout
from galab.models import memory_metrics
from galab.strategies.genetic import GeneticAlgorithm
from galab.training.champion import named

#: What workers did in a generation.
WORKERS = (
    "workers", "worker_parts", "worker_bytes_sent", "worker_bytes_received", "worker_idle_share", "worker_seconds",
    "worker_cost",
)  # fmt: skip
#: Fields that depend on the machine's speed, or on who computed; all others are identical when a run is repeated or
#: resumed.
TIMING = ("seconds", "generation_seconds", "evaluations_per_second", *WORKERS)


@dataclass(slots=True)
class Totals:
    """What a run has spent so far.

    Attributes:
        members: individuals scored, elites scored again included.
        evaluations: (member, example) pairs.
        seconds: wall time over all sessions.
        began: each condition that holds, with the generation in which that was first seen (see :func:`warnings_for`).
        warned: those of them that were warned of.
        spent: what evaluations took in other units: ``episodes`` and ``frames`` of an environment.
        worker_seconds: wall time that workers were there, all of them together.
    """

    members: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    began: dict[str, int] = field(default_factory=dict)
    warned: list[str] = field(default_factory=list)
    spent: dict[str, int] = field(default_factory=dict)
    worker_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the checkpoint."""
        content = dataclasses.asdict(self)
        unused = [name for name in ("spent", "worker_seconds") if not content[name]]
        return {name: value for name, value in content.items() if name not in unused}


def _reasons(scores: Scores) -> dict[str, Any]:
    """Why members failed, where some did: counts by parameter, and the first few different reasons."""
    if not scores.failures:
        return {}
    reasons = list(dict.fromkeys(scores.failures[index] for index in sorted(scores.failures)))[:3]
    return {"lethal_parameters": dict(Counter(scores.lethal.values())), "failure_reasons": reasons}


def generation_line(cohort: Cohort, scores: Scores, totals: Totals) -> dict[str, Any]:
    """What every search's log line has, but for its champion and its timing.

    Args:
        cohort: the evaluated members.
        scores: of the cohort.
        totals: what the run has spent, this generation included.
    """
    finite = scores.fitness[np.isfinite(scores.fitness)]
    best = int(np.argmax(np.where(np.isfinite(scores.fitness), scores.fitness, -np.inf)))
    return {
        "generation": cohort.generation,
        "members": totals.members,
        "evaluations": totals.evaluations,
        **totals.spent,
        "fitness_best": float(finite.max()),
        "fitness_mean": float(finite.mean()),
        "fitness_worst": float(finite.min()),
        "fitness_std": float(finite.std()),
        "best": int(cohort.births["id"][best]),
        **named("train", scores.metrics, best),
        **_answer_fields(scores),
        "failures": len(scores.failures),
        "lethal": len(scores.lethal),
        **_reasons(scores),
    }


def _answer_fields(scores: Scores) -> dict[str, float]:
    """Of answers to prompts, means over all members; nothing of other tasks."""
    if "changed" not in scores.metrics:
        return {}
    names = ("reward", "correct", "changed", "lost")
    found = {f"answers_{name}": float(np.nanmean(scores.metrics[name])) for name in names}
    rewards = scores.metrics["reward"]
    found |= {"answers_reward_best": float(np.nanmax(rewards)), "answers_reward_worst": float(np.nanmin(rewards))}
    values, counts = np.unique(scores.fitness[np.isfinite(scores.fitness)], return_counts=True)
    tied = counts[counts > 1].sum() / counts.sum() if len(values) else 0.0
    return found | {"answers_tied": float(tied)}


def worker_fields(config: RunConfig, use: WorkerUse, totals: Totals) -> dict[str, Any]:
    """What workers did in a generation, and what they have cost so far.

    Args:
        config: with the price of a worker.
        use: of this generation.
        totals: of the run, to which it is added.
    """
    totals.worker_seconds += use.paid
    values = (
        use.workers, use.parts, use.sent, use.received, round(use.idle_share, 4), round(totals.worker_seconds, 3)
    )  # fmt: skip
    fields = dict(zip(WORKERS, values, strict=False))
    if config.price_per_hour is not None:
        fields["worker_cost"] = round(totals.worker_seconds / 3600 * config.price_per_hour, 6)
    return fields


def genetic_fields(strategy: GeneticAlgorithm, decoder: Decoder, scores: Scores, lineage: int) -> dict[str, Any]:
    """A genetic algorithm's step sizes, cache and lineage.

    Args:
        strategy: after selection.
        decoder: has the parents.
        scores: of the cohort, with what decoding it found in the cache.
        lineage: rows in the lineage file.
    """
    steps_layout = decoder.developer.steps
    steps = np.array(
        [mean_log_sigma(steps_layout, decoder.decode(birth).log_sigma) for birth in strategy.parents.tolist()]
    )
    return {
        "step_size": float(sigma(round(float(steps.mean())))),
        "step_size_min": float(sigma(round(float(steps.min())))),
        "step_size_max": float(sigma(round(float(steps.max())))),
        "cache_hits": scores.cache_hits,
        "cache_misses": scores.cache_misses,
        "lineage_births": lineage,
        "lineage_bytes": lineage * strategy.births_dtype.itemsize,
    }


logger = logging.getLogger("galab")
#: Generations for which a condition must hold before it is warned of; others are warned of at once.
PATIENCE = {"floor": 100, "no-success": 100}
#: Generations without a change of the best parent.
STALE_AFTER = 50
#: Age of the common ancestor, in generations per parent; unselected lines of descent meet after about one or two.
MOST_APART = 20
#: Rules under which step sizes are given and do not evolve.
_PLANNED_RULES = ("fixed", "schedule")


def warnings_for(
    config: RunConfig, line: dict[str, Any], scores: Scores, children: int, totals: Totals
) -> dict[str, list[str]]:
    """The warnings of this generation: ``{"warnings": sentences}``, or nothing; they go to the logger too.

    Args:
        config: the run's configuration.
        line: the generation's log line.
        scores: of its cohort.
        children: how many of the cohort are children.
        totals: where it is noted which conditions hold; changed.
    """
    generation = line["generation"]
    said = []
    for name, sentence in conditions(config, line, scores, children).items():
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


def conditions(config: RunConfig, line: dict[str, Any], scores: Scores, children: int) -> dict[str, str | None]:
    """Conditions that can be read off this generation: a sentence for each that holds, None for each that does not."""
    found: dict[str, str | None] = {"failures": _failures(config, scores, children)}
    free = config.sigma_floor is not None and config.sigma_floor < config.sigma_ceiling
    if "step_size_at_floor" in line and free and config.step_size not in _PLANNED_RULES:
        found["floor"] = _floor(config, line["step_size_at_floor"])
    if line.get("selection_success_rate") is not None:
        found["no-success"] = _no_success(line["selection_success_rate"])
    if "selection_age_best" in line:
        found["stale"] = _stale(line["selection_age_best"])
    if "diversity_common_ancestor" in line and config.parents > 1:
        found["apart"] = _apart(config, line)
    if "answers_changed" in line:
        found |= _of_answers(config, scores)
    if "diversity_distance" in line and config.parents > 1:
        found["alike"] = _identical_parents(line["diversity_distance"])
    return found


#: Of the answers that the base model gives right, the share that members get wrong while their reward is higher.
_HACKED = 0.25
#: The same share, where all answers differ and the reward is none the better for it.
_LARGE = 0.5


def _of_answers(config: RunConfig, scores: Scores) -> dict[str, str | None]:
    """What is to be said of answers and of where they come from."""
    means = {name: float(np.nanmean(scores.metrics[name])) for name in ("changed", "lost", "gained", "base_correct")}
    changed, gained, lost = means["changed"], means["gained"], means["lost"] / (means["base_correct"] or 1.0)
    same = (
        "every member answers as the base model does, to the letter, so there is nothing to choose by; raise --sigma "
        "until 20 to 60 % of the answers differ, or use --find-sigma on"
    )
    large = (
        f"every answer differs from the base model's, and {lost:.0%} of what is right there is wrong here: steps this "
        "large leave little of the language; lower --sigma until 20 to 60 % of the answers differ, or use "
        "--find-sigma on"
    )
    hacked = (
        f"the reward is being hacked: it is {gained:g} above the base model's, but {lost:.0%} of the answers that "
        "are right there are wrong here; make being right part of it, as in --fitness reward+8*accuracy, or staying "
        "near the base model, +2*kl"
    )
    served = (
        f"scores come from a server ({config.generator}), which may compute other last bits each time: this run is "
        "resumed and verified from the scores in its log, but the same command may find another result"
    )
    return {
        "server": served if config.generator != "transformers" else None,
        "same-answers": None if changed else same,
        "large-steps": large if changed == 1 and gained <= 0 and lost > _LARGE else None,
        "hacked": hacked if gained > 0 and lost >= _HACKED else None,
    }


def _failures(config: RunConfig, scores: Scores, children: int) -> str | None:
    failed = [index for index in sorted(scores.failures) if index < children]
    if 2 * len(failed) < children:
        return None
    kind = kind_of(config.strategy)
    if kind.name == "vectors":
        return (
            f"{len(failed)} of {children} members have no finite fitness ({scores.failures[failed[0]]}): the strategy "
            "has little left to compare; try a smaller --sigma, or look at the task"
        )
    if kind.estimates:
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
    if age < STALE_AFTER:
        return None
    return (
        f"the best parent was born {age} generations ago and no child has replaced it: steps may be too large for "
        "where it stands, or it is a local optimum; try a smaller --sigma-ceiling, more --children, or --elites 0"
    )


def _apart(config: RunConfig, line: dict[str, Any]) -> str | None:
    age = line["diversity_common_ancestor"]
    if (line["generation"] if age is None else age) <= MOST_APART * config.parents:
        return None
    found = f"had their last common ancestor {age} generations ago"
    when = "have no common ancestor that is known" if age is None else found
    advice = (
        "raise --migrants or lower --migrate-every"
        if config.islands > 1
        else "try more --children for each parent, or drop what protects lines of descent, such as --elites or --niche"
    )
    return (
        f"the parents {when}, more than {MOST_APART} for each parent: lines of descent run side by side and a success "
        f"in one does not reach the others; if you did not ask for that, {advice}"
    )


def _identical_parents(distance: float) -> str | None:
    if distance > 0:
        return None
    return (
        "all parents have the same weights: the search stands on one point, and crossover does nothing; try a higher "
        "--sigma-floor or more --parents"
    )


#: More examples add time and little accuracy; more parents make an image that cannot be read.
_EXAMPLES, _PARENTS = 4096, 64
#: The field of the log that holds the matrix of uses.
MEMORY_USE = "memory_use"


class MemoryRecords:
    """Measures how the parents use their memories.

    Args:
        module: a network of memories.
        layout: where each parameter lies.
        examples: the training data.
    """

    def __init__(self, module: nn.Module, layout: Layout, examples: Examples) -> None:
        assert isinstance(module, ReportsMemoryUse)
        self._module = copy.deepcopy(module).float().cpu()
        self._layout = layout
        self._inputs = examples.inputs[:_EXAMPLES].float().cpu()

    def log_fields(self, parents: Sequence[Member]) -> dict[str, Any]:
        """The fields of a report generation.

        Args:
            parents: best first.

        Returns:
            Of the best parent ``memory_filled`` and ``memory_used``, numbers of memories that hold a vector and that
            answer an example; ``memory_norm``, ``..._min`` and ``..._max`` of filled ones; ``memory_margin`` and
            ``..._min``, by how much the nearest memory is nearer than the next, mean and least over the examples; and
            ``memory_use``, for each parent a list of the examples that each of its memories answers.
        """
        uses, first = [], dict[str, Any]()
        for parent in parents[:_PARENTS]:
            vectors, near = self._vectors_and_nearness(parent)
            use = memory_metrics.use(memory_metrics.winners(near), len(vectors))
            uses.append(use.tolist())
            first = first or _fields(vectors, near, use)
        return {**first, MEMORY_USE: uses}

    def _vectors_and_nearness(self, member: Member) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Vectors (heads, dims) and nearness (B, heads)."""
        network = self._module
        with torch.inference_mode():
            values = tensors_of(self._layout, member)
            for name, parameter in evolved_parameters(network).items():
                parameter.copy_(values[name])
            assert isinstance(network, ReportsMemoryUse)
            return network.vectors().numpy(), network.nearness(self._inputs).numpy()


def _fields(vectors: np.ndarray[Any, Any], near: np.ndarray[Any, Any], use: np.ndarray[Any, Any]) -> dict[str, Any]:
    margins, lengths = memory_metrics.margins(near), memory_metrics.norms(vectors)
    filled = lengths > 0
    found: dict[str, Any] = {
        "memory_filled": int(filled.sum()),
        "memory_used": int(np.count_nonzero(use)),
    }
    if filled.any():
        own = lengths[filled]
        found |= {"memory_norm": float(own.mean()), "memory_norm_min": float(own.min())}
        found["memory_norm_max"] = float(own.max())
    if np.isfinite(margins).any():
        own = margins[np.isfinite(margins)]
        found |= {"memory_margin": float(own.mean()), "memory_margin_min": float(own.min())}
    return found
