"""What must be true of an evolution strategy, as checks that fail with a sentence; each is blind to none of its bugs.

They look at galab from outside: members are written out and run one by one, directions are formed by the definition
E = A B^T / sqrt(r), and gradients come from automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.contracts import Cohort, Scores
from galab.genome.random import table
from galab.genome.weights import Layout
from galab.operators.es_noise import DenseNoise, Directions, Noise, cosine, plan_of, variance
from galab.strategies.evolution import EvolutionStrategy
from galab.training.build import build, network_and_task
from galab.training.evolution_search import EvolutionSearch, cosine_between, shares_of
from galab.training.log_fields import Totals, generation_line
from galab.training.search import RunComponents

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "task": "digits", "hidden": "8,8,8", "strategy": "eggroll", "rank": 4, "population": 64, "batch": 64,
    "sigma": 0.01, "lr": 1e-6, "pairs": "antithetic", "precision": "float32", "threads": 1, "seed": 5,
    "device": "cpu", "report_every": 1,
}  # fmt: skip


@cache
def _task_and_module() -> tuple[Any, Any]:
    module, task = network_and_task(decide(RunConfig(**SMALL)))
    return module, task


def components(**changes: Any) -> RunComponents:
    """A small network that looks at digits; two of its layers have the same shape."""
    module, task = _task_and_module()
    return build(decide(RunConfig(**SMALL | changes)), module, task)


@dataclass(frozen=True, slots=True)
class Seen:
    """One generation of an experiment.

    Attributes:
        search: what ran it.
        cohort: who was evaluated.
        scores: what they scored.
        sigma: the step size.
        before: the centre around which they lay.
        evaluated: the centre after their evaluation.
        after: the centre after the update.
        estimate: of the gradient.
        gradient: the true one.
        line: the log's.
    """

    search: EvolutionSearch
    cohort: Cohort
    scores: Scores
    sigma: float
    before: dict[str, Tensor]
    evaluated: dict[str, Tensor]
    after: dict[str, Tensor]
    estimate: dict[str, Tensor]
    gradient: dict[str, Tensor]
    line: dict[str, Any]


def watch(generations: int, **changes: Any) -> list[Seen]:
    """Some generations of an experiment."""
    search = components(**changes).search
    assert isinstance(search, EvolutionSearch)
    strategy = search.strategy
    found = []
    for generation in range(1, generations + 1):
        before = _copied(strategy.parameters)
        cohort = strategy.ask()
        scores = search.executor.score(cohort)
        evaluated = _copied(strategy.parameters)
        search.before_tell(cohort)
        outcome = strategy.tell(scores)
        line = generation_line(cohort, scores, Totals()) | search.log_fields(cohort, scores, outcome, 0)
        gradient = search._truth.at(before, search._minibatches.of(generation))
        assert strategy.step is not None
        assert gradient is not None
        after = _copied(strategy.parameters)
        sigma = strategy.sigma(generation)
        estimate = strategy.step.gradient
        found.append(Seen(search, cohort, scores, sigma, before, evaluated, after, estimate, gradient, line))
    return found


def _copied(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in parameters.items()}


def formed(noise: Noise) -> dict[str, Tensor]:
    """Name to (Q, rows, ...) directions written out."""
    found = {}
    for name, part in noise.items():
        if isinstance(part, DenseNoise):
            found[name] = part.values
        else:
            found[name] = torch.einsum("qmr,qnr->qmn", part.a, part.b) / part.a.shape[2] ** 0.5
    return found


def directions_of(seen: Seen) -> dict[str, Tensor]:
    """Name to (N, *shape): each member's step in units of sigma, with its sign."""
    strategy = seen.search.strategy
    births = seen.cohort.births
    count = int(births["id"].max()) + 1
    parts = [
        formed(noise)
        for _, noise in strategy._directions.between(strategy.noise_of(seen.cohort.generation), 0, count)
    ]
    signs = torch.from_numpy(births["sign"].astype(np.float32))
    found = {}
    for name, centre in seen.before.items():
        each = torch.cat([part[name] for part in parts])[torch.from_numpy(births["id"].astype(np.int64))]
        found[name] = each.reshape(-1, *centre.shape) * signs.view(-1, *[1] * centre.dim())
    return found


def members_are_the_centre_plus_signed_steps(**changes: Any) -> None:
    """Fitness equals that of networks whose weights are written out, one by one."""
    for seen in watch(2, **changes):
        steps, examples = directions_of(seen), seen.search._minibatches.of(seen.cohort.generation)
        module, task = _task_and_module()
        for index, score in enumerate(seen.scores.fitness):
            weights = {name: centre + seen.sigma * steps[name][index] for name, centre in seen.before.items()}
            outputs = functional_call(module, weights, (examples.inputs,))
            loss = float(task.measure(outputs.unsqueeze(0), examples.targets)["loss"]) / len(examples)
            assert abs(score + loss) < 1e-5 * max(1.0, abs(loss)), "a member is not where its direction says"


def estimate_is_the_weighted_sum(**changes: Any) -> None:
    """The estimate equals (1 / (N sigma)) sum of fitness times signed direction."""
    for seen in watch(2, **changes):
        fitness = torch.from_numpy(seen.scores.fitness.astype(np.float32))
        for name, steps in directions_of(seen).items():
            expected = torch.einsum("n,n...->...", fitness - fitness.mean(), steps) / (len(fitness) * seen.sigma)
            error = float((seen.estimate[name] - expected).abs().max())
            assert error < 1e-3 * float(expected.abs().max()), "the estimate is not the sum over the directions"


