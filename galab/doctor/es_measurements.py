"""What an evolution strategy's estimate is worth before a run: the law's prediction, and measurements at the start.

Nothing is written. The law is that of :mod:`galab.operators.es_noise`; :mod:`galab.doctor.es_advice` words the advice.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galab.config import RunConfig
from galab.config.parsing import parse_fitness
from galab.contracts import Cohort, Scores
from galab.evaluation.batched.supported_layers import low_rank_names
from galab.evaluation.blocks import Minibatches, fresh_examples
from galab.evaluation.dense_evaluator import Evaluator
from galab.evaluation.executors.local import LocalExecutor
from galab.evaluation.sources import Measured, PerturbedSource
from galab.operators.es_noise import Directions, WeightVector, cosine, one_sided_cosine, plan_of, variance
from galab.strategies.evolution import (
    MEMBER,
    SHAPINGS,
    estimate,
    odd_even_energy,
    pair_weights,
    single_weights,
    without_failures,
)
from galab.training.build import build, network_and_task, own_threads
from galab.training.evolution_search import EvolutionSearch, cosine_between, shares_of
from galab.training.resolve import resolve, resolve_distribution
from galab.training.search import RunComponents
from galab.training.start_from import origin_founders, pinned_origin
from galab.training.true_gradient import TrueGradient

#: Step sizes that are tried, as factors of the configured one.
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class SigmaMeasurement:
    """What pairs at one step size are like.

    Attributes:
        sigma: the step size, in weight units.
        even_to_odd: variance of the even part of the fitness over the odd part's; None without any odd part.
        ties: share of pairs with equal fitness.
        failures: share of members without a finite fitness.
        cosine: of the estimate from these pairs with the true gradient; None where that is not to be had.
    """

    sigma: float
    even_to_odd: float | None
    ties: float
    failures: float
    cosine: float | None


@dataclass(frozen=True, slots=True)
class RankPrediction:
    """What another rank would give.

    Attributes:
        rank: r; None for noise of full rank.
        cosine: predicted for the configured population in pairs.
        numbers: random numbers in one direction.
    """

    rank: int | None
    cosine: float
    numbers: int


@dataclass(frozen=True, slots=True)
class EstimateFindings:
    """What was found about a configuration.

    Attributes:
        config: the configuration, resolved.
        data: the data in words.
        parameters: D.
        variance: V of the law.
        shares_known: whether V is made of the true gradient's shares of the tensors; else of their sizes.
        pairs_cosine: predicted for the population in antithetic pairs.
        one_sided_cosine: predicted for it without pairs; None where the odd and even parts do not tell.
        measured: cosines of generations at the start; empty where there is no true gradient.
        measured_population: members in each of those.
        tried_pairs: pairs behind each of ``sigmas``.
        tried_cosine: what the law predicts for that many pairs.
        sigmas: by step size.
        ranks: by rank, full rank last; empty without a matrix that can have one.
        seconds: that a generation takes.
        weights_rms: root mean square of the weights.
        best_step: learning rate of the single step along an estimate that improves other examples most; None where
            no step does.
    """

    config: RunConfig
    data: str
    parameters: int
    variance: float
    shares_known: bool
    pairs_cosine: float
    one_sided_cosine: float | None
    measured: tuple[float, ...]
    measured_population: int
    tried_pairs: int
    tried_cosine: float
    sigmas: tuple[SigmaMeasurement, ...]
    ranks: tuple[RankPrediction, ...]
    seconds: float
    weights_rms: float
    best_step: float | None

    @property
    def configured(self) -> SigmaMeasurement:
        """What pairs at the configured step size are like."""
        return self.sigmas[FACTORS.index(1.0)]

    @property
    def in_pairs(self) -> bool:
        """Whether the run would be in pairs, where it chooses itself as it would choose here."""
        return chosen_pairs(self.config.pairs, self.pairs_cosine, self.one_sided_cosine)

    @property
    def cosine(self) -> float:
        """What is predicted for the configuration."""
        alone = self.one_sided_cosine
        return self.pairs_cosine if self.in_pairs or alone is None else alone


def chosen_pairs(pairs: str, pairs_cosine: float, one_sided_cosine: float | None) -> bool:
    """Whether a run is in pairs.

    Args:
        pairs: as ``--pairs`` has it; ``auto`` takes what is predicted to be better.
        pairs_cosine: the prediction for pairs.
        one_sided_cosine: that for single members, where there is one.
    """
    if pairs != "auto":
        return pairs == "antithetic"
    return one_sided_cosine is None or pairs_cosine >= one_sided_cosine


#: Pairs that are tried with each of them, if that does not take too long.
_PAIRS, _FEWEST_PAIRS = 128, 8
_GENERATIONS = 5
_RANKS = (1, 2, 4, 8, 16)
#: Lengths of the steps that are tried along an estimate, as shares of the length of the weights.
_STEPS = tuple(2.0 ** (place / 2) for place in range(-20, 12))


@own_threads()
def measure_estimate(config: RunConfig, *, budget: float = 30.0) -> EstimateFindings:
    """Look at the start of a run: the founder's weights, or another run's centre (``origin``).

    Args:
        config: of an evolution strategy; without a seed, 0 is taken.
        budget: seconds that the measurements may take, roughly; infinity takes all that there are.

    Raises:
        UsageError: the configuration cannot be carried out.
    """
    seeded = dataclasses.replace(config, seed=0 if config.seed is None else config.seed)
    config, law = resolve_distribution(pinned_origin(resolve(seeded)))
    module, task = network_and_task(config)
    components = build(config, module, task, law=law, founders=origin_founders(config, module))
    search = components.search_as(EvolutionSearch)
    directions = Directions(
        search.plan, law, components.founders.run_key, torch.device(config.device), config.cache_mb << 20
    )
    return _StartMeasurements(components, search, directions).findings(budget)


class _StartMeasurements:
    """Members around the start of a run, in cohorts of any size and step size."""

    def __init__(self, components: RunComponents, search: EvolutionSearch, directions: Directions) -> None:
        self.config, self.task, self.layout = components.config, components.task, components.layout
        self.module, self.search, self.directions = components.module, search, directions
        self.device = torch.device(self.config.device)
        self.centre = search.strategy.parameters
        fresh = fresh_examples(self.task, search.evaluator.prepared)
        run_key = components.founders.run_key
        self.minibatches = Minibatches(search.executor.examples, self.config.batch, run_key, fresh)
        self.truth = TrueGradient(self.module, self.task, parse_fitness(self.config.fitness).bases[0], self.device)

    def findings(self, budget: float) -> EstimateFindings:
        """Everything; see :func:`measure_estimate`."""
        config = self.config
        gradient = self._gradient(1)
        shares = None if gradient is None else shares_of(gradient)
        total = variance(self.search.plan, shares)
        each = self._seconds_for_a_member()
        pairs = self._fitting(_PAIRS, budget / 3 / len(FACTORS) / (2 * each), _FEWEST_PAIRS)
        sigmas = tuple(self._at_sigma(config.sigma * factor, pairs, gradient) for factor in FACTORS)
        even_to_odd = sigmas[FACTORS.index(1.0)].even_to_odd
        paired, alone = cosine(total, config.population / 2), None
        if even_to_odd is not None:
            alone = one_sided_cosine(total, config.population, even_to_odd)
        in_pairs = chosen_pairs(config.pairs, paired, alone)
        signs = 2 if in_pairs else 1
        most = config.population // signs
        members = signs * self._fitting(most, budget / 2 / (signs * each), min(_FEWEST_PAIRS, most))
        measured, seconds, estimated = self._measured(members, in_pairs, min(_GENERATIONS, budget / 2 / each / members))
        return EstimateFindings(
            config, self.task.description, self.layout.size, total, shares is not None,
            paired, alone, measured, members, pairs, cosine(total, pairs), sigmas,
            self._ranks(shares), seconds * config.population / members, self._weights_rms(),
            self._best_step(estimated),
        )  # fmt: skip

    def _fitting(self, wanted: int, affordable: float, least: int) -> int:
        """How many of what is wanted can be afforded: all, or a power of two, in whole groups."""
        groups, most = self.config.groups, int(min(affordable, wanted))
        count = wanted if most == wanted else max(least, 1 << max(0, most.bit_length() - 1))
        return -(-min(wanted, count) // groups) * groups

    def _gradient(self, generation: int) -> dict[str, Tensor] | None:
        return self.truth.at(self.centre, self.minibatches.of(generation))

    def _scores(self, generation: int, members: int, sigma: float, *, in_pairs: bool) -> Scores:
        rows = np.zeros(members, dtype=MEMBER)
        places = np.arange(members)
        rows["id"] = places // 2 if in_pairs else places
        rows["sign"] = 1 - 2 * (places % 2) if in_pairs else 1
        source = PerturbedSource(
            self.centre, self.directions, self.search.evaluator,
            noise_of=lambda generation: generation, sigma=lambda _: sigma, groups=self.config.groups,
        )  # fmt: skip
        executor = LocalExecutor(source, self.minibatches, fitness=self.config.fitness)
        return executor.score(Cohort(generation, rows, members))

    def _estimate(
        self, generation: int, fitness: NDArray[np.float64], sigma: float, in_pairs: bool
    ) -> dict[str, Tensor]:
        config = self.config
        scores = SHAPINGS[config.shaping](without_failures(fitness), config.groups)
        weights = (
            pair_weights(scores, sign=config.shaping == "sign") if in_pairs else single_weights(scores, config.groups)
        )
        return estimate(self.directions, generation, weights, sigma, self.device)

    def _seconds_for_a_member(self) -> float:
        members = 2 * self._fitting(_FEWEST_PAIRS, _FEWEST_PAIRS, 1)
        self._scores(1, members, self.config.sigma, in_pairs=True)  # the first time is always slow
        began = time.perf_counter()
        self._scores(1, members, self.config.sigma, in_pairs=True)
        return (time.perf_counter() - began) / members

    def _at_sigma(self, sigma: float, pairs: int, gradient: Mapping[str, Tensor] | None) -> SigmaMeasurement:
        fitness = self._scores(1, 2 * pairs, sigma, in_pairs=True).fitness
        finite = np.isfinite(fitness)
        if not finite.any():
            return SigmaMeasurement(sigma, None, 0.0, 1.0, None)
        whole = finite.reshape(-1, 2).all(axis=1).repeat(2)
        odd, even, ties = odd_even_energy(fitness[whole]) if whole.any() else (0.0, 0.0, 0.0)
        found = None
        if gradient is not None:
            found = cosine_between(self._estimate(1, fitness, sigma, True), dict(gradient))
        return SigmaMeasurement(sigma, even / odd if odd else None, ties, 1 - float(finite.mean()), found)

    def _measured(
        self, members: int, in_pairs: bool, generations: float
    ) -> tuple[tuple[float, ...], float, dict[str, Tensor] | None]:
        """Cosines of some generations, the seconds that one takes, and the last estimate."""
        cosines, seconds, estimated = [], [], None
        for generation in range(1, max(1, int(generations)) + 1):
            began = time.perf_counter()
            fitness = self._scores(generation, members, self.config.sigma, in_pairs=in_pairs).fitness
            if not np.isfinite(fitness).any():
                continue
            estimated = self._estimate(generation, fitness, self.config.sigma, in_pairs)
            seconds.append(time.perf_counter() - began)
            gradient = self._gradient(generation)
            found = None if gradient is None else cosine_between(estimated, gradient)
            cosines += [] if found is None else [found]
        return tuple(cosines), float(np.median(seconds)) if seconds else float("nan"), estimated

    def _ranks(self, shares: Mapping[str, float] | None) -> tuple[RankPrediction, ...]:
        names = low_rank_names(self.module, self.task.train.inputs[:2]).names
        if not names:
            return ()
        plan = plan_of(self.layout, 1, names)
        most = min(min(tensor.rows, tensor.columns) for tensor in plan.tensors if tensor.rank is not None)
        found = []
        for rank in (*(rank for rank in _RANKS if rank <= most), None):
            plan = plan_of(self.layout, rank, names)
            found.append(RankPrediction(rank, cosine(variance(plan, shares), self.config.population / 2), plan.numbers))
        return tuple(found)

    def _weights_rms(self) -> float:
        return float(np.sqrt(np.mean(np.square(self.search.strategy.centre.astype(np.float64)))))

    def _best_step(self, estimated: Mapping[str, Tensor] | None) -> float | None:
        """The learning rate of the best of some steps along an estimate, on examples that it was not made of."""
        if estimated is None:
            return None
        start = self.search.strategy.centre
        along = torch.cat([estimated[name].flatten() for name in self.centre]).cpu().numpy()
        length = float(np.linalg.norm(along.astype(np.float64)))
        if not 0 < length < float("inf"):
            return None
        scale = float(np.linalg.norm(start.astype(np.float64))) or float(len(start)) ** 0.5 * self.config.sigma
        rates = [0.0, *(share * scale / length for share in _STEPS)]
        fitness = self._along(start, along, rates)
        best = int(np.argmax(np.where(np.isfinite(fitness), fitness, -np.inf)))
        return rates[best] if best else None

    def _along(self, start: NDArray[np.float32], along: NDArray[Any], rates: list[float]) -> NDArray[np.float64]:
        """Fitness of the centre after steps of several lengths."""
        evaluator = Evaluator(self.module, self.layout, self.task, chunk=1, precision="float32", device=self.device)
        members = [WeightVector((start + rate * along).astype(np.float32)) for rate in rates]

        def measure(examples: Any, each: Any) -> Measured:
            found = evaluator.measure(members, examples, each)
            return Measured(list(range(len(members))), found, examples, lambda: np.zeros(len(members)))

        return self.search.executor.fitness(_GENERATIONS + 1, measure)
