"""A parameter tensor that P members perturb by matrices of low rank, and the tags of activations.

The members perturb one base, as in an evolution strategy, or each one of several, as children perturb their parents.
Weights are formed only where that is cheaper. Source: Sarkar et al., "Evolution Strategies at the Hyperscale", arXiv
2511.16652 (EGGROLL), Algorithm 1: member p has the weights M + (sigma / sqrt r) A_p B_p^T.

A tag on an activation says whether all members share it or it holds the rows of all members. Shapes alone cannot: a
table with as many rows as there are examples is no batch. The inputs are tagged, and every torch function passes the
tag from its arguments to its results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from galab.evaluation.batched.product_cache import PrecomputedProducts, Products, shared_products


@dataclass(frozen=True, slots=True, eq=False)
class GroupProducts:
    """Products that a chunk shares with the other chunks of its group of directions.

    Attributes:
        products: computed for the group.
        name: the parameter.
        group: (Qg, n, r) ``b`` of the whole group.
        start: the chunk's first direction.
    """

    products: Products | PrecomputedProducts
    name: str
    group: Tensor
    start: int


@dataclass(slots=True, eq=False)
class LowRank:
    """One parameter of P members: member p has ``base + a[p] b[p mod Q]^T``, with the tensor seen as a matrix.

    Where ``which`` is given, there are S bases, and member p has ``base[which[p]]``.

    A tensor of shape (m, ...) is seen as (m, n): a convolution as (out, in * k * k), an embedding as (vocabulary,
    width). In antithetic pairs Q = P / 2: members q and Q + q share ``b``, and their ``a`` differ in sign.

    Attributes:
        base: (m, ...) what all members share; or (S, m, ...).
        a: (P, m, r) the sign, sigma and 1 / sqrt(r) are in it.
        b: (Q, n, r) with unit variance.
        common: products shared with other chunks.
        which: (P,) int64, the number of each member's base.
    """

    base: Tensor
    a: Tensor
    b: Tensor
    common: GroupProducts | None = field(default=None, repr=False)
    which: Tensor | None = field(default=None, repr=False)
    _formed: Tensor | None = field(default=None, repr=False)

    @property
    def members(self) -> int:
        """P."""
        return int(self.a.shape[0])

    @property
    def rank(self) -> int:
        """The r of the shapes here."""
        return int(self.a.shape[2])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the parameter, without the members."""
        return tuple(self.base.shape if self.which is None else self.base.shape[1:])

    @property
    def rows(self) -> int:
        """m, the length of a column of ``a``."""
        return int(self.a.shape[1])

    @property
    def columns(self) -> int:
        """n, the length of a column of ``b``."""
        return int(self.b.shape[1])

    def every_b(self) -> Tensor:
        """(P, n, r) ``b`` for every member."""
        repeats = self.members // len(self.b)
        return self.b if repeats == 1 else self.b.repeat(repeats, 1, 1)

    def products(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A shared activation (rows, n) times the base, (rows, m) or (P, rows, m), and times ``b``, (Q, rows, r)."""
        outer, inner = self.common_products(x)
        return outer if self.which is None else outer[self.which], inner

    def common_products(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`products`, but of several bases the product with each: (S, rows, m)."""
        base = self.base.flatten(2) if self.which is not None else self.base.reshape(self.rows, self.columns)
        common = self.common
        if common is None:
            return shared_products(x, base, self.b)
        return common.products.of(common.name, x, base, common.group, common.start, common.start + len(self.b))

    def bases(self) -> Tensor:
        """(P, m, n) the base of every member, as a view where all share one."""
        if self.which is None:
            return self.base.reshape(self.rows, self.columns).expand(self.members, -1, -1)
        return self.base.flatten(2)[self.which]

    def formed_transposed(self) -> Tensor:
        """(P, n, m) the transposed weights of every member; made once.

        Transposed in memory too: a batched product with a right factor of this kind is up to twice as fast.
        """
        if self._formed is None:
            base = self.bases().transpose(1, 2)
            self._formed = torch.baddbmm(base, self.every_b(), self.a.transpose(1, 2))
        return self._formed

    def member(self, index: int) -> Tensor:
        """(m, ...) the weights of one member."""
        difference = self.a[index] @ self.b[index % len(self.b)].t()
        base = self.base if self.which is None else self.base[self.which[index]]
        return base + difference.view(self.shape)

    def rows_between(self, start: int, stop: int) -> LowRank:
        """The parameter of rows ``start`` to ``stop`` alone."""
        base = self.base[start:stop] if self.which is None else self.base[:, start:stop]
        return LowRank(base, self.a[:, start:stop], self.b, which=self.which)

    def first(self, count: int) -> LowRank:
        """The parameter of the first members alone, at most one of each pair."""
        which = None if self.which is None else self.which[:count]
        return LowRank(self.base, self.a[:count], self.b[:count], self.common, which)

    def formed(self) -> Tensor:
        """(P, m, ...) the weights of every member."""
        return self.formed_transposed().transpose(1, 2).reshape(self.members, *self.shape)

    def cheaper_formed(self, rows: int) -> bool:
        """Whether multiplying ``rows`` activations of each member is cheaper with its weights formed.

        Forming costs about as much memory traffic as the weights have entries; the product with the factors passes over
        the activations before and after once more. Without a common base there is no common product.
        """
        return self.which is not None or self.rows * self.columns <= rows * (self.rows + self.columns)


#: A parameter of P members: dense values, (P, *shape), or a :class:`LowRank`.
Stack = Tensor | LowRank


def low_rank(
    base: Tensor, a: Tensor, b: Tensor, sigma: float, *, antithetic: bool, common: GroupProducts | None = None
) -> LowRank:
    """The perturbed parameter for factors of unit variance.

    Args:
        base: (m, ...) the centre's tensor, in the precision of the forward.
        a: (Q, m, r) factors.
        b: (Q, n, r) factors.
        sigma: step size, in weight units.
        antithetic: whether each pair of factors makes two members, with the signs plus (first Q) and minus (last Q).
        common: see :class:`LowRank`.
    """
    # Scaled in float32 and rounded once.
    scaled = (a * (sigma / math.sqrt(a.shape[2]))).to(base.dtype)
    return LowRank(base, torch.cat([scaled, -scaled]) if antithetic else scaled, b.to(base.dtype), common)


#: An activation that has met no parameter: the same for all members.
SHARED = "shared"
#: An activation whose batch axis holds the rows of all members, member-major.
FOLDED = "folded"
_NAME = "galab_tag"


def tag_of(x: Any) -> str | None:
    """``SHARED``, ``FOLDED``, or None for what does not come from the inputs."""
    return getattr(x, _NAME, None)


def tagged(value: Any, tag: str) -> Any:
    """The value with a tag on every tensor in it."""
    for leaf in leaves(value):
        if isinstance(leaf, Tensor):
            setattr(leaf, _NAME, tag)
    return value


def leaves(value: Any) -> Iterator[Any]:
    """The values in nested lists, tuples and dictionaries."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    else:
        yield value


def mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """The same nested lists, tuples and dictionaries with another value for each leaf."""
    if isinstance(value, list):
        return [mapped(item, function) for item in value]
    if isinstance(value, tuple):
        items = [mapped(item, function) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, dict):
        return {name: mapped(item, function) for name, item in value.items()}
    return function(value)
