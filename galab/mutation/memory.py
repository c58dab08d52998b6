"""Mutations of a bank of memories: one head, or all, gets another vector, another class, or none.

They act on parameters by their names: ``classes`` (heads, outputs) beside ``memories`` (heads, dims) of length 1, or
``free_memories`` anywhere, or ``angles``; and ``plasticity`` (heads,) in octaves, if there is one
(:class:`galab.models.memory.Memory`). A head whose vector is all 0 is *empty*.

Vectors return to the unit sphere by exact integer sums of squares, an IEEE square root and a division, and one
rounding, so that every machine has the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from galab.errors import LethalMutationError, UsageError
from galab.genome.births import Birth
from galab.genome.layout import Layout
from galab.genome.noise import Stream, Table, draw_all, scaled, table, words
from galab.genome.phenotype import SCALE, Phenotype
from galab.genome.sigma import PER_OCTAVE, sigma, sigmas
from galab.genome.steps import Steps, sum_of_squares
from galab.memories import BY_GENOME, BY_USE

VECTORS = ("memories", "free_memories", "angles")
#: Logit of the class that a memory stands for: the answer's probability is then 0.86 among ten.
LOGIT = 4.0
#: Standard deviation by which a head's plasticity changes whenever it mutates, and how far it may go, in octaves.
_PLASTIC_STEP, _PLASTIC_RANGE = 0.5, 8.0
_HEAD, _CLASS, _PLASTIC = range(3)


@dataclass(frozen=True, slots=True)
class Bank:
    """Where a bank of memories lies in the weights.

    Attributes:
        heads: number of memories.
        dims: numbers of each one's vector.
        outputs: number of classes.
        vectors: first weight of the vectors.
        classes: first weight of the class logits.
        plasticity: first weight of the plasticities; None where there are none.
        geometry: the name of the vectors' parameter, one of :data:`VECTORS`.
    """

    heads: int
    dims: int
    outputs: int
    vectors: int
    classes: int
    plasticity: int | None
    geometry: str

    def vector(self, head: int) -> slice:
        """The weights of a head's vector."""
        return slice(self.vectors + head * self.dims, self.vectors + (head + 1) * self.dims)

    def logits(self, head: int) -> slice:
        """The weights of a head's class logits."""
        return slice(self.classes + head * self.outputs, self.classes + (head + 1) * self.outputs)


@lru_cache(maxsize=64)
def bank_of(layout: Layout) -> Bank:
    """The bank of memories of a network.

    Raises:
        UsageError: it has none, or its parameters do not fit together.
    """
    places = {name: number for number, name in enumerate(layout.names)}
    for name in layout.names:
        prefix, _, last = name.rpartition(".")
        prefix = f"{prefix}." if prefix else ""
        classes = places.get(f"{prefix}classes")
        if last in VECTORS and classes is not None:
            heads, dims = layout.shapes[places[name]]
            if layout.shapes[classes][0] == heads:
                plastic = places.get(f"{prefix}plasticity")
                starts = layout.starts
                return Bank(
                    heads, dims, layout.shapes[classes][1], starts[places[name]], starts[classes],
                    None if plastic is None else starts[plastic], last,
                )  # fmt: skip
    raise UsageError(
        "expected a network with parameters 'memories' (heads, dims) and 'classes' (heads, outputs) for a memory "
        f"mutation, got {', '.join(layout.names)}; use --model memory, or another --mutate"
    )


