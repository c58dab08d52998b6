"""How one torch function is computed for all members at once.

Activations of P members on B examples are folded into one batch of B * P rows. Example-major, row b * P + p is member p
on example b; member-major, it is row p * B + b. An activation that still has B rows has met no parameter yet and is
*shared* by all members, so a first layer is one GEMM of the inputs with the weights of all members side by side.

Each rule takes the fold first, then the arguments of the function it answers for; parameters arrive stacked, (P,
*shape), everything else as the module passed it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(slots=True)
class Fold:
    """The shape of a folded batch.

    Attributes:
        members: P.
        examples: B.
        by_member: whether rows are member-major; dense members leave a shared first layer example-major, low-rank ones
            member-major.
    """

    members: int
    examples: int
    by_member: bool = False

    def is_shared(self, x: Tensor) -> bool:
        """Whether an activation is the same for all members."""
        return x.shape[0] == self.examples

    def split(self, x: Tensor) -> Tensor:
        """(B * P, ...) as (B, P, ...); a shared (B, ...) is broadcast without a copy."""
        if self.is_shared(x):
            return x.unsqueeze(1).expand(-1, self.members, *x.shape[1:])
        if self.by_member:
            return x.reshape(self.members, self.examples, *x.shape[1:]).transpose(0, 1)
        return x.reshape(self.examples, self.members, *x.shape[1:])

    def merge(self, x: Tensor) -> Tensor:
        """(B, P, ...) as (B * P, ...)."""
        if self.by_member:
            x = x.transpose(0, 1)
        return x.reshape(self.examples * self.members, *x.shape[2:])


def linear(fold: Fold, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``: weight (P, out, in), bias (P, out)."""
    members, out = weight.shape[0], weight.shape[1]
    x = x.to(weight.dtype)
    if fold.is_shared(x):
        flat_bias = None if bias is None else bias.reshape(-1)
        y = F.linear(x, weight.reshape(members * out, -1), flat_bias)  # (B, ..., P * out)
        return fold.merge(y.unflatten(-1, (members, out)).movedim(-2, 1))
    middle = x.shape[1:-1]
    rows = fold.split(x).transpose(0, 1).reshape(members, -1, x.shape[-1])  # (P, B * ..., in)
    if bias is None:
        y = torch.bmm(rows, weight.transpose(1, 2))
    else:
        y = torch.baddbmm(bias.unsqueeze(1), rows, weight.transpose(1, 2))
    return fold.merge(y.reshape(members, fold.examples, *middle, out).transpose(0, 1))


def convolution(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The rule for ``F.conv1d`` to ``F.conv3d``: weight (P, out, in / groups, *kernel), bias (P, out)."""

    def rule(
        fold: Fold,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        """All members in one convolution."""
        x = input.to(weight.dtype)
        options = (stride, padding, dilation, groups)
        if groups == 1 and fold.is_shared(x):
            # All members look at the same map: their filters are the channels of one convolution.
            y = function(x, weight.flatten(0, 1), None if bias is None else bias.reshape(-1), *options)
            return fold.merge(y.unflatten(1, (fold.members, -1)))
        # One convolution with a group per member is the same sum, but took up to twelve times as long on 28x28 maps.
        maps = fold.split(x)
        biases = [None] * fold.members if bias is None else list(bias)
        each = [function(maps[:, p], weight[p], biases[p], *options) for p in range(fold.members)]
        return fold.merge(torch.stack(each, dim=1))

    return rule


def embedding(
    fold: Fold,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    *_: Any,
    **__: Any,
) -> Tensor:
    """``F.embedding``: weight (P, V, E); the options that only matter to gradients are ignored."""
    if max_norm is not None:
        raise NotImplementedError("max_norm changes the weights")
    vocabulary = weight.shape[1]
    offsets = torch.arange(fold.members, device=input.device) * vocabulary
    tokens = fold.split(input)
    rows = tokens + offsets.view(1, -1, *[1] * (tokens.dim() - 2))
    return fold.merge(F.embedding(rows, weight.flatten(0, 1)))


def layer_norm(
    fold: Fold,
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``F.layer_norm``: weight and bias (P, *normalized_shape)."""
    y = fold.split(F.layer_norm(input, normalized_shape, None, None, eps))
    return fold.merge(_affine(y, weight, bias, trailing=True))


def rms_norm(
    fold: Fold, input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """``F.rms_norm``: weight (P, *normalized_shape)."""
    y = fold.split(F.rms_norm(input, normalized_shape, None, eps))
    return fold.merge(_affine(y, weight, None, trailing=True))


def group_norm(
    fold: Fold,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``F.group_norm``: weight and bias (P, channels)."""
    y = fold.split(F.group_norm(input, num_groups, None, None, eps))
    return fold.merge(_affine(y, weight, bias, trailing=False))


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None, *, trailing: bool) -> Tensor:
    """``y * weight + bias`` for y (B, P, ...); the parameters (P, *rest) line up with y's last axes or its third."""

    def aligned(parameter: Tensor) -> Tensor:
        missing = [1] * (y.dim() - 1 - parameter.dim())
        rest = parameter.shape[1:]
        return parameter.view(1, -1, *((*missing, *rest) if trailing else (*rest, *missing)))

    if weight is not None:
        y = y * aligned(weight)
    return y if bias is None else y + aligned(bias)


#: Functions of torch that can be answered for all members at once.
RULES: dict[Any, Callable[..., Tensor]] = {
    F.linear: linear,
    F.conv1d: convolution(F.conv1d),
    F.conv2d: convolution(F.conv2d),
    F.conv3d: convolution(F.conv3d),
    F.embedding: embedding,
    F.layer_norm: layer_norm,
    F.rms_norm: rms_norm,
    F.group_norm: group_norm,
}
