"""Lexicase selection: survive by being among the best on cases looked at one after the other.

Spector 2012, "Assessment of problem modality by differential performance of lexicase selection in genetic programming";
Helmuth, Spector and Matheson 2015, "Solving uncompromising problems with lexicase selection". For real-valued
cases: La Cava, Spector and Danai 2016, "Epsilon-lexicase selection for regression".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galab.breeding.selection import Field
from galab.errors import UsageError
from galab.genome.noise import scaled

#: Stands for a score that is not finite: worse than any, yet the mean of two of them does not overflow.
_FAILED = np.finfo(np.float32).min / 4
#: Cases looked at together; only the speed depends on it.
_BLOCK = 32


@dataclass(frozen=True, slots=True)
class Lexicase:
    """Each place is won in an event of its own, among those who have not won one.

    An event takes the cases in a new random order and keeps, case by case, those within epsilon of the best of those
    still in; a coin decides between several that pass all cases. Epsilon is the case's median absolute deviation over
    all competitors. Where a case is passed or failed (1 or 0) that tolerates no failure, so this is plain lexicase.
    A score that is not finite is the worst on its case.
    """

    def __call__(self, field: Field, count: int) -> NDArray[np.int64]:
        """See :class:`galab.breeding.selection.Selection`.

        Raises:
            UsageError: the field has no cases.
        """
        if field.cases is None or field.cases.ndim != 2 or field.cases.shape[1] == 0:
            shape = None if field.cases is None else field.cases.shape
            raise UsageError(
                f"expected scores per case for lexicase selection, of shape (competitors, cases), got {shape}; "
                "use a task that scores single examples or classes, or another selection"
            )
        places = field.places(count)
        if places == len(field.order):
            return field.order.copy()
        cases = field.cases[field.order]
        cases = np.where(np.isfinite(cases), cases, np.float32(_FAILED))
        epsilon = _epsilon(cases)
        n_cases = cases.shape[1]
        left = np.arange(len(cases))
        winners = []
        for row in field.words(places * (n_cases + 1)).reshape(places, n_cases + 1):
            equals = _best(cases, epsilon, left, np.argsort(row[1:], kind="stable"))
            winners.append(int(equals[scaled(row[:1], len(equals))[0]]))
            left = left[left != winners[-1]]
        return field.survivors(winners)


def _epsilon(cases: NDArray[np.float32]) -> NDArray[np.float32]:
    """The (C,) median absolute deviations of (n, C) scores."""
    deviations: NDArray[np.float32] = np.median(np.abs(cases - np.median(cases, axis=0)), axis=0)
    return deviations


def _best(
    cases: NDArray[np.float32],
    epsilon: NDArray[np.float32],
    pool: NDArray[np.int64],
    order: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Those of the pool who pass all cases, looked at in this order."""
    at = 0
    while len(pool) > 1 and at < len(order):
        # Most cases remove nobody from a small pool, so a block is searched at once for the first that does.
        block = order[at : at + _BLOCK]
        scores = cases[pool[:, None], block]
        passed = scores >= scores.max(axis=0) - epsilon[block]
        parting = ~passed.all(axis=0)
        if parting.any():
            first = int(parting.argmax())
            pool, at = pool[passed[:, first]], at + first + 1
        else:
            at += len(block)
    return pool
