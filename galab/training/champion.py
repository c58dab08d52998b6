"""The champion: the living parent that is best on validation data, or the centre that a search moves.

Selection never sees that data.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from galab.config import RunConfig
from galab.config.parsing import parse_fitness
from galab.config.strategy_kinds import kind_of
from galab.contracts import DescribesWeights, Examples, HasTrainParts, Member, Task
from galab.errors import UsageError, pass_interrupts
from galab.evaluation.egg_evaluator import EggEvaluator
from galab.evaluation.fitness import Means, deterministic_scores, means_of, score
from galab.evaluation.integer_linear import MatrixEvaluator
from galab.evaluation.member_evaluator import MemberEvaluator, member_evaluator
from galab.evaluation.prompt_evaluator import PromptEvaluator
from galab.genome.initial import tensors_of
from galab.genome.weights import Layout
from galab.models.egg import Egg
from galab.models.integer_linear import IntegerLinear

logger = logging.getLogger("galab")

#: How a task's sums read once they are means.
_NAMES = {"correct": "accuracy"}


@dataclass(frozen=True, slots=True)
class Champion:
    """The parent that ``evaluate`` and ``export`` use.

    Attributes:
        id: its birth.
        place: its rank among the parents by fitness, from 0.
        metrics: ``validation_loss``, ``validation_accuracy``, ``test_loss``, ``test_accuracy``, ...; ``train_PART_...``
            where the task has parts; and ``weights_...``, what it says of the weights themselves.
    """

    id: int
    place: int
    metrics: dict[str, float]


class ChampionSelector:
    """Scores parents on validation data, and the best of them on test data; always in float32.

    Best is by the first base of the fitness as it stands, also where selection looks at improvement or inheritance;
    ``sampled-accuracy`` is replaced by ``expected-accuracy``, its mean over all coins.

    Args:
        config: the run's configuration.
        module: the network.
        layout: where each parameter lies.
        task: the data.
    """

    def __init__(self, config: RunConfig, module: torch.nn.Module, layout: Layout, task: Task) -> None:
        def evaluator(chunk: int) -> MemberEvaluator | EggEvaluator | MatrixEvaluator:
            """What scores so many members at once, in float32 and with all that can be measured."""
            if isinstance(module, Egg):
                return EggEvaluator(module, layout)
            if isinstance(module, IntegerLinear):
                return MatrixEvaluator(module, layout)
            return member_evaluator(
                config, module, layout, task, chunk=chunk, precision="float32", final=True, reports_usage=True
            )

        self._task = task
        self._layout = layout
        self._base = parse_fitness(config.fitness).bases[0]
        self._each = deterministic_scores(self._base)
        most = min(config.chunk, 64) if config.generator != "transformers" else 64  # a server holds so many adapters
        self._several = evaluator(min(config.parents, most) if kind_of(config.strategy).breeds else 1)
        # One member alone has a chunk of its own size, so `galab evaluate` repeats the logged figure to the bit.
        self._single = evaluator(1)
        self._said: set[str] = set()

    def select(self, ids: list[int], parents: Sequence[Member], *, test: bool) -> Champion:
        """The best parent on validation; equal ones in order of fitness.

        Args:
            ids: the parents' births, best first.
            parents: their weights.
            test: whether to score it on the test data too.
        """
        validation = self._task.validation
        means = means_of(self._several.measure(parents, validation, self._each))
        fitness = (
            score(self._base, means, len(validation), deterministic=True) if means else np.full(len(parents), np.nan)
        )
        place = int(np.argmax(np.where(np.isfinite(fitness), fitness, -np.inf)))
        metrics = (
            named("validation", means, place)
            | self._part_metrics(parents[place])
            | self._weight_metrics(parents[place])
        )
        if test:
            metrics |= self.score(parents[place], "test")
        return Champion(ids[place], place, metrics)

    def score(self, member: Member, split: str) -> dict[str, float]:
        """Metrics of one member on a split of the task: ``train``, ``validation`` or ``test``; and of its weights."""
        examples: Examples = getattr(self._task, split)
        metrics = self._split_metrics(split, member, examples)
        return metrics | (self._part_metrics(member) if split == "train" else {}) | self._weight_metrics(member)

    def shown(self, member: Member) -> str:
        """Answers of a member to some prompts, of training and test; empty where there are none."""
        if not isinstance(self._single, PromptEvaluator):
            return ""
        numbers = [*self._task.train.targets[:2].tolist(), *self._task.test.targets[:4].tolist()]
        return self._single.shown(member, numbers)

    def _split_metrics(self, name: str, member: Member, examples: Examples) -> dict[str, float]:
        measured = self._single.measure([member], examples, self._each)
        for reason in measured.failures.values():
            if reason not in self._said:
                self._said.add(reason)
                logger.warning("the champion has no %s score, as one of its %d failed: %s", name, len(examples), reason)
        return named(name, means_of(measured), 0)

    def _part_metrics(self, member: Member) -> dict[str, float]:
        """The same metrics on each part of the training examples, where the task names parts."""
        found: dict[str, float] = {}
        if isinstance(self._task, HasTrainParts):
            for part, examples in self._task.parts.items():
                found |= self._split_metrics(f"train_{part}", member, examples)
        return found

    def _weight_metrics(self, member: Member) -> dict[str, float]:
        """What the task says of a member's weights themselves, where it says something."""
        if not isinstance(self._task, DescribesWeights):
            return {}
        try:
            found = self._task.inspect(tensors_of(self._layout, member))
            return {f"weights_{name}": float(value) for name, value in found.items()}
        except BaseException as error:
            pass_interrupts(error)
            raise UsageError(
                f"task '{self._task.name}': expected inspect(parameters) to return a mapping of names to numbers, got "
                f"{type(error).__name__}: {error}; correct inspect"
            ) from error


def named(split: str, means: Means, index: int) -> dict[str, float]:
    """One member's metrics under their names in the log."""
    return {f"{split}_{_NAMES.get(name, name)}": float(values[index]) for name, values in means.items()}
