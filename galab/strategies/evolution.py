"""Evolution strategies with one centre: OpenAI-ES (dense noise) and EGGROLL (noise of low rank).

Sources: Salimans et al., "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", arXiv 1703.03864;
Sarkar et al., "Evolution Strategies at the Hyperscale", arXiv 2511.16652.

What ``.grad`` gets is minus an estimate of the gradient of the (shaped) fitness, (1 / (N sigma)) sum_i s_i E_i with E
of unit variance: with raw fitness and SGD a learning rate means what it means in gradient descent. The paper's alpha
(Eq. 6) is lr / sigma; the official code's learning rate is lr / (sigma^2 sqrt(N)).

Fitness is shaped into one weight for each direction. The estimate then takes one product of matrices for each tensor,
and no direction is formed (Sarkar et al., section 4): sum_p w_p A_p B_p^T = A^T diag(w) B with the factors of all
directions side by side. Sums are float32 in a fixed order; memory does not depend on the population, as directions come
by the group.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galab.config import RunConfig
from galab.config.schedules import parse_rate_schedule
from galab.contracts import Cohort, Outcome, Scores
from galab.errors import NoViableChildError
from galab.genome.weights import Layout
from galab.operators.es_noise import DenseNoise, Directions, LowRankNoise
from galab.strategies.centre import TorchCentre, as_recorded, record_of, refuse_infinite
from galab.strategies.survival import all_failed_message, answered_cohort, check_scores_told


def estimate(
    directions: Directions, generation: int, weights: NDArray[np.float64], sigma: float, device: torch.device
) -> dict[str, Tensor]:
    """``(1 / (n sigma)) sum_i weights[i] E_i`` for the first n directions of a generation.

    Args:
        directions: where the noise comes from.
        generation: whose noise.
        weights: (n,) one for each direction.
        sigma: the step size that the directions were tried with, in weight units.
        device: where to compute.

    Returns:
        Name of each parameter to a float32 tensor of its shape: an estimate of the fitness's gradient.
    """
    plan = directions.plan
    sums = {tensor.name: torch.zeros(tensor.shape, device=device) for tensor in plan.tensors}
    scale = 1 / (len(weights) * sigma)
    factors = torch.from_numpy((weights * scale).astype(np.float32)).to(device)
    for first, noise in directions.between(generation, 0, len(weights)):
        for name, part in noise.items():
            sums[name] += _weighted_sum(part, factors[first : first + part.count]).view_as(sums[name])
    return sums


def _weighted_sum(noise: LowRankNoise | DenseNoise, weights: Tensor) -> Tensor:
    """sum_q weights[q] E_q: the tensor as an (m, n) matrix, or flat."""
    if isinstance(noise, DenseNoise):
        return weights @ noise.values.reshape(len(weights), -1)
    count, rows, rank = noise.a.shape
    left = noise.a * (weights / rank**0.5).view(-1, 1, 1)
    # All directions and ranks side by side: (m, Q r) times (Q r, n).
    return left.transpose(1, 2).reshape(count * rank, rows).t() @ noise.b.transpose(1, 2).reshape(count * rank, -1)


Fitness = NDArray[np.float64]
#: From (N,) finite fitness, and how many groups of members lie one after the other, to (N,) scores.
Shaping = Callable[[Fitness, int], Fitness]


def raw(fitness: Fitness, groups: int) -> Fitness:
    """The fitness as it is: the estimate is that of the fitness's own gradient."""
    return fitness


def z_score(fitness: Fitness, groups: int) -> Fitness:
    """Standard deviations from the mean of the member's group.

    The standard deviation is that of the whole population about the group means, so all groups weigh alike
    (arXiv 2511.16652, section 6.3). Equal fitness everywhere scores 0.
    """
    centred = _about_group_means(fitness, groups)
    deviation = float(np.sqrt(np.mean(np.square(centred))))
    # Equal fitness differs from its mean by rounding, which no score may be made of.
    rounding = 1e-12 * float(np.abs(fitness).max(initial=0.0))
    return centred / deviation if deviation > rounding else np.zeros_like(centred)


