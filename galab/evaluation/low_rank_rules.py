"""How one torch function is computed for all members whose parameters differ by matrices of low rank.

The rules take what those of ``member_rules.py`` take, but for a :class:`LowRank` in the place of the weight; a bias is
a stack of dense values, (P, out). The fold is member-major.

Sharing, after arXiv 2511.16652: the product with the base is one for all members wherever their activations are, and
for a shared activation so is the product with ``b`` of both members of a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from galab.evaluation.low_rank import LowRank
from galab.evaluation.member_rules import Fold


def linear(fold: Fold, x: Tensor, weight: LowRank, bias: Tensor | None = None) -> Tensor:
    """``F.linear``: weight (out, in), bias (P, out)."""
    x = x.to(weight.base.dtype)
    if fold.is_shared(x):
        return fold.merge(_shared_linear(x, weight, bias))
    middle = x.shape[1:-1]
    rows = fold.split(x).transpose(0, 1).reshape(fold.members, -1, x.shape[-1])  # (P, B * ..., in)
    if weight.cheaper_formed(rows.shape[1]):
        y = _add_product(bias, rows, weight.formed_transposed())
    else:
        inner = torch.bmm(rows, weight.every_b())  # (P, B * ..., r)
        y = _add_product(bias, inner, weight.a.transpose(1, 2))
        y += F.linear(rows, weight.base)
    return fold.merge(y.reshape(fold.members, fold.examples, *middle, -1).transpose(0, 1))


def _shared_linear(x: Tensor, weight: LowRank, bias: Tensor | None) -> Tensor:
    """(B, ..., in) as (B, P, ..., out), laid out member-major."""
    members, (pairs, columns, rank) = weight.members, weight.b.shape
    flat = x.reshape(-1, columns)  # (B * ..., in)
    base = F.linear(flat, weight.base)  # (B * ..., out)
    inner = flat @ weight.b.transpose(0, 1).reshape(columns, pairs * rank)
    inner = inner.view(-1, pairs, rank).transpose(0, 1)  # (Q, B * ..., r)
    outer = weight.a.transpose(1, 2)  # (P, r, out)
    if bias is not None:
        # One more column makes the bias part of the same product, and saves a pass over the result.
        inner = torch.cat([inner, inner.new_ones(*inner.shape[:2], 1)], dim=2)
        outer = torch.cat([outer, bias.unsqueeze(1)], dim=1)
    inner = inner.repeat(members // pairs, 1, 1)
    y = torch.baddbmm(base.expand(members, -1, -1), inner, outer)  # (P, B * ..., out)
    return y.view(members, *x.shape[:-1], -1).transpose(0, 1)


def _add_product(bias: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` per member, plus the bias (P, out) in every row."""
    if bias is None:
        return torch.bmm(left, right)
    return torch.baddbmm(bias.unsqueeze(1), left, right)


#: Functions of torch that can be answered without forming the members' weights.
LOW_RANK_RULES: dict[Any, Callable[..., Tensor]] = {
    F.linear: linear,
}
