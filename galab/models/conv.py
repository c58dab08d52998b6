"""The convolutional network that made deep reinforcement learning known, adapted to small images.

Source: V. Mnih et al., "Human-level control through deep reinforcement learning", Nature 518 (2015), Methods.
"""

from __future__ import annotations

import torch
from torch import nn

from galab.errors import UsageError
from galab.models.mlp import activation_named

CHANNELS = (32, 64, 64)
#: Shortest side of the image, kernels, strides: the first row that fits is used. The first is the paper's; the
#: others keep its form for images on which a map of it would vanish.
PLANS = (
    (36, (8, 4, 3), (4, 2, 1)),
    (22, (8, 4, 3), (2, 2, 1)),
    (12, (4, 3, 3), (2, 1, 1)),
    (7, (3, 3, 3), (1, 1, 1)),
)


class ConvPolicy(nn.Module):
    """Three convolutions of 32, 64 and 64 channels, then linear layers.

    Kernels are 8, 4, 3 and strides 4, 2, 1 from 36 pixels on; smaller images get the smaller ones of ``PLANS`` (28
    pixels: strides 2, 2, 1; 8 pixels: kernels 3, strides 1), and below 7 pixels a kernel is clipped to the map it sees.

    Args:
        input_shape: (channels, height, width) of one input.
        outputs: number of outputs.
        hidden: units of each linear layer before the last.
        activation: name of the non-linearity after every layer but the last.
    """

    def __init__(
        self, input_shape: tuple[int, ...], outputs: int, hidden: tuple[int, ...] = (512,), activation: str = "relu"
    ) -> None:
        super().__init__()
        if len(input_shape) != 3:
            raise UsageError(
                f"expected inputs of shape (channels, height, width) for the conv model, got {tuple(input_shape)}; "
                "use --model mlp or reshape the task's inputs"
            )
        channels, *sides = input_shape
        kernels, strides = _plan(min(sides))
        convolutions = []
        for features, kernel, stride in zip(CHANNELS, kernels, strides, strict=True):
            size = (min(kernel, sides[0]), min(kernel, sides[1]))
            convolutions.append(nn.Conv2d(channels, features, size, stride))
            sides = [(side - extent) // stride + 1 for side, extent in zip(sides, size, strict=True)]
            channels = features
        self.convolutions = nn.ModuleList(convolutions)
        widths = (channels * sides[0] * sides[1], *hidden)
        self.hidden = nn.ModuleList(nn.Linear(widths[i], widths[i + 1]) for i in range(len(hidden)))
        self.output = nn.Linear(widths[-1], outputs)
        self.activation = activation_named(activation)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits (B, outputs) of images (B, channels, height, width)."""
        values = inputs
        for convolution in self.convolutions:
            values = self.activation(convolution(values))
        values = values.flatten(1)
        for layer in self.hidden:
            values = self.activation(layer(values))
        result: torch.Tensor = self.output(values)
        return result


def _plan(side: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Kernels and strides for images whose shorter side has so many pixels."""
    for least, kernels, strides in PLANS:
        if side >= least:
            return kernels, strides
    return PLANS[-1][1:]
