"""Mutations of a bank of memories: one head, or all, gets another vector, another class, or none.

They act on parameters by their names: ``classes`` (heads, outputs) beside ``memories`` (heads, dims) of length 1, or
``free_memories`` anywhere, or ``angles``; and ``plasticity`` (heads,) in octaves, if there is one
(:class:`galab.models.memory.Memory`). A head whose vector is all 0 is *empty*.

Vectors return to the unit sphere by exact integer sums of squares, an IEEE square root and a division, and one
rounding, so that every machine has the same ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError
from galab.genome.births import Birth
from galab.genome.layout import Layout
from galab.genome.noise import Stream, Table, draw, scaled, table, words
from galab.genome.phenotype import SCALE, Phenotype
from galab.genome.sigma import PER_OCTAVE, sigma
from galab.genome.steps import Steps, sum_of_squares
from galab.memories import BY_GENOME, BY_USE
from galab.mutation.sparse import move

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
class _Event:
    """A mutation: see :class:`galab.genome.develop.Mutation`, and the head that it falls on with its random words."""

    parent: Phenotype
    birth: Birth
    log_sigma: NDArray[np.int16]
    steps: Steps
    bank: Bank
    head: int
    drawn: NDArray[np.uint64]


class _OneHead:
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
        drawn = words(self._run_key, birth.id, Stream.CHOICE, 3)
        head = birth.argument - 1 if birth.argument else self._head(parent.weights, bank, drawn)
        weights = self._changed(_Event(parent, birth, log_sigma, steps, bank, head, drawn))
        if bank.plasticity is not None:
            _change_plasticity(weights, bank.plasticity + head, drawn)
        return weights

    def _head(self, weights: NDArray[np.int32], bank: Bank, drawn: NDArray[np.uint64]) -> int:
        if self.heads == "plasticity":
            return _by_plasticity(weights, bank, drawn)
        if self.heads in ("filled", "empty"):
            filled = _filled(weights, bank)
            wanted = np.flatnonzero(filled if self.heads == "filled" else ~filled)
            if len(wanted):
                return int(wanted[_below(drawn, _HEAD, len(wanted))])
        return _below(drawn, _HEAD, bank.heads)

    def _changed(self, event: _Event) -> NDArray[np.int32]:
        raise NotImplementedError

    def _renewed(self, event: _Event) -> NDArray[np.int32]:
        """The weights with a random direction and a random class in the place of the head."""
        bank = event.bank
        law = table("uniform") if bank.geometry == "angles" else self._law
        z = draw(law, self._run_key, event.birth.id, Stream.WEIGHTS, bank.dims)
        weights = event.parent.weights.copy()
        weights[bank.vector(event.head)] = _fresh(z, bank.geometry)
        _choose_class(weights, event)
        return weights

    def _moved(self, event: _Event, heads: range) -> NDArray[np.int32]:
        """The weights with noise of the length of the step size, as a root mean square, on vectors of heads."""
        bank = event.bank
        part = slice(bank.vector(heads[0]).start, bank.vector(heads[-1]).stop)
        z = draw(self._law, self._run_key, event.birth.id, Stream.WEIGHTS, part.stop - part.start)
        shrink = np.float32(1 / math.sqrt(bank.dims))
        peak = self._law.peak * float(shrink)
        weights = move(event.parent, event.birth, event.log_sigma, event.steps, [part], z * shrink, peak)
        if bank.geometry == "memories":
            for head in heads:
                weights[bank.vector(head)] = unit(weights[bank.vector(head)])
        return weights


class Replace(_OneHead):
    """A head gets a random vector and a random class: nothing of it stays."""

    def _changed(self, event: _Event) -> NDArray[np.int32]:
        return self._renewed(event)


class Activate(Replace):
    """An empty head gets a random vector and a random class; where none is empty, any head."""

    _heads = "empty"


class Perturb(_OneHead):
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

    def _changed(self, event: _Event) -> NDArray[np.int32]:
        if not event.parent.weights[event.bank.vector(event.head)].any():
            return self._renewed(event)
        weights = self._moved(event, range(event.head, event.head + 1))
        if self._both:
            _choose_class(weights, event)
        return weights


class Target(_OneHead):
    """A head gets a random class; its vector stays."""

    def _changed(self, event: _Event) -> NDArray[np.int32]:
        weights = event.parent.weights.copy()
        _choose_class(weights, event)
        return weights


class Delete(_OneHead):
    """A filled head is emptied."""

    _heads = "filled"

    def _changed(self, event: _Event) -> NDArray[np.int32]:
        weights = event.parent.weights.copy()
        weights[event.bank.vector(event.head)] = 0
        weights[event.bank.logits(event.head)] = 0
        return weights


class All(_OneHead):
    """The vectors of all heads move by the step size and return to the sphere; empty ones get a random class too."""

    def _changed(self, event: _Event) -> NDArray[np.int32]:
        bank = event.bank
        classes = scaled(words(self._run_key, event.birth.id, Stream.CHOICE, 3 + bank.heads)[3:], bank.outputs)
        weights = self._moved(event, range(bank.heads))
        for head in np.flatnonzero(~_filled(event.parent.weights, bank)).tolist():
            _set_class(weights, bank, head, int(classes[head]))
        return weights


def unit(vector: NDArray[np.int32]) -> NDArray[np.int32]:
    """A vector of weights scaled to length 1, to the nearest weight; where it is all 0, it stays so.

    Args:
        vector: (dims,) in units of 2^-24.
    """
    squares = sum_of_squares(vector, shift=0)
    if not squares:
        return vector
    # The product with 2^24 is exact, so there is one division and one rounding.
    return np.rint(vector.astype(np.float64) * SCALE / math.sqrt(squares)).astype(np.int32)


def _fresh(z: NDArray[np.float32], geometry: str) -> NDArray[np.int32]:
    """A random vector from (dims,) noise of unit variance: of length 1, or angles from -pi to pi."""
    if geometry == "angles":
        # A uniform law of unit variance ends at the root of 3.
        return np.rint(z.astype(np.float64) * (math.pi / math.sqrt(3)) * SCALE).astype(np.int32)
    return unit(np.rint(z * np.float32(2.0**20)).astype(np.int32))


def _filled(weights: NDArray[np.int32], bank: Bank) -> NDArray[np.bool_]:
    """(heads,) whether a head's vector is anything but 0."""
    vectors = weights[bank.vectors : bank.vectors + bank.heads * bank.dims].reshape(bank.heads, bank.dims)
    return np.asarray(vectors.any(axis=1))