@dataclass(frozen=True, slots=True)
class _Children:
    """Births of one operator, with what they inherit.

    Attributes:
        weights: (P, D) the parents'; overwritten.
        births: (P,) in that order.
        bank: where the memories lie.
        heads: (P, n) which memories change.
        drawn: (P, 3) random words: for the choice of a head, of its class, and for its plasticity.
        scale: (P or 1, heads or 1, dims or 1) what noise is multiplied with, in units of 2^-24.
    """

    weights: NDArray[np.int32]
    births: Sequence[Birth]
    bank: Bank
    heads: NDArray[np.int64]
    drawn: NDArray[np.uint64]
    scale: NDArray[np.float32]

    @property
    def rows(self) -> NDArray[np.int64]:
        """(P, 1) for indexing with the heads."""
        return np.arange(len(self.weights))[:, None]

    @property
    def vectors(self) -> NDArray[np.int32]:
        """(P, heads, dims), a view."""
        bank = self.bank
        part = self.weights[:, bank.vectors : bank.vectors + bank.heads * bank.dims]
        return part.reshape(-1, bank.heads, bank.dims)

    @property
    def logits(self) -> NDArray[np.int32]:
        """(P, heads, outputs), a view."""
        bank = self.bank
        part = self.weights[:, bank.classes : bank.classes + bank.heads * bank.outputs]
        return part.reshape(-1, bank.heads, bank.outputs)

    def put_class(self, which: NDArray[np.bool_], classes: NDArray[np.int64]) -> None:
        """One class in the place of the logits of chosen heads.

        Args:
            which: (P, n) the heads that get one.
            classes: (P, n).
        """
        row, place = np.nonzero(which)
        head = self.heads[row, place]
        self.logits[row, head] = 0
        self.logits[row, head, classes[row, place]] = int(LOGIT * SCALE)


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
        children = self._children(parent.weights.copy()[None], [birth], bank, _scale(log_sigma, steps, bank))
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
        scale = np.array([sigma(birth.log_sigma) for birth in births], dtype=np.float32) * np.float32(SCALE)
        children = self._children(weights, births, bank_of(layout), scale[:, None, None])
        return weights if self._change(children, frozen=False) else None

    def check(self, layout: Layout) -> None:
        """Refuse a network that has no memories, or none of the kind that heads are chosen by.

        Raises:
            UsageError: it has not.
        """
        if self.heads == "plasticity" and bank_of(layout).plasticity is None:
            raise UsageError(
                "expected a network with a parameter 'plasticity' (heads,) for heads=plasticity, got none; use --model "
                "'memory(plastic=True)'"
            )
        bank_of(layout)

    def touches(self, layout: Layout) -> int:
        """Weights that a child takes work for."""
        return bank_of(layout).dims

    def _children(
        self, weights: NDArray[np.int32], births: Sequence[Birth], bank: Bank, scale: NDArray[np.float32]
    ) -> _Children:
        drawn = np.stack([words(self._run_key, birth.id, Stream.CHOICE, 3) for birth in births])
        chosen = np.array([birth.argument - 1 for birth in births], dtype=np.int64)
        if (chosen < 0).any():
            chosen = np.where(chosen < 0, self._choice(weights, bank, drawn), chosen)
        return _Children(weights, births, bank, chosen[:, None], drawn, scale)

    def _choice(self, weights: NDArray[np.int32], bank: Bank, drawn: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(P,) a head each, by what the genome says."""
        if self.heads == "plasticity":
            return _by_plasticity(weights, bank, drawn)
        wanted = np.ones((len(weights), bank.heads), dtype=np.int64)
        if self.heads in ("filled", "empty"):
            part = weights[:, bank.vectors : bank.vectors + bank.heads * bank.dims]
            filled = np.asarray(part.reshape(-1, bank.heads, bank.dims).any(axis=2))
            such = filled if self.heads == "filled" else ~filled
            wanted = np.where(such.any(axis=1, keepdims=True), such, wanted)
        edges = np.cumsum(wanted, axis=1)
        return np.argmax(edges > scaled(drawn[:, _HEAD], edges[:, -1])[:, None], axis=1)

    def _change(self, children: _Children, frozen: bool) -> bool:
        """Mutate the weights; False where a child cannot live.

        Args:
            children: whom.
            frozen: whether plasticities stay as they are.
        """
        lives = self._changed(children)
        bank = children.bank
        if bank.plasticity is not None and not frozen:
            _change_plasticity(children.weights, bank.plasticity + children.heads[:, 0], children.drawn)
        return lives

    def _changed(self, children: _Children) -> bool:
        raise NotImplementedError

    def _noise(self, children: _Children, law: Table) -> NDArray[np.float32]:
        """(P, n, dims) of unit variance; the next call overwrites it."""
        n, dims = children.heads.shape[1], children.bank.dims
        ids = [birth.id for birth in children.births]
        return draw_all(law, self._run_key, ids, Stream.WEIGHTS, n * dims).reshape(-1, n, dims)

    def _fresh(self, children: _Children) -> NDArray[np.int32]:
        """(P, n, dims) random vectors: of length 1, or angles from -pi to pi."""
        if children.bank.geometry == "angles":
            z = self._noise(children, table("uniform"))
            # A uniform law of unit variance ends at the root of 3.
            return np.rint(z.astype(np.float64) * (math.pi / math.sqrt(3) * SCALE)).astype(np.int32)
        return unit(np.rint(self._noise(children, self._law) * np.float32(2.0**20)).astype(np.int32))

    def _moved(self, children: _Children) -> NDArray[np.int32] | None:
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

    def _changed(self, children: _Children) -> bool:
        children.vectors[children.rows, children.heads] = self._fresh(children)
        children.put_class(np.ones_like(children.heads, dtype=bool), _classes(children))
        return True


class Activate(Replace):
    """An empty head gets a random vector and a random class; where none is empty, any head."""

    _heads = "empty"


class Perturb(_Operator):
    """A head's vector moves by the step size and returns to the sphere; an empty head is filled at random.

    Args:
        run_key: the run's key.
        law: the law of the noise.
        heads: see :class:`Replace`.
        both: whether the head gets a random class besides.
    """

    def __init__(self, run_key: int, law: Table, heads: str = "", both: bool = False) -> None:
        super().__init__(run_key, law, heads)
        self._both = both

    def _changed(self, children: _Children) -> bool:
        return self._perturb(children, _classes(children))

    def _perturb(self, children: _Children, classes: NDArray[np.int64]) -> bool:
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
    """The vectors of all heads move by the step size and return to the sphere; empty ones are filled at random."""

    def _changed(self, children: _Children) -> bool:
        count = children.bank.heads
        every = replace(children, heads=np.tile(np.arange(count), (len(children.weights), 1)))
        drawn = [words(self._run_key, birth.id, Stream.CHOICE, 3 + count)[3:] for birth in children.births]
        return self._perturb(every, scaled(np.stack(drawn), children.bank.outputs))


class Target(_Operator):
    """A head gets a random class; its vector stays."""

    def _changed(self, children: _Children) -> bool:
        children.put_class(np.ones_like(children.heads, dtype=bool), _classes(children))
        return True


class Delete(_Operator):
    """A filled head is emptied."""

    _heads = "filled"

    def _changed(self, children: _Children) -> bool:
        children.vectors[children.rows, children.heads] = 0
        children.logits[children.rows, children.heads] = 0
        return True


def unit(vectors: NDArray[np.int32]) -> NDArray[np.int32]:
    """Vectors of weights scaled to length 1, to the nearest weights; those of zeros stay so.

    Args:
        vectors: (..., dims) in units of 2^-24.
    """
    flat = vectors.reshape(-1, vectors.shape[-1])
    wide = flat.astype(np.int64)
    peak = int(np.abs(wide).max(initial=0))
    if peak * peak * flat.shape[1] < 1 << 63:
        squares = np.einsum("ij,ij->i", wide, wide)
    else:
        squares = np.array([float(sum_of_squares(row, shift=0)) for row in flat])
    lengths = np.sqrt(np.maximum(squares, 1).astype(np.float64))
    # The product with 2^24 is exact, so there is one division and one rounding.
    return np.rint(wide * SCALE / lengths[:, None]).astype(np.int32).reshape(vectors.shape)


def _scale(log_sigma: NDArray[np.int16], steps: Steps, bank: Bank) -> NDArray[np.float32]:
    """(1, heads or 1, dims or 1) what the noise of one child's vectors is multiplied with."""
    tensor = steps.layout.tensor_at(bank.vectors)
    rows, columns = steps.factors(log_sigma, tensor)
    factors = rows.reshape(-1, bank.dims) if len(rows) > bank.heads else rows[:, None] * columns
    return (factors * np.float32(SCALE))[None]


def _classes(children: _Children) -> NDArray[np.int64]:
    """(P, 1) a class each, all with equal odds."""
    return scaled(children.drawn[:, _CLASS : _CLASS + 1], children.bank.outputs)


def _by_plasticity(
    weights: NDArray[np.int32], bank: Bank, drawn: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """(P,) heads with odds of 2 to the power of their plasticity, from the table of step sizes and exact sums."""
    assert bank.plasticity is not None
    own = weights[:, bank.plasticity : bank.plasticity + bank.heads]
    points = np.rint(np.clip(own / SCALE, -_PLASTIC_RANGE, _PLASTIC_RANGE) * PER_OCTAVE).astype(np.int16)
    # 17 octaves at most lie between these float32 numbers, so their sums are exact in float64, in any order.
    edges = np.cumsum(sigmas(points.ravel()).reshape(points.shape), axis=1, dtype=np.float64)
    shares = (drawn[:, _HEAD] >> np.uint64(11)).astype(np.float64) / 2.0**53
    return np.minimum((edges <= shares[:, None] * edges[:, -1:]).sum(axis=1), bank.heads - 1)


def _change_plasticity(weights: NDArray[np.int32], places: NDArray[np.int64], drawn: NDArray[np.uint64]) -> None:
    z = table("normal").quantiles[(drawn[:, _PLASTIC] & np.uint64(0xFFFF)).astype(np.intp)].astype(np.float64)
    rows, limit = np.arange(len(weights)), int(_PLASTIC_RANGE * SCALE)
    moved = weights[rows, places] + np.rint(z * (_PLASTIC_STEP * SCALE))
    weights[rows, places] = np.clip(moved, -limit, limit).astype(np.int32)
