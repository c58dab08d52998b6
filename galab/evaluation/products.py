"""Products that many chunks of members have in common: those of activations that have met no parameter yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

#: A product of a shared activation: the parameter, the first example of the block, and how often it was asked before.
Key = tuple[str, int, int]
#: What the products of one group of directions may take in memory.
_MOST_BYTES = 64 << 20


def shared_products(x: Tensor, base: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """A shared activation times the base and times the inner factors.

    Args:
        x: (rows, n).
        base: (m, n); or (S, m, n), several.
        b: (Q, n, r).

    Returns:
        (rows, m), or (S, rows, m); and (Q, rows, r).
    """
    return outer_product(x, base), inner_product(x, b)


def outer_product(x: Tensor, base: Tensor, *, outputs_first: bool = False) -> Tensor:
    """``x`` times the base, or each of several.

    Args:
        x: (rows, n).
        base: (m, n); or (S, m, n).
        outputs_first: lay the outputs before the rows in memory, as compiled passes over rows want them.

    Returns:
        (rows, m), or (S, rows, m).
    """
    # One product for each of several bases: its bits depend on nobody else.
    if base.dim() == 3:
        if outputs_first:
            return torch.stack([one @ x.t() for one in base]).mT
        return torch.stack([F.linear(x, one) for one in base])
    return (base @ x.t()).t() if outputs_first else F.linear(x, base)


def inner_product(x: Tensor, b: Tensor) -> Tensor:
    """``x`` (rows, n) times ``b`` (Q, n, r), with the rows side by side in memory: (Q, rows, r)."""
    directions, columns, rank = b.shape
    flat = b.transpose(1, 2).reshape(directions * rank, columns)
    return (flat @ x.t()).view(directions, rank, -1).transpose(1, 2)


class Outers(Protocol):
    """Knows the products of shared activations with the bases."""

    def outer(self, key: Key, x: Tensor, base: Tensor) -> Tensor:
        """What :func:`outer_product` gives.

        Args:
            key: see :class:`Products`.
            x: (rows, n).
            base: (S, m, n).
        """
        ...


@dataclass(slots=True)
class Products:
    """Products of shared activations for a group of directions, made when the first chunk asks for them.

    The same activation reaches the same layer in every chunk, as nothing has changed it. So a product is known by the
    parameter, by the block of examples, and by how often that parameter was asked before in the same forward.

    Attributes:
        outputs_first: see :func:`outer_product`.
        outers: who knows the products with the bases; None makes them here.
        order: what the forward that began last has asked for: parameters, each with how often it was asked before.
    """

    outputs_first: bool = False
    outers: Outers | None = None
    order: list[tuple[str, int]] = field(default_factory=list)
    _block: int = 0
    _asked: Counter[str] = field(default_factory=Counter)
    _made: dict[Key, tuple[Tensor, Tensor | None]] = field(default_factory=dict)
    _bytes: int = 0

    def begin(self, block: int) -> None:
        """A forward on a block of examples begins."""
        self._block = block
        self._asked.clear()
        self.order.clear()

    def of(self, name: str, x: Tensor, base: Tensor, group: Tensor, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """What :func:`shared_products` gives for directions ``start`` to ``stop - 1`` of a group.

        Args:
            name: the parameter.
            x: (rows, n).
            base: (m, n).
            group: (Q, n, r) the inner factors of the whole group.
            start: the first direction that is wanted.
            stop: one past the last.
        """
        key = (name, self._block, self._asked[name])
        self.order.append((name, self._asked[name]))
        self._asked[name] += 1
        if key not in self._made:
            size = group.shape[0] * group.shape[2] * x.shape[0] * x.element_size()
            fits = self._bytes + size <= _MOST_BYTES
            self._bytes += size if fits else 0
            if self.outers is not None:
                outer = self.outers.outer(key, x, base)
            else:
                outer = outer_product(x, base, outputs_first=self.outputs_first)
            self._made[key] = outer, inner_product(x, group) if fits else None
        outer, inner = self._made[key]
        return outer, inner_product(x, group[start:stop]) if inner is None else inner[start:stop]

    def known(
        self, order: Sequence[tuple[str, int]], start: int, stop: int
    ) -> list[tuple[Tensor, Tensor]] | None:
        """What a forward on this block will ask for, or None where some of it is not made yet or not kept.

        Args:
            order: as :attr:`order` was after such a forward.
            start: the first direction that is wanted.
            stop: one past the last.
        """
        found = []
        for name, asked in order:
            outer, inner = self._made.get((name, self._block, asked), (None, None))
            if outer is None or inner is None:
                return None
            found.append((outer, inner[start:stop]))
        return found

    @property
    def nbytes(self) -> int:
        """Memory of the products with inner factors that are kept."""
        return self._bytes

    def inner(self, key: Key) -> Tensor | None:
        """(Q, rows, r) of a product, if it was made and kept."""
        return self._made.get(key, (None, None))[1]


class Given:
    """Products that come in as arguments, in the order in which they are asked for.

    Args:
        products: the pairs.
    """

    def __init__(self, products: Sequence[tuple[Tensor, Tensor]]) -> None:
        self._products = iter(products)

    def of(self, name: str, x: Tensor, base: Tensor, group: Tensor, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """See :meth:`Products.of`."""
        return next(self._products)
