"""Policies: the networks of several members, each of which answers its own observations.

A member's answers depend on its own weights and observations alone: every product is of one member, so neither the
members beside it nor their number can change a bit. Networks of linear layers are computed for all members at once,
others member by member.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.evaluation.atari_policies import AtariPolicies
from galab.models.mlp import MLP
from galab.models.normalized import SUMS, normalized, normalizes, plain_class
from galab.models.policy import Policy

#: P stacked parameters by name, float32 (P, *shape).
Weights = Mapping[str, NDArray[np.float32]]
Observations = NDArray[np.float32] | NDArray[np.uint8]


def _relu(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(values, 0, out=values)


def _tanh(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.tanh(values, out=values)


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.reciprocal(1 + np.exp(-values))


#: Non-linearities by the name of their function or layer.
_FUNCTIONS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "relu": _relu, "ReLU": _relu, "tanh": _tanh, "Tanh": _tanh, "sigmoid": _sigmoid, "Sigmoid": _sigmoid,
}  # fmt: skip


class Policies(Protocol):
    """The networks of P members.

    Attributes:
        finished_share: members leave as soon as at least this share of them has nothing left to play.
    """

    finished_share: float

    def take(self, weights: Weights) -> None:
        """Take over the members' weights, and forget all episodes."""
        ...

    def keep(self, places: NDArray[np.int64]) -> None:
        """Go on with the members at these places alone, in this order."""
        ...

    def answer(self, observations: Observations, live: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """Outputs (P, E, outputs) of observations (P, E, *input_shape); anything where ``live`` (P, E) is False."""
        ...


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: str
    bias: str | None


class LayeredPolicies:
    """Linear layers with functions between them, computed for all members at once. See :class:`Policies`.

    Args:
        layers: in order.
        frozen: parameters that all members have in common, by name.
        seen: what is known of observations, if they are normalised; see :data:`galab.models.normalized.SUMS`.
    """

    #: Weights are copied when members leave.
    finished_share = 0.25

    def __init__(
        self, layers: Sequence[_Linear | str], frozen: Mapping[str, NDArray[np.float32]],
        seen: NDArray[np.float64] | None = None,
    ) -> None:  # fmt: skip
        self._layers = layers
        self._frozen = frozen
        self._seen = seen
        self._steps: list[tuple[NDArray[np.float32], NDArray[np.float32] | None] | str] = []

    @classmethod
    def of(cls, module: nn.Module) -> LayeredPolicies | None:
        """The policies of a network that is made of such layers; None of any other."""
        layers = _layers_of(module)
        if layers is None or any(part._forward_hooks or part._forward_pre_hooks for part in module.modules()):
            return None
        values = dict(module.named_parameters())
        frozen = {name: value.detach().numpy() for name, value in values.items() if not value.requires_grad}
        # The buffer's own memory: it changes from generation to generation.
        return cls(layers, frozen, getattr(module, SUMS).numpy() if normalizes(module) else None)

    def take(self, weights: Weights) -> None:
        """See :class:`Policies`."""
        count = len(next(iter(weights.values())))

        def stack(name: str) -> NDArray[np.float32]:
            if name in weights:
                return weights[name]
            own = self._frozen[name]
            return np.broadcast_to(own, (count, *own.shape))

        self._steps = []
        for layer in self._layers:
            if isinstance(layer, str):
                self._steps.append(layer)
                continue
            bias = None if layer.bias is None else stack(layer.bias)[:, None]
            self._steps.append((np.ascontiguousarray(stack(layer.weight).transpose(0, 2, 1)), bias))

    def keep(self, places: NDArray[np.int64]) -> None:
        """See :class:`Policies`."""
        self._steps = [
            step if isinstance(step, str) else (step[0][places], None if step[1] is None else step[1][places])
            for step in self._steps
        ]

    def answer(self, observations: Observations, live: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """See :class:`Policies`."""
        # A copy in C order: what follows may write into it, and a product rounds by the order in memory.
        values = observations.reshape(*observations.shape[:2], -1)
        values = values.astype(np.float32, order="C") if self._seen is None else normalized(values, self._seen)
        for step in self._steps:
            if isinstance(step, str):
                values = _FUNCTIONS[step](values)
                continue
            weight, bias = step
            values = np.matmul(values, weight)
            if bias is not None:
                values += bias
        return values


def _layers_of(module: nn.Module) -> list[_Linear | str] | None:
    """The linear layers and functions of a network, in order; None where it is made of anything else."""
    if isinstance(module, MLP) and plain_class(module) in (MLP, Policy):
        name = getattr(module.activation, "__name__", "")
        found: list[_Linear | str] = []
        for number in range(len(module.hidden)):
            found += [_Linear(f"hidden.{number}.weight", f"hidden.{number}.bias"), name]
        found.append(_Linear("output.weight", "output.bias"))
        return found if not len(module.hidden) or name in _FUNCTIONS else None
    if plain_class(module) is not nn.Sequential:
        return None
    found, first = [], {id(value): name for name, value in reversed(list(module.named_parameters()))}
    for part in module._modules.values():  # a layer may stand there twice
        kind = type(part)
        if isinstance(part, nn.Linear) and kind is nn.Linear and part.weight.dtype == torch.float32:
            found.append(_Linear(first[id(part.weight)], None if part.bias is None else first[id(part.bias)]))
        elif kind.__name__ in _FUNCTIONS and kind.__module__ == nn.ReLU.__module__:
            found.append(kind.__name__)
        elif not (isinstance(part, nn.Flatten) and part.start_dim == 1 and part.end_dim == -1 and not found):
            return None
    return found if any(isinstance(one, _Linear) for one in found) else None


class ModulePolicies:
    """Networks of any kind, one member after the other. See :class:`Policies`.

    A network with a method ``step(inputs, state)`` that gives outputs and the next state, and with
    ``initial_state(episodes)``, keeps a state for each member and episode.

    Args:
        module: the network.
        names: of the parameters that differ from member to member.
        device: where to compute.
    """

    finished_share = 0.0

    def __init__(self, module: nn.Module, names: Sequence[str], device: torch.device) -> None:
        self._module = module
        self._template = copy.deepcopy(module).to(device).eval()
        self._names = names
        self._device = device
        self._made: list[nn.Module] = []
        self._members: list[nn.Module] = []
        self._states: list[Any] = []
        self._remembers = hasattr(module, "initial_state") and hasattr(module, "step")

    def take(self, weights: Weights) -> None:
        """See :class:`Policies`."""
        count = len(next(iter(weights.values())))
        while len(self._made) < count:
            self._made.append(copy.deepcopy(self._template))
        self._members, self._states = self._made[:count], [None] * count
        with torch.no_grad():
            for place, member in enumerate(self._members):
                parameters = dict(member.named_parameters())
                for name in self._names:
                    parameters[name].copy_(torch.from_numpy(weights[name][place]))
                for own, value in zip(member.buffers(), self._module.buffers(), strict=True):
                    own.copy_(value)

    def keep(self, places: NDArray[np.int64]) -> None:
        """See :class:`Policies`."""
        self._members = [self._members[place] for place in places.tolist()]
        self._states = [self._states[place] for place in places.tolist()]

    def answer(self, observations: Observations, live: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """See :class:`Policies`."""
        with torch.inference_mode():
            # A copy: a network may remember what it saw, and the game writes there again. All rows: it may know them.
            shown = torch.from_numpy(np.array(observations)).to(self._device)
            found = [self._one(place, own) for place, own in enumerate(shown)]
            return torch.stack(found).float().cpu().numpy()

    def _one(self, place: int, inputs: torch.Tensor) -> torch.Tensor:
        member: Any = self._members[place]
        if not self._remembers:
            answer: torch.Tensor = member(inputs)
            return answer
        state = self._states[place]
        state = member.initial_state(len(inputs)) if state is None else state
        outputs, self._states[place] = member.step(inputs, state)
        return outputs


def policies_of(module: nn.Module, names: Sequence[str], device: torch.device, inputs: torch.Tensor) -> Policies:
    """The quickest policies of a network that answer as it does.

    Args:
        module: the network.
        names: of the parameters that differ from member to member.
        device: where to compute.
        inputs: (B, *input_shape) some observations to compare the answers on.
    """
    quick = (LayeredPolicies.of(module) or AtariPolicies.of(module)) if device.type == "cpu" else None
    if quick is not None:
        own = {name: value.detach().numpy()[None] for name, value in module.named_parameters() if name in set(names)}
        quick.take(own)
        with torch.inference_mode():
            expected = module(inputs).numpy()
        if np.allclose(quick.answer(inputs.numpy()[None])[0], expected, rtol=1e-4, atol=1e-4):
            return quick
    return ModulePolicies(module, names, device)


@functools.cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Let NumPy's products use one thread: several round otherwise than one, and a machine has as many as it has."""
    limits: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return limits
