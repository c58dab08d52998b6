"""An evolution strategy by hand: a module and a fitness of one's own."""

from __future__ import annotations

import copy
import logging
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import galab
from galab import ESOptimizer
from galab.errors import NoViableChildError, UsageError

X = torch.linspace(-1, 1, 6 * 40).view(40, 6).sin()


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def vector(module: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach()


def fitness(module: nn.Module) -> float:
    """Best at all weights 0.5."""
    return -float((vector(module) - 0.5).square().sum())


def searched(generations: int, search: ESOptimizer | None = None, **options: Any) -> ESOptimizer:
    start = {"population_size": 16, "sigma": 0.1, "learning_rate": 0.02, "seed": 1} | options
    search = search or ESOptimizer(network(), **start)
    for _ in range(generations):
        search.tell([fitness(member) for member in search.ask()])
    return search


def standardised(values: torch.Tensor) -> torch.Tensor:
    return (values - values.mean()) / values.std()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {}, {"rank": None}, {"rank": 3}, {"antithetic": False}, {"antithetic": "auto"}, {"optimizer": "adam"},
        {"reward_shaping_fn": "centred-ranks"}, pytest.param({"reward_shaping_fn": standardised}, id="own shaping"),
    ],
    ids=str,
)  # fmt: skip
def test_it_climbs(options: dict[str, Any]) -> None:
    before = fitness(network())
    assert fitness(searched(25, population_size=32, learning_rate=0.04, **options).module) > 0.7 * before


@pytest.mark.parametrize("options", [{}, {"rank": None}, {"antithetic": False}], ids=str)
def test_members_are_the_centre_plus_and_minus_noise(options: dict[str, Any]) -> None:
    optimizer = searched(0, **options)
    population, centre = optimizer.ask(), vector(network())
    steps = torch.stack([vector(member) - centre for member in population])
    assert 0.05 < float(steps.std()) < 0.2  # sigma is 0.1
    mirrored = torch.allclose(steps[0::2], -steps[1::2], atol=1e-6)
    assert mirrored == optimizer.config.pairs.startswith("antithetic")
    ranks = [int(torch.linalg.matrix_rank((member[0].weight - network()[0].weight).detach(), tol=1e-5))
             for member in population]  # fmt: skip
    assert set(ranks) == ({5} if "rank" in options else {1})


@pytest.mark.parametrize("options", [{}, {"rank": None}, {"rank": 2, "antithetic": False}], ids=str)
@pytest.mark.parametrize("examples", [1, 2, 40])
def test_outputs_are_those_of_the_members_one_by_one(options: dict[str, Any], examples: int) -> None:
    population = searched(1, population_size=38, **options).ask()
    expected = torch.stack([member(X[:examples]).detach() for member in population])
    assert torch.allclose(population.outputs(X[:examples]), expected, atol=1e-5)


def test_outputs_of_a_network_that_only_runs_member_by_member() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight * math.copysign(1.0, self.weight[0, 0].item())

    population = ESOptimizer(Odd(), population_size=6, sigma=2.0).ask()
    expected = torch.stack([member(X).detach() for member in population])
    assert torch.allclose(population.outputs(X), expected, atol=1e-5)


def test_several_members_can_be_kept_and_a_population_outlives_its_generation() -> None:
    optimizer = searched(0)
    population = optimizer.ask()
    assert optimizer.ask() is population
    kept = list(population)
    before = [vector(member).clone() for member in kept]
    optimizer.tell([fitness(member) for member in kept])
    optimizer.ask()[0]
    assert all(torch.equal(vector(member), was) for member, was in zip(kept, before, strict=True))
    assert all(torch.equal(vector(population[i]), was) for i, was in enumerate(before))
    assert len({tuple(was.tolist()) for was in before}) == len(population) == 16
    assert not any(module.training for member in kept for module in member.modules())
    assert torch.equal(vector(population[-1]), before[-1])
    assert [torch.equal(vector(one), was) for one, was in zip(population[2:4], before[2:4], strict=True)] == [True] * 2
    with pytest.raises(IndexError):
        population[16]


