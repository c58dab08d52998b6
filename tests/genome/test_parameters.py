"""Which parameters of a module are evolved, and copies of it that can be run with other weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from galab.errors import CheckpointError, UsageError
from galab.genome.parameters import (
    choose_evolved,
    evolve_also,
    evolved_parameters,
    frozen_parameters,
    frozen_values,
    make_runnable,
    own_dtypes,
    runnable,
    set_frozen,
)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def test_what_asks_for_a_gradient_is_evolved_and_all_where_none_does() -> None:
    module = network()
    assert list(evolved_parameters(module)) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    module[0].requires_grad_(False)
    assert list(evolved_parameters(module)) == ["2.weight", "2.bias"]
    assert list(frozen_parameters(module)) == ["0.weight", "0.bias"]
    module.requires_grad_(False)
    assert list(evolved_parameters(module)) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert not frozen_parameters(module)


def test_nothing_whole_and_nothing_of_size_zero_is_evolved() -> None:
    module = nn.Module()
    module.order = nn.Parameter(torch.arange(3), requires_grad=False)
    module.none = nn.Parameter(torch.zeros(0, 3))
    module.scale = nn.Parameter(torch.tensor(1.0))
    for given in (module, copy.deepcopy(module).requires_grad_(False)):
        assert list(evolved_parameters(given)) == ["scale"]
        assert sorted(frozen_parameters(given)) == ["none", "order"]


@pytest.mark.parametrize(
    ("freeze", "left"),
    [
        (None, ["0.weight", "0.bias", "2.weight", "2.bias"]),
        ("", ["0.weight", "0.bias", "2.weight", "2.bias"]),
        ("0.*", ["2.weight", "2.bias"]),
        ("*.bias", ["0.weight", "2.weight"]),
        (" 0.bias , 2.* ", ["0.weight"]),
    ],
)
def test_patterns_freeze(freeze: str | None, left: list[str]) -> None:
    module = network()
    choose_evolved(module, freeze)
    assert list(evolved_parameters(module)) == left
    assert any(value.requires_grad for value in module.parameters()) == (len(left) < 4)


def test_a_tied_parameter_is_frozen_under_either_name() -> None:
    module = nn.ModuleDict({"embed": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False), "last": nn.Linear(5, 2)})
    module["head"].weight = module["embed"].weight
    choose_evolved(module, "head.weight")
    assert list(evolved_parameters(module)) == ["last.weight", "last.bias"]


@pytest.mark.parametrize(
    ("freeze", "sentence"),
    [
        ("0.wieght", r"got '0\.wieght', which matches none\. Did you mean '0\.weight'\? There are 0\.weight, 0\.bias"),
        ("*", "expected parameters to evolve, got none that is not frozen"),
    ],
)
def test_wrong_patterns_are_one_sentence(freeze: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        choose_evolved(network(), freeze)


def test_a_layer_without_a_size_is_refused_until_it_has_one() -> None:
    module = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(UsageError, match=r"expected parameters with a shape, got '0\.weight' without one"):
        choose_evolved(module)
    module(torch.zeros(1, 4))
    choose_evolved(module)


def test_a_saved_run_evolves_what_it_evolved() -> None:
    module = network()
    module[0].requires_grad_(False)
    evolve_also(module, ["0.weight", "0.bias", "2.weight", "2.bias"])
    assert not frozen_parameters(module)
    module[0].requires_grad_(False)
    module[2].requires_grad_(True)
    evolve_also(module, ["0.bias", "gone"])
    assert list(evolved_parameters(module)) == ["0.bias", "2.weight", "2.bias"]


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.float8_e4m3fn],
    ids=str,
)
def test_frozen_values_come_back_to_the_bit(dtype: torch.dtype) -> None:
    def module(value: float) -> nn.Module:
        made = network()
        made.extra = nn.Parameter(torch.full((2, 3), value).to(dtype), requires_grad=False)
        return made

    saved, fresh = module(1.37), module(0.0)
    set_frozen(fresh, frozen_values(saved), "there")
    assert torch.equal(fresh.extra.float(), saved.extra.float())
    assert fresh.extra.dtype == dtype
    with pytest.raises(CheckpointError, match="expected the network of 'there' to have a frozen parameter 'extra'"):
        set_frozen(network(), frozen_values(saved), "there")


def test_types_other_than_float32_are_named() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2).double())
    assert own_dtypes(module) == {"1.weight": torch.float64, "1.bias": torch.float64}


def test_a_submodule_under_two_names_can_be_run_with_other_weights_and_stays_whole() -> None:
    tower = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3)))
    module = nn.ModuleDict({"one": tower, "two": tower})
    copied = runnable(module)
    assert list(copied.state_dict()) == list(module.state_dict())
    assert list(evolved_parameters(copied)) == list(evolved_parameters(module))
    assert copied["one"][1][0].weight is copied["two"][1][0].weight
    assert copied["one"][1][0] is not copied["two"][1][0]
    assert module["one"] is module["two"]
    whole = nn.Sequential(copied["one"], copied["two"])
    other = {name: torch.full_like(value, 0.5) for name, value in evolved_parameters(whole).items()}
    x = torch.tensor([[1.0, 2.0, 3.0]])
    before = whole(x)
    functional_call(whole, other, (x,))
    torch.testing.assert_close(whole(x), before)


def test_a_tensor_that_a_hook_computes_is_no_obstacle_to_a_copy() -> None:
    with pytest.warns(FutureWarning):
        module = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)))
    x = torch.ones(1, 3)
    expected = module(x).detach()
    torch.testing.assert_close(runnable(module)(x).detach(), expected)
    make_runnable(module)
    torch.testing.assert_close(copy.deepcopy(module)(x).detach(), expected)
    assert np.isfinite(expected.numpy()).all()


def test_a_module_shared_among_devices_is_refused() -> None:
    with pytest.raises(UsageError, match=r"expected a module, got one inside DataParallel; give .* its \.module"):
        runnable(nn.DataParallel(nn.Linear(2, 2)))
