"""Policies: networks that choose actions, without running statistics, so that evolution can set all that they are."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from galab.errors import UsageError
from galab.models.mlp import MLP


class Policy(MLP):
    """A small multilayer perceptron for observations that are short vectors.

    Args:
        input_shape: shape of one observation.
        outputs: one for each choice, or for each number of an action.
        hidden: units of each hidden layer; none makes a linear policy.
        activation: name of the non-linearity after each hidden layer.
    """

    def __init__(
        self, input_shape: tuple[int, ...], outputs: int, hidden: tuple[int, ...] = (32,), activation: str = "tanh"
    ) -> None:
        super().__init__(input_shape, outputs, hidden, activation)


#: Channels, sizes, strides and padding of the convolutions, and the units of the dense layer.
_SIZES: dict[str, tuple[tuple[tuple[int, int, int, int], ...], int]] = {
    # Convolutions of Mnih et al. 2013, who have 256 units.
    "small": (((16, 8, 4, 0), (32, 4, 2, 0)), 128),
    # Mnih et al. 2015.
    "large": (((32, 8, 4, 0), (64, 4, 2, 0), (64, 3, 1, 0)), 512),
    # Such et al. 2017: as many numbers as with padding "same", 11 x 11 x 64 before the dense layer.
    "same": (((32, 8, 4, 2), (64, 4, 2, 2), (64, 3, 1, 1)), 512),
}


class AtariPolicy(nn.Module):
    """Convolutions over stacked frames, and a dense layer with a parameter-free layer norm.

    Frames are whole numbers up to 255 and are divided by 255. ``size`` is ``small`` (16 and 32 channels as Mnih et al.
    2013, 128 units), ``large`` (32, 64 and 64 channels, 512 units; Mnih et al. 2015) or ``same``, the large one with
    padding, so that no pixel at the border is lost (Such et al. 2017: 4 million weights).

    Args:
        input_shape: (frames, height, width).
        outputs: one for each choice.
        size: ``small``, ``large`` or ``same``.
        norm: whether the dense layer's units are brought to mean 0 and deviation 1 for each observation: without it few
            perturbations change an action (Salimans et al. 2017 needed virtual batch normalisation for that).

    Attributes:
        convolutions: in order, each followed by the rectifier.
        geometry: size, stride and padding of each.
        sides: height and width of what the last one gives.
        dense, output, norm: what follows.
    """

    def __init__(self, input_shape: tuple[int, ...], outputs: int, size: str = "small", norm: bool = True) -> None:
        super().__init__()
        if size not in _SIZES or len(input_shape) != 3:
            raise UsageError(
                f"expected size small, large or same and frames (frames, height, width), got '{size}' and "
                f"{tuple(input_shape)}; correct one of them"
            )
        layers, units = _SIZES[size]
        channels, *sides = input_shape
        self.geometry = [(kernel, stride, padding) for _, kernel, stride, padding in layers]
        self.convolutions = nn.ModuleList()
        for wide, kernel, stride, padding in layers:
            self.convolutions.append(nn.Conv2d(channels, wide, kernel, stride, padding))
            channels, sides = wide, [(side + 2 * padding - kernel) // stride + 1 for side in sides]
        if min(sides) < 1:
            raise UsageError(f"expected frames of at least 36 x 36, got {tuple(input_shape)}; resize them")
        self.dense = nn.Linear(channels * math.prod(sides), units)
        self.output = nn.Linear(units, outputs)
        self.norm, self.sides = norm, (sides[0], sides[1])

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (B, outputs) of frames (B, frames, height, width)."""
        values = inputs.to(self.output.weight.dtype) / 255
        for layer in self.convolutions:
            values = torch.relu(layer(values))
        values = self.dense(values.flatten(1))
        if self.norm:
            values = functional.layer_norm(values, values.shape[-1:])
        result: Tensor = self.output(torch.relu(values))
        return result
