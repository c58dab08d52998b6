"""Linear layers: a multilayer perceptron, and a single layer whose optimum is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from galab.errors import UsageError, closest

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
}


def activation_named(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The non-linearity called ``name``.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in ACTIVATIONS:
        names = list(ACTIVATIONS)
        raise UsageError(f"expected --activation to be one of {', '.join(names)}, got '{name}'.{closest(name, names)}")
    return ACTIVATIONS[name]


class MLP(nn.Module):
    """Flattens its input and sends it through linear layers.

    Args:
        input_shape: shape of one input.
        outputs: number of outputs.
        hidden: units of each hidden layer; none makes a linear model.
        activation: name of the non-linearity after each hidden layer.
    """

    def __init__(
        self, input_shape: tuple[int, ...], outputs: int, hidden: tuple[int, ...] = (128,), activation: str = "relu"
    ) -> None:
        super().__init__()
        widths = (math.prod(input_shape), *hidden)
        self.hidden = nn.ModuleList(nn.Linear(width, units) for width, units in pairwise(widths))
        self.output = nn.Linear(widths[-1], outputs)
        self.activation = activation_named(activation)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits (B, outputs) of inputs (B, ...)."""
        values = inputs.flatten(1)
        for layer in self.hidden:
            values = self.activation(layer(values))
        result: torch.Tensor = self.output(values)
        return result


class Linear(nn.Module):
    """Flattens its input and multiplies it by one matrix, without a bias.

    Args:
        input_shape: shape of one input.
        outputs: number of outputs.
    """

    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.output = nn.Linear(math.prod(input_shape), outputs, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs (B, outputs) of inputs (B, ...)."""
        result: torch.Tensor = self.output(inputs.flatten(1))
        return result
