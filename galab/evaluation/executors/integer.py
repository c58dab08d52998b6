"""The executor of integer networks in this process: whole numbers, so parts of any size have the same scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Cohort, Scores
from galab.evaluation.egg_kernel import EggScorer
from galab.evaluation.sources import Part, join_scores, split_cohort
from galab.operators.integer_noise import IntegerNoise, TensorNoise
from galab.tasks.text import ByteText

Weights = Mapping[str, NDArray[np.int8]]


class Pairs(Protocol):
    """Scores the members of pairs on what a generation sees."""

    @property
    def units(self) -> float:
        """Scores times this are whole numbers."""
        ...

    def begin(self, generation: int) -> None:
        """Get ready for a generation, from 1."""
        ...

    def scores(self, weights: Weights, noise: Mapping[str, TensorNoise], first: int, pairs: int) -> Scores:
        """The scores of some pairs, plus and minus side by side.

        Args:
            weights: those that members lie around.
            noise: of the pairs.
            first: their first one.
            pairs: how many.
        """
        ...


class TextPairs:
    """See :class:`Pairs`: a pair reads one of the generation's sequences, in turn.

    A score is minus the bits a byte of the member's sequence, a whole number of 1/(16 T) bits.

    Args:
        scorer: computes log-likelihoods.
        task: the text.
        count: sequences of a generation.
        hidden: gives (2 P, L, D) the members' states, or None where each generation begins at 0.
        state_shape: L and D.
    """

    def __init__(
        self,
        scorer: EggScorer,
        task: ByteText,
        *,
        count: int,
        hidden: Callable[[], NDArray[np.int8] | None],
        state_shape: tuple[int, int],
    ) -> None:
        self._scorer, self._task, self._count = scorer, task, count
        self._hidden, self._state_shape = hidden, state_shape
        self._sequences: NDArray[np.uint8] | None = None
        self._kept: NDArray[np.int8] | None = None

    @property
    def units(self) -> float:
        """Scores times this are whole numbers."""
        return 16.0 * self._task.length

    def begin(self, generation: int) -> None:
        """Read the sequences of a generation."""
        self._sequences = self._task.sequences(generation, self._count)
        self._kept = None if self._task.begins(generation, self._count) else self._hidden()

    def scores(self, weights: Weights, noise: Mapping[str, TensorNoise], first: int, pairs: int) -> Scores:
        """See :class:`Pairs`; with the states at the end of the members' sequences."""
        assert self._sequences is not None, "no generation has begun"
        states = np.zeros((2 * pairs, *self._state_shape), dtype=np.int8)
        if self._kept is not None:
            states[:] = self._kept[2 * first : 2 * (first + pairs)]
        read = self._sequences[np.arange(first, first + pairs) % self._count]
        bits = -self._scorer.scores(weights, noise, read, states) / self.units
        return Scores(-bits, metrics={"bits": bits}, evaluations=2 * pairs, hidden=states)


class IntegerExecutor:
    """Scores the members of a generation in parts.

    Args:
        pairs: scores them.
        noise: of the members.
        chunk: members of a part.
        centre: gives the weights that members lie around.
        state_shape: of what a member keeps from one generation to the next; None where it keeps nothing.
    """

    def __init__(
        self,
        pairs: Pairs,
        noise: IntegerNoise,
        *,
        chunk: int,
        centre: Callable[[], Weights],
        state_shape: tuple[int, int] | None,
    ) -> None:
        self._pairs, self._noise, self._chunk = pairs, noise, chunk + chunk % 2
        self._centre, self._state_shape = centre, state_shape

    def score(self, cohort: Cohort) -> Scores:
        """See :class:`galab.contracts.Executor`."""
        parts = self.parts(cohort)
        return self.join(parts, self.scored(parts))

    def join(self, parts: Sequence[Part], answers: Iterable[Scores]) -> Scores:
        """See :meth:`galab.evaluation.executors.local.LocalExecutor.join`."""
        return join_scores(parts, answers)

    def parts(self, cohort: Cohort) -> list[Part]:
        """The cohort in parts of whole pairs."""
        return split_cohort(cohort, list(range(0, len(cohort.births), self._chunk)))

    def scored(self, parts: Sequence[Part]) -> Iterator[Scores]:
        """The scores of each part."""
        if not parts:
            return
        generation, weights = parts[0].generation, self._centre()
        self._pairs.begin(generation)
        for part in parts:
            first, pairs = part.first // 2, len(part) // 2
            noise = self._noise.of(generation - 1, first, first + pairs)
            yield self._pairs.scores(weights, noise, first, pairs)

    def failed(self, part: Part, reason: str) -> Scores:
        """Scores of a part of which every member is a failure; their states begin anew."""
        shape = self._state_shape
        states = None if shape is None else np.zeros((len(part), *shape), dtype=np.int8)
        return Scores(np.full(len(part), np.nan), dict.fromkeys(range(len(part)), reason), hidden=states)
