"""The executor of integer networks in this process: whole numbers, so parts of any size have the same scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Cohort, Scores
from galab.evaluation.egg_kernel import EggScorer
from galab.evaluation.sources import Part, join_scores, split_cohort
from galab.operators.integer_noise import IntegerNoise
from galab.tasks.text import ByteText


class IntegerExecutor:
    """Scores pairs of members on the sequences of a generation: a pair reads one of them, in turn.

    A score is minus the bits a byte of the member's sequence, a whole number of 1/(16 T) bits.

    Args:
        scorer: computes log-likelihoods.
        noise: of the members.
        task: the text.
        count: sequences of a generation.
        chunk: members of a part.
        centre: gives the weights that members lie around.
        hidden: gives (2 P, L, D) the members' states, or None where each generation begins at 0.
    """

    def __init__(
        self,
        scorer: EggScorer,
        noise: IntegerNoise,
        task: ByteText,
        *,
        count: int,
        chunk: int,
        centre: Callable[[], dict[str, NDArray[np.int8]]],
        hidden: Callable[[], NDArray[np.int8] | None],
        state_shape: tuple[int, int],
    ) -> None:
        self._scorer, self._noise, self._task = scorer, noise, task
        self._count, self._chunk = count, chunk + chunk % 2
        self._centre, self._hidden, self._state_shape = centre, hidden, state_shape

    def score(self, cohort: Cohort) -> Scores:
        """See :class:`galab.contracts.Executor`."""
        parts = self.parts(cohort)
        return join_scores(parts, self.scored(parts))

    def parts(self, cohort: Cohort) -> list[Part]:
        """The cohort in parts of whole pairs."""
        return split_cohort(cohort, list(range(0, len(cohort.births), self._chunk)))

    def scored(self, parts: Sequence[Part]) -> Iterator[Scores]:
        """The scores of each part, and the states at the end of its members' sequences."""
        if not parts:
            return
        generation, weights = parts[0].generation, self._centre()
        sequences = self._task.sequences(generation, self._count)
        kept = None if self._task.begins(generation, self._count) else self._hidden()
        for part in parts:
            first, pairs = part.first // 2, len(part) // 2
            states = np.zeros((len(part), *self._state_shape), dtype=np.int8)
            if kept is not None:
                states[:] = kept[part.first : part.first + len(part)]
            noise = self._noise.of(generation - 1, first, first + pairs)
            read = sequences[np.arange(first, first + pairs) % self._count]
            found = self._scorer.scores(weights, noise, read, states)
            bits = -found / (16.0 * self._task.length)
            yield Scores(-bits, metrics={"bits": bits}, evaluations=len(part), hidden=states)

    def failed(self, part: Part, reason: str) -> Scores:
        """Scores of a part of which every member is a failure; their states begin anew."""
        states = np.zeros((len(part), *self._state_shape), dtype=np.int8)
        return Scores(np.full(len(part), np.nan), dict.fromkeys(range(len(part)), reason), hidden=states)