def test_the_module_has_the_weights_of_the_centre_and_torch_draws_nothing() -> None:
    module = network()
    before, state = vector(module).clone(), torch.random.get_rng_state()
    optimizer = ESOptimizer(module, population_size=8)
    optimizer.ask()
    assert torch.equal(vector(module), before)
    searched(2, optimizer)
    assert torch.equal(vector(module), vector(optimizer.module))
    assert module.training
    assert all(value.requires_grad for value in module.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(vector(optimizer.module), before)
    current = optimizer.current_parameters()
    assert list(current) == [name for name, _ in module.named_parameters()]
    assert torch.equal(torch.cat([part.flatten() for part in current.values()]), vector(optimizer.module))


def test_frozen_parameters_stay_and_tied_ones_stay_tied() -> None:
    module = network()
    module[0].requires_grad_(False)
    before = [value.detach().clone() for value in module.parameters()]
    optimizer = searched(3, ESOptimizer(module, population_size=8))
    for trained in (optimizer.module, module):
        assert torch.equal(trained[0].weight, before[0])
        assert not torch.equal(trained[2].weight, before[2])
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    member = ESOptimizer(tied, population_size=4).ask()[0]
    assert member[0].weight is member[1].weight
    with pytest.raises(UsageError, match="none with requires_grad"):
        ESOptimizer(network().requires_grad_(False))


def test_one_seed_gives_one_search_and_another_gives_another() -> None:
    assert torch.equal(vector(searched(4).module), vector(searched(4).module))
    assert not torch.equal(vector(searched(4).module), vector(searched(4, seed=2).module))


@pytest.mark.parametrize("optimizer", ["sgd(momentum=0.9)", "adam"])
def test_it_continues_from_its_state_which_is_plain_data(optimizer: str, tmp_path) -> None:
    first = searched(3, optimizer=optimizer)
    torch.save(first.state_dict(), tmp_path / "state.pkl")
    assert pickle.loads(pickle.dumps(first.state_dict())).keys() == first.state_dict().keys()
    second = searched(0, optimizer=optimizer)
    second.load_state_dict(torch.load(tmp_path / "state.pkl", weights_only=True))
    assert second.generation == 3
    assert torch.equal(vector(searched(3, first).module), vector(searched(3, second).module))
    with pytest.raises(UsageError, match=r"another \(they differ at '0.weight': \(5, 6\) here, \(2, 6\) there\)"):
        second.load_state_dict(ESOptimizer(nn.Sequential(nn.Linear(6, 2))).state_dict())


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, lambda v: [torch.tensor(x) for x in v]])
def test_fitness_comes_in_any_shape_of_numbers(kind: Any) -> None:
    optimizer, other = searched(0), searched(0)
    values = [float(place % 5) for place in range(16)]
    optimizer.ask()
    other.ask()
    told = optimizer.tell(kind(values))
    other.tell(values)
    assert (told.generation, told.fitness_best, told.fitness_mean) == (1, 4.0, np.mean(values))
    assert torch.equal(vector(optimizer.module), vector(other.module))


def test_the_best_member_is_the_one_that_scored_best_and_not_the_centre() -> None:
    optimizer = searched(1)
    population = optimizer.ask()
    scores = [fitness(member) for member in population]
    best = vector(population[int(np.argmax(scores))])
    scores[0] = math.nan
    optimizer.tell(scores)
    assert torch.equal(vector(optimizer.best_member()), best)
    assert not torch.allclose(vector(optimizer.module), best, atol=1e-3)


def test_failures_count_as_the_worst_and_are_told(caplog: pytest.LogCaptureFixture) -> None:
    failing, worst = searched(0), searched(0)
    values = np.arange(16.0)
    failing.ask()
    worst.ask()
    with caplog.at_level(logging.WARNING, logger="galab"):
        told = failing.tell(np.where(values % 5 == 4, -math.inf, values))
    worst.tell(np.where(values % 5 == 4, 0.0, values))
    assert torch.equal(vector(failing.module), vector(worst.module))
    assert told.failures == 3
    assert "generation 1: 3 of 16 members have no finite fitness" in caplog.text
    before = vector(failing.module)
    failing.ask()
    with pytest.raises(NoViableChildError, match="generation 2: expected a finite fitness .* got none of 16; the cent"):
        failing.tell([math.nan] * 16)
    assert torch.equal(vector(failing.module), before)
    assert failing.generation == 1
    failing.tell(values)
    assert failing.generation == 2


