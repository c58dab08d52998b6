"""Networks of pixels, computed for all members together, against the networks themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from galab.evaluation.atari_policies import AtariPolicies
from galab.evaluation.policies import ModulePolicies, policies_of
from galab.models.policy import AtariPolicy

Array = np.ndarray[Any, Any]


def networks(count: int, shape: tuple[int, int, int] = (4, 84, 84), **options: Any) -> list[AtariPolicy]:
    found = [AtariPolicy(shape, 6, **options) for _ in range(count)]
    for network in found:
        for parameter in network.parameters():  # biases too
            nn.init.normal_(parameter, std=0.05)
    return found


def stacked(members: list[AtariPolicy], names: list[str]) -> dict[str, Array]:
    values = [dict(member.named_parameters()) for member in members]
    return {name: np.stack([value[name].detach().numpy() for value in values]) for name in names}


def frames(members: int, episodes: int, shape: tuple[int, int, int] = (4, 84, 84)) -> Array:
    return np.random.default_rng(1).integers(0, 256, (members, episodes, *shape), dtype=np.uint8)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (4, 84, 84)), ({"size": "large"}, (4, 84, 84)), ({"size": "same"}, (4, 84, 84)),
        ({"norm": False}, (4, 84, 84)), ({}, (1, 60, 44)), ({"size": "same"}, (3, 44, 60)),
    ],
)  # fmt: skip
def test_answers_are_those_of_the_networks(options: dict[str, Any], shape: tuple[int, int, int]) -> None:
    torch.manual_seed(1)
    members, shown = networks(3, shape, **options), frames(3, 4, shape)
    names = [name for name, _ in members[0].named_parameters()]
    policies = policies_of(members[0], names, torch.device("cpu"), torch.from_numpy(shown[0]))
    assert isinstance(policies, AtariPolicies)
    policies.take(stacked(members, names))
    live = np.array([[True, False, True, True], [False] * 4, [True] * 4])
    with torch.no_grad():
        for seen in (np.ones((3, 4), np.bool_), live):
            found = policies.answer(shown, seen)
            for place, member in enumerate(members):
                expected = member(torch.from_numpy(shown[place])).numpy()
                np.testing.assert_allclose(found[place][seen[place]], expected[seen[place]], rtol=1e-3, atol=1e-4)
        policies.keep(np.array([2, 0]))
        found = policies.answer(shown[[2, 0]])
        np.testing.assert_allclose(found[1], members[0](torch.from_numpy(shown[0])).numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("episodes", [1, 2, 3, 7])
def test_no_neighbour_changes_a_bit(episodes: int) -> None:
    torch.manual_seed(1)
    members, shown = networks(5), frames(5, episodes)
    names = [name for name, _ in members[0].named_parameters()]
    together, alone = AtariPolicies(members[0]), AtariPolicies(members[0])
    stacks = stacked(members, names)
    together.take(stacks)
    live = np.random.default_rng(2).random((5, episodes)) < 0.7
    whole = together.answer(shown, live)
    for place in range(5):
        alone.take({name: value[place : place + 1] for name, value in stacks.items()})
        assert alone.answer(shown[place : place + 1], live[place : place + 1]).tobytes() == whole[place].tobytes()
    together.keep(np.array([4, 1]))
    assert together.answer(shown[[4, 1]], live[[4, 1]]).tobytes() == whole[[4, 1]].tobytes()


def test_frozen_layers_are_those_of_the_network() -> None:
    torch.manual_seed(1)
    first, second = networks(2)
    second.convolutions.load_state_dict(first.convolutions.state_dict())
    for network in (first, second):
        network.convolutions.requires_grad_(False)
    names = [name for name, parameter in first.named_parameters() if parameter.requires_grad]
    policies, shown = AtariPolicies(first), frames(2, 2)
    policies.take(stacked([first, second], names))
    with torch.no_grad():
        expected = torch.stack([net(torch.from_numpy(own)) for net, own in zip((first, second), shown, strict=True)])
    np.testing.assert_allclose(policies.answer(shown), expected.numpy(), rtol=1e-3, atol=1e-4)


def test_other_networks_are_computed_one_by_one() -> None:
    class Own(AtariPolicy):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs) * 2

    hooked = AtariPolicy((4, 84, 84), 6)
    hooked.dense.register_forward_hook(lambda *_: None)
    for network in (Own((4, 84, 84), 6), hooked):
        names, shown = [name for name, _ in network.named_parameters()], torch.zeros(1, 4, 84, 84, dtype=torch.uint8)
        assert isinstance(policies_of(network, names, torch.device("cpu"), shown), ModulePolicies)
