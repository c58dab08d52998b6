"""Scores children by their direction: the cosine of their change with the gradient at their parents.

This uses gradients, so it is no gradient-free search. It shows what selection would be worth if it knew the direction
and not the outcome: two children of equal direction score alike, whatever the length of their steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Cohort, Examples
from galab.evaluation.blocks import EachExample
from galab.evaluation.sources import GenomeSource, Measured, Part
from galab.genome.decoder import Decoder
from galab.genome.weights import SCALE, Phenotype
from galab.stats.vectors import cosine

#: What the score is called among the means.
NAME = "gradient_cosine"
#: Evaluations that a gradient counts as, for each example: a forward pass, and a backward one that takes two of them.
GRADIENT_COST = 3

#: From (D,) float32 weights and examples to the (D,) gradient of minus the mean loss; None where no gradient exists.
Gradient = Callable[[NDArray[np.float32], Examples], NDArray[np.float32] | None]


class GradientCosineSource:
    """See :class:`galab.evaluation.sources.Source`.

    It adds ``gradient_cosine`` to what the task measures: the cosine of a child's weights minus its parents' mean with
    the gradient of minus the loss at that mean, on the generation's examples. A member born earlier has taken no step
    and has 0; so has a child whose step or gradient is 0.

    Args:
        source: measures the members.
        decoder: has decoded them and their parents.
        gradient: of minus the loss.
    """

    def __init__(self, source: GenomeSource, decoder: Decoder, gradient: Gradient) -> None:
        self._source = source
        self._decoder = decoder
        self._gradient = gradient

    @property
    def outputs(self) -> int:
        """See :class:`galab.evaluation.sources.Source`."""
        return self._source.outputs

    @property
    def heads(self) -> int:
        """See :class:`galab.evaluation.sources.Source`."""
        return self._source.heads

    def starts(self, cohort: Cohort) -> list[int]:
        """See :class:`galab.evaluation.sources.Source`."""
        return self._source.starts(cohort)

    def measured(
        self, parts: Sequence[Part], examples: Examples, each: EachExample | None
    ) -> Iterator[Measured]:
        """See :class:`galab.evaluation.sources.Source`.

        Gradients are not kept from part to part: each part counts its own, in whatever process.
        """
        for part, found in zip(parts, self._source.measured(parts, examples, each), strict=True):
            cosines, gradients = self._cosines(part, found.indices, examples)
            yield _with(found, cosines, gradients * GRADIENT_COST * len(examples))

    def of(
        self, indices: list[int], members: list[Phenotype], examples: Examples, each: EachExample | None
    ) -> Measured:
        """Decoded members outside the cohort, without parents here: each has a cosine of 0."""
        return _with(self._source.of(indices, members, examples, each), np.zeros(len(members)), 0)

    def _cosines(self, part: Part, places: Sequence[int], examples: Examples) -> tuple[NDArray[np.float64], int]:
        """Those of the members at some places of a part, and how many gradients that took."""
        found, slopes = np.zeros(len(places)), dict[tuple[int, ...], tuple[NDArray[np.float64], ...]]()
        for row, place in enumerate(places):
            birth = part.births[place]
            parents = tuple(int(parent) for parent in birth["parents"] if parent >= 0)
            if int(birth["generation"]) != part.generation or not parents:
                continue
            if parents not in slopes:
                slopes[parents] = self._at(parents, examples)
            middle, slope = slopes[parents]
            found[row] = cosine(self._decoder.decode(int(birth["id"])).weights - middle, slope, undefined=0.0)
        return found, len(slopes)

    def _at(self, parents: tuple[int, ...], examples: Examples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(D,) the mean of the parents in weight units of 2^-24, and the (D,) gradient there."""
        weights = [self._decoder.decode(parent).weights for parent in parents]
        middle = np.stack(weights).mean(axis=0, dtype=np.float64)
        slope = self._gradient(np.asarray(middle / SCALE, dtype=np.float32), examples)
        return middle, np.full(len(middle), np.nan) if slope is None else slope.astype(np.float64)


def _with(found: Measured, cosines: NDArray[np.float64], evaluations: int) -> Measured:
    """What was measured, and the cosines; those of members that failed are NaN."""
    measurements = found.measurements
    if not measurements.means:
        return found
    values = cosines.copy()
    for name, means in measurements.means.items():
        if name == "loss":
            values[~np.isfinite(means)] = np.nan
    return replace(
        found,
        measurements=replace(
            measurements,
            means={**measurements.means, NAME: values},
            evaluations=measurements.evaluations + evaluations,
        ),
    )
