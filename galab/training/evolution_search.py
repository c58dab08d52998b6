"""An evolution strategy with its noise and its evaluator: the search that moves one centre."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.parsing import parse_fitness
from galab.config.registry import STRATEGIES
from galab.contracts import Cohort, Member, Outcome, Scores
from galab.errors import CheckpointError, GalabError, UsageError
from galab.evaluation.batched.supported_layers import low_rank_names
from galab.evaluation.blocks import Minibatches, fresh_examples
from galab.evaluation.executors.local import LocalExecutor
from galab.evaluation.member_evaluator import CentreEvaluator, centre_evaluator
from galab.evaluation.sources import PerturbedSource
from galab.genome.initial import Founders
from galab.genome.random import Table
from galab.operators.es_noise import (
    Directions,
    Plan,
    WeightVector,
    cosine,
    one_sided_cosine,
    plan_of,
    plan_of_ranks,
    variance,
)
from galab.strategies.evolution import EvolutionStrategy
from galab.training.search import SearchBase, SearchInputs, SharedCentre, initial_centre
from galab.training.true_gradient import TrueGradient

logger = logging.getLogger("galab")


class EvolutionSearch(SharedCentre, SearchBase):
    """See :class:`galab.training.search.Search`.

    Attributes:
        config: the configuration.
        plan: what a direction is made of.
        strategy: proposes members and moves the centre.
        evaluator: scores members for the estimate.
        executor: carries out a generation's evaluation.
    """

    strategy: EvolutionStrategy

    def __init__(
        self,
        config: RunConfig,
        plan: Plan,
        strategy: EvolutionStrategy,
        evaluator: CentreEvaluator,
        source: PerturbedSource,
        minibatches: Minibatches,
        truth: TrueGradient,
    ) -> None:
        self.config = config
        self.plan = plan
        self.strategy = strategy
        self.evaluator = evaluator
        by_prompt = config.baseline == "prompt"
        self.executor = LocalExecutor(source, minibatches, fitness=config.fitness, by_prompt=by_prompt)
        self._minibatches = minibatches
        self._truth = truth
        self._before: dict[str, torch.Tensor] | None = None
        self._even_to_odd: float | None = None

    @classmethod
    def build(cls, inputs: SearchInputs) -> EvolutionSearch:
        """The search of a run.

        Raises:
            UsageError: the rank does not fit the network, or the optimiser its parameters.
        """
        config, task, founders = inputs.config, inputs.task, inputs.founders
        device = torch.device(config.device)
        plan = plan_for(config, inputs)
        directions = directions_for(config, plan, inputs.law, founders.run_key, device)
        strategy = _strategy(config, founders, directions, device)
        reused = inputs.reusable_search(EvolutionSearch)
        if reused is not None:
            # Compiling once is enough for all trials.
            evaluator, examples = reused.evaluator, reused.executor.examples
        else:
            evaluator = centre_evaluator(config, inputs.module, founders.layout, task, plan)
            examples = evaluator.prepared(task.train)
        fresh = fresh_examples(task, evaluator.prepared)
        minibatches = Minibatches(examples, config.batch, founders.run_key, fresh)
        _check_groups(config, minibatches)
        source = PerturbedSource(
            strategy.parameters, directions, evaluator,
            noise_of=strategy.noise_of, sigma=strategy.sigma, groups=config.groups,
        )  # fmt: skip
        truth = TrueGradient(inputs.module, task, parse_fitness(config.fitness).bases[0], device)
        return cls(config, plan, strategy, evaluator, source, minibatches, truth)

    @staticmethod
    def replica(
        config: RunConfig, founders: Founders, law: Table, state: dict[str, Any], device: torch.device
    ) -> EvolutionStrategy:
        """The strategy of a run at generation 0, without its network and its data: it can be told the scores of a log.

        Args:
            config: of the run.
            founders: where the centre begins.
            law: the table of the noise's distribution.
            state: any checkpoint of the run, which says what directions are made of.
            device: where the centre lives.

        Raises:
            CheckpointError: the checkpoint says nothing possible of the directions.
        """
        try:
            plan = plan_of_ranks(founders.layout, state["ranks"])
        except (KeyError, ValueError, GalabError) as error:
            raise CheckpointError(f"expected the ranks of the run's noise in its checkpoint, got: {error}") from error
        directions = directions_for(config, plan, law, founders.run_key, device)
        return _strategy(config, founders, directions, device)

    @property
    def record_dtype(self) -> np.dtype[Any]:
        """The scores of a generation, as the score log has them."""
        return self.strategy.record_dtype

    @property
    def numerics(self) -> dict[str, Any]:
        """See :class:`galab.training.search.Search`."""
        evaluator = self.evaluator
        return {
            "chunk": evaluator.chunk,
            "forward": f"perturbed {evaluator.forward_name}",
            "block": evaluator.block,
            "compiled": evaluator.compiled,
        }

    def candidates(self) -> tuple[list[int], Sequence[Member]]:
        """The centre, numbered by its generation."""
        return [self.strategy.generation], [WeightVector(self.strategy.centre)]

    def before_tell(self, cohort: Cohort) -> None:
        """Keep the centre that the members lie around, for the comparison with the true gradient."""
        reports = cohort.generation % self.config.report_every == 0
        parameters = self.strategy.parameters
        self._before = {name: value.detach().clone() for name, value in parameters.items()} if reports else None

    def log_fields(self, cohort: Cohort, scores: Scores, outcome: Outcome, records: int) -> dict[str, Any]:
        """Rates, the estimate, pairs, and on report generations how far the estimate is from the true gradient."""
        step = self.strategy.step
        assert step is not None
        generation = cohort.generation
        line: dict[str, Any] = {
            "step_size": self.strategy.sigma(generation),
            "learning_rate": self.strategy.learning_rate(generation),
            "estimate_norm": step.norm,
            "estimate_change": step.change,
            "estimate_pairs": step.odd is not None,
            "best_sign": int(cohort.births["sign"][np.nanargmax(scores.fitness)]),
        }
        if self.evaluator.compiled:
            line["recompilations"] = self.evaluator.recompilations
        if step.odd is not None and step.even is not None:
            self._even_to_odd = step.even / step.odd if step.odd else None
            line |= {"estimate_even_to_odd": self._even_to_odd, "estimate_ties": step.ties}
        if self._before is not None:
            line |= self._compared(cohort, step.gradient, self._before)
        return line

    def _compared(
        self, cohort: Cohort, estimate: dict[str, torch.Tensor], centre: dict[str, torch.Tensor]
    ) -> dict[str, Any]:
        """The cosine of the estimate with the gradient of the same fitness on the same examples, and the law's."""
        line: dict[str, Any] = {"weights_norm": float(np.linalg.norm(self.strategy.centre.astype(np.float64)))}
        gradient = self._truth.at(centre, self._minibatches.of(cohort.generation))
        if gradient is None:
            return line
        line["estimate_cosine"] = cosine_between(estimate, gradient)
        total = variance(self.plan, shares_of(gradient))
        members = self.config.population
        if bool((cohort.births["sign"] < 0).any()):
            line["estimate_cosine_predicted"] = cosine(total, members / 2)
        elif self._even_to_odd is not None:
            line["estimate_cosine_predicted"] = one_sided_cosine(total, members, self._even_to_odd)
        return line

    def state(self) -> dict[str, Any]:
        """The centre, and what its directions are made of: a replay has no network to ask."""
        return {"weights": self.strategy.centre[None], "ranks": self.plan.ranks, "even_to_odd": self._even_to_odd}

    def restore(self, state: dict[str, Any], records: NDArray[Any]) -> None:
        """Continue; the score log is not needed for it.

        Raises:
            CheckpointError: directions are made of something else here.
        """
        self._check_ranks(state)
        self.strategy.load_centre(np.asarray(state["weights"], dtype=np.float32)[0])
        self.strategy.load_state_dict(state["strategy"])
        self._even_to_odd = state["even_to_odd"]

    def _check_ranks(self, state: dict[str, Any]) -> None:
        """Refuse to go on along directions of another law, which another version of galab or torch may give."""
        saved = [int(rank) for rank in state["ranks"]]
        if saved == self.plan.ranks:
            return
        pairs = zip(self.plan.tensors, saved, strict=False)
        name, was, here = next((t.name, rank, t.rank or 0) for t, rank in pairs if rank != (t.rank or 0))
        was_noise, here_noise = (f"noise of rank {rank}" if rank else "dense noise" for rank in (was, here))
        versions = state["versions"]
        raise CheckpointError(
            f"expected {was_noise} for '{name}' as the run was started with, got {here_noise} here: the run would "
            f"become another one; resume it with the versions that started it (galab {versions['galab']}, torch "
            f"{versions['torch']}), or start a new run from it with --from"
        )


