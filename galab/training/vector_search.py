"""A strategy over weight vectors with its network: every member is a network with weights of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config.run_config import RunConfig
from galab.contracts import Cohort, Member, Outcome, Scores
from galab.errors import CheckpointError
from galab.evaluation.blocks import Minibatches, fresh_examples
from galab.evaluation.executors.local import LocalExecutor
from galab.evaluation.member_evaluator import MemberEvaluator, member_evaluator
from galab.evaluation.sources import VectorSource
from galab.genome.initial import Founders
from galab.genome.random import Table
from galab.operators.es_noise import WeightVector
from galab.strategies.build import vector_strategy
from galab.strategies.vectors import VectorStrategyAdapter
from galab.training.search import SearchBase, SearchInputs, SharedCentre, initial_centre


class VectorSearch(SharedCentre, SearchBase):
    """See :class:`galab.training.search.SharedSearch`.

    Attributes:
        config: the configuration.
        strategy: proposes weight vectors and learns from their fitness.
        evaluator: scores members.
        executor: carries out a generation's evaluation.
    """

    strategy: VectorStrategyAdapter

    def __init__(
        self,
        config: RunConfig,
        strategy: VectorStrategyAdapter,
        evaluator: MemberEvaluator,
        minibatches: Minibatches,
    ) -> None:
        self.config = config
        self.strategy = strategy
        self.evaluator = evaluator
        source, by_prompt = VectorSource(strategy.members, evaluator), config.baseline == "prompt"
        self.executor = LocalExecutor(source, minibatches, fitness=config.fitness, by_prompt=by_prompt)

    @classmethod
    def build(cls, inputs: SearchInputs) -> VectorSearch:
        """The search of a run.

        Raises:
            UsageError: the class does not follow the contract, or refuses an argument.
        """
        config, task, founders = inputs.config, inputs.task, inputs.founders
        strategy = _strategy(config, founders)
        reused = inputs.reusable_search(VectorSearch)
        if reused is not None:
            evaluator, examples = reused.evaluator, reused.executor.examples
        else:
            evaluator = member_evaluator(config, inputs.module, founders.layout, task, chunk=config.chunk)
            examples = evaluator.prepared(task.train)
        fresh = fresh_examples(task, evaluator.prepared)
        return cls(config, strategy, evaluator, Minibatches(examples, config.batch, founders.run_key, fresh))

    @staticmethod
    def replica(
        config: RunConfig, founders: Founders, law: Table, state: dict[str, Any], device: torch.device
    ) -> VectorStrategyAdapter:
        """The strategy of a run at generation 0, without its network and its data: it can be told scores of a log.

        Args:
            config: of the run.
            founders: where the centre begins.
            law: not needed: the strategy draws its own noise.
            state: not needed.
            device: not needed: the strategy computes where it wants to.

        Raises:
            UsageError: the class does not follow the contract, or refuses an argument.
        """
        return _strategy(config, founders)

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
            "forward": evaluator.forward_name,
            "block": evaluator.block,
            "compiled": evaluator.compiled,
        }

    def candidates(self) -> tuple[list[int], Sequence[Member]]:
        """The centre, numbered by its generation."""
        return [self.strategy.generation], [WeightVector(self.strategy.centre)]

    def log_fields(self, cohort: Cohort, scores: Scores, outcome: Outcome, records: int) -> dict[str, Any]:
        """How far the centre moved, its length on report generations, and step sizes where the strategy has some."""
        line: dict[str, Any] = {"estimate_change": self.strategy.change}
        sizes = self.strategy.step_sizes
        if sizes is not None:
            line["step_size"] = float(np.exp(np.log(sizes).mean())) if (sizes > 0).all() else float(sizes.mean())
            if sizes.size > 1:
                line |= {"step_size_min": float(sizes.min()), "step_size_max": float(sizes.max())}
        if cohort.generation % self.config.report_every == 0:
            line["weights_norm"] = float(np.linalg.norm(self.strategy.centre.astype(np.float64)))
        return line

    def state(self) -> dict[str, Any]:
        """The centre."""
        return {"weights": self.strategy.centre[None]}

    def restore(self, state: dict[str, Any], records: NDArray[Any]) -> None:
        """Continue; the score log is not needed for it.

        Raises:
            CheckpointError: the strategy does not come back to the centre that was saved.
        """
        self.strategy.load_state_dict(state["strategy"])
        saved = np.asarray(state["weights"], dtype=np.float32)[0]
        if saved.tobytes() != self.strategy.centre.tobytes():
            raise CheckpointError(
                f"expected strategy '{self.config.strategy}' to be at the saved centre after load_state_dict(), got "
                "another one; correct the class: state_dict() must hold everything needed to continue"
            )


def _strategy(config: RunConfig, founders: Founders) -> VectorStrategyAdapter:
    inner = vector_strategy(
        config.strategy, initial_centre(founders),
        run_key=founders.run_key, population=config.population, sigma=config.sigma,
    )  # fmt: skip
    return VectorStrategyAdapter(inner, config.strategy, config.population)
