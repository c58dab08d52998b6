"""What mutation operators share: noise on a part of the weights, and the mix that gives a child its operator."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.random import Stream, codes, table
from galab.genome.step_sizes import FINE_PER_OCTAVE, Steps
from galab.genome.weights import Phenotype, add, scratch, to_change


def move(
    parent: Phenotype,
    birth: Birth,
    log_sigma: NDArray[np.int16],
    steps: Steps,
    places: NDArray[np.int64] | list[slice],
    z: NDArray[np.float32],
    peak: float,
) -> NDArray[np.int32]:
    """The parent's weights with noise times step sizes added at some places.

    Args:
        parent: whose weights they are.
        birth: the child.
        log_sigma: (S,) its step sizes.
        steps: what they serve.
        places: indices of the (n,) weights that move, or slices of n weights in all.
        z: (n,) noise of unit variance.
        peak: an upper bound of ``|z|``.

    Raises:
        LethalMutationError: a weight leaves its range.
    """
    n = len(parent.weights)
    noise = scratch("z", n, np.float32)
    noise[:] = 0
    if isinstance(places, list):
        at = 0
        for part in places:
            noise[part] = z[at : at + part.stop - part.start]
            at += part.stop - part.start
    else:
        noise[places] = z
    factor = steps.multiply(noise, log_sigma)
    change = to_change(noise, factor * peak, steps.layout, birth.id, scratch("change", n, np.int32))
    return add(parent.weights, change, steps.layout, birth.id)


#: Octaves per birth by which an inherited share changes (standard deviation).
_RATE = 0.2


class OperatorMixture:
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
            edges = np.cumsum(self.shares_of([birth])[0]).tolist()
        place = bisect_right(edges, (int(drawn[0]) + 0.5) / 65_536)
        return min(place, len(edges) - 1) + 1

    def shares_of(self, individuals: Iterable[int]) -> NDArray[np.float64]:
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
