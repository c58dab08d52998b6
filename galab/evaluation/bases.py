"""The individuals that the members of a cohort are told apart from, and what need not be computed for each member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from galab.evaluation.products import Key, Products, inner_product, outer_product
from galab.genome.descent import Chain, Change, Factors
from galab.genome.layout import Layout
from galab.genome.phenotype import Phenotype, to_float

#: What products with the bases may take in memory.
_MOST_BYTES = 512 << 20
#: What may be kept of the children of one generation until it is known who survives.
_MOST_BORN_BYTES = 256 << 20


class Lineage(Protocol):
    """Knows how individuals came about."""

    def is_anchor(self, number: int) -> bool:
        """Whether an individual's products are computed from its own weights."""
        ...

    def parent(self, number: int) -> int:
        """Whom an individual that is no anchor descends from."""
        ...

    def change(self, number: int) -> list[Change]:
        """What it added, with P = 1."""
        ...

    def chain(self, number: int) -> Chain:
        """An individual's last ancestor that is an anchor, and what the births since have added."""
        ...


class Bases:
    """Weights of individuals side by side, with the products of shared activations with them.

    Where every generation sees the same examples, a survivor's products follow from its parent's by the product with
    its own factors, which its evaluation computed. So that they are the same whenever a run is resumed, they are a
    function of the lineage alone: some ancestor's product, and the terms of all births since in their order.

    Args:
        layout: where each parameter lies.
        slots: S, how many individuals there is room for.
        chunk: members evaluated at once.
        dtype: of the forward.
        device: where.
        outputs_first: see :func:`galab.evaluation.products.outer_product`.
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
        self._chains: dict[int, Chain] = {}

    @property
    def slots(self) -> int:
        """S."""
        return len(self._ids)

    @property
    def stacks(self) -> dict[str, Tensor]:
        """Name to (S, *shape)."""
        return side_by_side(self._weights, self._layout)

    def begin(self, everybody: Mapping[int, Phenotype]) -> None:
        """A generation begins: what was computed on other examples is of no more use.

        Args:
            everybody: number to individual, all whom its members are told apart from.
        """
        self._chains.clear()
        if self._lineage is None:
            self._valid = {key: [False] * self.slots for key in self._made}
        if len(everybody) <= self.slots:
            # At once, as whoever leaves takes a product along that may be the next one's parent's.
            self.place(everybody)
        self._born, self._born_bytes = {}, 0

    @torch.inference_mode()
    def place(self, wanted: Mapping[int, Phenotype]) -> dict[int, int]:
        """Make room for these, at most S, and say where each is; others stay as long as there is room.

        Args:
            wanted: number to individual.
        """
        new = [number for number in wanted if number not in self._ids]
        free = [slot for slot, number in enumerate(self._ids) if number not in wanted]
        # Rooms that were never used come first: whoever leaves takes a product along.
        free.sort(key=lambda slot: self._ids[slot] is not None)
        places = dict(zip(new, free, strict=False))
        self._follow(places)
        for number, slot in places.items():
            wanted[number].write([self._row])
            self._weights[slot].copy_(torch.from_numpy(self._row))
            self._ids[slot] = number
        found = {number: slot for slot, number in enumerate(self._ids) if number is not None and number in wanted}
        self._wanted = list(found.values())
        return found

    def remember(self, born: Mapping[int, int], factors: Mapping[str, Tensor], made: Products) -> None:
        """Keep what the evaluation of children has computed until the next generation's bases are placed, if it fits.

        Args:
            born: number of a child to its row.
            factors: name to ``a``, (P, m, r).
            made: their products.
        """
        if self._lineage is None or self._born_bytes + made.nbytes > _MOST_BORN_BYTES:
            return
        self._born_bytes += made.nbytes
        self._born |= {number: _Born(row, factors, made) for number, row in born.items()}

    def outer(self, key: Key, x: Tensor, base: Tensor) -> Tensor:
        """See :class:`galab.evaluation.products.Outers`."""
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
        """Where the products of a key are kept, and whose are there; beyond the bound, a passing place."""
        made = self._made.get(key)
        if made is not None and made.shape[1] == len(x):
            return made, self._valid[key]
        slots, outputs, rows = base.shape[0], base.shape[1], x.shape[0]
        room = x.new_zeros(slots, outputs, rows).mT if self._outputs_first else x.new_zeros(slots, rows, outputs)
        valid = [False] * slots
        kept = self._bytes - (0 if made is None else made.nbytes)
        if kept + room.nbytes <= _MOST_BYTES:
            self._bytes = kept + room.nbytes
            self._made[key], self._valid[key] = room, valid
        return room, valid

    def _from_lineage(self, key: Key, x: Tensor, own: Tensor, number: int) -> Tensor:
        """A product that nothing here is known of."""
        if self._lineage is None or self._lineage.is_anchor(number):
            return outer_product(x, own, outputs_first=self._outputs_first)
        if number not in self._chains:
            self._chains[number] = self._lineage.chain(number)
        chain, tensor = self._chains[number], self._tensor(key)
        start, size = self._layout.starts[tensor], self._layout.sizes[tensor]
        weights = torch.from_numpy(to_float(chain.ancestor.weights[start : start + size])).to(x).view(own.shape)
        found = outer_product(x, weights, outputs_first=self._outputs_first)
        for changes in chain.changes:
            found = self._with_change(found, x, changes[tensor])
        return found

    def _with_change(self, product: Tensor, x: Tensor, change: Change) -> Tensor:
        assert isinstance(change, Factors)
        # As many as in a chunk: products of other sizes may differ in the last bits.
        b = torch.from_numpy(change.b).to(x).expand(self._chunk, -1, -1)
        return _moved(product, torch.from_numpy(change.a[0]).to(x), inner_product(x, b)[0])

    def _follow(self, places: Mapping[int, int]) -> None:
        """Products of those who come, made of their parents' where those are known."""
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
    """What the evaluation of a child has computed."""

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
