"""Children expressed as changes to their parents, for evaluators that do not need the children's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.step_sizes import Steps
from galab.genome.weights import Layout, Phenotype, reach

#: What float32 may have rounded away on the way to a weight.
_ROUNDED = 1 + 2.0**-16


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """What P members add to a tensor of (m, ...), seen as a matrix (m, n): ``a[p] @ b[p].T``, in weight units.

    Attributes:
        a: (P, m, r) float32.
        b: (P, n, r) float32.
    """

    a: NDArray[np.float32]
    b: NDArray[np.float32]


#: What P members add to one tensor: factors, or (P, size) float32 in weight units, each a multiple of 2^-bits.
Change = Factors | NDArray[np.float32]


class Factoring(Protocol):
    """What a mutation has in addition if its changes are of low rank."""

    def factors(
        self, births: Sequence[Birth], log_sigma: Sequence[NDArray[np.int16]], steps: Steps
    ) -> list[Change]:
        """What the births add to each tensor, but for the rounding of each weight to 2^-24.

        Args:
            births: P births.
            log_sigma: their step sizes, (S,) each.
            steps: what they serve.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Deltas:
    """Members of a cohort, each expressed as a change to a decoded individual, its base.

    Attributes:
        bases: (P) the id of each member's base: its parent, or itself.
        phenotypes: the bases by id.
        changes: what the members add to each tensor, in the layout's order; zeros for members that are their own base.
    """

    bases: list[int]
    phenotypes: dict[int, Phenotype]
    changes: list[Change]

    def doubtful(self) -> NDArray[np.bool_]:
        """(P,) members that may have a weight outside the range; the others certainly have none."""
        peaks = {number: reach(one.weights) * 2.0**-one.bits for number, one in self.phenotypes.items()}
        base = np.array([peaks[number] for number in self.bases])
        most = np.zeros(len(self.bases))
        for change in self.changes:
            most = np.maximum(most, _largest(change))
        limits = np.array([2.0 ** (31 - self.phenotypes[number].bits) for number in self.bases])
        doubtful: NDArray[np.bool_] = ~((base + most) * _ROUNDED < limits)
        return doubtful


@dataclass(frozen=True, slots=True, eq=False)
class DeltaChain:
    """An individual expressed as an ancestor and the changes since.

    Attributes:
        ancestor: an individual that it descends from, or itself.
        changes: what each later birth added to each tensor, with P = 1.
    """

    ancestor: Phenotype
    changes: list[list[Change]]


def unchanged(layout: Layout, rank: int, members: int) -> list[Change]:
    """Changes of nothing.

    Args:
        layout: the tensors.
        rank: r of the factors of matrices.
        members: P.
    """
    changes: list[Change] = []
    for shape, size in zip(layout.shapes, layout.sizes, strict=True):
        if is_matrix(shape, size):
            a = np.zeros((members, shape[0], rank), dtype=np.float32)
            changes.append(Factors(a, np.zeros((members, size // shape[0], rank), dtype=np.float32)))
        else:
            changes.append(np.zeros((members, size), dtype=np.float32))
    return changes


def scattered(changes: Sequence[Change], places: Sequence[int], into: list[Change]) -> list[Change]:
    """Changes put into others at some places of the first axis; ``into``, which is written to."""
    for found, change in zip(changes, into, strict=True):
        if isinstance(found, Factors):
            assert isinstance(change, Factors)
            change.a[places], change.b[places] = found.a, found.b
        else:
            assert not isinstance(change, Factors)
            change[places] = found
    return into


def is_matrix(shape: tuple[int, ...], size: int) -> bool:
    """Whether a tensor changes by factors, seen as a matrix of its first axis and all others."""
    return len(shape) > 1 and size > 0


def _largest(change: Change) -> NDArray[np.float64]:
    """(P,) an upper bound of what is added to any weight."""
    if not isinstance(change, Factors):
        return np.abs(change).max(axis=1, initial=0).astype(np.float64)
    a, b = np.abs(change.a).max(axis=1), np.abs(change.b).max(axis=1)  # (P, r)
    return np.einsum("pr,pr->p", a.astype(np.float64), b.astype(np.float64))
