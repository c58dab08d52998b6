"""A mix of mutation operators: which one a child gets, by shares that are fixed or inherited."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from galab.genome.noise import Stream, codes, table
from galab.genome.sigma import FINE_PER_OCTAVE

#: Octaves per birth by which an inherited share changes (standard deviation).
_RATE = 0.2


class Shares:
    """Chooses an operator for each birth; the choice is in the birth, so decoding needs none of this.

    Inherited shares adapt as step sizes do: a child's log shares are the mean of its parents' plus normal noise, and it
    uses its own (after Spears 1995, "Adapting crossover in evolutionary algorithms").

    Args:
        run_key: the run's key.
        shares: of the founders; they sum to 1.
        inherited: whether each individual has its own.
    """

    def __init__(self, run_key: int, shares: Sequence[float], inherited: bool) -> None:
        self._run_key = run_key
        self._start = np.rint(np.log2(np.asarray(shares)) * FINE_PER_OCTAVE).astype(np.int64)
        self._fixed: list[float] = np.cumsum(shares).tolist()
        self._inherited = inherited
        self._own: dict[int, NDArray[np.int64]] = {}

    def choose(self, birth: int, family: Sequence[int]) -> int:
        """Number of a birth's operator, from 1."""
        if len(self._fixed) == 1:
            return 1
        drawn = codes(self._run_key, birth, Stream.OPERATOR, 2 + len(self._fixed))
        edges: Sequence[float] = self._fixed
        if self._inherited:
            normal = table("normal").quantiles[drawn[2:]]
            moved = np.rint(normal * np.float32(_RATE * FINE_PER_OCTAVE)).astype(np.int64)
            self._own[birth] = sum(self._of(parent) for parent in family) // len(family) + moved
            edges = np.cumsum(self.portions([birth])[0]).tolist()
        place = bisect_right(edges, (int(drawn[0]) + 0.5) / 65_536)
        return min(place, len(edges) - 1) + 1

    def portions(self, individuals: Iterable[int]) -> NDArray[np.float64]:
        """(n, operators) the shares of individuals; each row sums to 1."""
        logs = np.array([self._of(birth) for birth in individuals], dtype=np.float64) / FINE_PER_OCTAVE
        powers = np.exp2(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def keep(self, living: Iterable[int]) -> None:
        """Forget everybody else."""
        self._own = {birth: self._own[birth] for birth in living if birth in self._own}

    def of(self, living: list[int]) -> list[list[int]]:
        """Log shares in units of 2^-16 octave, for a checkpoint; nothing where shares are fixed."""
        return [self._of(birth).tolist() for birth in living] if self._inherited else []

    def restore(self, living: list[int], saved: list[list[int]]) -> None:
        """Continue from what :meth:`of` gave."""
        self._own = {birth: np.array(own, dtype=np.int64) for birth, own in zip(living, saved, strict=False)}

    def _of(self, birth: int) -> NDArray[np.int64]:
        return self._own.get(birth, self._start)
