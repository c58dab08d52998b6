"""Gradient descent with its network and its minibatches: the baseline for searches without gradients."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.registry import STRATEGIES
from galab.contracts import Cohort, Examples, Member, Outcome, Scores, Task
from galab.errors import UsageError, pass_interrupts
from galab.evaluation import numeric_profile
from galab.evaluation.blocks import Minibatches, fresh_examples
from galab.operators.es_noise import WeightVector
from galab.strategies.gradient_descent import GradientDescent
from galab.training.search import SearchBase, SearchInputs, initial_centre
from galab.training.true_gradient import TrueGradient

logger = logging.getLogger("galab")


class Backwards:
    """The executor that computes the centre's loss on a generation's minibatch, and leaves its gradient in ``.grad``.

    Args:
        gradient: differentiates the loss.
        parameters: the centre's tensors.
        minibatches: the examples of each generation.
    """

    def __init__(
        self, gradient: TrueGradient, parameters: dict[str, torch.nn.Parameter], minibatches: Minibatches
    ) -> None:
        self._gradient = gradient
        self._parameters = parameters
        self._minibatches = minibatches

    @property
    def examples(self) -> Examples:
        """The training data, where the centre is."""
        return self._minibatches.examples

    @property
    def size(self) -> int:
        """Examples of a generation."""
        return self._minibatches.size

    def score(self, cohort: Cohort) -> Scores:
        """See :class:`galab.contracts.Executor`."""
        examples = self._minibatches.of(cohort.generation)
        try:
            means, gradient = self._gradient.measured(self._parameters, examples)
        except BaseException as error:
            pass_interrupts(error)
            numeric_profile.log_member_failure(error)
            return Scores(np.array([np.nan]), {0: f"{type(error).__name__}: {error}"}, evaluations=len(examples))
        for name, parameter in self._parameters.items():
            parameter.grad = gradient[name]
        loss, failures = means["loss"], dict[int, str]()
        if not np.isfinite(loss):
            loss, failures = np.nan, {0: f"the loss is {loss}"}
        metrics = {name: np.array([value]) for name, value in means.items()}
        return Scores(np.array([-loss]), failures, metrics=metrics, evaluations=len(examples))


class GradientSearch(SearchBase):
    """See :class:`galab.training.search.Search`; it has no workers, as each step follows from the one before.

    Attributes:
        config: the configuration.
        strategy: makes the steps.
        executor: computes losses and gradients.
    """

    def __init__(self, config: RunConfig, strategy: GradientDescent, executor: Backwards) -> None:
        self.config = config
        self.strategy = strategy
        self.executor = executor

    @classmethod
    def build(cls, inputs: SearchInputs) -> GradientSearch:
        """The search of a run.

        Raises:
            UsageError: the task or the network has no gradient, or torch refuses the optimiser's arguments.
        """
        config, task, founders = inputs.config, inputs.task, inputs.founders
        device = torch.device(config.device)
        kind: type[GradientDescent] = STRATEGIES.load(config.strategy)
        strategy = kind(config, founders.layout, initial_centre(founders), device)
        gradient = TrueGradient(inputs.module, task, config.fitness, device)

        def prepared(examples: Examples) -> Examples:
            return Examples(examples.inputs.to(device), examples.targets.to(device))

        reused = inputs.reusable_search(GradientSearch)
        examples = prepared(task.train) if reused is None else reused.executor.examples
        minibatches = Minibatches(examples, config.batch, founders.run_key, fresh_examples(task, prepared))
        _check_gradient(config, task, gradient, strategy, prepared(_few(task.train)))
        return cls(config, strategy, Backwards(gradient, strategy.parameters, minibatches))

    @property
    def record_dtype(self) -> np.dtype[Any]:
        """The loss of a generation, as the score log has it."""
        return self.strategy.record_dtype

    @property
    def numerics(self) -> dict[str, Any]:
        """See :class:`galab.training.search.Search`."""
        return {"chunk": 1, "forward": "backpropagation", "block": self.executor.size, "compiled": False}

    def candidates(self) -> tuple[list[int], Sequence[Member]]:
        """The centre, numbered by its generation."""
        return [self.strategy.generation], [WeightVector(self.strategy.centre)]

    def log_fields(self, cohort: Cohort, scores: Scores, outcome: Outcome, records: int) -> dict[str, Any]:
        """The step, and how many examples were run backwards, which no search without gradients has."""
        step = self.strategy.step
        assert step is not None
        line: dict[str, Any] = {
            "learning_rate": self.strategy.learning_rate(cohort.generation),
            "gradient_norm": step.norm,
            "gradient_evaluations": cohort.generation * self.executor.size,
            "estimate_change": step.change,
        }
        if cohort.generation % self.config.report_every == 0:
            line["weights_norm"] = float(np.linalg.norm(self.strategy.centre.astype(np.float64)))
        return line

    def state(self) -> dict[str, Any]:
        """The centre."""
        return {"weights": self.strategy.centre[None]}

    def restore(self, state: dict[str, Any], records: NDArray[Any]) -> None:
        """Continue; the score log is not needed for it."""
        self.strategy.load_centre(np.asarray(state["weights"], dtype=np.float32)[0])
        self.strategy.load_state_dict(state["strategy"])


def _few(examples: Examples) -> Examples:
    return Examples(examples.inputs[:8], examples.targets[:8])


def _check_gradient(
    config: RunConfig, task: Task, gradient: TrueGradient, strategy: GradientDescent, examples: Examples
) -> None:
    """Refuse what cannot be differentiated before anything is written."""
    try:
        _, found = gradient.measured(strategy.parameters, examples)
    except BaseException as error:
        pass_interrupts(error)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"expected a task and a network with a gradient with --strategy {config.strategy}, got task '{task.name}' "
            f"and model '{config.model}' ({reason}); use a strategy that needs none, such as ga or eggroll"
        ) from error
    still = [name for name, part in found.items() if not part.any()]
    if len(still) == len(found):
        logger.warning(
            "the gradient of the loss is zero for every parameter on the first examples: steps along it may lead "
            "nowhere; if they do, use a strategy that needs no gradient, such as ga or eggroll"
        )
