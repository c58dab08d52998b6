"""Selection: which competitors of a generation survive to breed, and the one function that ranks everywhere.

Every rule takes each competitor at most once, so the next parents are as many different individuals as there are
places. Rules draw by rank, which depends on fitness and ids alone, never on the order in which competitors are listed.

Truncation selection: Schwefel 1995, "Evolution and Optimum Seeking"; its intensity: Muehlenbein and Schlierkamp-Voosen
1993. Tournaments: Goldberg and Deb 1991, "A comparative analysis of selection schemes used in genetic algorithms".

Chances in proportion to a weight: linear ranking: Baker 1985, "Adaptive selection methods for genetic algorithms". The
roulette wheel: Holland 1975, "Adaptation in natural and artificial systems"; Goldberg 1989. Both fill the places one
after the other: a competitor that is drawn leaves the wheel, and the others' chances grow in proportion.

Lexicase selection, by the best on cases looked at one after the other: Spector 2012, "Assessment of problem modality by
differential performance of lexicase selection in genetic programming"; Helmuth, Spector and Matheson 2015, "Solving
uncompromising problems with lexicase selection". For real-valued cases: La Cava, Spector and Danai 2016,
"Epsilon-lexicase selection for regression".
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from galab.config.registry import SELECTIONS
from galab.errors import UsageError
from galab.genome.random import Stream, permutation, scaled, words


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The competitors of one generation, or of one island in it.

    Attributes:
        order: (n,) indices from best to worst, of the competitors with a finite score only.
        fitness: (n0,) of everybody, indexed by what ``order`` holds; higher is better.
        ids: (n0,) their births.
        cases: (n0, C) score per example or per class, for lexicase selection; higher is better. None: unknown.
        run_key: the key of all draws.
        generation: likewise; below 2^40.
        island: likewise; 0 where there is only one population, below 2^24.
        objectives: (n0, K) the score and the lower keys of a fitness of several parts; None where there is one alone.
    """

    order: NDArray[np.int64]
    fitness: NDArray[np.float64]
    ids: NDArray[np.int64]
    cases: NDArray[np.float32] | None
    run_key: int
    generation: int
    island: int
    objectives: NDArray[np.float64] | None = None

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

    def __call__(self, candidates: Candidates, count: int) -> NDArray[np.int64]:
        """The survivors.

        Args:
            candidates: the competitors.
            count: how many may survive.

        Returns:
            (min(count, n),) different indices out of ``candidates.order``, best first.

        Raises:
            UsageError: the candidates lacks what the rule needs.
        """
        ...


def make(name: str, *, size: int = 2, pressure: float = 1.5) -> Selection:
    """The selection rule behind a name.

    Args:
        name: a name in :data:`galab.config.registry.SELECTIONS`.
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

    def __call__(self, candidates: Candidates, count: int) -> NDArray[np.int64]:
        """See :class:`Selection`."""
        return candidates.order[: candidates.places(count)].copy()


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

    def __call__(self, candidates: Candidates, count: int) -> NDArray[np.int64]:
        """See :class:`Selection`."""
        places, size = candidates.places(count), min(self.size, len(candidates.order))
        # Round r has n - r competitors left, and its draw number i excludes the i that it has drawn already.
        bounds = len(candidates.order) - np.arange(places)[:, None] - np.arange(size)
        draws = scaled(candidates.words(places * size).reshape(places, size), np.maximum(bounds, 1))
        left = list(range(len(candidates.order)))
        winners = []
        for row in draws.tolist():
            entrants = min(size, len(left))
            # The first steps of a Fisher-Yates shuffle; the order that they leave behind does not bias the next round.
            for i in range(entrants):
                j = i + row[i]
                left[i], left[j] = left[j], left[i]
            winners.append(min(left[:entrants]))
            left.remove(winners[-1])
        return candidates.survivors(winners)


logger = logging.getLogger("galab")
#: Weights are whole numbers of 2^-32, so that sums and draws are exact on any machine.
GRAIN = 2**32


@dataclass(frozen=True, slots=True)
class LinearRanking:
    """Chances fall linearly with the rank, from ``pressure`` for the best to ``2 - pressure`` for the worst.

    The unit is an average competitor's chance. Pressure 1 is a uniform draw; under 2 the worst never survives a
    competition for fewer places than there are competitors. Scale and offset of the fitness do not matter.

    Raises:
        UsageError: ``pressure`` is not in [1, 2].
    """

    pressure: float = 1.5

    def __post_init__(self) -> None:
        if not 1 <= self.pressure <= 2:
            raise UsageError(f"expected a selection pressure from 1 to 2, got {self.pressure}; use 1.5, say")

    def __call__(self, candidates: Candidates, count: int) -> NDArray[np.int64]:
        """See :class:`galab.operators.selection.Selection`."""
        n = len(candidates.order)
        fall = (2 * self.pressure - 2) * np.arange(n) / max(n - 1, 1)
        return _spin(candidates, count, np.maximum(self.pressure - fall, 0))


@dataclass(frozen=True, slots=True)
class Proportional:
    """Chances in proportion to how much fitter one is than the worst competitor.

    The shift by the worst is there because fitness may be negative, and it means that the worst survives only when
    no other is left. The chances depend on the scale and offset of the fitness: the same ranking measured as
    accuracy or as log-likelihood is selected differently, one outlier takes most of the wheel, and one disaster
    makes everybody else equal. Rank selection has none of this.
    """

    def __call__(self, candidates: Candidates, count: int) -> NDArray[np.int64]:
        """See :class:`galab.operators.selection.Selection`."""
        _warn()
        # Halved first: the distance between two large numbers of opposite sign would overflow.
        fitness = candidates.fitness[candidates.order] / 2
        above = fitness - fitness.min(initial=np.inf)
        # All equal: fitness gives no chances, so all have the same.
        return _spin(candidates, count, above / (above.max(initial=0.0) or 1.0))


@cache
def _warn() -> None:
    """Cached, so that it is said once per process."""
    logger.warning(
        "proportional selection depends on the scale and offset of the fitness (it is measured from the worst "
        "competitor); rank selection does not"
    )


def _spin(candidates: Candidates, count: int, chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draw survivors without replacement, with (n,) chances by rank relative to one another.

    Those whose chance is zero are drawn evenly once no other is left.
    """
    weights = np.rint(chances * GRAIN).astype(np.int64)
    left = np.ones(len(weights), dtype=np.int64)
    drawn = []
    for word in candidates.words(candidates.places(count)).tolist():
        wheel = np.cumsum(weights * left)
        if wheel[-1] == 0:
            wheel = np.cumsum(left)
        # Python's integers: the product has up to 128 bits.
        drawn.append(int(np.searchsorted(wheel, word * int(wheel[-1]) >> 64, side="right")))
        left[drawn[-1]] = 0
    return candidates.survivors(drawn)


