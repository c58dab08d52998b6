"""Evolution strategies with one centre: OpenAI-ES (dense noise) and EGGROLL (noise of low rank).

Sources: Salimans et al., "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", arXiv 1703.03864;
Sarkar et al., "Evolution Strategies at the Hyperscale", arXiv 2511.16652.

What ``.grad`` gets is minus an estimate of the gradient of the (shaped) fitness, (1 / (N sigma)) sum_i s_i E_i with E
of unit variance: with raw fitness and SGD a learning rate means what it means in gradient descent. The paper's alpha
(Eq. 6) is lr / sigma; the official code's learning rate is lr / (sigma^2 sqrt(N)).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.config import RunConfig
from galab.contracts import Cohort, Outcome, Scores
from galab.errors import GalabError, NoViableChildError
from galab.genome.layout import Layout
from galab.perturbation.directions import Directions
from galab.schedules import parse_rate_schedule
from galab.strategies.estimate import estimate
from galab.strategies.optimizers import Optimizers
from galab.strategies.scoring import answered
from galab.strategies.shaping import SHAPINGS, pair_weights, single_weights, without_failures

#: A member of a cohort: the number of its direction and the sign of the step along it.
MEMBER = np.dtype([("id", "<i8"), ("sign", "i1")])
#: Under ``--pairs auto`` every so many generations are tried in pairs, to see whether pairs are worth it.
MEASURED_EVERY = 50


@dataclass(frozen=True, slots=True)
class Step:
    """What one generation's update was made of.

    Attributes:
        gradient: name to the estimate of the fitness's gradient, before clipping.
        norm: its Euclidean norm.
        change: norm of the change of the centre, in weight units.
        odd: variance of the odd part of the fitness, (f(+) - f(-)) / 2; None without pairs.
        even: variance of the even part, (f(+) + f(-)) / 2; None without pairs.
        ties: share of pairs with equal fitness; None without pairs.
    """

    gradient: dict[str, Tensor]
    norm: float
    change: float
    odd: float | None
    even: float | None
    ties: float | None


def record_dtype(population: int) -> np.dtype[Any]:
    """A row of the score log: everything that is needed to repeat a generation, but for the seeds.

    ``planned`` is the number of generations that the run was meant to have then, on which schedules depend that end
    with the run; 0 where nobody said. A resumed run may have another.
    """
    return np.dtype([("generation", "<u4"), ("planned", "<u4"), ("fitness", "<f4", (population,))])


class EvolutionStrategy:
    """See :class:`galab.contracts.Strategy`.

    Args:
        config: the hyperparameters, resolved.
        layout: names and shapes of the parameters.
        centre: (D,) float32 where the search begins.
        directions: the noise, shared with whoever evaluates.
        device: where the centre lives.

    Attributes:
        generation: generations done.
        planned: generations that the run is meant to have; None where nobody said.
        parameters: name to the centre's tensor.
        antithetic: whether the next generation is tried in pairs.
        step: what the last update was made of.
        record_dtype: a row of the score log.
    """

    def __init__(
        self,
        config: RunConfig,
        layout: Layout,
        centre: NDArray[np.float32],
        directions: Directions,
        device: torch.device,
    ) -> None:
        self.config = config
        self.generation = 0
        self.planned = config.generations
        self.layout = layout
        self._directions = directions
        self._device = device
        parts = layout.split(np.array(centre, dtype=np.float32))
        self.parameters = {
            name: nn.Parameter(torch.from_numpy(np.array(part)).to(device), requires_grad=False)
            for name, part in parts.items()
        }
        self._optimizers = Optimizers(
            config.optimizer, list(self.parameters.values()), config.lr, config.weight_decay
        )
        self._sigma = parse_rate_schedule(config.sigma_schedule or "constant", "--sigma-schedule")
        self._lr = parse_rate_schedule(config.lr_schedule, "--lr-schedule")
        self.antithetic = config.pairs != "one-sided"
        self._worth = self.antithetic
        self.step: Step | None = None
        self.record_dtype = record_dtype(config.population)
        self._asked: Cohort | None = None

    @property
    def centre(self) -> NDArray[np.float32]:
        """(D,) the centre as one vector, a copy."""
        return torch.cat([value.detach().flatten() for value in self.parameters.values()]).cpu().numpy()

    @property
    def checksum(self) -> int:
        """A number that differs, almost surely, where the centre does."""
        found = 0
        for value in self.parameters.values():
            found = zlib.crc32(value.detach().cpu().contiguous().numpy().data, found)
        return found

    def sigma(self, generation: int) -> float:
        """The step size of a generation, in weight units."""
        return self.config.sigma * self._sigma.factor(generation, self.planned)

    def learning_rate(self, generation: int) -> float:
        """The learning rate of a generation's update."""
        return self.config.lr * self._lr.factor(generation, self.planned)

    def noise_of(self, generation: int) -> int:
        """The generation whose noise a generation uses: the first of those that share it."""
        return (generation - 1) // self.config.noise_reuse + 1

    def ask(self) -> Cohort:
        """All members: in pairs plus and minus side by side, or each with a direction of its own.

        Raises:
            GalabError: the last cohort's scores have not been told yet.
        """
        if self._asked is not None:
            raise GalabError("expected tell() with the scores of the last cohort, got ask() again; call tell() first")
        population = self.config.population
        members = np.zeros(population, dtype=MEMBER)
        places = np.arange(population)
        members["id"] = places // 2 if self.antithetic else places
        members["sign"] = 1 - 2 * (places % 2) if self.antithetic else 1
        self._asked = Cohort(self.generation + 1, members, population)
        return self._asked

    def tell(self, scores: Scores) -> Outcome:
        """Move the centre.

        Raises:
            GalabError: no cohort was asked for, or the scores do not fit it.
            NoViableChildError: not one member has a finite score; the generation is not counted.
        """
        cohort = answered(self._asked, scores)
        # As it is written down, so that a replay computes with the same numbers.
        with np.errstate(over="ignore"):  # what is too large for it is a failure like any other
            fitness = scores.fitness.astype(np.float32)
        if not np.isfinite(fitness).any():
            raise NoViableChildError(_all_failed(cohort, scores))
        record = np.zeros(1, dtype=self.record_dtype)
        record["generation"], record["planned"], record["fitness"] = cohort.generation, self.planned or 0, fitness
        self._update(cohort.generation, without_failures(fitness.astype(np.float64)))
        self.generation = cohort.generation
        self._asked = None
        return Outcome(record, np.array([cohort.generation], dtype=np.int64))

    def _update(self, generation: int, fitness: NDArray[np.float64]) -> None:
        config = self.config
        scores = SHAPINGS[config.shaping](fitness, config.groups)
        if self.antithetic:
            weights = pair_weights(scores, sign=config.shaping == "sign")
        else:
            weights = single_weights(scores, config.groups)
        odd, even, ties = parts(fitness, config.groups) if self.antithetic else (None, None, None)
        noise = self.noise_of(generation)
        gradient = estimate(self._directions, noise, weights, self.sigma(generation), self._device)
        norm = float(torch.sqrt(sum((part.double().square().sum() for part in gradient.values()), torch.zeros(()))))
        shrink = min(1.0, config.clip / norm) if config.clip is not None and norm > 0 else 1.0
        before = self.centre
        for name, parameter in self.parameters.items():
            parameter.grad = gradient[name].mul(-shrink)
        self._optimizers.step(self.learning_rate(generation))
        change = float(np.linalg.norm((self.centre - before).astype(np.float64)))
        self.step = Step(gradient, norm, change, odd, even, ties)
        if config.pairs == "auto" and config.shaping != "sign":
            if odd is not None and even is not None:
                self._worth = even >= odd
            self.antithetic = self._worth or generation % MEASURED_EVERY == 0

    def state_dict(self) -> dict[str, Any]:
        """See :class:`galab.contracts.Strategy`; the centre itself is saved beside it."""
        return {
            "generation": self.generation,
            "antithetic": self.antithetic,
            "pairs_worth": self._worth,
            "optimizer": self._optimizers.state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue; see :meth:`load_centre`."""
        self.generation = int(state["generation"])
        self.antithetic = bool(state["antithetic"])
        self._worth = bool(state["pairs_worth"])
        self._optimizers.load_state(state["optimizer"])
        self._asked = None

    def load_centre(self, centre: NDArray[np.float32]) -> None:
        """Put the centre somewhere.

        Args:
            centre: (D,) float32.
        """
        for name, part in self.layout.split(np.array(centre, dtype=np.float32)).items():
            self.parameters[name].data.copy_(torch.from_numpy(np.array(part)))


def parts(fitness: NDArray[np.float64], groups: int = 1) -> tuple[float, float, float]:
    """Odd and even energy of pairs, and the share of ties.

    Args:
        fitness: (2 P,) plus and minus of each pair side by side.
        groups: groups of members one after the other; their means differ by their examples, which says nothing.

    Returns:
        Mean square of (f(+) - f(-)) / 2, variance of (f(+) + f(-)) / 2 about the means of the groups, and the share of
        pairs with f(+) = f(-).
    """
    plus, minus = fitness[0::2], fitness[1::2]
    odd, even = (plus - minus) / 2, (plus + minus) / 2
    return float(np.mean(odd**2)), float(even.reshape(groups, -1).var(axis=1).mean()), float(np.mean(odd == 0))


def _all_failed(cohort: Cohort, scores: Scores) -> str:
    reasons = [scores.failures[index] for index in sorted(scores.failures)]
    return (
        f"generation {cohort.generation}: not one of {len(cohort.births)} members has a finite fitness "
        f"({reasons[0] if reasons else 'no score was finite'}); the last good checkpoint is kept: try a smaller "
        "--sigma or --lr, or look at the task"
    )