def test_wrong_calls_are_one_sentence() -> None:
    optimizer = searched(0)
    with pytest.raises(UsageError, match=r"expected ask\(\) before tell\(\)"):
        optimizer.tell([0.0] * 16)
    with pytest.raises(UsageError, match="no generation yet"):
        optimizer.best_member()
    optimizer.ask()
    for wrong, said in [
        ([0.0] * 15, "expected 16 fitness values, .* got 15"),
        (torch.zeros(16, 2), r"got an array of shape \(16, 2\)"),
        (["a"] * 16, "expected a number as the fitness of each member, got an object of type str at place 0"),
    ]:
        with pytest.raises(UsageError, match=said):
            optimizer.tell(wrong)
    for options, said in [
        ({"population_size": 7}, "an even population_size with antithetic=True, got 7"),
        ({"learning_rate": -1.0}, "expected learning_rate to be a positive number"),
        ({"lr": 1.0}, "is called 'lr'. Did you mean 'learning_rate'"),
        ({"rank": 4}, "expected rank at most 3, .* or use rank=None for full-rank noise"),
        ({"optimizer": "adm"}, "Did you mean 'adam'"),
        ({"batch": 4}, "is called 'batch'"),
    ]:
        with pytest.raises(UsageError, match=said):
            ESOptimizer(network(), **options)
    for shaping, said in [(lambda f: f[:3], r"shape \(3,\)"), (lambda f: f / 0, "not finite")]:
        bad = searched(0, reward_shaping_fn=shaping)
        bad.ask()
        with pytest.raises(UsageError, match=f"reward_shaping_fn to give 16 finite scores, .*{said}"):
            bad.tell([1.0] * 16)


@pytest.mark.parametrize(
    "other",
    [nn.Linear(4, 1), nn.Sequential(nn.Linear(3, 4)), nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))],
)
def test_weights_are_written_whole_or_not_at_all(other: nn.Module) -> None:
    optimizer = ESOptimizer(nn.Sequential(nn.Linear(3, 2)), population_size=4)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(UsageError, match="expected a module with the parameters of the search's own, got '"):
        optimizer.write_to(other)
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())
    same = nn.Sequential(nn.Linear(3, 2))
    optimizer.write_to(same)
    assert torch.equal(same[0].weight, optimizer.current_parameters()["0.weight"])


@pytest.mark.parametrize("search", [galab.Search, ESOptimizer])
def test_what_is_no_network_or_seed_is_one_sentence(search: Any) -> None:
    for wrong, said in ((3, "of type int"), (nn.Linear, "the class Linear"), (len, "one of type builtin")):
        with pytest.raises(UsageError, match=f"expected a torch.nn.Module, got .*{said}.*; give a network"):
            search(wrong)
    with pytest.raises(UsageError, match="expected seed to be a whole number from 0, got None"):
        search(nn.Linear(2, 1), seed=None)
    for direction in (3, (), None):
        with pytest.raises(UsageError, match="expected direction to be"):
            search(nn.Linear(2, 1), direction=direction)


def test_statistics_that_no_data_has_set_are_told(caplog: pytest.LogCaptureFixture) -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    for search in (lambda: ESOptimizer(module, population_size=4), lambda: galab.Search(module, keep_weights=True)):
        caplog.clear()
        search()
        assert "running statistics of '1' have seen no data" in caplog.text
    module(torch.randn(8, 3))
    caplog.clear()
    ESOptimizer(module, population_size=4)
    assert "running statistics" not in caplog.text


def test_a_search_says_when_it_draws_a_few_weights_anew(caplog: pytest.LogCaptureFixture) -> None:
    galab.Search(nn.Linear(4, 1))
    assert "the founders are drawn anew; keep_weights=True begins with the module's" in caplog.text
    caplog.clear()
    galab.Search(nn.Linear(4, 1), keep_weights=False)
    galab.Search(nn.Linear(40, 10))
    assert not caplog.text


def test_memory_does_not_grow_with_the_population() -> None:
    population = ESOptimizer(network(), population_size=1_000_000, sigma=0.1).ask()
    assert len(population) == 1_000_000
    ends = vector(population[0]), vector(population[999_999])
    assert not torch.equal(*ends)


def test_it_is_in_the_package() -> None:
    assert galab.ESOptimizer is ESOptimizer
    assert copy.deepcopy(searched(0).module) is not None