def rank(
    fitness: NDArray[np.float64],
    ids: NDArray[np.int64],
    *,
    further: NDArray[np.float64] | None = None,
    ties: str = "younger",
    run_key: int = 0,
    generation: int = 0,
) -> NDArray[np.int64]:
    """Indices from best to worst: by score, then by the further keys in their order, then by age.

    Args:
        fitness: (P,) higher is better; anything that is not finite is a failure and ranks last.
        ids: (P,) births; a larger id is younger.
        further: (P, K - 1) keys, each of which decides where the score and the keys before are equal; higher is
            better, and anything that is not finite is the worst.
        ties: which of two equals comes first: ``younger`` (drifts along plateaus), ``older`` or ``random``.
        run_key: key of the coin for ``random``.
        generation: likewise.

    Returns:
        (P,) indices; failures are ordered by age or the coin alone.
    """
    alive = np.isfinite(fitness)
    score = np.where(alive, fitness, -np.inf)
    if ties == "random":
        # Shuffled by age and not by place, so that the result does not depend on the order of the arguments.
        order = np.argsort(ids, kind="stable")[permutation(len(ids), run_key, generation, Stream.TIES)]
    else:
        order = np.argsort(ids if ties == "older" else -ids, kind="stable")
    # Sorting by the lesser key first and by the greater key with a stable sort ranks by both.
    for key in () if further is None else reversed(further.T):
        worth = np.where(alive & np.isfinite(key), key, -np.inf)
        order = order[np.argsort(-worth[order], kind="stable")]
    return order[np.argsort(-score[order], kind="stable")]


#: What a score of plus infinity counts as: it ranks first, and means, differences and squares of scores stay numbers.
BEST = 2.0**480


def with_best(fitness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores with :data:`BEST` in the place of plus infinity."""
    return np.where(fitness == np.inf, BEST, fitness)


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

    def __call__(self, candidates: Candidates, count: int) -> NDArray[np.int64]:
        """See :class:`galab.operators.selection.Selection`.

        Raises:
            UsageError: the candidates has no cases.
        """
        if candidates.cases is None or candidates.cases.ndim != 2 or candidates.cases.shape[1] == 0:
            shape = None if candidates.cases is None else candidates.cases.shape
            raise UsageError(
                f"expected scores per case for lexicase selection, of shape (competitors, cases), got {shape}; "
                "use a task that scores single examples or classes, or another selection"
            )
        places = candidates.places(count)
        if places == len(candidates.order):
            return candidates.order.copy()
        cases = candidates.cases[candidates.order]
        cases = np.where(np.isfinite(cases), cases, np.where(cases == np.inf, -_FAILED, _FAILED).astype(np.float32))
        epsilon = _epsilon(cases)
        n_cases = cases.shape[1]
        left = np.arange(len(cases))
        winners = []
        for row in candidates.words(places * (n_cases + 1)).reshape(places, n_cases + 1):
            equals = _best(cases, epsilon, left, np.argsort(row[1:], kind="stable"))
            winners.append(int(equals[scaled(row[:1], len(equals))[0]]))
            left = left[left != winners[-1]]
        return candidates.survivors(winners)


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
        # Most cases remove no member of a small pool, so a block is searched at once for the first that does.
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
