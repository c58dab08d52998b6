"""States of searches by hand: their fingerprint, pickles, and files that torch reads without running code."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from galab import ESOptimizer, Search
from galab.api.state import portable, restored
from galab.errors import UsageError


def network() -> nn.Module:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    module[0].requires_grad_(False)
    return module


def search(**changes: Any) -> Search:
    options: dict[str, Any] = {"parents": 3, "children": 6, "crossover": "row", "sigma": 0.1, "seed": 1}
    options["granularity"] = "tensor"
    return Search(network(), **options | changes)


def strategy(**changes: Any) -> ESOptimizer:
    options: dict[str, Any] = {"population_size": 8, "sigma": 0.1, "optimizer": "adam", "seed": 1}
    return ESOptimizer(network(), **options | changes)


MAKE = {"Search": search, "ESOptimizer": strategy}


def fitness(module: nn.Module) -> float:
    with torch.no_grad():
        return -float((module(torch.ones(1, 3)) - 1).square().sum())


def played(made: Any, generations: int) -> Any:
    for _ in range(generations):
        made.tell([fitness(module) for module in made.ask()])
    return made


def weights(made: Any) -> torch.Tensor:
    module = made.best() if isinstance(made, Search) else made.module
    return nn.utils.parameters_to_vector(module.parameters()).detach()


@pytest.mark.parametrize("door", MAKE)
@pytest.mark.parametrize("asked", [False, True])
def test_a_pickled_search_goes_on_as_itself(door: str, asked: bool) -> None:
    made = played(MAKE[door](), 3)
    if asked:
        made.ask()
    other = pickle.loads(pickle.dumps(made))
    if asked:
        for one in (made, other):
            members = range(6) if isinstance(one, Search) else range(8)
            one.tell([float(place % 3) for place in members])
    assert torch.equal(weights(played(other, 2)), weights(played(made, 2)))
    assert torch.equal(weights(other)[:16], nn.utils.parameters_to_vector(network()[0].parameters()).detach())


@pytest.mark.parametrize("door", MAKE)
def test_torch_reads_a_state_without_running_code(door: str) -> None:
    made = played(MAKE[door](), 3)
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    other = MAKE[door]()
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(weights(played(other, 2)), weights(played(made, 2)))


@pytest.mark.parametrize(
    ("door", "change"),
    [
        ("Search", {"seed": 2}), ("Search", {"sigma": 0.2}), ("Search", {"children": 7}), ("Search", {"parents": 2}),
        ("Search", {"crossover": "none"}), ("Search", {"granularity": "global"}), ("Search", {"direction": "minimize"}),
        ("ESOptimizer", {"seed": 2}), ("ESOptimizer", {"sigma": 0.2}), ("ESOptimizer", {"population_size": 16}),
        ("ESOptimizer", {"optimizer": "sgd"}), ("ESOptimizer", {"rank": 2}), ("ESOptimizer", {"learning_rate": 0.5}),
        ("ESOptimizer", {"antithetic": False}), ("ESOptimizer", {"direction": "minimize"}),
    ],
)  # fmt: skip
def test_a_foreign_state_is_refused_with_the_difference(door: str, change: dict[str, Any]) -> None:
    state = played(MAKE[door](**change), 2).state_dict()
    made = played(MAKE[door](), 1)
    before = weights(made)
    with pytest.raises(UsageError, match=f"expected the state of an? {door} with ") as error:
        made.load_state_dict(state)
    name = next(iter(change))
    own = {"rank": "rank", "crossover": "crossover"}.get(name, name)
    assert f"with {'pairs' if own == 'antithetic' else own}=" in str(error.value).replace("antithetic=", "pairs=")
    assert torch.equal(weights(made), before)


def test_founders_of_another_network_are_another_search() -> None:
    module = network()
    with torch.no_grad():
        module[2].weight.mul_(5)
    state = Search(module, seed=1).state_dict()
    with pytest.raises(UsageError, match="expected the state of a Search of this network, with what it starts from"):
        Search(network(), seed=1).load_state_dict(state)


def test_a_state_of_before_fingerprints_is_taken_and_none_is_refused() -> None:
    made = played(strategy(), 2)
    state = made.state_dict()
    del state["fingerprint"]
    other = strategy()
    other.load_state_dict(restored(state))
    assert torch.equal(weights(other), weights(made))
    with pytest.raises(UsageError, match="expected what state_dict.. of a Search gave, got an object of type list"):
        search().load_state_dict([])  # type: ignore[arg-type]


def test_states_come_back_to_the_bit() -> None:
    dtype = np.dtype([("id", "<i8"), ("parents", "<i8", (2,)), ("kind", "u1")])
    rows = np.zeros(3, dtype)
    rows["parents"] = [[1, 2], [3, 4], [5, 6]]
    state = {"rows": rows, "list": [np.arange(3, dtype=np.uint16), None, 2.5], "text": "a", "number": np.float32(0.1)}
    back = restored(portable(state))
    assert back["rows"].dtype == dtype
    assert np.array_equal(back["rows"], rows)
    assert back["list"][0].dtype == np.uint16
    assert back["list"][1:] == [None, 2.5]
    assert back["number"] == float(np.float32(0.1))
    empty = restored(portable({"rows": rows[:0]}))["rows"]
    assert (len(empty), empty.dtype) == (0, dtype)


def test_another_frozen_base_is_another_search() -> None:
    made, other = played(strategy(), 1), network()
    with torch.no_grad():
        other[0].weight.add_(1)
    with pytest.raises(UsageError, match="expected the state of an ESOptimizer of this network"):
        ESOptimizer(other, population_size=8, sigma=0.1, optimizer="adam", seed=1).load_state_dict(made.state_dict())
    for part in ({}, {"centre": {}}, {"strategy": {}}):
        with pytest.raises(UsageError, match="expected what state_dict.. of an ESOptimizer gave"):
            strategy().load_state_dict(part)
    with pytest.raises(UsageError, match="expected what state_dict.. of a Search gave"):
        search().load_state_dict({})


def test_a_search_of_several_objectives_is_pickled_too() -> None:
    made = search(direction=("maximize", "minimize"), selection="nsga2")
    made.tell([(fitness(module), float(place)) for place, module in enumerate(made.ask())])
    other = pickle.loads(pickle.dumps(made))
    assert [told for _, told in other.front()] == [told for _, told in made.front()]
