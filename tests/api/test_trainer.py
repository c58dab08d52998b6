"""A module and a Python function that scores it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn

from galab import Trainer
from galab.errors import NoViableChildError, UsageError

X = torch.linspace(-1, 1, 4 * 30).view(30, 4).sin()
Y = X @ torch.tensor([[1.0, -1.0, 2.0, 0.5], [0.0, 1.0, 1.0, -1.0]]).T
OPTIONS = {"population_size": 32, "sigma": 0.1, "learning_rate": 0.3, "seed": 3}


def error(model: nn.Module) -> float:
    return float((model(X) - Y).detach().square().mean())


def fitness(model: nn.Module) -> float:
    return -error(model)


@pytest.mark.slow
def test_it_trains_the_model_in_place_and_tells_its_history() -> None:
    model, heard = nn.Linear(4, 2), []
    before = error(model)
    trainer = Trainer(model, fitness, **OPTIONS)
    history = trainer.train(30, callback=heard.append)
    assert error(model) < 0.2 * before
    assert history == heard == trainer.history
    assert [entry["generation"] for entry in history] == [*range(1, 31)]
    assert history[0].keys() >= {"fitness_mean", "fitness_best", "fitness_std", "seconds"}
    assert history[-1]["fitness_mean"] > history[0]["fitness_mean"]
    assert len(trainer.train(2)) == 2
    assert [entry["generation"] for entry in trainer.history][-2:] == [31, 32]
    assert fitness(trainer.best_member()) == pytest.approx(trainer.history[-1]["fitness_best"])


def test_batched_is_the_same_search() -> None:
    torch.manual_seed(0)
    one, other = nn.Linear(4, 2), nn.Linear(4, 2)
    other.load_state_dict(one.state_dict())
    Trainer(one, fitness, **OPTIONS).train(5)
    Trainer(other, lambda p: -((p.outputs(X) - Y) ** 2).mean((1, 2)), batched=True, **OPTIONS).train(5)
    assert torch.allclose(one.weight, other.weight, atol=1e-4)


def test_members_that_raise_are_failures_and_their_reason_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    calls = 0

    def moody(model: nn.Module) -> Any:
        nonlocal calls
        calls += 1
        if calls % 4 == 0:
            raise ValueError("no luck")
        return fitness(model)

    with caplog.at_level(logging.WARNING, logger="galab"):
        history = Trainer(nn.Linear(4, 2), moody, **OPTIONS).train(3)
    assert [entry["failures"] for entry in history] == [8, 8, 8]
    assert caplog.text.count("ValueError: no luck") == 1


def test_where_all_raise_the_error_is_named_and_the_model_stays() -> None:
    model = nn.Linear(4, 2)
    before = model.weight.clone()
    with pytest.raises(NoViableChildError, match="every one of 32 members, first UsageError: .* got None") as caught:
        Trainer(model, lambda model: None, **OPTIONS).train(3)
    assert isinstance(caught.value.__cause__, UsageError)
    assert torch.equal(model.weight, before)


def test_what_was_reached_is_kept_when_training_is_interrupted() -> None:
    def stop(entry: dict[str, Any]) -> None:
        if entry["generation"] == 5:
            raise KeyboardInterrupt

    model = nn.Linear(4, 2)
    before = error(model)
    with pytest.raises(KeyboardInterrupt):
        Trainer(model, fitness, **OPTIONS).train(100, callback=stop)
    assert error(model) < before


def test_unknown_options_are_refused() -> None:
    with pytest.raises(UsageError, match="is called 'popsize'. Did you mean 'population_size'"):
        Trainer(nn.Linear(4, 2), fitness, popsize=8)
