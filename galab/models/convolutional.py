"""Convolutional networks for small images: a policy network, and a residual network.

Sources: V. Mnih et al., "Human-level control through deep reinforcement learning", Nature 518 (2015), Methods (the
policy); K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016 (the form for
CIFAR-10 of section 4.2: a 3x3 stem, stages of blocks, stride 2 between them, global average pooling); Y. Wu, K. He,
"Group normalization", ECCV 2018, in place of batch normalization, whose running statistics evolution never updates.
"""

from __future__ import annotations

import math

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


#: Residual blocks per stage.
BLOCKS = 2
#: Groups of a normalization, or fewer where that would leave a group with one channel or with a part of one.
GROUPS = 8


class Block(nn.Module):
    """Two 3x3 convolutions, each normalized, and the input added to what they give.

    Args:
        channels: channels of the input.
        features: channels of the output.
        stride: of the first convolution; where it is not 1, or the widths differ, a 1x1 convolution brings the input
            into the form of the output.
        activation: name of the non-linearity.
    """

    def __init__(self, channels: int, features: int, stride: int, activation: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, features, 3, stride, padding=1, bias=False)
        self.first_norm = _norm(features)
        self.second = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.second_norm = _norm(features)
        same = stride == 1 and channels == features
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, features, 1, stride, bias=False)
        self.activation = activation_named(activation)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Maps (B, features, ...) of maps (B, channels, height, width)."""
        change = self.activation(self.first_norm(self.first(values)))
        change = self.second_norm(self.second(change))
        return self.activation(change + self.shortcut(values))


class ResNet(nn.Module):
    """A 3x3 stem, stages of two residual blocks with GroupNorm, global average pooling and a linear head.

    Every stage after the first halves the sides of the maps. Made for images of 8x8 to 32x32 pixels with 1 or 3
    channels, it takes any size and number.

    Args:
        input_shape: (channels, height, width) of one input.
        outputs: number of outputs.
        hidden: channels of each stage.
        activation: name of the non-linearity.
    """

    def __init__(
        self, input_shape: tuple[int, ...], outputs: int, hidden: tuple[int, ...] = (16, 32), activation: str = "relu"
    ) -> None:
        super().__init__()
        if len(input_shape) != 3:
            raise UsageError(
                f"expected inputs of shape (channels, height, width) for the resnet model, got {tuple(input_shape)}; "
                "use --model mlp or reshape the task's inputs"
            )
        if not hidden:
            raise UsageError("expected --hidden with at least one stage for the resnet model, such as 16,32, got none")
        self.stem = nn.Conv2d(input_shape[0], hidden[0], 3, padding=1, bias=False)
        self.stem_norm = _norm(hidden[0])
        self.activation = activation_named(activation)
        blocks, channels = [], hidden[0]
        for stage, features in enumerate(hidden):
            for place in range(BLOCKS):
                blocks.append(Block(channels, features, 2 if stage and not place else 1, activation))
                channels = features
        self.blocks = nn.ModuleList(blocks)
        self.output = nn.Linear(channels, outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits (B, outputs) of images (B, channels, height, width)."""
        values = self.activation(self.stem_norm(self.stem(inputs)))
        for block in self.blocks:
            values = block(values)
        result: torch.Tensor = self.output(values.mean((2, 3)))
        return result


def _norm(features: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(GROUPS, features, max(features // 2, 1)), features)
