"""Births: the whole genome of an individual is the list of births that led to it.

Ids count up in order of birth, and the id *is* the seed: nothing else is drawn or stored. A birth is crossover, then
step-size mutation, then weight mutation with the new step size.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NOBODY = -1

#: One birth on disk: 36 bytes, little-endian.
BIRTH = np.dtype(
    [
        ("id", "<i8"),
        ("parents", "<i8", (2,)),
        ("generation", "<i4"),
        ("argument", "<i4"),
        ("log_sigma", "<i2"),
        ("crossover", "u1"),
        ("mutation", "u1"),
    ]
)


class Birth(NamedTuple):
    """One birth.

    Attributes:
        id: number in order of birth, and the seed of its noise.
        parents: ids of its parents: none for a founder, one or two otherwise.
        generation: the generation that it was born in; founders are 0.
        argument: what the operator acts on (a layer, a head), 0 where it acts on everything.
        log_sigma: the step size it used, as a grid point of ``sigma.py``.
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


def to_rows(births: Iterable[Birth]) -> NDArray[np.void]:
    """Births as a structured array of dtype :data:`BIRTH`."""
    rows = [(b.id, (*b.parents, NOBODY, NOBODY)[:2], *b[2:]) for b in births]
    return np.array(rows, dtype=BIRTH)


def from_rows(rows: NDArray[np.void]) -> list[Birth]:
    """The births in a structured array of dtype :data:`BIRTH`."""
    parents = rows["parents"].tolist()
    return [
        Birth(row[0], tuple(parent for parent in two if parent != NOBODY), *row[2:])
        for row, two in zip(rows.tolist(), parents, strict=True)
    ]
