"""Every optimiser of torch that is offered takes a step, remembers, and continues from plain data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from galab.errors import UsageError
from galab.storage import pickle_format
from galab.strategies.centre import Optimizers, known_optimizers, parse_optimizer

OFFERED = sorted(known_optimizers())


def parameters() -> list[nn.Parameter]:
    shapes = ((4, 3), (4,), (2, 4))
    return [nn.Parameter(torch.linspace(-1, 1, 12)[: int(np.prod(s))].reshape(s).clone(), False) for s in shapes]


def steps(optimizers: Optimizers, weights: list[nn.Parameter], first: int, last: int, rate: float = 0.05) -> None:
    for number in range(first, last):
        generator = torch.Generator().manual_seed(number)
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizers.step(rate)


def words(weights: list[nn.Parameter]) -> list[bytes]:
    return [weight.detach().numpy().tobytes() for weight in weights]


def test_what_is_offered() -> None:
    assert {"sgd", "adam", "adamw", "rmsprop", "muon"} <= set(OFFERED)
    assert not {"lbfgs", "sparseadam", "optimizer"} & set(OFFERED), "these need a closure or other gradients"


@pytest.mark.parametrize("name", OFFERED)
def test_each_moves_every_weight_and_continues_from_plain_data(name: str, tmp_path: Path) -> None:
    whole, broken = parameters(), parameters()
    one, first = Optimizers(name, whole, 0.1, 0.0), Optimizers(name, broken, 0.1, 0.0)
    start = [weight.detach().clone() for weight in whole]
    steps(one, whole, 0, 7)
    assert all((now != before).all() for now, before in zip(whole, start, strict=True))
    steps(first, broken, 0, 4)
    pickle_format.dump({"state": first.state()}, tmp_path / "state.pkl")
    second = Optimizers(name, broken, 0.1, 0.0)
    second.load_state(pickle_format.load(tmp_path / "state.pkl")["state"])
    steps(second, broken, 4, 7)
    assert words(broken) == words(whole)
    for ours, theirs in zip(second.state(), one.state(), strict=True):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", ["adam", "nadam", "muon", "sgd(momentum=0.9)"])
def test_a_state_that_is_not_loaded_is_missed(name: str) -> None:
    """Else the test above would prove nothing."""
    whole, broken = parameters(), parameters()
    steps(Optimizers(name, whole, 0.1, 0.0), whole, 0, 7)
    steps(Optimizers(name, broken, 0.1, 0.0), broken, 0, 4)
    steps(Optimizers(name, broken, 0.1, 0.0), broken, 4, 7)
    assert words(broken) != words(whole)


def test_sgd_is_gradient_descent_with_the_rate_of_the_step() -> None:
    weights = parameters()
    before = [weight.detach().clone() for weight in weights]
    optimizers = Optimizers("sgd", weights, 99.0, 0.0)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizers.step(0.25)
    assert all(torch.equal(now, was - 0.25) for now, was in zip(weights, before, strict=True))


def test_muon_is_for_matrices_and_adamw_for_the_rest() -> None:
    mixed, reference = parameters(), parameters()
    steps(Optimizers("muon", mixed, 0.1, 0.0), mixed, 0, 3)
    steps(Optimizers("adamw", reference, 0.1, 0.0), reference, 0, 3)
    assert torch.equal(mixed[1], reference[1])
    assert not torch.equal(mixed[0], reference[0])
    only = [parameters()[1]]
    steps(Optimizers("muon", only, 0.1, 0.0), only, 0, 3)
    assert not torch.equal(only[0], parameters()[1]), "a network may have no matrix"


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_weight_decay_shrinks_the_weights(name: str) -> None:
    free, decayed = parameters(), parameters()
    steps(Optimizers(name, free, 0.05, 0.0), free, 0, 5)
    steps(Optimizers(name, decayed, 0.05, 0.9), decayed, 0, 5)
    norms = [sum(float(weight.square().sum()) for weight in weights) for weights in (free, decayed)]
    assert norms[1] < norms[0]


def test_arguments_in_brackets() -> None:
    assert parse_optimizer("adam") == ("adam", {})
    assert parse_optimizer(" Adam(betas=(0.9, 0.99), eps=1e-6)") == ("adam", {"betas": (0.9, 0.99), "eps": 1e-6})
    assert parse_optimizer("sgd()") == ("sgd", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("adan", "expected --optimizer to be one of .*, got 'adan'.*'adam'"),
        ("lbfgs", "got 'lbfgs'"),
        ("", "got ''"),
        ("adam(0.9)", r"expected the arguments of --optimizer as name=value .*got 'adam\(0.9\)'"),
        ("adam(eps=1e-6", "as name=value"),
        ("adam(eps=1e-6) or 1", "as name=value"),
        ("adam(eps=open('x'))", "as name=value"),
        ("adam(**{'eps': 1})", "as name=value"),
        ("adam(lr=1)", "expected --optimizer adam with its own arguments, got 'lr'; use --lr"),
        ("adam(weight_decay=1)", "got 'weight_decay'; use --weight-decay"),
        ("adam(maximize=True)", "got 'maximize'"),
        ("sgd(betas=(0.9, 0.9))", "got 'betas'"),
    ],
)
def test_what_cannot_be_parsed_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        parse_optimizer(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["adam(eps=-1.0)", "sgd(nesterov=True)", "adam(betas=3)", "sgd(momentum='much')"])
def test_arguments_that_torch_refuses_are_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected arguments that --optimizer (adam|sgd) takes, got '"):
        Optimizers(text, parameters(), 0.1, 0.0)


def test_weight_decay_needs_an_optimiser_that_has_it() -> None:
    class Bare(torch.optim.SGD):
        def __init__(self, params, lr=0.1):
            super().__init__(params, lr=lr)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "Bare", Bare, raising=False)
        with pytest.raises(UsageError, match="expected an --optimizer with weight decay, got bare, which has none"):
            Optimizers("bare", parameters(), 0.1, 0.5)
