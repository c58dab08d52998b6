"""Where a bank of memories lies in the weights of a network, and exact arithmetic on its vectors.

A bank is told by the names of its parameters: ``classes`` (heads, outputs) beside ``memories`` (heads, dims) of length
1, or ``free_memories`` anywhere, or ``angles``; and ``plasticity`` (heads,) in octaves, if there is one
(:class:`galab.models.memory.Memory`). A head whose vector is all 0 is *empty*.

Vectors return to the unit sphere by exact integer sums of squares, an IEEE square root and a division, and one
rounding, so that every machine has the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from galab.config.spelling import OptionError
from galab.genome.births import Birth
from galab.genome.random import scaled, table
from galab.genome.step_sizes import PER_OCTAVE, Steps, sigmas, sum_of_squares
from galab.genome.weights import SCALE, Layout

Number = TypeVar("Number", bound=np.generic)

VECTORS = ("memories", "free_memories", "angles")
#: Logit of the class that a memory stands for: the answer's probability is then 0.86 among ten.
LOGIT = 4.0
#: Standard deviation by which a head's plasticity changes whenever it mutates, and how far it may go, in octaves.
_PLASTIC_STEP, _PLASTIC_RANGE = 0.5, 8.0
#: Which of a birth's random words choose the head, its class, and the change of its plasticity.
HEAD, CLASS, PLASTIC = range(3)


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

    def vectors_of(self, weights: NDArray[Number]) -> NDArray[Number]:
        """(..., heads, dims) the vectors among weights (..., D), a view."""
        part = weights[..., self.vectors : self.vectors + self.heads * self.dims]
        return part.reshape(*weights.shape[:-1], self.heads, self.dims)

    def logits_of(self, weights: NDArray[Number]) -> NDArray[Number]:
        """(..., heads, outputs) the class logits among weights (..., D), a view."""
        part = weights[..., self.classes : self.classes + self.heads * self.outputs]
        return part.reshape(*weights.shape[:-1], self.heads, self.outputs)

    def plasticities_of(self, weights: NDArray[Number]) -> NDArray[Number]:
        """(..., heads) the plasticities among weights (..., D) that have them, a view."""
        assert self.plasticity is not None
        return weights[..., self.plasticity : self.plasticity + self.heads]

    def filled(self, weights: NDArray[np.int32]) -> NDArray[np.bool_]:
        """(..., heads) which memories of weights (..., D) are filled."""
        return np.asarray(self.vectors_of(weights).any(axis=-1))


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
    raise OptionError(
        "expected a network with parameters 'memories' (heads, dims) and 'classes' (heads, outputs) for a memory "
        "mutation, got {names}; use {model:memory}, or another {mutate}",
        names=", ".join(layout.names),
    )


@dataclass(frozen=True, slots=True)
class Children:
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
        return self.bank.vectors_of(self.weights)

    @property
    def logits(self) -> NDArray[np.int32]:
        """(P, heads, outputs), a view."""
        return self.bank.logits_of(self.weights)

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


@dataclass(frozen=True, slots=True)
class Inherited:
    """What P births inherit, without their weights.

    Attributes:
        parents: (U, D) weights of the parents.
        sources: (P, heads) which of them each memory comes from.
        bank: where the memories lie.
    """

    parents: NDArray[np.int32]
    sources: NDArray[np.int64]
    bank: Bank

    def filled(self) -> NDArray[np.bool_]:
        """(P, heads) whether a memory is filled."""
        return np.take_along_axis(self.bank.filled(self.parents), self.sources, axis=0)

    def plasticity(self) -> NDArray[np.int32]:
        """(P, heads) plasticities."""
        return np.take_along_axis(self.bank.plasticities_of(self.parents), self.sources, axis=0)

    def take(self, heads: NDArray[np.int64]) -> NDArray[np.int32]:
        """(P, dims + outputs) vector and class logits of one memory (P,) each."""
        bank, whose = self.bank, self.sources[np.arange(len(heads)), heads]
        both = bank.vectors_of(self.parents)[whose, heads], bank.logits_of(self.parents)[whose, heads]
        return np.concatenate(both, axis=1)


@dataclass(frozen=True, slots=True)
class HeadChanges:
    """The one memory that differs in each of P children from what they inherit.

    Attributes:
        heads: (P,) which.
        vectors: (P, dims) its vector, in units of 2^-24.
        logits: (P, outputs) its class logits, likewise.
    """

    heads: NDArray[np.int64]
    vectors: NDArray[np.int32]
    logits: NDArray[np.int32]


def is_bank_alone(layout: Layout) -> bool:
    """Whether a network consists of one bank of memories and nothing else."""
    last = [name.rpartition(".")[2] for name in layout.names]
    known = (*VECTORS, "classes", "plasticity")
    return sum(name in VECTORS for name in last) == 1 == last.count("classes") and set(last) <= set(known)


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


def scale_of(log_sigma: NDArray[np.int16], steps: Steps, bank: Bank) -> NDArray[np.float32]:
    """(1, heads or 1, dims or 1) what the noise of one child's vectors is multiplied with."""
    tensor = steps.layout.tensor_at(bank.vectors)
    rows, columns = steps.factors(log_sigma, tensor)
    factors = rows.reshape(-1, bank.dims) if len(rows) > bank.heads else rows[:, None] * columns
    return (factors * np.float32(SCALE))[None]


def drawn_classes(children: Children) -> NDArray[np.int64]:
    """(P, 1) a class each, all with equal odds."""
    return scaled(children.drawn[:, CLASS : CLASS + 1], children.bank.outputs)


def by_plasticity(own: NDArray[np.int32], drawn: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(P,) heads with odds of 2 to the power of their plasticity, from the table of step sizes and exact sums.

    Args:
        own: (P, heads) plasticities.
        drawn: (P, 3) random words.
    """
    points = np.rint(np.clip(own / SCALE, -_PLASTIC_RANGE, _PLASTIC_RANGE) * PER_OCTAVE).astype(np.int16)
    # 17 octaves at most lie between these float32 numbers, so sums of up to 8,192 are exact; and they have one order.
    edges = np.cumsum(sigmas(points.ravel()).reshape(points.shape), axis=1, dtype=np.float64)
    shares = (drawn[:, HEAD] >> np.uint64(11)).astype(np.float64) / 2.0**53
    return np.minimum((edges <= shares[:, None] * edges[:, -1:]).sum(axis=1), own.shape[1] - 1)


def change_plasticity(weights: NDArray[np.int32], places: NDArray[np.int64], drawn: NDArray[np.uint64]) -> None:
    """Move the plasticity (P,) of the head that mutates by normal noise, within eight octaves either way."""
    z = table("normal").quantiles[(drawn[:, PLASTIC] & np.uint64(0xFFFF)).astype(np.intp)].astype(np.float64)
    rows, limit = np.arange(len(weights)), int(_PLASTIC_RANGE * SCALE)
    moved = weights[rows, places] + np.rint(z * (_PLASTIC_STEP * SCALE))
    weights[rows, places] = np.clip(moved, -limit, limit).astype(np.int32)
