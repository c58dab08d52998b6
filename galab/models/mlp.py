"""A multilayer perceptron: linear layers with biases and a non-linearity between them."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn

from galab.models.activations import activation_named


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
