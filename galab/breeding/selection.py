"""Selection: which competitors of a generation survive to breed; truncation and tournaments.

Every rule takes each competitor at most once, so the next parents are as many different individuals as there are
places. Rules draw by rank, which depends on fitness and ids alone, never on the order in which competitors are listed.

Truncation selection: Schwefel 1995, "Evolution and Optimum Seeking"; its intensity: Muehlenbein and Schlierkamp-Voosen
1993. Tournaments: Goldberg and Deb 1991, "A comparative analysis of selection schemes used in genetic algorithms".
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError
from galab.genome.noise import Stream, scaled, words
from galab.registry import SELECTIONS


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """The competitors of one generation, or of one island in it.

    Attributes:
        order: (n,) indices from best to worst, of the competitors with a finite score only.
        fitness: (n0,) of everybody, indexed by what ``order`` holds; higher is better.
        ids: (n0,) their births.
        cases: (n0, C) score per example or per class, for lexicase selection; higher is better. None: unknown.
        run_key: the key of all draws.
        generation: likewise; below 2^40.
        island: likewise; 0 where there is only one population, below 2^24.
    """

    order: NDArray[np.int64]
    fitness: NDArray[np.float64]
    ids: NDArray[np.int64]
    cases: NDArray[np.float32] | None
    run_key: int
    generation: int
    island: int

    def words(self, n: int) -> NDArray[np.uint64]:
        """``n`` raw words for this generation's draws on this island."""
        return words(self.run_key, self.generation + (self.island << 40), Stream.SELECTION, n)

    def places(self, count: int) -> int:
        """How many of ``count`` places can be filled.

        Raises:
            UsageError: ``count`` is negative.
        """
        if count < 0:
            raise UsageError(f"expected 0 or more survivors, got {count}; ask for at least one")
        return min(count, len(self.order))

    def survivors(self, ranks: Sequence[int]) -> NDArray[np.int64]:
        """The indices of the competitors at some ranks (0 is the best), best first."""
        return self.order[np.sort(np.asarray(ranks, dtype=np.int64))]


class Selection(Protocol):
    """A rule that says who survives. Constructed with those options of :func:`make` that it names."""

    def __call__(self, field: Field, count: int) -> NDArray[np.int64]:
        """The survivors.

        Args:
            field: the competitors.
            count: how many may survive.

        Returns:
            (min(count, n),) different indices out of ``field.order``, best first.

        Raises:
            UsageError: the field lacks what the rule needs.
        """
        ...


def make(name: str, *, size: int = 2, pressure: float = 1.5) -> Selection:
    """The selection rule behind a name.

    Args:
        name: a name in :data:`galab.registry.SELECTIONS`.
        size: competitors per tournament.
        pressure: expected share of the best under linear ranking, in shares of the average competitor.

    Raises:
        UsageError: the name is unknown or is no such rule, or an option is impossible for it.
    """
    kind = SELECTIONS.load(name)
    # The name may come out of a stranger's checkpoint and must not make us call any function there is. Every class
    # can be called, so asking `callable` whether its instances can would always answer yes.
    if not (inspect.isclass(kind) and any("__call__" in vars(base) for base in kind.__mro__)):
        raise UsageError(
            f"selection '{name}': expected a class whose objects can be called, got {kind!r:.80}; name such a class"
        )
    options = {"size": size, "pressure": pressure}
    known = inspect.signature(kind).parameters
    return cast(Selection, kind(**{option: value for option, value in options.items() if option in known}))


@dataclass(frozen=True, slots=True)
class Truncation:
    """The best survive."""

    def __call__(self, field: Field, count: int) -> NDArray[np.int64]:
        """See :class:`Selection`."""
        return field.order[: field.places(count)].copy()


@dataclass(frozen=True, slots=True)
class Tournament:
    """Each place is won by the best of ``size`` different competitors, drawn among those that are left.

    With one competitor a tournament is a uniform draw; with all of them it is truncation.

    Raises:
        UsageError: ``size`` is below 1.
    """

    size: int = 2

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"expected a tournament of 1 or more competitors, got {self.size}; use 2 or more")

    def __call__(self, field: Field, count: int) -> NDArray[np.int64]:
        """See :class:`Selection`."""
        places, size = field.places(count), min(self.size, len(field.order))
        # Round r has n - r competitors left, and its draw number i excludes the i that it has drawn already.
        bounds = len(field.order) - np.arange(places)[:, None] - np.arange(size)
        draws = scaled(field.words(places * size).reshape(places, size), np.maximum(bounds, 1))
        left = list(range(len(field.order)))
        winners = []
        for row in draws.tolist():
            entrants = min(size, len(left))
            # The first steps of a Fisher-Yates shuffle; the order that they leave behind does not bias the next round.
            for i in range(entrants):
                j = i + row[i]
                left[i], left[j] = left[j], left[i]
            winners.append(min(left[:entrants]))
            left.remove(winners[-1])
        return field.survivors(winners)
