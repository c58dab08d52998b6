"""Rules of torch functions for members whose parameters differ by matrices of low rank.

They take what the rules of ``dense.py`` take, with a :class:`LowRank` in the place of the weight; a bias is a stack of
dense values, (P, out). The fold is member-major.

Sharing, after arXiv 2511.16652: the product with the base is one for all members wherever their activations are, and
for a shared activation so is the product with ``b`` of both members of a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from galab.evaluation.batched import dense
from galab.evaluation.batched.dense import Fold
from galab.evaluation.batched.low_rank import LowRank

#: Up to this rank or number of outputs a compiled forward sums terms instead of calling a matrix product.
_FEW = 16


def is_traced() -> bool:
    """Whether this forward is being traced, to be compiled."""
    return get_proxy_mode() is not None


def linear(
    fold: Fold, x: Tensor, weight: LowRank, bias: Tensor | None = None, *, may_form: bool = True
) -> Tensor:
    """``F.linear``: weight (out, in), bias (P, out).

    Args:
        fold: where members lie in the input.
        x: the input.
        weight: of the members.
        bias: of the members.
        may_form: whether the weights of all members may be formed where that is cheaper; they are kept then.
    """
    x = x.to(weight.base.dtype)
    if fold.is_shared(x):
        return fold.merge(_shared_linear(x, weight, bias))
    middle = x.shape[1:-1]
    rows = fold.split(x).transpose(0, 1).reshape(fold.members, -1, x.shape[-1])  # (P, B * ..., in)
    forms = may_form and weight.cheaper_formed(rows.shape[1])
    if forms and is_traced() and weight.rows <= _FEW:
        y = _few_outputs(bias, rows, weight)
    elif forms:
        y = _add_product(bias, rows, weight.formed_transposed())
    elif rows.shape[1] == 1 and weight.rank == 1:
        y = _one_row(bias, rows, weight)
    else:
        inner = torch.bmm(rows, weight.every_b())  # (P, B * ..., r)
        y = _add_product(bias, inner, weight.a.transpose(1, 2))
        y += F.linear(rows, weight.base)
    return fold.merge(y.reshape(fold.members, fold.examples, *middle, -1).transpose(0, 1))


def _shared_linear(x: Tensor, weight: LowRank, bias: Tensor | None) -> Tensor:
    """(B, ..., in) as (B, P, ..., out), laid out member-major."""
    members, pairs = weight.members, len(weight.b)
    # (B * ..., out), or one for each member; and (Q, B * ..., r)
    base, inner = weight.products(x.reshape(-1, weight.columns))
    outer = weight.a.transpose(1, 2)  # (P, r, out)
    if is_traced() and weight.rank <= _FEW:
        y = _widened_by_sums(base, inner.repeat(members // pairs, 1, 1), outer, bias)
        return y.reshape(members, *x.shape[:-1], -1).transpose(0, 1)
    if weight.rank == 1:
        # One pass over the result, and one more for a bias, where a batched product would copy the base first.
        signs = (members // pairs, pairs)
        y = torch.addcmul(base, inner, outer.unflatten(0, signs)).flatten(0, 1)  # (P, B * ..., out)
        if bias is not None:
            y += bias.unsqueeze(1)
        return y.view(members, *x.shape[:-1], -1).transpose(0, 1)
    if bias is not None:
        # One more column makes the bias part of the same product, and saves a pass over the result.
        inner = torch.cat([inner, inner.new_ones(*inner.shape[:2], 1)], dim=2)
        outer = torch.cat([outer, bias.unsqueeze(1)], dim=1)
    inner = inner.repeat(members // pairs, 1, 1)
    y = torch.baddbmm(base.expand(members, -1, -1), inner, outer)  # (P, B * ..., out)
    return y.view(members, *x.shape[:-1], -1).transpose(0, 1)


def _widened_by_sums(base: Tensor, inner: Tensor, outer: Tensor, bias: Tensor | None) -> Tensor:
    """``base + inner @ outer + bias`` as sums that a compiler fuses with what follows.

    (P, rows, out), with the rows of an output side by side in memory: a compiler then computes many rows at a time, and
    sums over the outputs without summing across a register.
    """
    y, inner = base.transpose(-1, -2), inner.transpose(1, 2)
    if bias is not None:
        y = y + bias.unsqueeze(2)
    for k in range(outer.shape[1]):
        y = y + inner[:, k : k + 1] * outer[:, k].unsqueeze(2)
    return y.transpose(1, 2)


def _few_outputs(bias: Tensor | None, rows: Tensor, weight: LowRank) -> Tensor:
    """``rows @ weights^T + bias`` per member, one sum for each output, which a compiler fuses with what came before.

    (P, rows, out), with the rows of an output side by side in memory.
    """
    formed = torch.baddbmm(weight.bases(), weight.a, weight.every_b().transpose(1, 2))  # (P, out, in)
    columns = rows.transpose(1, 2)  # (P, in, rows)
    y = torch.stack([(columns * formed[:, k].unsqueeze(2)).sum(1) for k in range(weight.rows)], dim=1)
    if bias is not None:
        y = y + bias.unsqueeze(2)
    return y.transpose(1, 2)


def _one_row(bias: Tensor | None, rows: Tensor, weight: LowRank) -> Tensor:
    """``rows @ weights^T + bias`` for one row of each member, (P, 1, out): batched products of vectors are slow."""
    members, pairs = weight.members, len(weight.b)
    x, base = rows.squeeze(1), weight.base.reshape(weight.rows, weight.columns)  # (P, in)
    inner = torch.linalg.vecdot(x.view(members // pairs, pairs, -1), weight.b.squeeze(2)).view(members, 1)
    y = F.linear(x, base) if bias is None else torch.addmm(bias, x, base.t())
    return y.addcmul_(inner, weight.a.squeeze(2)).unsqueeze(1)


def _add_product(bias: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` per member, plus the bias (P, out) in every row."""
    if bias is None:
        return torch.bmm(left, right)
    return torch.baddbmm(bias.unsqueeze(1), left, right)


