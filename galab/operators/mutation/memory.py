"""Mutations of a bank of memories: one head, or all, gets another vector, another class, or none.

Which heads there are, and how they lie, is in ``memory_bank.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from galab.config.spelling import OptionError
from galab.config.traits import BY_GENOME, BY_USE
from galab.errors import LethalMutationError, UsageError
from galab.genome.births import Birth
from galab.genome.domain import REAL_BITS
from galab.genome.random import Stream, Table, draw_all, scaled, table, words
from galab.genome.step_sizes import Steps, sigmas
from galab.genome.weights import SCALE, Layout, Phenotype
from galab.operators.mutation.memory_bank import (
    HEAD,
    Bank,
    Children,
    HeadChanges,
    Inherited,
    bank_of,
    by_plasticity,
    change_plasticity,
    drawn_classes,
    scale_of,
    unit,
)


class _Operator:
    """Chooses a head; what becomes of it is said by the operators below.

    Args:
        run_key: the run's key.
        law: the law of new vectors and of noise.
        heads: which heads it may choose, all with equal odds: ``any``; ``filled`` or ``empty`` ones; ``used`` or
            ``unused`` ones, which answer some example of their generation, or none; or with odds by ``use``, the
            number of examples that they answer, or 2^``plasticity``. Where none is such, any.
    """

    context_free = False
    #: Whether one memory alone changes.
    alone = True
    _heads = "any"

    def __init__(self, run_key: int, law: Table, heads: str = "") -> None:
        heads = heads or self._heads
        if heads not in (*BY_GENOME, *BY_USE):
            known = ", ".join((*BY_GENOME, *BY_USE))
            raise UsageError(f"expected heads of a memory mutation to be one of {known}, got '{heads}'; correct it")
        self._run_key = run_key
        self._law = law
        self.heads = heads

    def apply(
        self, parent: Phenotype, birth: Birth, log_sigma: NDArray[np.int16], steps: Steps
    ) -> NDArray[np.int32]:
        """See :class:`galab.genome.develop.Mutation`."""
        bank = bank_of(steps.layout)
        children = self._children(parent.weights.copy()[None], [birth], bank, scale_of(log_sigma, steps, bank))
        frozen = bank.plasticity is not None and steps.layout.tensor_at(bank.plasticity) in steps.frozen
        if not self._change(children, frozen):
            raise LethalMutationError(steps.layout.name_at(bank.vectors), birth.id)
        return children.weights[0]

    def apply_all(
        self, weights: NDArray[np.int32], births: Sequence[Birth], layout: Layout
    ) -> NDArray[np.int32] | None:
        """:meth:`apply` for several births at once, to the same bits; None where one of them is lethal.

        Args:
            weights: (P, D) the parent of each; overwritten.
            births: P births with one step size for all weights each.
            layout: where the weights lie.

        Returns:
            (P, D) the children.
        """
        children = self._children(weights, births, bank_of(layout), _scales(births))
        return weights if self._change(children, frozen=False) else None

    def check(self, layout: Layout) -> None:
        """Refuse a network that has no memories, or none of the kind that heads are chosen by.

        Raises:
            UsageError: it has not.
        """
        if self.heads == "plasticity" and bank_of(layout).plasticity is None:
            raise OptionError(
                "expected a network with a parameter 'plasticity' (heads,) for heads=plasticity, got none; use {model} "
                "'memory(plastic=True)'"
            )
        bank_of(layout)

    def touches(self, layout: Layout) -> int:
        """Weights that a child takes work for."""
        return bank_of(layout).dims

    def _children(
        self, weights: NDArray[np.int32], births: Sequence[Birth], bank: Bank, scale: NDArray[np.float32]
    ) -> Children:
        drawn = self._drawn(births)
        chosen = self._chosen(
            births, drawn, bank.heads, partial(bank.filled, weights), partial(bank.plasticities_of, weights)
        )
        return Children(weights, births, bank, chosen[:, None], drawn, scale)

    def changes(self, births: Sequence[Birth], inherited: Inherited) -> HeadChanges | None:
        """What :meth:`apply_all` does to the one memory of each child that it changes; None where one is lethal.

        Args:
            births: P births with one step size for all weights each.
            inherited: what they inherit.
        """
        bank, drawn = inherited.bank, self._drawn(births)
        chosen = self._chosen(births, drawn, bank.heads, inherited.filled, inherited.plasticity)
        # A bank of one memory, which is all that changes.
        alone = replace(bank, heads=1, vectors=0, classes=bank.dims, plasticity=None)
        weights = inherited.take(chosen)
        first = np.zeros((len(births), 1), dtype=np.int64)
        if not self._changed(Children(weights, births, alone, first, drawn, _scales(births))):
            return None
        return HeadChanges(chosen, weights[:, : bank.dims], weights[:, bank.dims :])

    def _drawn(self, births: Sequence[Birth]) -> NDArray[np.uint64]:
        """(P, 3) random words."""
        return np.stack([words(self._run_key, birth.id, Stream.CHOICE, 3) for birth in births])

    def _chosen(
        self, births: Sequence[Birth], drawn: NDArray[np.uint64], heads: int,
        holds: Callable[[], NDArray[np.bool_]], plasticity: Callable[[], NDArray[np.int32]],
    ) -> NDArray[np.int64]:  # fmt: skip
        """(P,) a head each, by what the search has chosen, or else by what the genome says."""
        asked = np.array([birth.argument - 1 for birth in births], dtype=np.int64)
        if (asked >= 0).all():
            return asked
        if self.heads == "plasticity":
            return np.where(asked < 0, by_plasticity(plasticity(), drawn), asked)
        wanted = np.ones((len(births), heads), dtype=np.int64)
        if self.heads in ("filled", "empty"):
            such = holds() if self.heads == "filled" else ~holds()
            wanted = np.where(such.any(axis=1, keepdims=True), such, wanted)
        edges = np.cumsum(wanted, axis=1)
        drawn_heads = np.argmax(edges > scaled(drawn[:, HEAD], edges[:, -1])[:, None], axis=1)
        return np.where(asked < 0, drawn_heads, asked)

    def _change(self, children: Children, frozen: bool) -> bool:
        """Mutate the weights; False where a child cannot live.

        Args:
            children: whom.
            frozen: whether plasticities stay as they are.
        """
        lives = self._changed(children)
        bank = children.bank
        if bank.plasticity is not None and not frozen:
            change_plasticity(children.weights, bank.plasticity + children.heads[:, 0], children.drawn)
        return lives

    def _changed(self, children: Children) -> bool:
        raise NotImplementedError

    def _noise(self, children: Children, law: Table) -> NDArray[np.float32]:
        """(P, n, dims) of unit variance; the next call overwrites it."""
        n, dims = children.heads.shape[1], children.bank.dims
        ids = [birth.id for birth in children.births]
        return draw_all(law, self._run_key, ids, Stream.WEIGHTS, n * dims).reshape(-1, n, dims)

    def _fresh(self, children: Children) -> NDArray[np.int32]:
        """(P, n, dims) random vectors: of length 1, or angles from -pi to pi."""
        if children.bank.geometry == "angles":
            z = self._noise(children, table("uniform"))
            # A uniform law of unit variance ends at the root of 3.
            return np.rint(z.astype(np.float64) * (math.pi / math.sqrt(3) * SCALE)).astype(np.int32)
        return unit(np.rint(self._noise(children, self._law) * np.float32(2.0**20)).astype(np.int32))

    def _moved(self, children: Children) -> NDArray[np.int32] | None:
        """(P, n, dims) vectors after a step, whose length is the step size as a root mean square; None if too long."""
        bank = children.bank
        step = self._noise(children, self._law) * np.float32(1 / math.sqrt(bank.dims))
        scale = children.scale
        if scale.shape[1] > 1:
            scale = scale[:, children.heads[0]]
        step *= scale
        np.rint(step, out=step)
        # In int64 nothing overflows: a step is below 2^31 times a few, and a longer one is refused before the cast.
        if not np.abs(step).max(initial=0) < 2.0**31:
            return None
        total = children.vectors[children.rows, children.heads].astype(np.int64) + step.astype(np.int64)
        if np.abs(total).max(initial=0) >= 1 << 31:
            return None
        moved = total.astype(np.int32)
        return unit(moved) if bank.geometry == "memories" else moved


class Replace(_Operator):
    """A head gets a random vector and a random class: nothing of it stays."""

    def _changed(self, children: Children) -> bool:
        children.vectors[children.rows, children.heads] = self._fresh(children)
        children.put_class(np.ones_like(children.heads, dtype=bool), drawn_classes(children))
        return True


class Activate(Replace):
    """An empty head gets a random vector and a random class; where none is empty, any head."""

    _heads = "empty"


class Perturb(_Operator):
    """A head's vector moves by the step size, and on the sphere keeps its length; an empty head is filled at random.

    Args:
        run_key: the run's key.
        law: the law of the noise.
        heads: see :class:`Replace`.
        both: whether the head gets a random class too.
    """

    def __init__(self, run_key: int, law: Table, heads: str = "", both: bool = False) -> None:
        super().__init__(run_key, law, heads)
        self._both = both

    def _changed(self, children: Children) -> bool:
        return self._perturb(children, drawn_classes(children))

    def _perturb(self, children: Children, classes: NDArray[np.int64]) -> bool:
        vectors, rows, heads = children.vectors, children.rows, children.heads
        empty = np.asarray(~vectors[rows, heads].any(axis=2))  # (P, n)
        moved = self._moved(children)
        if moved is None:
            return False
        if empty.any():
            moved = np.where(empty[:, :, None], self._fresh(children), moved)
        vectors[rows, heads] = moved
        children.put_class(empty | self._both, classes)
        return True


class All(Perturb):
    """The vectors of all heads move by the step size, as by :class:`Perturb`; empty ones are filled at random."""

    alone = False

    def touches(self, layout: Layout) -> int:
        """See :class:`_Operator`."""
        return layout.size

    def _changed(self, children: Children) -> bool:
        count = children.bank.heads
        every = replace(children, heads=np.tile(np.arange(count), (len(children.weights), 1)))
        drawn = [words(self._run_key, birth.id, Stream.CHOICE, 3 + count)[3:] for birth in children.births]
        return self._perturb(every, scaled(np.stack(drawn), children.bank.outputs))


class Target(_Operator):
    """A head gets a random class; its vector stays."""

    def _changed(self, children: Children) -> bool:
        children.put_class(np.ones_like(children.heads, dtype=bool), drawn_classes(children))
        return True


class Delete(_Operator):
    """A filled head is emptied."""

    _heads = "filled"

    def _changed(self, children: Children) -> bool:
        children.vectors[children.rows, children.heads] = 0
        children.logits[children.rows, children.heads] = 0
        return True


def _scales(births: Sequence[Birth]) -> NDArray[np.float32]:
    """(P, 1, 1) the one step size of each birth, in units of 2^-24."""
    points = np.array([birth.log_sigma for birth in births], dtype=np.int16)
    return sigmas(points, octaves=REAL_BITS)[:, None, None]
