"""Products that several members share, so that they are computed once.

:class:`Products` keeps products of shared activations, those that have met no parameter yet, for all chunks of a group
of directions. :class:`ParentProducts` keeps the weights of parents, and their products with shared activations, for all
their children.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from galab.genome.deltas import Change, DeltaChain, Factors
from galab.genome.weights import Layout, Phenotype, to_float

#: A product of a shared activation: the parameter, the first example of the block, and its number of earlier uses.
Key = tuple[str, int, int]
#: Memory for the products of one group of directions.
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
    return base_product(x, base), factor_product(x, b)


def base_product(x: Tensor, base: Tensor, *, outputs_first: bool = False) -> Tensor:
    """``x`` times the base, or each of several.

    Args:
        x: (rows, n).
        base: (m, n); or (S, m, n).
        outputs_first: lay the outputs before the rows in memory, as compiled passes over rows want them.

    Returns:
        (rows, m), or (S, rows, m).
    """
    # One product for each of several bases, so that its bits do not depend on the others.
    if base.dim() == 3:
        if outputs_first:
            return torch.stack([one @ x.t() for one in base]).mT
        return torch.stack([F.linear(x, one) for one in base])
    return (base @ x.t()).t() if outputs_first else F.linear(x, base)


def factor_product(x: Tensor, b: Tensor) -> Tensor:
    """``x`` (rows, n) times ``b`` (Q, n, r), with the rows side by side in memory: (Q, rows, r)."""
    directions, columns, rank = b.shape
    flat = b.transpose(1, 2).reshape(directions * rank, columns)
    return (flat @ x.t()).view(directions, rank, -1).transpose(1, 2)


class BaseProducts(Protocol):
    """Gives the products of shared activations with the bases."""

    def base_product(self, key: Key, x: Tensor, base: Tensor) -> Tensor:
        """What :func:`base_product` gives.

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
        outputs_first: see :func:`base_product`.
        base_products: gives the products with the bases; None computes them here.
        order: the parameters that the last forward used, each with its number of earlier uses in that forward.
    """

    outputs_first: bool = False
    base_products: BaseProducts | None = None
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
            if self.base_products is not None:
                outer = self.base_products.base_product(key, x, base)
            else:
                outer = base_product(x, base, outputs_first=self.outputs_first)
            self._made[key] = outer, factor_product(x, group) if fits else None
        outer, inner = self._made[key]
        return outer, factor_product(x, group[start:stop]) if inner is None else inner[start:stop]

    def known(
        self, order: Sequence[tuple[str, int]], start: int, stop: int
    ) -> list[tuple[Tensor, Tensor]] | None:
        """The products that a forward on this block needs; None where one is not made yet or not kept.

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


