"""Networks that normalise observations, against NumPy's own mean and deviation."""

from __future__ import annotations

import copy
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from galab.config import RunConfig
from galab.errors import UsageError
from galab.evaluation.policies import LayeredPolicies, ModulePolicies, policies_of
from galab.models.normalized import normalize_observations, normalized, normalizes, observe, plain_class, sums_of
from galab.models.policy import Policy
from galab.training.initial_weights import initial_founders
from galab.training.search import initial_centre


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def initial_state(self, episodes: int) -> torch.Tensor:
        return torch.zeros(episodes, 4)

    def step(self, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state = self.cell(inputs, state)
        return state[:, :2], state

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.step(inputs, self.initial_state(len(inputs)))[0]


def seen(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The sums of members that saw these rows (P, n, D)."""
    rows = rows.astype(np.float64)
    return np.concatenate([np.full((len(rows), 1), rows.shape[1]), rows.sum(1), (rows * rows).sum(1)], axis=1)


@pytest.fixture
def rows() -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(1)
    found: np.ndarray[Any, Any] = (generator.normal(size=(4, 50, 3)) * [1, 20, 0] + [5, -3, 2]).astype(np.float32)
    return found


def test_a_network_sees_mean_0_and_deviation_1_of_what_was_observed(rows: np.ndarray[Any, Any]) -> None:
    plain = Policy((3,), 2, hidden=(5,))
    network = copy.deepcopy(plain)
    normalize_observations(network, (3,))
    inputs = torch.from_numpy(rows[0])
    assert isinstance(network, Policy)
    assert plain_class(network) is Policy
    assert normalizes(network)
    assert not normalizes(plain)
    assert torch.equal(network(inputs), plain(inputs))  # nothing was observed yet
    observe(network, seen(rows[:2]))
    observe(network, np.concatenate([seen(rows[2:]), np.full((1, 7), np.nan)]))  # a member that failed
    flat = rows.reshape(-1, 3).astype(np.float64)
    assert sums_of(network)[0] == len(flat)
    expected = (rows[0] - flat.mean(0)) / np.maximum(flat.std(0), 1e-4)
    assert np.abs(expected[:, 2]).max() == 0  # a number that never varies
    found = normalized(rows[0], sums_of(network))
    np.testing.assert_allclose(found, np.clip(expected, -10, 10), rtol=1e-5, atol=1e-5)
    assert torch.equal(network(inputs), plain(torch.from_numpy(found)))
    far = torch.full((1, 3), 1e6)
    assert torch.equal(network(far), plain(torch.full((1, 3), 10.0)))


def test_it_keeps_its_names_and_copies_and_what_it_has_seen(rows: np.ndarray[Any, Any]) -> None:
    network = Policy((3,), 2, hidden=(5,))
    names = [name for name, _ in network.named_parameters()]
    normalize_observations(network, (3,))
    observe(network, seen(rows))
    assert [name for name, _ in network.named_parameters()] == names
    twin = copy.deepcopy(network)
    other = Policy((3,), 2, hidden=(5,))
    normalize_observations(other, (3,))
    other.load_state_dict(network.state_dict())
    inputs = torch.from_numpy(rows[0])
    assert torch.equal(twin(inputs), network(inputs))
    assert torch.equal(other(inputs), network(inputs))
    assert torch.equal(torch.vmap(network)(inputs[None]), network(inputs)[None])
    with pytest.raises(RuntimeError, match="observation_sums"):  # a plain network would see other numbers
        Policy((3,), 2, hidden=(5,)).load_state_dict(network.state_dict())


@pytest.mark.parametrize("kind", ["layers", "sequential", "recurrent"])
def test_policies_answer_as_the_network_does(kind: str, rows: np.ndarray[Any, Any]) -> None:
    network: Any = {
        "layers": lambda: Policy((3,), 2, hidden=(5,)),
        "sequential": lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)),
        "recurrent": Recurrent,
    }[kind]()
    normalize_observations(network, (3,))
    inputs = torch.from_numpy(rows[0])
    names = [name for name, _ in network.named_parameters()]
    policies = policies_of(network, names, torch.device("cpu"), inputs)
    assert isinstance(policies, ModulePolicies if kind == "recurrent" else LayeredPolicies)
    for part in (rows[:1], rows[1:]):  # policies that were made before they knew anything
        observe(network, seen(part))
        policies.take({name: value.detach().numpy()[None] for name, value in network.named_parameters()})
        with torch.no_grad():
            first = network(inputs).numpy()
            np.testing.assert_allclose(policies.answer(rows[:1])[0], first, rtol=1e-5, atol=1e-6)
            if kind == "recurrent":
                _, state = network.step(inputs, network.initial_state(50))
                again = network.step(inputs, state)[0].numpy()
                np.testing.assert_allclose(policies.answer(rows[:1])[0], again, rtol=1e-5, atol=1e-6)


def test_a_network_that_has_such_an_attribute_is_refused() -> None:
    network = Policy((3,), 2)
    normalize_observations(network, (3,))
    with pytest.raises(UsageError, match="expected a network without an attribute 'observation_sums'"):
        normalize_observations(network, (3,))


class Own(nn.Module):
    """Sets its weights itself, and is called by name."""

    def __init__(self, input_shape: tuple[int, ...] = (3,), outputs: int = 1) -> None:
        super().__init__()
        self.layer = nn.Linear(3, outputs)
        nn.init.constant_(self.layer.weight, 0.25)
        nn.init.zeros_(self.layer.bias)

    def step(self) -> None:
        """A helper of its own, without states."""

    def forward(self, obs: torch.Tensor, slope: float = 1.0) -> torch.Tensor:
        self.step()
        found: torch.Tensor = self.layer(obs.float()) * slope
        return found


class OnTheObject(Own):
    def __init__(self, input_shape: tuple[int, ...] = (3,), outputs: int = 1) -> None:
        super().__init__(input_shape, outputs)
        self.forward = self.other  # type: ignore[assignment,method-assign]

    def other(self, obs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(obs.float())
        return found


def test_names_whole_numbers_threads_copies_and_types(rows: np.ndarray[Any, Any]) -> None:
    network = Own()
    normalize_observations(network, (3,), torch.from_numpy(rows[0]))
    observe(network, seen(rows))
    whole = torch.from_numpy(np.rint(rows[0])).long()
    expected = network(whole.float())
    assert expected.abs().max() > 0.1
    assert torch.equal(network(whole), expected)
    assert torch.equal(network(obs=whole, slope=2.0), 2 * expected)
    for twin in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        assert torch.equal(twin(whole), expected)
        assert type(twin).__name__ == "NormalizedOwn"
        assert type(twin).__module__ == Own.__module__
    half = copy.deepcopy(network).half().float()
    assert sums_of(half).tolist() == sums_of(network).tolist()
    torch.testing.assert_close(half(whole), expected, rtol=1e-2, atol=1e-2)

    class Slow(Own):
        def forward(self, obs: torch.Tensor, slope: float = 1.0) -> torch.Tensor:
            time.sleep(0.02)
            return super().forward(obs, slope)

    slow = Slow()
    normalize_observations(slow, (3,))
    observe(slow, seen(rows))
    with ThreadPoolExecutor(3) as pool:
        assert all(torch.equal(answer, expected) for answer in pool.map(slow, [whole] * 6))


def test_a_network_whose_forward_is_its_objects_is_refused(rows: np.ndarray[Any, Any]) -> None:
    with pytest.raises(UsageError, match="by its class's forward with --normalize-observations on, got OnTheObject"):
        normalize_observations(OnTheObject(), (3,), torch.from_numpy(rows[0]))


def test_weights_that_a_constructor_sets_are_taken() -> None:
    for normalize in ("off", "on"):
        config = RunConfig(
            task="pendulum", model=f"{__name__}:Own", strategy="snes", seed=1, normalize_observations=normalize
        )
        network = Own()
        if normalize == "on":
            normalize_observations(network, (3,))
        founders = initial_founders(config, network, lambda seed: Own())
        assert initial_centre(founders).tolist() == [0.25, 0.25, 0.25, 0.0]
