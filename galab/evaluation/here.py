"""The executor that computes in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Cohort, Examples, Scores
from galab.errors import LethalMutationError, UsageError
from galab.evaluation.evaluator import Evaluator, Measurements
from galab.evaluation.example_scores import ANSWERS, COMPUTED, ExampleScores
from galab.evaluation.fitness import FITNESS, class_means, mean_squares, means_of, repeats
from galab.evaluation.minibatch import Minibatches
from galab.genome.decode import Decoder
from galab.genome.phenotype import Phenotype
from galab.specs import parse_fitness

CASES = ("examples", "classes")


class Here:
    """Decodes a cohort chunk by chunk and scores each chunk, so memory depends on the chunk and not on the cohort.

    The bases of the fitness are computed as they stand; what ``improvement`` and ``inherited`` make of them is the
    strategy's.

    Args:
        decoder: turns births into weights.
        evaluator: scores weights.
        minibatches: the examples of each generation.
        fitness: see :func:`galab.specs.parse_fitness`.
        norm_penalty: taken off the first base per mean square weight.
        cases: ``examples`` or ``classes`` for ``Scores.cases``; these and the bases that are made of the softmax need a
            task for which :func:`galab.evaluation.fitness.require_classes` holds.
        behaviour: whether to give ``Scores.behaviour``.

    Raises:
        UsageError: a word that is not understood.
    """

    def __init__(
        self,
        decoder: Decoder,
        evaluator: Evaluator,
        minibatches: Minibatches,
        *,
        fitness: str,
        norm_penalty: float = 0.0,
        cases: str | None = None,
        behaviour: bool = False,
    ) -> None:
        if cases is not None and cases not in CASES:
            raise UsageError(f"expected cases to be one of {', '.join(CASES)}, got '{cases}'; correct it")
        self._decoder = decoder
        self._evaluator = evaluator
        self._minibatches = minibatches
        self._spec = parse_fitness(fitness)
        self._norm_penalty = norm_penalty
        self._cases = cases
        self._behaviour = behaviour

    @property
    def examples(self) -> Examples:
        """The training data, as the evaluator wants it."""
        return self._minibatches.examples

    def score(self, cohort: Cohort) -> Scores:
        """See :class:`galab.contracts.Executor`."""
        examples = self._minibatches.of(cohort.generation)
        found = self._blank(len(cohort.births), len(examples))
        each = self._each(cohort.generation)
        evaluations = 0
        for indices, members in self._chunks(cohort, found):
            measured = self._evaluator.measure(members, examples, each)
            self._enter(found, indices, members, examples, measured)
            evaluations += measured.evaluations
        for index in np.flatnonzero(~np.isfinite(found.fitness)):
            found.failures.setdefault(int(index), f"fitness was {found.fitness[index]}")
            for keys in (found.fitness, found.further, found.cases):
                if keys is not None:
                    keys[index] = np.nan
            if found.behaviour is not None:
                found.behaviour[index] = 0
        return replace(found, evaluations=evaluations)

    def fitness(self, generation: int, members: list[Phenotype]) -> NDArray[np.float64]:
        """Fitness of decoded members on a generation's examples, in the arithmetic of its cohort: for diagnoses alone.

        Args:
            generation: whose examples.
            members: whom to score.

        Returns:
            (n,) higher is better; not finite for failures.
        """
        examples = self._minibatches.of(generation)
        found = self._blank(len(members), len(examples))
        measured = self._evaluator.measure(members, examples, self._each(generation))
        self._enter(found, list(range(len(members))), members, examples, measured)
        return found.fitness

    def _blank(self, count: int, examples: int) -> Scores:
        """Scores of a cohort of which nothing is known."""
        further = len(self._spec.bases) - 1
        found = Scores(np.full(count, np.nan), further=np.full((count, further), np.nan) if further else None)
        if self._cases is not None:
            width = examples if self._cases == "examples" else self._evaluator.outputs
            found = replace(found, cases=np.full((count, width), np.nan, dtype=np.float32))
        if self._behaviour:
            kind = np.min_scalar_type(self._evaluator.outputs - 1)
            found = replace(found, behaviour=np.zeros((count, examples), dtype=kind))
        return found

    def _each(self, generation: int) -> ExampleScores | None:
        """What has to be computed example by example, if anything."""
        bases = [base for base in self._spec.bases if base in COMPUTED]
        if self._cases is not None:
            bases.append(self._spec.bases[0])
        if not bases and not self._behaviour:
            return None
        coins = None if repeats(self._spec) else self._minibatches.coins(generation)
        return ExampleScores(bases, answers=self._behaviour, coins=coins)

    def _enter(
        self, found: Scores, indices: list[int], members: list[Phenotype], examples: Examples, measured: Measurements
    ) -> None:
        """Enter what one chunk scored."""
        found.failures.update({indices[index]: reason for index, reason in measured.failures.items()})
        if not measured.means:
            return
        means = means_of(measured)
        keys = [FITNESS[base](means, len(examples)) for base in self._spec.bases]
        if self._norm_penalty:
            squares = mean_squares(members)
            keys[0] = keys[0] - self._norm_penalty * squares
            means["norm"] = np.sqrt(squares)
        found.fitness[indices] = keys[0]
        if found.further is not None:
            found.further[indices] = np.stack(keys[1:], axis=1)
        for name, values in means.items():
            found.metrics.setdefault(name, np.full(len(found.fitness), np.nan))[indices] = values
        if found.cases is not None:
            scores = measured.examples[self._spec.bases[0]]
            if self._cases == "classes":
                scores = class_means(scores, examples.targets.cpu().numpy(), self._evaluator.outputs)
            found.cases[indices] = scores
        if found.behaviour is not None:
            found.behaviour[indices] = measured.examples[ANSWERS]

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
