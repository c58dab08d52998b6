"""What people tell as fitness is read alike by searches, evolution strategies and trainers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from galab import ESOptimizer, Search, Trainer
from galab.api.scores import read_scores
from galab.errors import UsageError

WANTED = np.array([0.0, 1.0, 2.0, 1.0])
SAME: dict[str, Any] = {
    "list": [0, 1, 2, 1],
    "tuple": (0.0, 1.0, 2.0, 1.0),
    "float32": np.array([0, 1, 2, 1], np.float32),
    "big-endian": np.array([0, 1, 2, 1], ">f8"),
    "unsigned": np.array([0, 1, 2, 1], np.uint8),
    "a column": np.array([[0.0], [1.0], [2.0], [1.0]]),
    "a strided view": np.repeat(WANTED, 2)[::2],
    "tensor": torch.tensor([0.0, 1.0, 2.0, 1.0]),
    "with a gradient": torch.tensor([0.0, 1.0, 2.0, 1.0], requires_grad=True),
    "bfloat16": torch.tensor([0.0, 1.0, 2.0, 1.0], dtype=torch.bfloat16),
    "whole": torch.tensor([0, 1, 2, 1]),
    "a tensor's column": torch.tensor([[0.0], [1.0], [2.0], [1.0]]),
    "tensors without dimensions": [torch.tensor(value) for value in WANTED],
    "tensors of one": [torch.tensor([value], requires_grad=True) for value in WANTED],
    "numbers of NumPy": list(WANTED),
    "arrays of one": [np.array([[value]]) for value in WANTED],
    "objects": np.array([0, 1.0, torch.tensor(2.0), np.float32(1)], dtype=object),
    "range and more": [*range(3), True],
}
WRONG: dict[str, tuple[Any, str]] = {
    "too few": ([1.0] * 3, "expected 4 fitness values, one per {who} of the last ask(), got 3; give one number for"),
    "too many": (np.ones(5), "got 5; give one number for each {who}, in their order"),
    "two columns": (torch.ones(4, 2), "got an array of shape (4, 2)"),
    "a row": (np.ones((1, 4)), "got an array of shape (1, 4)"),
    "one number": (1.0, "got one number; give a list, an array or a tensor of 4 numbers"),
    "one tensor": (torch.tensor(1.0), "got an array of shape ()"),
    "nothing": (None, "got None; give a list"),
    "a dictionary": ({0: 1.0}, "got an object of type dict; give a list"),
    "a text": ("1234", "got an object of type str; give a list"),
    "complex": (torch.ones(4, dtype=torch.complex64), "got an array of type complex64; give real numbers"),
    "texts": (np.array(["a", "b", "c", "d"]), "got an array of type <U1; give real numbers"),
    "None inside": ([1.0, None, 2.0, 3.0], "expected a number as the fitness of each {who}, got None at place 1"),
    "a pair inside": ([1.0, (1, 2), 2.0, 3.0], "got an object of type tuple at place 1"),
    "a dictionary inside": ([1.0, 2.0, {"f": 1.0}, 3.0], "got an object of type dict at place 2"),
    "a vector inside": ([1.0, 2.0, 3.0, torch.ones(2)], "got an array of shape (2,) at place 3"),
    "an empty tensor inside": ([torch.ones(0), 2.0, 3.0, 4.0], "got an array of shape (0,) at place 0"),
    "a complex number inside": ([1.0, 2.0, 3j, 4.0], "got an object of type complex at place 2"),
}
DOORS = ("Search", "ESOptimizer", "Trainer")


def told(door: str, scores: Any, **options: Any) -> Any:
    """A search, strategy or trainer of four members that was told scores."""
    module = nn.Linear(3, 2)
    if door == "Search":
        search = Search(module, parents=2, children=4, seed=1, keep_weights=False, **options)
        search.ask()
        search.tell(scores)
        return search
    options = {"population_size": 4, "seed": 1, "reward_shaping_fn": "centred-ranks", **options}
    with torch.no_grad():
        for value in module.parameters():
            value.fill_(0.1)
    if door == "Trainer":
        trainer = Trainer(module, lambda population: scores, batched=True, **options)
        trainer.train(1)
        return trainer.optimizer
    optimizer = ESOptimizer(module, **options)
    optimizer.ask()
    optimizer.tell(scores)
    return optimizer


def reached(search: Any) -> torch.Tensor:
    module = search.best() if isinstance(search, Search) else search.module
    return nn.utils.parameters_to_vector(module.parameters()).detach()


@pytest.mark.parametrize("name", SAME)
def test_all_that_are_so_many_numbers_are_the_same(name: str) -> None:
    assert np.array_equal(read_scores(SAME[name], 4), WANTED)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_reads_them(door: str) -> None:
    expected = reached(told(door, list(WANTED)))
    for scores in SAME.values():
        assert torch.equal(reached(told(door, scores)), expected)


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("door", DOORS)
def test_all_else_is_the_same_sentence_at_every_door(door: str, name: str) -> None:
    scores, said = WRONG[name]
    with pytest.raises(UsageError) as error:
        told(door, scores)
    assert said.format(who="network" if door == "Search" else "member") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("door", DOORS)
def test_the_best_infinity_ranks_first_and_the_worst_is_a_failure(door: str, caplog: Any) -> None:
    expected = reached(told(door, [0.0, 9.0, 1.0, 0.0]))
    assert torch.equal(reached(told(door, [0.0, math.inf, 1.0, -math.inf])), expected)
    assert "1 of 4" in caplog.text
    assert torch.equal(reached(told(door, [0.0, -math.inf, -1.0, math.inf], direction="minimize")), expected)


def test_the_best_infinity_is_refused_by_a_mean_of_scores() -> None:
    with pytest.raises(UsageError, match='got the best infinity, .* member 1; .* reward_shaping_fn="centred-ranks"'):
        told("ESOptimizer", [0.0, math.inf, 1.0, 2.0], reward_shaping_fn=None)


@pytest.mark.parametrize("door", DOORS)
def test_minimizing_is_maximizing_the_negative(door: str) -> None:
    scores = np.array([0.3, -1.0, 2.0, 0.5])
    expected = reached(told(door, -scores))
    assert torch.equal(reached(told(door, scores, direction="minimize")), expected)
    assert not torch.equal(reached(told(door, scores)), expected)
    with pytest.raises(UsageError, match="expected direction to be 'maximize' or 'minimize', got 'min'"):
        told(door, scores, direction="min")


def test_what_is_told_of_a_minimum_is_in_the_callers_own_terms() -> None:
    optimizer = ESOptimizer(nn.Linear(3, 2), population_size=4, direction="minimize")
    optimizer.ask()
    found = optimizer.tell([3.0, 1.0, 2.0, math.nan])
    assert (found.fitness_best, found.fitness_mean, found.failures) == (1.0, 2.0, 1)
