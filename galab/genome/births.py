"""Births: the whole genome of an individual is the list of births that led to it.

Ids count up in order of birth, and the id *is* the seed: nothing else is drawn or stored. A birth is crossover, then
step-size mutation, then weight mutation with the new step size.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: What stands in a row for a parent that the individual does not have.
NO_PARENT = -1
#: Parents that a row has room for, unless a run's children have more.
PARENT_SLOTS = 2


def birth_dtype(parents: int = PARENT_SLOTS) -> np.dtype[np.void]:
    """The row of one birth on disk: little-endian, 36 bytes with room for two parents.

    Args:
        parents: the most parents that a child of the run has; two at the least.
    """
    return np.dtype(
        [
            ("id", "<i8"),
            ("parents", "<i8", (max(parents, PARENT_SLOTS),)),
            ("generation", "<i4"),
            ("argument", "<i4"),
            ("log_sigma", "<i2"),
            ("crossover", "u1"),
            ("mutation", "u1"),
        ]
    )


#: A row for children of at most two parents.
BIRTH = birth_dtype()


class Birth(NamedTuple):
    """One birth.

    Attributes:
        id: number in order of birth, and the seed of its noise.
        parents: ids of its parents: none for a founder, one or more otherwise.
        generation: the generation that it was born in; founders are 0.
        argument: what the operator acts on, as each operator says; 0 mostly.
        log_sigma: the step size it used, as a grid point of ``step_sizes.py``; of a founder the one that its step sizes
            start from, and 0 for children where step sizes are decoded with the weights.
        crossover: number of the crossover operator in the run's list, from 1; 0 is none.
        mutation: number of the mutation operator in the run's list, from 1; 0 is none (a founder).
    """

    id: int
    parents: tuple[int, ...]
    generation: int
    argument: int
    log_sigma: int
    crossover: int
    mutation: int


def to_rows(births: Iterable[Birth], dtype: np.dtype[np.void] = BIRTH) -> NDArray[np.void]:
    """Births as a structured array of a dtype of :func:`birth_dtype`.

    Raises:
        ValueError: a birth has more parents than there is room for.
    """
    empty = (NO_PARENT,) * dtype["parents"].shape[0]
    rows = [(b.id, (*b.parents, *empty[len(b.parents) :]), *b[2:]) for b in births]
    return np.array(rows, dtype=dtype)


def from_rows(rows: NDArray[np.void]) -> list[Birth]:
    """The births in a structured array of a dtype of :func:`birth_dtype`."""
    parents = rows["parents"].tolist()
    return [
        Birth(row[0], tuple(parent for parent in slots if parent != NO_PARENT), *row[2:])
        for row, slots in zip(rows.tolist(), parents, strict=True)
    ]
