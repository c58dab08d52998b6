"""The executor that computes in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from galab.config.parsing import parse_fitness
from galab.contracts import Cohort, Examples, Scores
from galab.errors import UsageError
from galab.evaluation.blocks import HEADS, EachExample, Minibatches
from galab.evaluation.fitness import (
    ANSWERS,
    COMPUTED,
    ExampleScores,
    class_means,
    means_of,
    memory_use,
    repeats,
    score,
    standardised_by_prompt,
)
from galab.evaluation.sources import Measured, Part, Source, join_scores, split_cohort
from galab.operators.selection import with_best

CASES = ("examples", "classes")


class LocalExecutor:
    """Scores a cohort chunk by chunk on the generation's shared examples.

    It computes the plain bases of the fitness; ``improvement`` and ``inherited`` are applied by the strategy.

    Args:
        source: measures the members.
        minibatches: the examples of each generation.
        fitness: see :func:`galab.config.parsing.parse_fitness`.
        norm_penalty: taken off the first base per mean square weight.
        cases: ``examples`` or ``classes`` for ``Scores.cases``; these and the bases that are made of the softmax need a
            task for which :func:`galab.evaluation.fitness.require_classes` holds.
        behaviour: whether to give ``Scores.behaviour``.
        use: whether to give ``Scores.use``, of networks with memories.
        by_prompt: whether the fitness is the reward, standardised for each prompt.

    Raises:
        UsageError: ``cases`` or the fitness is not known.
    """

    def __init__(
        self,
        source: Source,
        minibatches: Minibatches,
        *,
        fitness: str,
        norm_penalty: float = 0.0,
        cases: str | None = None,
        behaviour: bool = False,
        use: bool = False,
        by_prompt: bool = False,
    ) -> None:
        cases = "examples" if by_prompt else cases
        if cases is not None and cases not in CASES:
            raise UsageError(f"expected cases to be one of {', '.join(CASES)}, got '{cases}'; correct it")
        self._source = source
        self._minibatches = minibatches
        self._spec = parse_fitness(fitness)
        self._norm_penalty = norm_penalty
        self._cases = cases
        self._by_prompt = by_prompt
        self._behaviour = behaviour
        self._use = use

    @property
    def examples(self) -> Examples:
        """The training data, prepared for the evaluator."""
        return self._minibatches.examples

    def score(self, cohort: Cohort) -> Scores:
        """See :class:`galab.contracts.Executor`."""
        parts = self.parts(cohort)
        return self.join(parts, self.scored(parts))

    def join(self, parts: Sequence[Part], answers: Iterable[Scores]) -> Scores:
        """The scores of a cohort from those of all its parts, in order.

        Where rewards are compared prompt by prompt, that is done here: it takes all members.
        """
        scores = join_scores(parts, answers)
        if not self._by_prompt or scores.cases is None:
            return scores
        return replace(scores, fitness=standardised_by_prompt(scores.cases), cases=None)

    def parts(self, cohort: Cohort) -> list[Part]:
        """The cohort in parts, each of which has to be computed by one process."""
        return split_cohort(cohort, self._source.starts(cohort))

    def scored(self, parts: Sequence[Part]) -> Iterator[Scores]:
        """The scores of each part; their bits do not depend on the other parts.

        Args:
            parts: of one cohort, in order.
        """
        if not parts:
            return
        examples, each = self._minibatches.of(parts[0].generation), self._each(parts[0].generation)
        for part, measured in zip(parts, self._source.measured(parts, examples, each), strict=True):
            found = self._blank(len(part), len(examples))
            found.lethal.update(measured.lethal)
            found.failures.update(
                {place: f"lethal: a weight of '{name}' left its range" for place, name in measured.lethal.items()}
            )
            self._enter(found, measured)
            yield self._finished(found, measured)

    def failed(self, part: Part, reason: str) -> Scores:
        """Scores of a part of which every member is a failure.

        Args:
            part: of a cohort.
            reason: why, for each member.
        """
        return replace(
            self._blank(len(part), self._minibatches.size), failures=dict.fromkeys(range(len(part)), reason)
        )

    def _finished(self, found: Scores, measured: Measured) -> Scores:
        """The scores of a part, with every member whose fitness is not finite marked as a failure."""
        for index in np.flatnonzero(~np.isfinite(found.fitness)):
            found.failures.setdefault(int(index), f"fitness was {found.fitness[index]}")
            for keys in (found.fitness, found.further, found.cases):
                if keys is not None:
                    keys[index] = np.nan
            for counts in (found.behaviour, found.use):
                if counts is not None:
                    counts[index] = 0
        hits, misses = measured.cache
        evaluations = measured.measurements.evaluations
        spent = measured.measurements.spent
        found = replace(found, evaluations=evaluations, cache_hits=hits, cache_misses=misses, spent=spent)
        observed = measured.measurements.observed
        if observed is None:
            return found
        rows = np.full((len(found.fitness), observed.shape[1]), np.nan)
        rows[measured.indices] = observed
        return replace(found, observed=rows)

    def fitness(
        self, generation: int, measure: Callable[[Examples, EachExample | None], Measured]
    ) -> NDArray[np.float64]:
        """Fitness of members outside the cohort on a generation's examples; for diagnostics only.

        Args:
            generation: whose examples.
            measure: measures the members, placed from 0 on.

        Returns:
            (n,) higher is better; not finite for failures.
        """
        examples = self._minibatches.of(generation)
        measured = measure(examples, self._each(generation))
        found = self._blank(len(measured.indices), len(examples))
        self._enter(found, measured)
        return found.fitness

    def _blank(self, count: int, examples: int) -> Scores:
        """Scores of a cohort before anything is measured."""
        further = len(self._spec.bases) - 1
        found = Scores(np.full(count, np.nan), further=np.full((count, further), np.nan) if further else None)
        if self._cases is not None:
            width = examples if self._cases == "examples" else self._source.outputs
            found = replace(found, cases=np.full((count, width), np.nan, dtype=np.float32))
        if self._behaviour:
            kind = np.min_scalar_type(self._source.outputs - 1)
            found = replace(found, behaviour=np.zeros((count, examples), dtype=kind))
        if self._use:
            found = replace(found, use=np.zeros((count, self._source.heads), dtype=np.int32))
        return found

    def _each(self, generation: int) -> ExampleScores | None:
        """What has to be computed example by example; None if nothing."""
        bases = [name for name in self._spec.names if name in COMPUTED]
        if self._cases is not None:
            bases.append(self._spec.bases[0])
        if not bases and not self._behaviour:
            return None
        coins = None if repeats(self._spec) else self._minibatches.coins(generation)
        return ExampleScores(bases, answers=self._behaviour, coins=coins)

    def _enter(self, found: Scores, measured: Measured) -> None:
        """Enter what one chunk scored."""
        indices, measurements, examples = measured.indices, measured.measurements, measured.examples
        found.failures.update({indices[index]: reason for index, reason in measurements.failures.items()})
        if not measurements.means:
            return
        means = means_of(measurements)
        keys = [score(base, means, len(examples)) for base in self._spec.bases]
        if self._norm_penalty:
            squares = measured.squares()
            keys[0] = keys[0] - self._norm_penalty * squares
            means["norm"] = np.sqrt(squares)
        keys = [with_best(key) for key in keys]
        found.fitness[indices] = keys[0]
        if found.further is not None:
            found.further[indices] = np.stack(keys[1:], axis=1)
        for name, values in means.items():
            found.metrics.setdefault(name, np.full(len(found.fitness), np.nan))[indices] = values
        if found.cases is not None:
            scores = measurements.examples[self._spec.bases[0]]
            if self._cases == "classes":
                scores = class_means(scores, examples.targets.cpu().numpy(), self._source.outputs)
            found.cases[indices] = scores
        if found.behaviour is not None:
            found.behaviour[indices] = measurements.examples[ANSWERS]
        if found.use is not None:
            found.use[indices] = memory_use(measurements.examples[HEADS], self._source.heads)
