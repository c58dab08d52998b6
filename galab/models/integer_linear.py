"""One matrix of int8 numbers: the smallest network of integer EGGROLL, on which everything about it can be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from galab.errors import UsageError
from galab.integer.arithmetic import Centre, check_width, stored


class IntegerLinear(nn.Module):
    """Multiplies its input by a matrix, in whole numbers, without a bias.

    An input x is stored as 16 x, to the nearest and within +-127, and so is each weight. The sum over n inputs is
    divided by 16 isqrt(n), rounded down and clipped, as in every integer layer; the answer is ``scale`` times what is
    stored so.

    Args:
        input_shape: of one example; n numbers in all.
        outputs: m.
        scale: what the division by isqrt(n) took away; isqrt(n) when it is 0, so that the answers are W x.
    """

    #: Founders are drawn so: see :mod:`galab.genome.initial`.
    drawn_by = dict.fromkeys(("weight",), ("normal", 0.1))

    def __init__(self, input_shape: Sequence[int], outputs: int, *, scale: int = 0) -> None:
        super().__init__()
        inputs = math.prod(input_shape)
        check_width(inputs)
        if type(scale) is not int or scale < 0 or scale & (scale - 1):
            raise UsageError(f"expected scale as a power of two, or 0 for isqrt(inputs), got {scale!r}; correct it")
        self.scale = scale or math.isqrt(inputs)
        self.weight = nn.Parameter(stored(0.1 * torch.randn(outputs, inputs)).to(torch.float32) / 16)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, m) numbers, of (B, ...) inputs."""
        whole = Centre({"weight": stored(self.weight)}).product("weight", stored(inputs.flatten(1)).to(torch.int32))
        return whole.to(torch.float32) * (self.scale / 16)