def centred_ranks(fitness: Fitness, groups: int) -> Fitness:
    """Ranks within the member's group, from -1/2 to 1/2; equal fitness shares its mean rank.

    Source: Salimans et al., "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", 2017.
    """
    from scipy.stats import rankdata  # scipy.stats takes a second to import

    by_group = fitness.reshape(groups, -1)
    ranks = rankdata(by_group, axis=1) - 1
    most = max(by_group.shape[1] - 1, 1)
    return np.asarray(ranks / most - 0.5, dtype=np.float64).reshape(-1)


def _about_group_means(fitness: Fitness, groups: int) -> Fitness:
    by_group = fitness.reshape(groups, -1)
    return (by_group - by_group.mean(axis=1, keepdims=True)).reshape(-1)


#: By the names that ``--shaping`` takes; ``sign`` works on pairs and is applied in :func:`pair_weights`.
SHAPINGS: dict[str, Shaping] = {"raw": raw, "z-score": z_score, "centred-ranks": centred_ranks, "sign": raw}

#: Those that make sums of scores.
AVERAGED = ("raw", "z-score")


def pair_weights(scores: Fitness, *, sign: bool = False) -> Fitness:
    """Weights of antithetic pairs.

    Args:
        scores: (2 P,) shaped scores, plus and minus of each pair side by side.
        sign: only which of the two is better counts: +1, -1, or 0 for a tie.

    Returns:
        (P,) half the difference of each pair, or its sign.
    """
    odd = (scores[0::2] - scores[1::2]) / 2
    return np.sign(odd) if sign else odd


def single_weights(scores: Fitness, groups: int) -> Fitness:
    """Weights of members without a mirror image: the score minus the mean of the member's group, (N,)."""
    return _about_group_means(scores, groups)


def without_failures(fitness: Fitness) -> Fitness:
    """The fitness with failures ranked last: each counts as the worst member that has a finite fitness."""
    finite = np.isfinite(fitness)
    return np.where(finite, fitness, fitness[finite].min()) if finite.any() else fitness


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


class EvolutionStrategy(TorchCentre):
    """See :class:`galab.contracts.Strategy`, and :class:`TorchCentre` for further attributes.

    Args:
        config: the hyperparameters, resolved.
        layout: names and shapes of the parameters.
        centre: (D,) float32 where the search begins.
        directions: the noise, shared with the evaluator.
        device: where the centre lives.

    Attributes:
        antithetic: whether the next generation is tried in pairs.
        step: what the last update was made of.
    """

    def __init__(
        self,
        config: RunConfig,
        layout: Layout,
        centre: NDArray[np.float32],
        directions: Directions,
        device: torch.device,
    ) -> None:
        super().__init__(config, layout, centre, device, config.population)
        self._directions = directions
        self._device = device
        self._sigma = parse_rate_schedule(config.sigma_schedule or "constant", "sigma_schedule")
        self.antithetic = config.pairs != "one-sided"
        self._worth = self.antithetic
        self.step: Step | None = None

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

    def noise_of(self, generation: int) -> int:
        """The generation whose noise a generation uses: the first of those that share it."""
        return (generation - 1) // self.config.noise_reuse + 1

    def ask(self) -> Cohort:
        """All members: in pairs plus and minus side by side, or each with a direction of its own.

        Raises:
            GalabError: the last cohort's scores have not been told yet.
        """
        check_scores_told(self._asked)
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
        cohort = answered_cohort(self._asked, scores)
        fitness = as_recorded(scores.fitness)
        if not np.isfinite(fitness).any():
            raise NoViableChildError(all_failed_message(cohort, scores, "members", "--sigma or --lr"))
        if self.config.shaping in AVERAGED:
            refuse_infinite(fitness)
        record = record_of(cohort.generation, self.planned, fitness)
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
        odd, even, ties = odd_even_energy(fitness, config.groups) if self.antithetic else (None, None, None)
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
        self._optimizers.load_state(state["optimizer"], steps=self.generation)
        self._asked = None


def odd_even_energy(fitness: NDArray[np.float64], groups: int = 1) -> tuple[float, float, float]:
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
