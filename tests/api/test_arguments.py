"""Arguments in Python: one sentence for what is none, and Python's ways to write options in words."""

from __future__ import annotations

import logging
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import galab
from galab.api.arguments import check_choice, worded
from galab.api.scores import Failures
from galab.errors import UsageError

Pair = namedtuple("Pair", "answer again")


def net() -> nn.Module:
    return nn.Linear(4, 2)


def score(network: nn.Module) -> float:
    return float(sum(value.sum() for value in network.parameters()))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: galab.ESOptimizer(net(), reward_shaping_fn=3), "reward_shaping_fn as a function of .* got 3"),  # type: ignore[arg-type]
        (lambda: galab.ESOptimizer(net(), antithetic=None), "antithetic as True, False, 'auto', .*got None"),  # type: ignore[arg-type]
        (lambda: galab.ESOptimizer(torch.jit.script(net())), "a torch.nn.Module in Python, got one that torch.jit"),
        (lambda: galab.Search(net(), keep_weights="yes"), "keep_weights as True, False or None, got 'yes'"),  # type: ignore[arg-type]
        (lambda: galab.Search(net(), init="draw"), "no hyperparameter of a Search .*'init'. keep_weights=True begins"),
        (lambda: galab.Search(net(), freeze="a"), "no hyperparameter of a Search .*requires_grad=False are left alone"),
        (lambda: galab.Search(net(), batch=3), "no hyperparameter of a Search is called 'batch'. It is one of"),
        (lambda: galab.Search(net(), childrn=3), "Did you mean 'children'"),
        (lambda: galab.Trainer(net(), 3), "fitness_fn as a function of a network, got 3"),  # type: ignore[arg-type]
        (lambda: galab.Trainer(net(), score, batched="no"), "batched as True or False, got 'no'"),  # type: ignore[arg-type]
        (lambda: galab.Trainer(net(), score, workers=-1), "workers as a whole number of 0 or more, got -1"),
        (lambda: galab.Trainer(net(), score).train(1.5), "generations as a whole number of 0 or more, got 1.5"),  # type: ignore[arg-type]
        (lambda: galab.Trainer(net(), score).train(-1), "generations as a whole number of 0 or more, got -1"),
        (lambda: galab.Trainer(net(), score).train(1, callback=3), "callback as a function of an entry"),  # type: ignore[arg-type]
        (lambda: galab.Workers(3, 1), "fitness as a function of a network, got 3"),  # type: ignore[arg-type]
        (lambda: galab.Workers(score, True), "workers as a whole number of 1 or more, got True"),
        (lambda: galab.Workers(score, 1, member_seconds="a"), "member_seconds above 0, or None, got 'a'"),  # type: ignore[arg-type]
        (lambda: galab.Workers(score, 1)(None), "networks as ask\\(\\) gives them, .* got None"),  # type: ignore[arg-type]
        (lambda: galab.minimize(3, dim=2), "function as a function of a vector, got 3"),  # type: ignore[arg-type]
        (lambda: galab.minimize(sum, dim=2, callback=3), "callback as a function of what was found"),  # type: ignore[arg-type]
        (lambda: galab.minimize(sum, dim=2, batched=None), "batched as True or False, got None"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_is_none_is_refused_in_one_sentence(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make()


def test_choices_are_of_their_type() -> None:
    check_choice("x", True, (True, False))
    with pytest.raises(UsageError, match="expected x as True or False, got 1; name one of them"):
        check_choice("x", 1, (True, False))


def test_options_in_words_may_be_written_as_python_does() -> None:
    given = {
        "bounds": (-1, 0.5), "hidden": 16, "freeze": ["a.*", "b"], "sigma_factors": (1, 0.5),
        "mutate": {"dense": 0.8, "layer": 0.2}, "parents": 4, "sigma": 0.1, "unknown": [1], "init": None,
    }  # fmt: skip
    assert worded(given) == {
        "bounds": "-1:0.5", "hidden": "16", "freeze": "a.*,b", "sigma_factors": "1,0.5",
        "mutate": "dense:0.8,layer:0.2", "parents": 4, "sigma": 0.1, "unknown": [1], "init": None,
    }  # fmt: skip
    assert worded({"hidden": [32, 16]}) == {"hidden": "32,16"}
    assert worded({"move_share": 0.5, "fast_fitness": True, "use_clt": False}) == {
        "move_share": "0.5", "fast_fitness": "on", "use_clt": "off",
    }  # fmt: skip
    numpy = {"hidden": np.int64(16), "bounds": (np.int64(-1), np.float32(0.5)), "sigma_factors": np.array([1, 0.5])}
    assert worded(numpy) == {"hidden": "16", "bounds": "-1:0.5", "sigma_factors": "1.0,0.5"}
    check_choice("x", np.bool_(True), (True, False))
    nothing = {"hidden": [], "task": True, "bounds": [None, 1]}
    assert worded(nothing) == nothing


def test_a_search_takes_bounds_as_a_pair() -> None:
    search = galab.Search(net(), bounds=(-0.5, 0.5), children=4, parents=2, sigma=0.3, keep_weights=False)
    assert max(float(value.abs().max()) for one in search.ask() for value in one.parameters()) <= 0.5


class Twice(nn.Module):
    """Takes and gives named tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, pair: Pair) -> Pair:
        return Pair(self.linear(pair.answer), pair.again)


def test_named_tuples_stay_what_they_are() -> None:
    x = torch.randn(3, 4)
    population = galab.ESOptimizer(Twice(), population_size=4).ask()
    found = population.outputs(Pair(x, x[:, :2]))
    assert isinstance(found, Pair)
    assert torch.allclose(found.answer[1], population[1](Pair(x, x)).answer, atol=1e-6)
    assert torch.equal(found.again[3], x[:, :2])


def test_a_callback_that_gives_true_ends_the_training() -> None:
    history = galab.Trainer(net(), score, population_size=4).train(5, callback=lambda entry: entry["generation"] == 2)
    assert len(history) == 2


def test_failures_are_told_in_the_first_the_tenth_and_the_hundredth_generation(caplog: Any) -> None:
    failures = Failures()
    with caplog.at_level(logging.WARNING, "galab"):
        for generation in range(1, 202):
            failures.tell(generation, 0 if generation % 2 else 3, "32 failed")
    assert [record.message for record in caplog.records] == [
        "generation 2: 3 of 32 failed",
        "generation 20: 3 of 32 failed, the 10th generation with failures",
        "generation 200: 3 of 32 failed, the 100th generation with failures",
    ]


def several(network: nn.Module) -> Any:
    value = score(network)
    return np.array([value, -value]) if value > 0 else torch.tensor([value, -value])


@pytest.mark.slow
def test_workers_take_several_objectives_as_tuples_arrays_and_tensors() -> None:
    def search() -> Any:
        return galab.Search(net(), selection="nsga2", direction=["minimize"] * 2, parents=4, children=8, seed=2)

    here, there = search(), search()
    with galab.Workers(several, 1) as workers:
        for _ in range(2):
            here.tell([several(one) for one in here.ask()])
            there.tell(workers(there.ask()))
    assert not workers.failures
    for one, other in zip(here.front(), there.front(), strict=True):
        assert one[1] == other[1]
