"""The executor that computes in this process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from galab.contracts import Cohort, Examples, Scores
from galab.errors import LethalMutationError
from galab.evaluation.evaluator import Evaluator
from galab.evaluation.fitness import FITNESS
from galab.evaluation.minibatch import Minibatches
from galab.genome.decode import Decoder
from galab.genome.phenotype import Phenotype


class Here:
    """Decodes a cohort chunk by chunk and scores each chunk, so memory depends on the chunk and not on the cohort.

    Args:
        decoder: turns births into weights.
        evaluator: scores weights.
        minibatches: the examples of each generation.
        fitness: a name of :data:`galab.evaluation.fitness.FITNESS`.
    """

    def __init__(self, decoder: Decoder, evaluator: Evaluator, minibatches: Minibatches, *, fitness: str) -> None:
        self._decoder = decoder
        self._evaluator = evaluator
        self._minibatches = minibatches
        self._fitness = FITNESS[fitness]

    @property
    def examples(self) -> Examples:
        """The training data, as the evaluator wants it."""
        return self._minibatches.examples

    def score(self, cohort: Cohort) -> Scores:
        """See :class:`galab.contracts.Executor`."""
        count = len(cohort.births)
        found = Scores(np.full(count, np.nan))
        examples = self._minibatches.of(cohort.generation)
        evaluations = 0
        for indices, members in self._chunks(cohort, found):
            evaluations += self._score_chunk(found, indices, members, examples)
        for index in np.flatnonzero(~np.isfinite(found.fitness)):
            found.failures.setdefault(int(index), f"fitness was {found.fitness[index]}")
            found.fitness[index] = np.nan
        return Scores(found.fitness, found.failures, found.lethal, found.metrics, evaluations)

    def _score_chunk(self, found: Scores, indices: list[int], members: list[Phenotype], examples: Examples) -> int:
        """Enter what one chunk scored; the number of evaluations."""
        measured = self._evaluator.measure(members, examples)
        found.failures.update({indices[index]: reason for index, reason in measured.failures.items()})
        if measured.means:
            found.fitness[indices] = self._fitness(measured.means)
        for name, values in measured.means.items():
            found.metrics.setdefault(name, np.full(len(found.fitness), np.nan))[indices] = values
        return measured.evaluations

    def _chunks(self, cohort: Cohort, found: Scores) -> Iterator[tuple[list[int], list[Phenotype]]]:
        """The members that can live, in cohort order, by the chunk; lethal ones are entered as failures.

        One thread decodes. Two were no faster: each step of a decode is shorter than handing over the interpreter.
        """
        indices: list[int] = []
        members: list[Phenotype] = []
        births, chunk = cohort.births["id"].tolist(), self._evaluator.chunk
        ahead: list[Phenotype | LethalMutationError] = []
        for index in range(len(births)):
            if index % chunk == 0:  # no more at once than one chunk needs
                ahead = self._decoder.decode_all(births[index : index + chunk])
            member = ahead[index % chunk]
            if isinstance(member, LethalMutationError):
                found.lethal[index] = member.parameter
                found.failures[index] = f"lethal: a weight of '{member.parameter}' left +-128"
                continue
            members.append(member)
            indices.append(index)
            if len(members) == chunk:
                yield indices, members
                indices, members = [], []
        if members:
            yield indices, members