def convolution(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The rule for ``F.conv1d`` to ``F.conv3d``: weight (out, in / groups, *kernel), bias (P, out).

    A difference of rank r is a convolution with r filters, the columns of ``b``, and then one of 1x1 with ``a``.
    """
    formed = dense.convolution(function)

    def rule(
        fold: Fold,
        input: Tensor,
        weight: LowRank,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        """Base and difference each in one convolution, or the formed weights where that is cheaper."""
        x = input.to(weight.base.dtype)
        options = (stride, padding, dilation)
        if groups != 1 or weight.which is not None:
            return formed(fold, x, weight.formed(), bias, *options, groups)
        shared = fold.is_shared(x)
        # For activations that differ the r filters are one convolution per member either way, and so are the formed
        # weights; only on few pixels is forming them what costs.
        if not shared and weight.cheaper_formed(fold.examples * x[0, 0].numel()):
            return formed(fold, x, weight.formed(), bias, *options)
        filters = weight.b.transpose(1, 2).reshape(-1, weight.rank, *weight.shape[1:])  # (Q, r, in, *kernel)
        base = function(x, weight.base, None, *options)  # (B or P * B, out, *place)
        place = base.shape[2:]
        if shared:
            inner = function(x, filters.flatten(0, 1), None, *options).unflatten(1, (-1, weight.rank))
            inner = inner.flatten(3).transpose(0, 1)  # (Q, B, r, places)
            inner = inner.repeat(fold.members // len(inner), 1, 1, 1)
        else:
            maps = x.unflatten(0, (fold.members, fold.examples))
            each = [function(maps[p], filters[p % len(filters)], None, *options) for p in range(fold.members)]
            inner = torch.stack(each).flatten(3)  # (P, B, r, places)
        base = base.flatten(2).view(-1, fold.examples, weight.rows, place.numel())  # (P or 1, B, out, places)
        return _widened(base, weight.a, inner, bias).view(-1, weight.rows, *place)

    return rule


def _widened(base: Tensor, a: Tensor, inner: Tensor, bias: Tensor | None) -> Tensor:
    """``base + a inner + bias``, (P, B, out, places), for base (P or 1, B, out, places) and inner (P, B, r, places)."""
    if bias is not None:
        inner = torch.cat([inner, inner.new_ones(*inner.shape[:2], 1, inner.shape[3])], dim=2)
        a = torch.cat([a, bias.unsqueeze(2)], dim=2)
    members, examples, _, places = inner.shape
    base = base.expand(members, -1, -1, -1).flatten(0, 1)
    outer = a.unsqueeze(1).expand(-1, examples, -1, -1).flatten(0, 1)  # (P * B, out, r)
    return torch.baddbmm(base, outer, inner.flatten(0, 1)).view(members, examples, -1, places)


def embedding(
    fold: Fold,
    input: Tensor,
    weight: LowRank,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    *_: Any,
    **__: Any,
) -> Tensor:
    """``F.embedding``: weight (V, E); a row of the difference is that row of ``a`` times ``b``."""
    if max_norm is not None:
        raise NotImplementedError("max_norm changes the weights")
    if weight.which is not None:
        return dense.embedding(fold, input, weight.formed())
    base = F.embedding(input, weight.base)
    # (P, B * ..., r), each member with its own table.
    inner = dense.embedding(fold, input, weight.a).reshape(fold.members, -1, weight.rank)
    base = base.reshape(-1, inner.shape[1], weight.columns).expand(fold.members, -1, -1)
    y = torch.baddbmm(base, inner, weight.every_b().transpose(1, 2))
    return y.view(fold.members * fold.examples, *input.shape[1:], weight.columns)


#: Functions of torch that can be answered without forming the members' weights.
LOW_RANK_RULES: dict[Any, Callable[..., Tensor]] = {
    F.linear: linear,
    F.conv1d: convolution(F.conv1d),
    F.conv2d: convolution(F.conv2d),
    F.conv3d: convolution(F.conv3d),
    F.embedding: embedding,
}
