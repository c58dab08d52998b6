"""Callbacks of searches by ask and tell: what they see, how they end a search, and what they raise."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import galab
from galab.errors import UsageError


class Watcher:
    """Notes what it sees, and wants to stop after some generations."""

    def __init__(self, last: int = 99) -> None:
        self.seen: list[Any] = []
        self.last = last

    def on_start(self, view: Any) -> None:
        self.seen.append(("start", view.generation, dict(view.line), view.config.seed, view.folder))

    def on_generation(self, view: Any) -> bool:
        self.seen.append((view.generation, view.line["fitness_best"], view.fitness.tolist()))
        with pytest.raises(ValueError, match="read-only"):
            view.fitness[0] = 5
        with pytest.raises(TypeError):
            view.line["fitness_best"] = 5
        assert isinstance(view.champion(), nn.Linear)
        return view.generation == self.last

    def on_end(self, view: Any) -> None:
        self.seen.append(("end", view.generation, view.reason))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


MAKERS: dict[str, Callable[..., Any]] = {
    "search": lambda **given: galab.Search(network(), parents=2, children=4, seed=7, **given),
    "es": lambda **given: galab.ESOptimizer(network(), population_size=4, seed=7, **given),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_loop_by_hand_calls_back(kind: str) -> None:
    watcher = Watcher(last=3)
    search = MAKERS[kind](callbacks=[watcher, lambda view: None], direction="minimize")
    scores: list[float] = []
    while search.stopped is None:
        scores = [float(network.bias) for network in search.ask()]
        search.tell(scores)
    assert search.generation == 3
    assert search.stopped == "stopped by callback Watcher"
    assert watcher.seen[0] == ("start", 0, {}, 7, None)
    assert [entry[0] for entry in watcher.seen[1:]] == [1, 2, 3, "end"]
    np.testing.assert_allclose(watcher.seen[3][2], scores)
    assert watcher.seen[3][1] == pytest.approx(min(scores))
    assert watcher.seen[-1] == ("end", 3, "stopped by callback Watcher")


@pytest.mark.parametrize("kind", MAKERS)
def test_what_a_callback_raises_comes_out_of_tell_when_the_generation_is_done(kind: str) -> None:
    def bad(view: Any) -> None:
        raise KeyError("reward")

    search, plain = MAKERS[kind](callbacks=[bad]), MAKERS[kind]()
    for one in (search, plain):
        one.ask()
    with pytest.raises(KeyError, match="reward"):
        search.tell([4.0, 3.0, 2.0, 1.0])
    plain.tell([4.0, 3.0, 2.0, 1.0])
    assert search.generation == plain.generation == 1
    assert all(torch.equal(one.weight, other.weight) for one, other in zip(search.ask(), plain.ask(), strict=True))


def test_a_trainer_ends_where_a_callback_says_so_and_keeps_the_weights() -> None:
    watcher, model = Watcher(last=2), nn.Linear(3, 1)
    trainer = galab.Trainer(model, lambda network: float(network.bias), population_size=4, callbacks=[watcher])
    assert len(trainer.train(10)) == 2
    assert torch.equal(model.bias, trainer.optimizer.module.bias)
    assert [entry[0] for entry in watcher.seen] == ["start", 1, 2, "end"]
    other = Watcher()
    galab.Trainer(nn.Linear(3, 1), lambda network: 1.0, population_size=4, callbacks=[other]).train(2)
    assert other.seen[-1] == ("end", 2, "2 generations done")

    def bad(view: Any) -> None:
        raise RuntimeError("no disk")

    moved, before = nn.Linear(3, 1), Watcher()
    start = copy.deepcopy(moved.bias)
    with pytest.raises(RuntimeError, match="no disk"):
        galab.Trainer(
            moved, lambda network: float(network.bias), population_size=4, sigma=0.1, callbacks=[before, bad]
        ).train(5)
    assert not torch.equal(moved.bias, start)
    assert before.seen[-1] == ("end", 1, "RuntimeError: no disk")


def test_what_is_no_callback_is_refused_and_searches_with_callbacks_are_pickled() -> None:
    for make in MAKERS.values():
        with pytest.raises(UsageError, match="expected a callback to be a function of a run's view"):
            make(callbacks=[3])
        with pytest.raises(UsageError, match="expected callbacks as a list"):
            make(callbacks=print)
        search = make(callbacks=[print])
        assert pickle.loads(pickle.dumps(search)).generation == 0