def _below(drawn: NDArray[np.uint64], place: int, bound: int) -> int:
    return int(scaled(drawn[place : place + 1], bound)[0])


def _choose_class(weights: NDArray[np.int32], event: _Event) -> None:
    _set_class(weights, event.bank, event.head, _below(event.drawn, _CLASS, event.bank.outputs))


def _set_class(weights: NDArray[np.int32], bank: Bank, head: int, number: int) -> None:
    part = weights[bank.logits(head)]
    part[:] = 0
    part[number] = int(LOGIT * SCALE)


def _by_plasticity(weights: NDArray[np.int32], bank: Bank, drawn: NDArray[np.uint64]) -> int:
    """A head with odds of 2 to the power of its plasticity, from the table of step sizes and exact sums."""
    if bank.plasticity is None:
        raise UsageError(
            "expected a network with a parameter 'plasticity' (heads,) for heads=plasticity, got none; use --model "
            "'memory(plastic=True)'"
        )
    own = weights[bank.plasticity : bank.plasticity + bank.heads]
    octaves = np.rint(own * (PER_OCTAVE / SCALE)).astype(np.int64)
    # 17 octaves at most lie between these whole numbers, whose sums are exact in float64 in any order.
    odds = np.cumsum([float(sigma(int(one))) * 2**32 for one in octaves])
    share = float(drawn[_HEAD] >> np.uint64(11)) / 2.0**53
    return min(int(np.searchsorted(odds, share * odds[-1], side="right")), bank.heads - 1)


def _change_plasticity(weights: NDArray[np.int32], place: int, drawn: NDArray[np.uint64]) -> None:
    z = float(table("normal").quantiles[int(drawn[_PLASTIC] & np.uint64(0xFFFF))])
    limit = int(_PLASTIC_RANGE * SCALE)
    weights[place] = min(max(int(weights[place]) + round(z * _PLASTIC_STEP * SCALE), -limit), limit)

