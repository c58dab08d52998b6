"""Networks of pixels for all members together: the steps of :class:`galab.models.policy.AtariPolicy`, member by member.

A network is called once for each member and step with a frame or a few, and most of that call is not arithmetic. Here
every layer goes through all members before the next one begins. The first convolution is torch's; the later ones are
products of matrices whose rows are the pieces of a picture that the kernel sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from galab.models.normalized import normalizes
from galab.models.policy import AtariPolicy

#: What torch.nn.functional.layer_norm adds to a variance.
_EPSILON = np.float32(1e-5)
_Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Convolution:
    """A layer after the first: (K K I, O) weights and (O,) biases of each member, for pictures (R, H, W, I)."""

    weights: list[_Array]
    biases: list[_Array]
    kernel: int
    stride: int
    padding: int


class AtariPolicies:
    """The networks of P members; see :class:`galab.evaluation.policies.Policies`.

    A member's answers are sums in an order that depends on its own weights and on how many of its own episodes go on.

    Args:
        module: the network.
    """

    finished_share = 0.0

    def __init__(self, module: AtariPolicy) -> None:
        self._norm, self._geometry, self._sides = module.norm, module.geometry, module.sides
        values = dict(module.named_parameters())
        self._frozen = {name: value.detach().numpy() for name, value in values.items() if not value.requires_grad}
        self._first: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._later: list[_Convolution] = []
        self._linear: list[tuple[list[_Array], list[_Array]]] = []

    @classmethod
    def of(cls, module: nn.Module) -> AtariPolicies | None:
        """The policies of a network of Atari; None of any other."""
        hooked = any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
        if type(module) is not AtariPolicy or hooked or normalizes(module):
            return None
        return cls(module)

    def take(self, weights: Mapping[str, _Array]) -> None:
        """See :class:`galab.evaluation.policies.Policies`."""
        count = len(next(iter(weights.values())))

        def stack(name: str) -> _Array:
            if name in weights:
                return weights[name]
            return np.broadcast_to(self._frozen[name], (count, *self._frozen[name].shape))

        first = stack("convolutions.0.weight") / np.float32(255)
        start = np.array(stack("convolutions.0.bias"))
        self._first = [(torch.from_numpy(one), torch.from_numpy(bias)) for one, bias in zip(first, start, strict=True)]
        self._later = []
        for number, (kernel, stride, padding) in enumerate(self._geometry[1:], 1):
            kernels = stack(f"convolutions.{number}.weight").transpose(0, 3, 4, 2, 1)
            rows = np.ascontiguousarray(kernels).reshape(count, -1, kernels.shape[-1])
            biases = stack(f"convolutions.{number}.bias")
            self._later.append(_Convolution(list(rows), list(biases), kernel, stride, padding))
        # Pictures have their channels last here.
        dense = stack("dense.weight")
        dense = dense.reshape(*dense.shape[:2], -1, *self._sides).transpose(0, 3, 4, 2, 1)
        dense = np.ascontiguousarray(dense).reshape(count, -1, dense.shape[-1])
        output = np.ascontiguousarray(stack("output.weight").transpose(0, 2, 1))
        self._linear = [
            (list(matrices), list(stack(f"{name}.bias"))) for name, matrices in (("dense", dense), ("output", output))
        ]

    def keep(self, places: NDArray[np.int64]) -> None:
        """See :class:`galab.evaluation.policies.Policies`."""
        self._first = _chosen(self._first, places)
        for layer in self._later:
            layer.weights[:], layer.biases[:] = _chosen(layer.weights, places), _chosen(layer.biases, places)
        self._linear = [(_chosen(matrices, places), _chosen(biases, places)) for matrices, biases in self._linear]

    def answer(self, observations: NDArray[Any], live: NDArray[np.bool_] | None = None) -> _Array:
        """See :class:`galab.evaluation.policies.Policies`."""
        live = np.ones(observations.shape[:2], np.bool_) if live is None else live
        ends = np.cumsum(np.count_nonzero(live, axis=1)).tolist()
        spans = [(place, slice(first, last)) for place, (first, last) in enumerate(zip([0, *ends], ends, strict=False))]
        spans = [(place, span) for place, span in spans if span.start < span.stop]
        dense, output = self._linear
        found = np.zeros((*live.shape, output[0][0].shape[-1]), np.float32)
        if not spans:
            return found
        values = self._pictures(observations[live], spans)
        for layer in self._later:
            values = _convolved(layer, values, spans)
        values = values.reshape(len(values), -1)
        values = _products(*dense, values, spans)
        if self._norm:
            values -= values.mean(1, keepdims=True)
            values /= np.sqrt((values * values).mean(1, keepdims=True) + _EPSILON)
        np.maximum(values, 0, out=values)
        found[live] = _products(*output, values, spans)
        return found

    def _pictures(self, seen: NDArray[Any], spans: Sequence[tuple[int, slice]]) -> _Array:
        """(R, H, W, O) after the first convolution."""
        _, stride, padding = self._geometry[0]
        values: _Array | None = None
        with torch.inference_mode():
            shown = torch.from_numpy(seen).float()
            for place, span in spans:
                found = functional.conv2d(shown[span], *self._first[place], stride, padding).numpy()
                found = found.transpose(0, 2, 3, 1)
                values = np.empty((len(seen), *found.shape[1:]), np.float32) if values is None else values
                np.maximum(found, 0, out=values[span])
        assert values is not None
        return values


def _chosen(values: Sequence[Any], places: NDArray[np.int64]) -> list[Any]:
    return [values[place] for place in places.tolist()]


def _convolved(layer: _Convolution, values: _Array, spans: Sequence[tuple[int, slice]]) -> _Array:
    """(R, H', W', O) of pictures (R, H, W, I), after the rectifier."""
    if layer.padding:
        border = (layer.padding, layer.padding)
        values = np.pad(values, ((0, 0), border, border, (0, 0)))
    pieces = sliding_window_view(values, (layer.kernel, layer.kernel), axis=(1, 2))
    pieces = pieces[:, :: layer.stride, :: layer.stride].transpose(0, 1, 2, 4, 5, 3)
    rows = np.ascontiguousarray(pieces).reshape(len(values), pieces.shape[1] * pieces.shape[2], -1)
    found = np.empty((*rows.shape[:2], layer.weights[0].shape[-1]), np.float32)
    for place, span in spans:
        own = rows[span]
        np.matmul(own.reshape(-1, own.shape[-1]), layer.weights[place], out=found[span].reshape(-1, found.shape[-1]))
        found[span] += layer.biases[place]
    np.maximum(found, 0, out=found)
    return found.reshape(*pieces.shape[:3], -1)


def _products(
    matrices: Sequence[_Array], biases: Sequence[_Array], values: _Array, spans: Sequence[tuple[int, slice]]
) -> _Array:
    """(R, O) of rows (R, I)."""
    found = np.empty((len(values), matrices[0].shape[-1]), np.float32)
    for place, span in spans:
        np.matmul(values[span], matrices[place], out=found[span])
        found[span] += biases[place]
    return found
