"""A strategy over weight vectors as a run sees it: cohorts of numbered members, scores, records, state."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Cohort, MemberByMember, Outcome, Scores, VectorStrategy
from galab.errors import CheckpointError, GalabError, NoViableChildError
from galab.strategies.centre import as_recorded, record_dtype, record_of
from galab.strategies.survival import all_failed_message, answered_cohort, check_scores_told

#: A member of a cohort: its row in what the strategy asks for.
_MEMBER = np.dtype([("id", "<i8")])


class VectorStrategyAdapter:
    """See :class:`galab.contracts.CentreStrategy`.

    Args:
        inner: the strategy.
        name: what it is called, for messages.
        population: P, members of a generation.

    Attributes:
        inner: the strategy.
        planned: see :class:`galab.contracts.CentreStrategy`; the strategy is not told it.
        record_dtype: a row of the score log.
        change: norm of the centre's last change, in weight units; None before the first.
    """

    def __init__(self, inner: VectorStrategy, name: str, population: int) -> None:
        self.inner = inner
        self.planned: int | None = None
        self.record_dtype = record_dtype(population)
        self.change: float | None = None
        self._name = name
        self._population = population
        self._size = inner.centre.size
        self._asked: Cohort | None = None
        self._all: NDArray[np.float32] | None = None
        self._ready = False

    @property
    def generation(self) -> int:
        """Generations done."""
        return int(self.inner.generation)

    @property
    def centre(self) -> NDArray[np.float32]:
        """(D,) the centre, a copy."""
        return np.array(self._checked(self.inner.centre, (self._size,), "its centre"))

    @property
    def step_sizes(self) -> NDArray[np.float64] | None:
        """(n,) in weight units, one for all weights or one for each; None where the strategy has no ``sigma``."""
        sigma = getattr(self.inner, "sigma", None)
        return None if sigma is None or callable(sigma) else np.atleast_1d(np.asarray(sigma, dtype=np.float64))

    @property
    def checksum(self) -> int:
        """A number that differs, almost surely, where the state does."""
        return _checksum(self.state_dict(), 0)

    def ask(self) -> Cohort:
        """All members, by number.

        Raises:
            GalabError: the last cohort's scores have not been told yet.
        """
        check_scores_told(self._asked)
        members = np.zeros(self._population, dtype=_MEMBER)
        members["id"] = np.arange(self._population)
        self._asked = Cohort(self.generation + 1, members, self._population)
        return self._asked

    def members(self, first: int, count: int) -> NDArray[np.float32]:
        """Weights of some members of the next generation.

        Args:
            first: number of the first.
            count: how many.

        Returns:
            (count, D) float32.

        Raises:
            GalabError: the strategy gives something else.
        """
        self._ready = True
        if isinstance(self.inner, MemberByMember):
            made = self.inner.members(range(first, first + count))
            return self._checked(made, (count, self._size), f"its members {first} to {first + count - 1}")
        if self._all is None:
            self._all = self._checked(self.inner.ask(), (self._population, self._size), "what ask() gives")
        return self._all[first : first + count]

    def tell(self, scores: Scores) -> Outcome:
        """Pass the scores on; all that are not finite are failures, as NaN.

        Raises:
            GalabError: no cohort was asked for, or the scores do not fit it.
            NoViableChildError: not one member has a finite score; the generation is not counted.
        """
        cohort = answered_cohort(self._asked, scores)
        fitness = as_recorded(scores.fitness)
        if not np.isfinite(fitness).any():
            raise NoViableChildError(all_failed_message(cohort, scores, "members", "--sigma"))
        if not self._ready:  # where workers evaluate, or nothing is evaluated
            self.members(0, 1)
        before = self.centre
        self.inner.tell(np.where(np.isfinite(fitness), fitness, np.nan).astype(np.float64))
        self._forget()
        if self.generation != cohort.generation:
            raise GalabError(
                f"expected strategy '{self._name}' to be at generation {cohort.generation} after tell(), got "
                f"{self.generation}; correct the class: generation counts the calls of tell"
            )
        after = self.centre
        self.change = float(np.linalg.norm(after.astype(np.float64) - before))
        if not np.isfinite(self.change):
            raise NoViableChildError(
                f"generation {cohort.generation}: strategy '{self._name}' left weights that are not finite; the last "
                "good checkpoint is kept: try a smaller --sigma, or look at the task"
            )
        record = record_of(cohort.generation, None, fitness)
        return Outcome(record, np.array([cohort.generation], dtype=np.int64))

    def state_dict(self) -> dict[str, Any]:
        """See :class:`galab.contracts.Strategy`."""
        return {"generation": self.generation, "vectors": _copied(self.inner.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue.

        Raises:
            CheckpointError: the strategy is not where the state was taken.
        """
        self.inner.load_state_dict(_copied(state["vectors"]))
        self._forget()
        if self.generation != state["generation"]:
            raise CheckpointError(
                f"expected strategy '{self._name}' to be at generation {state['generation']} after load_state_dict(), "
                f"got {self.generation}; correct the class: state_dict() must hold everything needed to continue"
            )

    def _forget(self) -> None:
        self._asked, self._all, self._ready = None, None, False

    def _checked(self, values: Any, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
        """What a strategy of the user's own gave, if it is what it must be."""
        if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype != np.float32:
            got = f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
            raise GalabError(
                f"expected {what} of strategy '{self._name}' as float32 of shape {shape}, got {got}; correct the class"
            )
        return values


def _copied(value: Any) -> Any:
    """Plain data with arrays of its own, as a strategy may go on changing its arrays, and with Python's numbers."""
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    return np.array(value) if isinstance(value, np.ndarray) else value


def _checksum(value: Any, found: int) -> int:
    if isinstance(value, dict):
        for name in sorted(value):
            found = _checksum(value[name], zlib.crc32(str(name).encode(), found))
        return found
    if isinstance(value, list):
        for part in value:
            found = _checksum(part, found)
        return found
    if isinstance(value, np.ndarray):
        return zlib.crc32(np.ascontiguousarray(value).tobytes(), found)
    return zlib.crc32(repr(value).encode(), found)
