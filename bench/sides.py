"""What is timed: galab's generations, the naive loop and the peers', all on the same images and checked to agree."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from peers.client import Peers
from peers.problem import Problem
from torch import nn
from torch.func import functional_call

from galab.config import RunConfig
from galab.config.strategy_kinds import kind_of
from galab.contracts import Cohort, Examples, Task
from galab.genome.initial import tensors_of
from galab.operators.es_noise import DenseNoise, LowRankNoise
from galab.strategies.evolution import EvolutionStrategy
from galab.tasks import Classification
from galab.training.build import build, network_and_task
from galab.training.genetic_search import GeneticSearch
from galab.training.resolve import resolve
from galab.training.search import RunComponents

#: Tensors by the names of the parameters.
Weights = dict[str, torch.Tensor]

#: How far a member's mean loss may be off before nothing is timed, relative.
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
#: Of so many members the weights are formed one by one for the check.
_CHECKED = 8


@functools.cache
def _network_and_task() -> tuple[nn.Module, Task]:
    """MLP 784-128-10, and MNIST with all 60,000 published training images, of which a run uses 55,000."""
    module, task = network_and_task(resolve(RunConfig(seed=1)))
    assert isinstance(task, Classification)
    parts = (task.train, task.validation)
    everything = Examples(torch.cat([part.inputs for part in parts]), torch.cat([part.targets for part in parts]))
    return module, _on(task, everything)


def _on(task: Task, examples: Examples) -> Task:
    """The task with other training examples."""
    other = copy.copy(task)
    other.train = examples
    return other


def images(count: int | None = None) -> Examples:
    """The first training images; all when None."""
    everything = _network_and_task()[1].train
    return Examples(everything.inputs[:count], everything.targets[:count])


def components(config: RunConfig, examples: Examples, **changes: Any) -> RunComponents:
    """A run of this configuration, with changes, whose every generation sees all of these images."""
    module, task = _network_and_task()
    # What depends on the number of images, such as whether compiling pays, is decided for these.
    config = resolve(dataclasses.replace(config, batch=len(examples), **changes))
    made = build(dataclasses.replace(config, batch=0), module, _on(task, examples))
    made.search.initial_records()
    return made


def generation(of: RunComponents) -> Callable[[], None]:
    """A call that does a whole generation: noise, evaluation, and selection or update."""

    def once() -> None:
        cohort = of.strategy.ask()
        of.search.after_tell(of.strategy.tell(of.executor.score(cohort)))

    return once


def naive_generation(of: RunComponents, examples: Examples) -> Callable[[], None]:
    """What a person writes first: torch.randn per child, one forward per child, sort."""
    generator = torch.Generator().manual_seed(0)

    def once() -> None:
        _, parents = of.search.candidates()
        scores = []
        with torch.inference_mode():
            for child in range(of.config.children):
                tensors = tensors_of(of.layout, parents[child % len(parents)])
                moved = {name: t + 0.02 * torch.randn(t.shape, generator=generator) for name, t in tensors.items()}
                scores.append(float(_loss(of, moved, examples)))
        np.argsort(scores)

    return once


def check_equal(of: RunComponents, examples: Examples) -> None:
    """Hold the fitness that galab gives the members of its next generation to plain torch's.

    Raises:
        AssertionError: a member scored what its weights do not score.
    """
    cohort = of.strategy.ask()
    scores = of.executor.score(cohort)
    members = _decoded(of, cohort) if kind_of(of.config.strategy).breeds else _moved(of, cohort)
    with torch.inference_mode():
        expected = [-float(_loss(of, member, examples)) for member in members]
    if not np.allclose(scores.fitness[: len(expected)], expected, rtol=TOLERANCE[of.config.precision]):
        raise AssertionError(f"galab's fitness is {scores.fitness[: len(expected)]}, torch's {expected}")
    of.search.after_tell(of.strategy.tell(scores))


def _decoded(of: RunComponents, cohort: Cohort) -> list[Weights]:
    """The weights of the first children, from their lineage."""
    decoder = of.search_as(GeneticSearch).decoder
    births = cohort.births["id"].tolist()[:_CHECKED]
    return [tensors_of(of.layout, decoder.decode(birth)) for birth in births]


def _moved(of: RunComponents, cohort: Cohort) -> list[Weights]:
    """The weights of the first members around the centre, their noise as dense matrices: both of each pair."""
    assert isinstance(of.strategy, EvolutionStrategy)
    assert of.strategy.antithetic
    sigma, centre = of.strategy.sigma(cohort.generation), tensors_of(of.layout, of.search.candidates()[1][0])
    noise_of = of.strategy.noise_of(cohort.generation)
    first, noise = next(of.strategy._directions.between(noise_of, 0, _CHECKED // 2))
    assert first == 0
    members = []
    for place in range(_CHECKED):
        step = sigma * int(cohort.births["sign"][place])
        moved = dict(centre)
        for name, part in noise.items():
            moved[name] = centre[name] + step * _dense(part, place // 2)
        members.append(moved)
    return members


def _dense(part: LowRankNoise | DenseNoise, place: int) -> torch.Tensor:
    if isinstance(part, DenseNoise):
        return part.values[place]
    return part.a[place] @ part.b[place].T / part.a.shape[-1] ** 0.5


def check_peers(peers: Peers, libraries: Iterable[str], of: RunComponents, examples: Examples) -> None:
    """Hand the peers the network and the images, and hold their fitness of it to torch's.

    Raises:
        AssertionError: a library computes something else.
    """
    weights = tensors_of(of.layout, of.search.candidates()[1][0])
    parameters = [weights[f"{layer}.{kind}"].numpy() for layer in ("hidden.0", "output") for kind in ("weight", "bias")]
    peers.load(Problem(examples.inputs.float().flatten(1).numpy(), examples.targets.numpy(), *parameters))
    with torch.inference_mode():
        fitness = -float(_loss(of, weights, examples))
    for library in libraries:
        got = peers.check(library)
        if abs(got - fitness) > 1e-3:
            raise AssertionError(f"{library} gives the same network {got}, torch gives {fitness}")


def _loss(of: RunComponents, tensors: Weights, examples: Examples) -> torch.Tensor:
    return F.cross_entropy(functional_call(of.module, tensors, (examples.inputs,)), examples.targets)