class PrecomputedProducts:
    """Products that are arguments of a compiled forward, in the order of their use.

    Args:
        products: the pairs.
    """

    def __init__(self, products: Sequence[tuple[Tensor, Tensor]]) -> None:
        self._products = iter(products)

    def of(self, name: str, x: Tensor, base: Tensor, group: Tensor, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """See :meth:`Products.of`."""
        return next(self._products)


#: Memory for products with the bases.
_MOST_BASE_BYTES = 512 << 20
#: Memory for products of one generation's children, kept until the survivors are known.
_MOST_BORN_BYTES = 256 << 20


class Lineage(Protocol):
    """The births that lead to individuals."""

    def is_anchor(self, number: int) -> bool:
        """Whether an individual's products are computed from its own weights."""
        ...

    def parent(self, number: int) -> int:
        """The parent of an individual that is no anchor."""
        ...

    def change(self, number: int) -> list[Change]:
        """Its change to its parent, with P = 1."""
        ...

    def chain(self, number: int) -> DeltaChain:
        """An individual's last ancestor that is an anchor, and what the births since have added."""
        ...


class ParentProducts:
    """Weights of parents side by side, and their products with shared activations.

    Where every generation sees the same examples, a survivor's products follow from its parent's by the product with
    its own factors, which its evaluation computed. So that they are the same whenever a run is resumed, they are a
    function of the lineage alone: some ancestor's product, and the terms of all births since in their order.

    Args:
        layout: where each parameter lies.
        slots: S, the number of individuals that fit.
        chunk: members evaluated at once.
        dtype: of the forward.
        device: where the weights live.
        outputs_first: see :func:`galab.evaluation.batched.product_cache.base_product`.
        lineage: of the individuals; None where generations see different examples.
    """

    def __init__(
        self,
        layout: Layout,
        slots: int,
        chunk: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
        outputs_first: bool,
        lineage: Lineage | None = None,
    ) -> None:
        self._layout = layout
        self._chunk = chunk
        self._outputs_first = outputs_first
        self._lineage = lineage
        self._ids: list[int | None] = [None] * slots
        self._wanted: list[int] = []
        self._row = np.empty(layout.size, dtype=np.float32)
        self._weights = torch.zeros(slots, layout.size, dtype=dtype, device=device)
        self._made: dict[Key, Tensor] = {}
        self._valid: dict[Key, list[bool]] = {}
        self._inputs: dict[Key, Tensor] = {}
        self._bytes = 0
        self._born: dict[int, _Born] = {}
        self._born_bytes = 0
        self._chains: dict[int, DeltaChain] = {}

    @property
    def slots(self) -> int:
        """S."""
        return len(self._ids)

    @property
    def stacks(self) -> dict[str, Tensor]:
        """Name to (S, *shape)."""
        return side_by_side(self._weights, self._layout)

    def begin(self, parents: Mapping[int, Phenotype]) -> None:
        """Begin a generation; products of other examples become invalid.

        Args:
            parents: number to individual, all parents of the generation's members.
        """
        self._chains.clear()
        if self._lineage is None:
            self._valid = {key: [False] * self.slots for key in self._made}
        if len(parents) <= self.slots:
            # All at once: a product that is overwritten may be the one that a later parent's follows from.
            self.place(parents)
        self._born, self._born_bytes = {}, 0

    @torch.inference_mode()
    def place(self, wanted: Mapping[int, Phenotype]) -> dict[int, int]:
        """Put these individuals, at most S, into slots and give the slot of each; others stay while there is room.

        Args:
            wanted: number to individual.
        """
        new = [number for number in wanted if number not in self._ids]
        free = [slot for slot, number in enumerate(self._ids) if number not in wanted]
        # Slots that were never used come first: overwriting a slot loses a product.
        free.sort(key=lambda slot: self._ids[slot] is not None)
        places = dict(zip(new, free, strict=False))
        self._inherit_products(places)
        for number, slot in places.items():
            wanted[number].write([self._row])
            self._weights[slot].copy_(torch.from_numpy(self._row))
            self._ids[slot] = number
        found = {number: slot for slot, number in enumerate(self._ids) if number is not None and number in wanted}
        self._wanted = list(found.values())
        return found

    def remember(self, born: Mapping[int, int], factors: Mapping[str, Tensor], made: Products) -> None:
        """Keep products of children until the next generation's parents are placed, if they fit.

        Args:
            born: number of a child to its row.
            factors: name to ``a``, (P, m, r).
            made: their products.
        """
        if self._lineage is None or self._born_bytes + made.nbytes > _MOST_BORN_BYTES:
            return
        self._born_bytes += made.nbytes
        self._born |= {number: _Born(row, factors, made) for number, row in born.items()}

    def base_product(self, key: Key, x: Tensor, base: Tensor) -> Tensor:
        """See :class:`galab.evaluation.batched.product_cache.BaseProducts`."""
        if self._lineage is not None:
            self._inputs[key] = x
        made, valid = self._room(key, x, base)
        for slot in self._wanted:
            number = self._ids[slot]
            if number is not None and not valid[slot]:
                made[slot] = self._from_lineage(key, x, base[slot], number)
                valid[slot] = True
        return made

    def _room(self, key: Key, x: Tensor, base: Tensor) -> tuple[Tensor, list[bool]]:
        """The array for the products of a key and which slots are valid; above the bound, a temporary one."""
        made = self._made.get(key)
        if made is not None and made.shape[1] == len(x):
            return made, self._valid[key]
        slots, outputs, rows = base.shape[0], base.shape[1], x.shape[0]
        room = x.new_zeros(slots, outputs, rows).mT if self._outputs_first else x.new_zeros(slots, rows, outputs)
        valid = [False] * slots
        kept = self._bytes - (0 if made is None else made.nbytes)
        if kept + room.nbytes <= _MOST_BASE_BYTES:
            self._bytes = kept + room.nbytes
            self._made[key], self._valid[key] = room, valid
        return room, valid

    def _from_lineage(self, key: Key, x: Tensor, own: Tensor, number: int) -> Tensor:
        """A product computed from the lineage alone."""
        if self._lineage is None or self._lineage.is_anchor(number):
            return base_product(x, own, outputs_first=self._outputs_first)
        if number not in self._chains:
            self._chains[number] = self._lineage.chain(number)
        chain, tensor = self._chains[number], self._tensor(key)
        start, size = self._layout.starts[tensor], self._layout.sizes[tensor]
        floats = to_float(chain.ancestor.weights[start : start + size], chain.ancestor.bits)
        weights = torch.from_numpy(floats).to(x).view(own.shape)
        found = base_product(x, weights, outputs_first=self._outputs_first)
        for changes in chain.changes:
            found = self._with_change(found, x, changes[tensor])
        return found

    def _with_change(self, product: Tensor, x: Tensor, change: Change) -> Tensor:
        assert isinstance(change, Factors)
        # As many as in a chunk: products of other sizes may differ in the last bits.
        b = torch.from_numpy(change.b).to(x).expand(self._chunk, -1, -1)
        return _moved(product, torch.from_numpy(change.a[0]).to(x), factor_product(x, b)[0])

    def _inherit_products(self, places: Mapping[int, int]) -> None:
        """Products of new individuals, from their parents' where those are known."""
        for key, made in self._made.items():
            valid = self._valid[key]
            found = {slot: self._from_parent(key, made, valid, number) for number, slot in places.items()}
            for slot, product in found.items():
                valid[slot] = product is not None
                if product is not None:
                    made[slot] = product

    def _from_parent(self, key: Key, made: Tensor, valid: list[bool], number: int) -> Tensor | None:
        lineage = self._lineage
        if lineage is None or lineage.is_anchor(number) or (parent := lineage.parent(number)) not in self._ids:
            return None
        slot, born = self._ids.index(parent), self._born.get(number)
        if not valid[slot]:
            return None
        inner = None if born is None else born.made.inner(key)
        if born is None or inner is None:  # another process evaluated it, or it was too large to keep
            return self._with_change(made[slot], self._inputs[key], lineage.change(number)[self._tensor(key)])
        return _moved(made[slot], born.factors[key[0]][born.row], inner[born.row])

    def _tensor(self, key: Key) -> int:
        return self._layout.names.index(key[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Born:
    """Products from the evaluation of a child."""

    row: int
    factors: Mapping[str, Tensor]
    made: Products


def side_by_side(weights: Tensor, layout: Layout) -> dict[str, Tensor]:
    """(S, D) weights by name, each (S, *shape): views."""
    parts = zip(layout.names, layout.shapes, layout.starts, layout.sizes, strict=True)
    return {name: weights[:, at : at + size].view(-1, *shape) for name, shape, at, size in parts}


def _moved(product: Tensor, a: Tensor, inner: Tensor) -> Tensor:
    """A parent's product (rows, m) with its child's term: ``a`` (m, r), ``inner`` (rows, r)."""
    return torch.addmm(product.t(), a, inner.t()).t()
