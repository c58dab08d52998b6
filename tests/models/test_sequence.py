"""Language models over bytes: causal, of the right shape, and evolved as any other network."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import galab
from galab.errors import UsageError
from galab.models.egg import Egg
from galab.models.sequence import GRU, Transformer

MODELS = {"gru": GRU, "transformer": Transformer, "egg": Egg}


@pytest.mark.parametrize("name", MODELS)
def test_a_byte_is_predicted_from_those_before_it_alone(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]((6,), 6 * 256, width=32, layers=2).eval()
    inputs = torch.randint(1, 256, (3, 6)).float()
    other = inputs.clone()
    other[:, 4] = (other[:, 4] + 77) % 255 + 1
    with torch.no_grad():
        one, two = (model(given).unflatten(1, (6, 256)) for given in (inputs, other))
    assert one.shape == (3, 6, 256)
    torch.testing.assert_close(one[:, :4], two[:, :4])
    assert not torch.equal(one[:, 4:], two[:, 4:])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: GRU((3, 4), 10), "a task of bytes with --model gru, .* got inputs of shape .3, 4. and 10 outputs"),
        (lambda: Transformer((4,), 1024, width=30, heads=4), "a multiple of 4 heads, got 30"),
        (lambda: Egg((4,), 1024, width=40), "the width of egg as a multiple of 32 from 32 to 256, got 40"),
        (lambda: Egg((4,), 1024, layers=0), "from 1 to 64 layers of egg, got 0"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make()


def test_egg_has_the_weights_of_its_formula() -> None:
    for width, layers in ((64, 1), (32, 3)):
        model = Egg((4,), 1024, width=width, layers=layers)
        count = sum(value.numel() for value in model.parameters())
        assert count == 513 * width + layers * (4 * width + 12 * width**2)
        assert all((value * 16 == (value * 16).round()).all() for value in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ga", "eggroll", "adam"])
def test_every_strategy_learns_a_regular_text(strategy: str, tmp_path: Any) -> None:
    options = {"population": 64, "lr": 0.5, "sigma": 0.05} if strategy == "eggroll" else {}
    options = {"lr": 0.01} if strategy == "adam" else options
    result = galab.run(
        task="counting", model="gru(width=16)", strategy=strategy, batch=8, generations=40, report_every=20, seed=1,
        runs=tmp_path, name="a", threads=1, **options,
    )  # fmt: skip
    assert result.metrics["validation_bits"] < 7.5
