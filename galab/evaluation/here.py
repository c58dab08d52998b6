"""The executor that computes in this process."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from galab.contracts import Cohort, Scores
from galab.errors import LethalMutationError
from galab.evaluation.evaluator import Evaluator
from galab.evaluation.fitness import FITNESS
from galab.evaluation.minibatch import Minibatches
from galab.genome.decode import Decoder
from galab.genome.phenotype import Phenotype


class Here:
    """Decodes a cohort on several threads, then scores it in chunks.

    Args:
        decoder: turns births into weights.
        evaluator: scores weights.
        minibatches: the examples of each generation.
        fitness: a name of :data:`galab.evaluation.fitness.FITNESS`.
        threads: threads that decode; NumPy releases the interpreter while it draws and adds.
    """

    def __init__(
        self, decoder: Decoder, evaluator: Evaluator, minibatches: Minibatches, *, fitness: str, threads: int
    ) -> None:
        self._decoder = decoder
        self._evaluator = evaluator
        self._minibatches = minibatches
        self._fitness = FITNESS[fitness]
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="galab-decode")

    def score(self, cohort: Cohort) -> Scores:
        """See :class:`galab.contracts.Executor`."""
        ids = [int(birth) for birth in cohort.births["id"]]
        members, lethal = self._decode(ids)
        alive = [index for index in range(len(ids)) if index not in lethal]
        failures = {index: f"lethal: a weight of '{name}' left +-128" for index, name in lethal.items()}
        fitness = np.full(len(ids), np.nan)
        metrics: dict[str, np.ndarray] = {}
        evaluations = 0
        if alive:
            found = self._evaluator.measure(members, self._minibatches.of(cohort.generation))
            evaluations = found.evaluations
            failures.update({alive[index]: reason for index, reason in found.failures.items()})
            if found.means:
                fitness[alive] = self._fitness(found.means)
            for name, values in found.means.items():
                metrics[name] = np.full(len(ids), np.nan)
                metrics[name][alive] = values
        for index in np.flatnonzero(~np.isfinite(fitness)):
            failures.setdefault(int(index), f"fitness was {fitness[index]}")
            fitness[index] = np.nan
        return Scores(fitness, failures, lethal, metrics, evaluations)

    def close(self) -> None:
        """Stop the decoding threads."""
        self._threads.shutdown()

    def _decode(self, ids: Iterable[int]) -> tuple[list[Phenotype], dict[int, str]]:
        """The phenotypes of those who can live, in order, and the lethal ones by index."""
        members, lethal = [], {}
        for index, result in enumerate(self._threads.map(self._decode_one, ids)):
            if isinstance(result, LethalMutationError):
                lethal[index] = result.parameter
            else:
                members.append(result)
        return members, lethal

    def _decode_one(self, birth: int) -> Phenotype | LethalMutationError:
        try:
            return self._decoder.decode(birth)
        except LethalMutationError as error:
            return error
