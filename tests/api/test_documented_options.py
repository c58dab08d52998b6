"""Every option that the docstrings of ``ESOptimizer``, ``Trainer`` and ``Search`` name is taken, and has its effect."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import torch
from torch import nn

from galab import ESOptimizer, Search, Trainer

#: A value other than the default for each option that travels in ``options``, and what it needs beside it.
OPTIONS: dict[str, dict[str, Any]] = {
    "weight_decay": {"weight_decay": 0.5},
    "clip": {"clip": 1e-3},
    "lr_schedule": {"lr_schedule": "decay:0.5"},
    "sigma_schedule": {"sigma_schedule": "decay:0.5"},
    "generations": {"generations": 3, "lr_schedule": "cosine"},
    "noise_reuse": {"noise_reuse": 3},
    "distribution": {"distribution": "laplace"},
}
#: The same for the named arguments.
ARGUMENTS: dict[str, Any] = {
    "population_size": 8, "sigma": 0.5, "learning_rate": 0.5, "rank": None, "optimizer": "adam",
    "reward_shaping_fn": "centred-ranks", "antithetic": False, "seed": 4,
    "direction": "minimize",
}  # fmt: skip
HYPERPARAMETERS: dict[str, Any] = {
    "parents": 4, "children": 16, "sigma": 0.5, "crossover": "row", "granularity": "parameter", "seed": 3,
    "keep_weights": True, "direction": "minimize",
}  # fmt: skip


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))


def vector(module: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach()


def fitness(module: nn.Module) -> float:
    return -float((vector(module) - 0.5).square().sum())


def documented(kind: type, argument: str) -> list[str]:
    """The names in double backquotes in the entry of one argument of a class's docstring."""
    text = inspect.getdoc(kind) or ""
    entry = re.search(rf"^    {argument}: (.*?)(?=^    \w+: |^\S)", text, re.DOTALL | re.MULTILINE)
    assert entry is not None
    return [name for name in re.findall(r"``(\w+)", entry[1]) if name not in ("galab", "train")]


def evolved(**options: Any) -> torch.Tensor:
    """Where three generations lead."""
    search = ESOptimizer(network(), **{"population_size": 16, "sigma": 0.1} | options)
    for _ in range(3):
        search.tell([fitness(member) for member in search.ask()])
    return vector(search.module)


def test_the_docstring_of_the_evolution_strategy_names_these_options() -> None:
    assert sorted(documented(ESOptimizer, "options")) == sorted(OPTIONS)
    arguments = inspect.signature(ESOptimizer).parameters.keys() - {"module", "options", "callbacks"}
    assert arguments == ARGUMENTS.keys()


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_changes_the_search(name: str) -> None:
    assert not torch.equal(evolved(**OPTIONS[name]), evolved())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_changes_the_search(name: str) -> None:
    assert not torch.equal(evolved(**{name: ARGUMENTS[name]}), evolved())


@pytest.mark.parametrize("name", [*OPTIONS, *ARGUMENTS])
def test_a_trainer_takes_them_too(name: str) -> None:
    given = OPTIONS.get(name) or {name: ARGUMENTS[name]}
    model = network()
    Trainer(model, fitness, **{"population_size": 16, "sigma": 0.1} | given).train(3)
    assert torch.equal(vector(model), evolved(**given))


def test_the_docstring_of_the_genetic_algorithm_names_these_hyperparameters() -> None:
    named = {*documented(Search, "hyperparameters"), *inspect.signature(Search).parameters}
    assert named - {"module", "hyperparameters", "callbacks"} == HYPERPARAMETERS.keys()


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_a_hyperparameter_changes_the_genetic_algorithm(name: str) -> None:
    def best(**given: Any) -> torch.Tensor:
        search = Search(network(), **{"seed": 0} | given)
        for _ in range(3):
            search.tell([fitness(member) for member in search.ask()])
        return vector(search.best())

    assert not torch.equal(best(**{name: HYPERPARAMETERS[name]}), best())
