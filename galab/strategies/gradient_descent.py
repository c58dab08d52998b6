"""Gradient descent, a baseline: one centre that moves along the true gradient of its loss, one step a generation.

Nothing is searched here. The executor leaves the gradient in ``.grad``, as autograd does, and an optimiser of
``torch.optim`` makes the step; so a run of it is what training by backpropagation is, on the same task, network,
minibatches, log and axis as the searches without gradients that it stands beside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.contracts import Cohort, Outcome, Scores
from galab.errors import NoViableChildError
from galab.genome.weights import Layout
from galab.strategies.centre import TorchCentre, record_of
from galab.strategies.survival import answered_cohort, check_scores_told

#: The only member: the centre itself, numbered by the generation.
_MEMBER = np.dtype([("id", "<i8")])


@dataclass(frozen=True, slots=True)
class Descent:
    """What one step was made of.

    Attributes:
        norm: Euclidean norm of the gradient, before clipping.
        change: norm of the change of the centre, in weight units.
    """

    norm: float
    change: float


class GradientDescent(TorchCentre):
    """See :class:`galab.contracts.Strategy`, and :class:`TorchCentre` for further attributes.

    Args:
        config: the hyperparameters, resolved.
        layout: names and shapes of the parameters.
        centre: (D,) float32 where the descent begins.
        device: where the centre lives.

    Attributes:
        step: what the last step was made of.
    """

    def __init__(self, config: RunConfig, layout: Layout, centre: NDArray[np.float32], device: torch.device) -> None:
        super().__init__(config, layout, centre, device, 1)
        self.step: Descent | None = None

    def ask(self) -> Cohort:
        """The centre.

        Raises:
            GalabError: the last cohort's scores have not been told yet.
        """
        check_scores_told(self._asked)
        member = np.array([(self.generation + 1,)], dtype=_MEMBER)
        self._asked = Cohort(self.generation + 1, member, 1)
        return self._asked

    def tell(self, scores: Scores) -> Outcome:
        """Make the step along the gradient of the loss in the parameters' ``.grad``.

        Raises:
            GalabError: no cohort was asked for, or the scores do not fit it.
            NoViableChildError: the loss, its gradient or the weights after the step are not finite; the generation is
                not counted.
        """
        cohort = answered_cohort(self._asked, scores)
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        norm = _length(gradients)
        if not np.isfinite(scores.fitness[0]) or not np.isfinite(norm):
            said = scores.failures.get(0, f"the loss is {-scores.fitness[0]:g}, the norm of its gradient {norm:g}")
            raise NoViableChildError(_diverged(cohort.generation, said))
        config, before = self.config, self._flat()
        if config.clip is not None and norm > config.clip:
            for part in gradients:
                part.mul_(config.clip / norm)
        self._optimizers.step(self.learning_rate(cohort.generation))
        change = _length([self._flat() - before])
        if not np.isfinite(change):
            raise NoViableChildError(_diverged(cohort.generation, "the step left weights that are not finite"))
        record = record_of(cohort.generation, self.planned, scores.fitness)
        self.step = Descent(norm, change)
        self.generation = cohort.generation
        self._asked = None
        return Outcome(record, np.array([cohort.generation], dtype=np.int64))

    def state_dict(self) -> dict[str, Any]:
        """See :class:`galab.contracts.Strategy`; the centre itself is saved beside it."""
        return {"generation": self.generation, "optimizer": self._optimizers.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue; see :meth:`load_centre`."""
        self.generation = int(state["generation"])
        self._optimizers.load_state(state["optimizer"], steps=self.generation)
        self._asked = None


def _length(parts: list[torch.Tensor]) -> float:
    """Euclidean norm of all parts together, summed in float64."""
    return math.hypot(*(float(torch.linalg.vector_norm(part, dtype=torch.float64)) for part in parts))


def _diverged(generation: int, said: str) -> str:
    return (
        f"generation {generation}: the descent cannot go on ({said}); the last good checkpoint is kept: try a smaller "
        "--lr or --clip 1, or look at the task"
    )