def estimate_points_along_the_gradient(generations: int = 40, **changes: Any) -> None:
    """Its cosine with the true gradient is the law's, and its length along it is the gradient's own."""
    cosines, laws, slopes = [], [], []
    for seen in watch(generations, **changes):
        cosines.append(cosine_between(seen.estimate, seen.gradient) or 0.0)
        laws.append(cosine(variance(seen.search.plan, shares_of(seen.gradient)), len(seen.scores.fitness) / 2))
        square = sum(float(part.square().sum()) for part in seen.gradient.values())
        slopes.append(sum(float((seen.estimate[n] * part).sum()) for n, part in seen.gradient.items()) / square)
    assert abs(np.mean(cosines) - np.mean(laws)) < 0.04, "the cosine with the gradient is not the law's"
    assert abs(np.mean(slopes) - 1) < 0.15, "the estimate is not as long along the gradient as the gradient"


def sigma_is_in_weight_units(generations: int = 20, **changes: Any) -> None:
    """Half the difference of a pair has the mean square sigma^2 |g|^2: steps are as long as sigma says."""
    ratios = []
    for seen in watch(generations, **changes):
        odd = (seen.scores.fitness[0::2] - seen.scores.fitness[1::2]) / 2
        square = sum(float(part.square().sum()) for part in seen.gradient.values())
        ratios.append(float(np.mean(odd**2)) / (seen.sigma**2 * square))
    assert 0.8 < np.mean(ratios) < 1.25, "steps are longer or shorter than sigma says"


def noise_is_independent(rank: int | None = 4) -> None:
    """Tensors, factors, directions, generations and seeds have nothing in common, however they are shifted."""
    layout = Layout(("one", "two", "bias"), ((32, 32), (32, 32), (128,)))
    rows = []
    for seed in (1, 2):
        directions = Directions(plan_of(layout, rank, ("one", "two")), table("normal"), seed, CPU, 1 << 20, 8)
        config = decide(RunConfig(strategy="eggroll", population=16))
        strategy = EvolutionStrategy(config, layout, np.zeros(layout.size, np.float32), directions, CPU)
        for generation in range(1, 5):
            for _, noise in strategy._directions.between(strategy.noise_of(generation), 0, 8):
                for part in noise.values():
                    parts = [part.values] if isinstance(part, DenseNoise) else [part.a, part.b]
                    rows += [each.flatten(1)[:, :128] for each in parts]
    numbers = torch.cat(rows)
    # 128 numbers each: by chance two rows correlate by 0.09, and of some ten thousand pairs the closest by 0.4.
    correlations = torch.corrcoef(numbers).fill_diagonal_(0)
    assert float(correlations.abs().max()) < 0.6, "two directions that should be independent are not"


def directions_have_unit_variance(ranks: tuple[int | None, ...] = (1, 4, 16, None)) -> None:
    """Every entry of a direction has variance 1, whatever the rank: sigma means the same everywhere."""
    layout = Layout(("w",), ((16, 24),))
    for rank in ranks:
        directions = Directions(plan_of(layout, rank, ("w",)), table("normal"), 1, CPU, 1 << 20)
        values = torch.cat([formed(noise)["w"].flatten(1) for _, noise in directions.between(1, 0, 4096)])
        assert abs(float(values.square().mean()) - 1) < 0.03, "entries of a direction have another variance than 1"


def best_and_champion_are_who_they_say(**changes: Any) -> None:
    """The log's best is the member with the highest fitness, with its sign; who may be champion is the centre alone."""
    for seen in watch(3, **changes):
        best = int(np.argmax(seen.scores.fitness))
        births = seen.cohort.births
        fitness = seen.line["fitness_best"]
        assert fitness == seen.scores.fitness[best] > seen.line["fitness_mean"], "it is not the best member's"
        named = seen.line["best"], seen.line["best_sign"]
        assert named == (births["id"][best], births["sign"][best]), "another member than the best is called the best"
    numbers, members = seen.search.candidates()
    assert numbers == [seen.cohort.generation]
    centre = torch.cat([part.flatten() for part in seen.after.values()]).numpy()
    assert np.array_equal(members[0].floats(), centre), "the champion is not the centre"


def evaluation_leaves_the_centre_alone(**changes: Any) -> None:
    """To the last bit, in bfloat16 too; and equal scores move nothing."""
    for precision in ("float32", "bfloat16"):
        for seen in watch(2, precision=precision, **changes):
            for name, value in seen.before.items():
                assert torch.equal(value, seen.evaluated[name]), "an evaluation moved the centre"
    search = components(**changes | {"lr": 1.0}).search
    before = search.strategy.centre
    for _ in range(3):
        cohort = search.strategy.ask()
        search.strategy.tell(Scores(np.full(len(cohort.births), -2.3)))
    assert np.array_equal(search.strategy.centre, before), "equal scores moved the centre"


#: All checks that a right strategy passes.
CHECKS: tuple[Callable[..., None], ...] = (
    members_are_the_centre_plus_signed_steps,
    estimate_is_the_weighted_sum,
    estimate_points_along_the_gradient,
    sigma_is_in_weight_units,
    noise_is_independent,
    directions_have_unit_variance,
    best_and_champion_are_who_they_say,
    evaluation_leaves_the_centre_alone,
)
