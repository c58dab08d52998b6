"""Founder laws of a ``torch.nn.Module``, following torch's own initialisation of each layer kind.

Linear and convolution layers: uniform on +-1/sqrt(fan in), weights and biases alike (what ``kaiming_uniform_`` with
a = sqrt(5) comes to; He et al. 2015). Embeddings: standard normal. Every other parameter, norm weights among them,
keeps the value that the module came with. This is the only file of the genome that knows torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.contracts import Member
from galab.errors import UsageError
from galab.genome.founders import GIVEN, Founders, TensorLaw
from galab.genome.layout import Layout
from galab.genome.phenotype import from_float

_FAN_IN_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def founders_of(module: nn.Module, run_key: int) -> Founders:
    """Founders drawn as torch would initialise this module; tied parameters are one tensor."""
    drawn = _drawn_laws(module)
    laws, given = [], [np.empty(0, dtype=np.int32)]
    for name, parameter in module.named_parameters():
        law, scale = drawn.get(id(parameter), (GIVEN, 0.0))
        laws.append(TensorLaw(name, tuple(parameter.shape), law, scale))
        if law == GIVEN:
            given.append(_fixed_point(name, parameter))
    return Founders(run_key, tuple(laws), np.concatenate(given)[None])


def founders_given(module: nn.Module, state: Mapping[str, torch.Tensor], run_key: int) -> Founders:
    """Founders that all have the weights of a ``state_dict``.

    Raises:
        UsageError: a parameter is missing, has another shape, or holds a value outside +-128.
    """
    given = []
    for name, parameter in module.named_parameters():
        if name not in state:
            raise UsageError(f"expected the parameter '{name}' among the given weights, got {', '.join(state)}")
        if state[name].shape != parameter.shape:
            raise UsageError(
                f"expected the given weights of '{name}' to have shape {tuple(parameter.shape)}, "
                f"got {tuple(state[name].shape)}; choose the model that they were trained with"
            )
        given.append(_fixed_point(name, state[name]))
    return founders_fixed(module, np.concatenate(given)[None], run_key)


def founders_fixed(module: nn.Module, weights: NDArray[np.int32], run_key: int) -> Founders:
    """Founders that are given individuals.

    Args:
        module: the network, for the names and shapes.
        weights: (F, D) int32 in units of 2^-24; founder i is row i mod F.
        run_key: the run's key.
    """
    laws = tuple(TensorLaw(name, tuple(value.shape), GIVEN) for name, value in module.named_parameters())
    return Founders(run_key, laws, weights)


def tensors_of(layout: Layout, member: Member) -> dict[str, torch.Tensor]:
    """A network's parameters by name, float32."""
    parts = layout.split(member.floats())
    return {name: torch.from_numpy(part.copy()) for name, part in parts.items()}


def _drawn_laws(module: nn.Module) -> dict[int, tuple[str, float]]:
    """Law and standard deviation of every parameter whose layer kind has a rule, by the parameter's identity."""
    laws: dict[int, tuple[str, float]] = {}
    for layer in module.modules():
        if isinstance(layer, nn.Embedding):
            laws.setdefault(id(layer.weight), ("normal", 1.0))
        elif isinstance(layer, _FAN_IN_LAYERS):
            fan_in = layer.weight[0].numel()
            # Uniform on +-b has variance b^2 / 3; the scale is stored as the float32 that decoding multiplies by.
            scale = float(np.float32(math.sqrt(1 / (3 * fan_in))))
            laws.setdefault(id(layer.weight), ("uniform", scale))
            if layer.bias is not None:
                laws.setdefault(id(layer.bias), ("uniform", scale))
    return laws


def _fixed_point(name: str, values: torch.Tensor) -> NDArray[np.int32]:
    try:
        return from_float(values.detach().cpu().double().numpy().ravel())
    except UsageError as error:
        raise UsageError(f"parameter '{name}': {error}") from None
