"""What strategies with one centre share: where it lives, what moves it, and what is recorded of a generation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.config.run_config import RunConfig
from galab.config.schedules import parse_rate_schedule
from galab.contracts import Cohort
from galab.genome.weights import Layout
from galab.strategies.optimizers import Optimizers


def record_dtype(population: int) -> np.dtype[Any]:
    """A row of the score log: everything that is needed to repeat a generation, but for the seeds.

    ``planned`` is the number of generations that the run was meant to have then, on which schedules depend that end
    with the run; 0 where it had no such number, or nothing depends on it. A resumed run may have another.
    """
    return np.dtype([("generation", "<u4"), ("planned", "<u4"), ("fitness", "<f4", (population,))])


def record_of(generation: int, planned: int | None, fitness: NDArray[np.floating[Any]]) -> NDArray[np.void]:
    """One row of the score log.

    Args:
        generation: the generation that was scored.
        planned: see :func:`record_dtype`.
        fitness: (P,) of its members.
    """
    record = np.zeros(1, dtype=record_dtype(len(fitness)))
    record["generation"], record["planned"], record["fitness"] = generation, planned or 0, fitness
    return record


def as_recorded(fitness: NDArray[np.float64]) -> NDArray[np.float32]:
    """(P,) as the score log has it, so that a replay computes with the same numbers."""
    with np.errstate(over="ignore"):  # what is too large for it is a failure like any other
        return fitness.astype(np.float32)


class TorchCentre:
    """The centre as torch parameters, which an optimiser of torch moves along what is in their ``.grad``.

    Args:
        config: the hyperparameters, resolved.
        layout: names and shapes of the parameters.
        centre: (D,) float32 where the search begins.
        device: where the centre lives.
        members: of a generation.

    Attributes:
        generation: generations done.
        planned: generations that the run is meant to have; None where it has no end.
        parameters: name to the centre's tensor.
        record_dtype: a row of the score log.
    """

    def __init__(
        self, config: RunConfig, layout: Layout, centre: NDArray[np.float32], device: torch.device, members: int
    ) -> None:
        self.config = config
        self.generation = 0
        self.planned = config.generations
        self.layout = layout
        self.parameters = {
            name: nn.Parameter(torch.from_numpy(np.array(part)).to(device), requires_grad=False)
            for name, part in layout.split(np.array(centre, dtype=np.float32)).items()
        }
        self._optimizers = Optimizers(
            config.optimizer, list(self.parameters.values()), config.lr, config.weight_decay
        )
        self._lr = parse_rate_schedule(config.lr_schedule, "--lr-schedule")
        self.record_dtype = record_dtype(members)
        self._asked: Cohort | None = None

    @property
    def centre(self) -> NDArray[np.float32]:
        """(D,) the centre as one vector, a copy."""
        return self._flat().cpu().numpy()

    def learning_rate(self, generation: int) -> float:
        """The learning rate of a generation's step."""
        return self.config.lr * self._lr.factor(generation, self.planned)

    def load_centre(self, centre: NDArray[np.float32]) -> None:
        """Put the centre somewhere.

        Args:
            centre: (D,) float32.
        """
        for name, part in self.layout.split(np.array(centre, dtype=np.float32)).items():
            self.parameters[name].data.copy_(torch.from_numpy(np.array(part)))

    def _flat(self) -> torch.Tensor:
        return torch.cat([value.detach().flatten() for value in self.parameters.values()])