def _strategy(config: RunConfig, founders: Founders, directions: Directions, device: torch.device) -> EvolutionStrategy:
    kind: type[EvolutionStrategy] = STRATEGIES.load(config.strategy)
    return kind(config, founders.layout, initial_centre(founders), directions, device)


def directions_for(config: RunConfig, plan: Plan, law: Table, run_key: int, device: torch.device) -> Directions:
    """The noise of a run."""
    count = config.population // (2 if config.pairs == "antithetic" else 1)
    return Directions(plan, law, run_key, device, config.cache_mb << 20, count)


def plan_for(config: RunConfig, inputs: SearchInputs) -> Plan:
    """What a direction is made of: full-rank noise, or factors for every matrix that has a rule.

    Raises:
        UsageError: the rank does not fit a matrix.
    """
    layout = inputs.founders.layout
    if config.strategy == "openai-es":
        return plan_of(layout, None)
    found = low_rank_names(inputs.module, inputs.task.train.inputs[:2])
    for name, function in found.in_the_way.items():
        logger.warning("'%s' has no low-rank rule for %s: it gets dense noise", name, function)
    return plan_of(layout, config.rank, found.names)


def cosine_between(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float | None:
    """Cosine of two gradients; None where one is zero. The log has all its bits: tensors are summed in order."""
    product = sum(float((one[name].double() * other[name].double()).sum()) for name in other)
    norms = [math.sqrt(sum(float(part.double().square().sum()) for part in each.values())) for each in (one, other)]
    return product / (norms[0] * norms[1]) if all(norms) else None


def shares_of(gradient: dict[str, torch.Tensor]) -> dict[str, float] | None:
    """The share of each tensor in the squared gradient; None for a zero gradient."""
    squares = {name: float(part.double().square().sum()) for name, part in gradient.items()}
    total = sum(squares.values())
    return {name: square / total for name, square in squares.items()} if total else None


def _check_groups(config: RunConfig, minibatches: Minibatches) -> None:
    """Refuse groups that the minibatch cannot be cut into."""
    if minibatches.size % config.groups:
        raise UsageError(
            f"expected --batch to be a multiple of --groups ({config.groups}), got {minibatches.size} examples a "
            "generation; change one of them"
        )
