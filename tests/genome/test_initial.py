"""Founders: the recipe for individuals without parents."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from galab.errors import CheckpointError, LethalMutationError, UsageError
from galab.genome.births import Birth
from galab.genome.initial import GIVEN, Founders, TensorLaw, founders_fixed, founders_given, founders_of
from galab.genome.random import Stream, codes, table
from galab.genome.weights import to_float

LAWS = (
    TensorLaw("a", (3, 4), "uniform", float(np.float32(0.2))),
    TensorLaw("b", (4,), GIVEN),
    TensorLaw("c", (5,), "normal", 1.0),
    TensorLaw("d", (2,), GIVEN),
)
GIVEN_ROWS = np.arange(18, dtype=np.int32).reshape(3, 6) * 1000
FOUNDERS = Founders(77, LAWS, GIVEN_ROWS)


def founder(number: int, founders: Founders = FOUNDERS) -> np.ndarray:
    return founders.decode(Birth(number, (), 0, 0, -1445, 0, 0))


def test_a_drawn_tensor_is_its_law_times_its_scale():
    quantiles = table("uniform").quantiles[codes(77, 5, Stream.FOUNDER, 23)[:12]]
    assert founder(5)[:12].tolist() == np.rint(np.float32(0.2) * quantiles * np.float32(2**24)).astype(int).tolist()
    quantiles = table("normal").quantiles[codes(77, 5, Stream.FOUNDER, 23)[16:21]]
    assert founder(5)[16:21].tolist() == np.rint(quantiles * np.float32(2**24)).astype(int).tolist()


@pytest.mark.parametrize("number", range(8))
def test_founder_i_takes_row_i_modulo_the_rows_given(number):
    weights = founder(number)
    assert [*weights[12:16], *weights[21:]] == GIVEN_ROWS[number % 3].tolist()


def test_founders_differ_and_do_not_depend_on_the_step_size_of_their_birth():
    assert len({founder(number).tobytes() for number in range(50)}) == 50
    assert np.array_equal(FOUNDERS.decode(Birth(3, (), 0, 0, 12, 0, 0)), founder(3))


def test_a_tensors_noise_depends_on_its_place_and_not_on_its_neighbours_laws():
    other = dataclasses.replace(FOUNDERS, laws=(TensorLaw("a", (3, 4), "laplace", 0.5), *LAWS[1:]))
    assert np.array_equal(founder(1)[12:], founder(1, other)[12:])
    assert not np.array_equal(founder(1)[:12], founder(1, other)[:12])


def test_a_founder_outside_the_range_names_its_parameter():
    wild = dataclasses.replace(FOUNDERS, laws=(*LAWS[:2], TensorLaw("c", (5,), "sign", 128.0), LAWS[3]))
    with pytest.raises(LethalMutationError) as caught:
        founder(0, wild)
    assert caught.value.parameter == "c"


def test_everything_that_decides_a_founder_changes_the_hash():
    changed: list[dict[str, Any]] = [{}, {"run_key": 78}, {"laws": LAWS[::-1]}]
    for place, new in [
        (0, {"name": "z"}), (0, {"shape": (4, 3)}), (0, {"law": "sign"}), (0, {"scale": 0.2}), (2, {"scale": 1.5}),
    ]:  # fmt: skip
        laws = list(LAWS)
        laws[place] = dataclasses.replace(laws[place], **new)
        changed.append({"laws": tuple(laws)})
    one_more = GIVEN_ROWS.copy()
    one_more[2, 5] += 1
    changed += [{"given": one_more}, {"given": GIVEN_ROWS[:2]}, {"given": GIVEN_ROWS.reshape(1, 18)}]
    hashes = {dataclasses.replace(FOUNDERS, **change).sha256 for change in changed}
    assert len(hashes) == len(changed)


def test_the_hash_of_a_recipe_never_changes():
    assert FOUNDERS.sha256 == GOLDEN


def test_a_recipe_survives_being_plain_data():
    again = Founders.from_dict(copy.deepcopy(FOUNDERS.to_dict()))
    assert again.sha256 == FOUNDERS.sha256
    assert again.laws == LAWS
    assert np.array_equal(founder(4, again), founder(4))


@pytest.mark.parametrize("part", ["run_key", "laws", "given", "sha256"])
def test_a_recipe_that_was_changed_is_refused(part):
    values = copy.deepcopy(FOUNDERS.to_dict())
    if part == "run_key":
        values["run_key"] += 1
    elif part == "laws":
        values["laws"][0][3] *= 2
    elif part == "given":
        values["given"][0, 0] += 1
    else:
        values["sha256"] = "0" * 64
    with pytest.raises(CheckpointError, match="expected founders with hash .* the file was changed; restore it"):
        Founders.from_dict(values)


def test_nothing_given_and_everything_given_both_work():
    drawn = Founders(1, LAWS[:1], np.empty((1, 0), np.int32))
    assert founder(0, drawn).shape == (12,)
    given = Founders(1, (TensorLaw("b", (6,), GIVEN),), GIVEN_ROWS)
    assert founder(4, given).tolist() == GIVEN_ROWS[1].tolist()


GOLDEN = "563584f8b84560046890650a0158491bebb0d5e1f6ec37dd4d792fc13f37b5cc"


def weights_by_name(founders: Founders, number: int) -> dict[str, np.ndarray]:
    return founders.layout.split(to_float(founders.decode(Birth(number, (), 0, 0, 0, 0, 0))))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(40, 30),
        lambda: nn.Conv1d(6, 8, 5),
        lambda: nn.Conv2d(4, 8, 3, groups=2),
        lambda: nn.Conv3d(2, 4, 3),
        lambda: nn.Embedding(40, 20),
    ],
)
def test_every_layer_kind_has_the_moments_of_torchs_rule(make):
    layer = make()
    founders = founders_of(layer, 5)
    drawn = [weights_by_name(founders, number) for number in range(200)]
    torch.manual_seed(0)
    for name, parameter in layer.named_parameters():
        theirs = []
        for _ in range(200):
            layer.reset_parameters()
            theirs.append(parameter.detach().numpy().ravel().copy())
        ours, theirs = np.concatenate([each[name].ravel() for each in drawn]), np.concatenate(theirs)
        error = 1 / math.sqrt(ours.size)
        assert abs(ours.std() / theirs.std() - 1) < 5 * error
        assert abs(ours.mean()) < 5 * error * theirs.std()
        # The same law and not only the same spread: the deciles agree.
        levels = np.linspace(0.1, 0.9, 9)
        np.testing.assert_allclose(np.quantile(ours, levels), np.quantile(theirs, levels), atol=8 * error * ours.std())
        if not isinstance(layer, nn.Embedding):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            assert np.abs(ours).max() <= bound * (1 + 1e-6)


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.group = nn.GroupNorm(2, 6)
        self.own = nn.Parameter(torch.tensor(0.25))
        self.linear = nn.Linear(6, 3)


def test_norm_weights_and_unknown_parameters_keep_the_modules_value():
    module = Mixed()
    with torch.no_grad():
        module.norm.weight.copy_(torch.arange(6) / 4)
    founders = founders_of(module, 1)
    assert {law.name: law.law for law in founders.laws} == {
        "own": GIVEN, "norm.weight": GIVEN, "norm.bias": GIVEN, "group.weight": GIVEN, "group.bias": GIVEN,
        "linear.weight": "uniform", "linear.bias": "uniform",
    }
    for number in (0, 3):
        found = weights_by_name(founders, number)
        assert found["own"] == np.float32(0.25)
        assert found["norm.weight"].tolist() == [0, 0.25, 0.5, 0.75, 1, 1.25]
        assert found["group.bias"].tolist() == [0] * 6


def test_the_order_of_the_layout_is_the_modules():
    founders = founders_of(Mixed(), 1)
    assert founders.layout.names == tuple(name for name, _ in Mixed().named_parameters())
    assert founders.layout.shapes[0] == ()


def test_tied_parameters_are_one_tensor():
    module = nn.ModuleDict({"embed": nn.Embedding(7, 5), "head": nn.Linear(5, 7, bias=False)})
    module["head"].weight = module["embed"].weight
    founders = founders_of(module, 1)
    assert founders.layout.names == ("embed.weight",)
    assert founders.layout.size == 35
    assert founders.laws[0].law == "normal"


def test_founders_do_not_depend_on_torchs_generator_or_the_modules_drawn_weights():
    torch.manual_seed(1)
    first = founders_of(nn.Linear(5, 3), 4)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = founders_of(module := nn.Linear(5, 3), 4)
    assert first.sha256 == second.sha256
    assert first.sha256 != founders_of(module, 5).sha256
    torch.manual_seed(2)
    assert torch.equal(state, torch.get_rng_state())


def test_given_weights_are_the_founders_to_the_bit():
    module = nn.Linear(4, 2)
    state = {name: value.clone() for name, value in nn.Linear(4, 2).state_dict().items()}
    founders = founders_given(module, state, 3)
    for number in range(3):
        found = weights_by_name(founders, number)
        for name, value in state.items():
            np.testing.assert_allclose(found[name], value.numpy(), rtol=0, atol=2**-25)
    assert {law.law for law in founders.laws} == {GIVEN}


def test_given_weights_that_do_not_fit_are_refused():
    module = nn.Linear(4, 2)
    with pytest.raises(UsageError, match="expected the parameter 'bias' among the given weights, got weight"):
        founders_given(module, {"weight": torch.zeros(2, 4)}, 1)
    with pytest.raises(UsageError, match=r"'weight' to have shape \(2, 4\), got \(4, 2\); choose the model"):
        founders_given(module, {"weight": torch.zeros(4, 2), "bias": torch.zeros(2)}, 1)
    with pytest.raises(UsageError, match=r"parameter 'bias': expected weights inside \+-128, got 200"):
        founders_given(module, {"weight": torch.zeros(2, 4), "bias": torch.tensor([0.0, 200.0])}, 1)


def test_given_individuals_become_founders_in_turn():
    rows = np.arange(20, dtype=np.int32).reshape(2, 10)
    founders = founders_fixed(nn.Linear(4, 2), rows, 1)
    for number in range(5):
        assert founders.decode(Birth(number, (), 0, 0, 0, 0, 0)).tolist() == rows[number % 2].tolist()
