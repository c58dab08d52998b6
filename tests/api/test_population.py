"""A population's members one after the other, stacked, and all at once: the same weights, and inputs of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from galab import ESOptimizer
from galab.api.population import Population
from galab.errors import GalabError, UsageError


def mixed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3), nn.Tanh(), nn.Linear(3, 2))


def double() -> nn.Module:
    module = mixed()
    module[2].double()
    module[1] = nn.Sequential(nn.Flatten(), Cast(torch.float64))
    module[3] = Cast(torch.float32)
    return module


class Cast(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.dtype)


class Told(nn.Module):
    """A function with a linear layer in front."""

    def __init__(self, function: Callable[[Told, torch.Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(3, 2), function
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


def asked(module: nn.Module, **options: Any) -> Population:
    return ESOptimizer(module, **{"population_size": 10, "sigma": 0.1, "seed": 3} | options).ask()


@pytest.mark.parametrize("make", [mixed, double])
@pytest.mark.parametrize("options", [{}, {"rank": 2}, {"rank": None}, {"antithetic": False}], ids=str)
def test_one_after_the_other_they_have_the_bits_that_indexing_gives(make: Any, options: dict[str, Any]) -> None:
    population = asked(make(), **options)
    stacked, count = population.parameters(), 0
    for place, member in enumerate(population.each()):
        count += 1
        assert not member.training
        for (name, value), other in zip(member.named_parameters(), population[place].parameters(), strict=True):
            assert torch.equal(value, other)
            assert value.dtype == other.dtype
            assert torch.equal(value, stacked[name][place].to(value.dtype))
    assert count == 10


def test_no_examples_give_no_answers() -> None:
    assert asked(nn.Linear(3, 2)).outputs(torch.zeros(0, 3)).shape == (10, 0, 2)


def test_an_answer_may_be_a_number_for_each_example() -> None:
    population = asked(Told(lambda m, x: m.linear(x)[:, 0]))
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    found = population.outputs(inputs)
    assert found.shape == (10, 5)
    with torch.no_grad():
        torch.testing.assert_close(found[3], population[3](inputs))


def test_buffers_stay_and_batch_statistics_are_those_of_all_examples() -> None:
    def counting(module: Told, x: torch.Tensor) -> torch.Tensor:
        module.calls += 1
        return module.linear(x)

    population = asked(Told(counting))
    population.outputs(torch.zeros(3, 3))
    assert population[0].calls == 0
    norm = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2))
    population = asked(norm)
    inputs = torch.randn(2500, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(population.outputs(inputs)[4], population[4](inputs), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("function", "kind", "said"),
    [
        (lambda m, x: (m.linear(x), x.sum()), UsageError, r"counts the 3 examples, got outputs\[1\] of shape"),
        (lambda m, x: {"y": "x"}, UsageError, "expected outputs with a tensor among them, got dict"),
        (lambda m, x: m.linear(x).mean(), UsageError, r"got \(\); run the members one by one"),
        (lambda m, x: m.linear(x) + torch.rand(()), UsageError, "a module that answers the same inputs alike"),
        (lambda m, x: m.linear(x[:, :2]), GalabError, "cannot be run on float32 .3, 3. inputs: RuntimeError"),
    ],
)
def test_what_cannot_be_run_at_once_is_one_sentence(function: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said) as error:
        asked(Told(function)).outputs(torch.zeros(3, 3))
    assert "\n" not in str(error.value)


def test_an_answer_that_is_the_input_is_that_of_every_member() -> None:
    x = torch.randn(3, 3)
    found = asked(Told(lambda m, x: (m.linear(x), x))).outputs(x)
    assert torch.equal(found[1], x.expand(len(found[0]), 3, 3))


def test_what_is_done_to_one_member_does_not_reach_the_next() -> None:
    module = Told(lambda m, x: m.linear(x))
    module.fixed = nn.Parameter(torch.ones(2), requires_grad=False)
    seen = []
    for member in asked(module).each():
        seen.append((float(member.calls), float(member.fixed[0]), member.training))
        member.train()
        member.calls += 1
        member.fixed.data += 1
    assert seen == [(0.0, 1.0, False)] * 10


class Ordered(nn.Module):
    """Answers of which each depends on the examples before it, or after it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.recurrent, self.linear = how, nn.RNN(3, 2), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "recurrent":
            return torch.as_tensor(self.recurrent(x)[0])
        y = torch.as_tensor(self.linear(x))
        if self.how == "sum":
            return y.cumsum(0)
        if self.how == "later":
            return y.flip(0).cumsum(0).flip(0)
        return y * torch.arange(1.0, len(x) + 1)[:, None] / 1000


@pytest.mark.parametrize("first", [1, 5, 1100])
@pytest.mark.parametrize("how", ["recurrent", "sum", "later", "position"])
def test_answers_that_depend_on_other_examples_are_not_cut(how: str, first: int) -> None:
    torch.manual_seed(0)
    population = ESOptimizer(Ordered(how), population_size=4, sigma=0.1, seed=1).ask()
    inputs = torch.linspace(-1, 1, 1100 * 3).reshape(1100, 3)
    population.outputs(inputs[:first])
    for found, member in zip(population.outputs(inputs), population, strict=True):
        assert torch.allclose(found, member(inputs), rtol=1e-3, atol=1e-4)
