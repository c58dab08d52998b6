"""One linear layer and nothing else: the network whose optimum is known in closed form."""

from __future__ import annotations

import math

import torch
from torch import nn


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
