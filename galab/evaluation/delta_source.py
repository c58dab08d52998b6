"""The source of children whose mutations are all of low rank, expressed as changes to their parents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from galab.contracts import Examples
from galab.errors import LethalMutationError
from galab.evaluation.batched.product_cache import Lineage
from galab.evaluation.blocks import EachExample
from galab.evaluation.delta_evaluator import DeltaEvaluator
from galab.evaluation.dense_evaluator import join_measurements
from galab.evaluation.sources import ChunkedSource, Measured, Part, unknown_squares
from galab.genome.decoder import Decoder
from galab.genome.deltas import Change, DeltaChain, Deltas, unchanged
from galab.genome.pedigree import Pedigree
from galab.genome.weights import Phenotype


class DeltaSource(ChunkedSource):
    """Genomes expressed as low-rank changes to their parents; their weights are not formed.

    Args:
        decoder: turns births into weights and into changes.
        evaluator: scores the changes.
        lineage: see :meth:`DeltaEvaluator.bases`.
    """

    _evaluator: DeltaEvaluator

    def __init__(self, decoder: Decoder, evaluator: DeltaEvaluator, lineage: Lineage | None) -> None:
        self._decoder = decoder
        self._evaluator = evaluator
        self._bases = evaluator.bases(lineage)

    def measured(
        self, parts: Sequence[Part], examples: Examples, each: EachExample | None
    ) -> Iterator[Measured]:
        """See :class:`galab.evaluation.sources.Source`."""
        decoder, evaluator = self._decoder, self._evaluator
        hits, misses = decoder.hits, decoder.misses
        every = [decoder.deltas(part.births["id"].tolist(), part.generation, evaluator.rank) for part in parts]
        self._bases.begin({number: parent for deltas in every for number, parent in deltas.phenotypes.items()})
        cache = decoder.hits - hits, decoder.misses - misses
        for part, deltas in zip(parts, every, strict=True):
            births = part.births["id"].tolist()
            lethal = self._lethal(births, deltas)
            measured = evaluator.measure(births, deltas, self._bases, examples, each)
            alive = [place for place in range(len(part)) if place not in lethal]
            measurements = measured.of(alive, len(part)) if lethal else measured
            yield Measured(alive, measurements, examples, unknown_squares, lethal, cache)
            cache = 0, 0

    def of(
        self, indices: list[int], members: list[Phenotype], examples: Examples, each: EachExample | None
    ) -> Measured:
        """Decoded members, measured as the members of a cohort are."""
        evaluator, parts = self._evaluator, []
        size = self._bases.slots
        for start in range(0, len(members), size):
            some = dict(enumerate(members[start : start + size]))
            deltas = Deltas(list(some), some, unchanged(self._decoder.layout, evaluator.rank, len(some)))
            parts.append((evaluator.measure(list(some), deltas, evaluator.bases(), examples, each), len(some)))
        return Measured(indices, join_measurements(parts), examples, unknown_squares)

    def _lethal(self, births: list[int], deltas: Deltas) -> dict[int, str]:
        """Place to the parameter that left the representable range."""
        lethal = {}
        for place in np.flatnonzero(deltas.doubtful()).tolist():
            try:
                self._decoder.decode(births[place])
            except LethalMutationError as error:
                lethal[place] = error.parameter
        return lethal


class PedigreeLineage:
    """The lineage of a pedigree, see :class:`galab.evaluation.batched.product_cache.Lineage`.

    Args:
        decoder: of the individuals.
        pedigree: of the individuals.
        period: those born in generations divisible by it are anchors.
    """

    def __init__(self, decoder: Decoder, pedigree: Pedigree, period: int) -> None:
        self._decoder = decoder
        self._pedigree = pedigree
        self._period = period

    def is_anchor(self, number: int) -> bool:
        """See :class:`galab.evaluation.batched.product_cache.Lineage`."""
        return self._pedigree[number].generation % self._period == 0

    def chain(self, number: int) -> DeltaChain:
        """See :class:`galab.evaluation.batched.product_cache.Lineage`."""
        births, ancestor = 0, number
        while not self.is_anchor(ancestor):
            births, ancestor = births + 1, self.parent(ancestor)
        return self._decoder.chain(number, births)

    def parent(self, number: int) -> int:
        """See :class:`galab.evaluation.batched.product_cache.Lineage`."""
        (parent,) = self._pedigree[number].parents
        return parent

    def change(self, number: int) -> list[Change]:
        """See :class:`galab.evaluation.batched.product_cache.Lineage`."""
        return self._decoder.chain(number, 1).changes[0]
