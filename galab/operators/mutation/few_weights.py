"""Sparse mutation: k weights anywhere in the network move, or bits of a binary genome flip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.config.spelling import OptionError
from galab.genome.births import Birth
from galab.genome.random import Stream, Table, draw, permutation, words
from galab.genome.step_sizes import Steps
from galab.genome.weights import Phenotype
from galab.operators.mutation.base import move


class FewWeights:
    """Adds noise to ``count`` different weights, each set of those that mutations may move with equal odds.

    Args:
        run_key: the run's key.
        law: the law of the noise.
        count: k, how many weights move.
    """

    context_free = True

    def __init__(self, run_key: int, law: Table, count: int = 1) -> None:
        self._run_key = run_key
        self._law = law
        self._count = count

    def apply(
        self, parent: Phenotype, birth: Birth, log_sigma: NDArray[np.int16], steps: Steps
    ) -> NDArray[np.int32]:
        """See :class:`galab.genome.develop.Mutation`."""
        places = self.places(birth, steps)
        z = draw(self._law, self._run_key, birth.id, Stream.WEIGHTS, self._count)
        return move(parent, birth, log_sigma, steps, places, z, self._law.peak)

    def places(self, birth: Birth, steps: Steps) -> NDArray[np.int64]:
        """(k,) numbers of the weights that a birth moves.

        Raises:
            UsageError: the network has fewer weights than are to move.
        """
        free = steps.free
        places = self._places(sum(part.stop - part.start for part in free), birth.id)
        if steps.frozen:
            places = np.concatenate([np.arange(part.start, part.stop) for part in free])[places]
        return places

    def _places(self, size: int, birth: int) -> NDArray[np.int64]:
        if self._count > size:
            raise OptionError(
                "expected {mutate_count} at most {size}, the number of weights that may move, got {count}; lower it",
                size=size, count=self._count,
            )  # fmt: skip
        if self._count * 4 > size:
            return permutation(size, self._run_key, birth, Stream.CHOICE)[: self._count]
        # Twice as many draws as needed hold enough different ones but for odds that no run will meet.
        drawn = words(self._run_key, birth, Stream.CHOICE, 2 * self._count + 64) >> np.uint64(32)
        places = ((drawn * np.uint64(size)) >> np.uint64(32)).astype(np.int64)
        _, first = np.unique(places, return_index=True)
        distinct = places[np.sort(first)]
        if len(distinct) < self._count:
            return permutation(size, self._run_key, birth, Stream.CHOICE)[: self._count]
        return distinct[: self._count]


class Flip:
    """Gives ``count`` different weights of a binary genome their other value, each set of them with equal odds.

    Step sizes play no part. One flip per mutation is a good start: a random walk of single steps through all networks.

    Args:
        run_key: the run's key.
        law: not used.
        count: k, how many weights flip.
    """

    context_free = False

    def __init__(self, run_key: int, law: Table, count: int = 1) -> None:
        self._chosen = FewWeights(run_key, law, count)

    def apply(
        self, parent: Phenotype, birth: Birth, log_sigma: NDArray[np.int16], steps: Steps
    ) -> NDArray[np.int32]:
        """See :class:`galab.genome.develop.Mutation`."""
        domain = steps.layout.domain
        assert domain.low is not None and domain.high is not None, "a binary genome has two values"
        weights, places = parent.weights.copy(), self._chosen.places(birth, steps)
        weights[places] = domain.low + (domain.high - weights[places])
        return weights
