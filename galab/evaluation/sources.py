"""Sources measure the members of a cohort: decoded genomes, weight vectors, or a centre and its directions.

A cohort is split into parts, chunks of members that are computed together; their scores are joined again here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from galab.contracts import Cohort, Examples, Scores
from galab.errors import LethalMutationError
from galab.evaluation.blocks import EachExample, added, rows_of
from galab.evaluation.delta_evaluator import DeltaEvaluator
from galab.evaluation.dense_evaluator import Measurements
from galab.evaluation.es_evaluator import Chunk
from galab.evaluation.fitness import mean_squares
from galab.evaluation.member_evaluator import CentreEvaluator, MemberEvaluator
from galab.genome.decoder import Decoder
from galab.genome.weights import Phenotype
from galab.operators.es_noise import Directions, WeightVector
from galab.stats.vectors import cosine


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Neighbouring members of a cohort that share floating-point products, so one process computes them all.

    Attributes:
        generation: of the cohort.
        number: its place among the cohort's parts, from 0.
        first: place of its first member in the cohort.
        births: (P,) its rows of the cohort.
        members: of the whole cohort.
    """

    generation: int
    number: int
    first: int
    births: NDArray[np.void]
    members: int

    def __len__(self) -> int:
        return len(self.births)


def split_cohort(cohort: Cohort, starts: Sequence[int]) -> list[Part]:
    """The cohort in parts that begin at these places, the first of which is 0."""
    count = len(cohort.births)
    bounds = zip(starts, [*starts[1:], count], strict=True)
    return [
        Part(cohort.generation, number, start, cohort.births[start:stop], count)
        for number, (start, stop) in enumerate(bounds)
    ]


def join_scores(parts: Sequence[Part], answers: Iterable[Scores]) -> Scores:
    """Scores of a cohort from those of its parts.

    Args:
        parts: all of them, in order.
        answers: the scores of each, with places counted from its first member.
    """
    found = list(answers)
    members = parts[0].members
    failures: dict[int, str] = {}
    lethal: dict[int, str] = {}
    metrics: dict[str, NDArray[np.float64]] = {}
    for part, own in zip(parts, found, strict=True):
        failures.update({part.first + place: reason for place, reason in own.failures.items()})
        lethal.update({part.first + place: parameter for place, parameter in own.lethal.items()})
        for name, values in own.metrics.items():
            metrics.setdefault(name, np.full(members, np.nan))[part.first : part.first + len(part)] = values
    return Scores(
        np.concatenate([own.fitness for own in found]),
        failures,
        lethal,
        metrics,
        sum(own.evaluations for own in found),
        rows_of([own.further for own in found]),
        rows_of([own.cases for own in found]),
        rows_of([own.behaviour for own in found]),
        rows_of([own.use for own in found]),
        sum(own.cache_hits for own in found),
        sum(own.cache_misses for own in found),
        rows_of([own.hidden for own in found]),
        added(own.spent for own in found),
        rows_of([own.observed for own in found]),
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of the members of a part.

    Attributes:
        indices: their places in the part.
        measurements: in that order.
        examples: the examples that were used.
        squares: gives the mean square of each member's weights, in squared weight units: (P,).
        lethal: the places of lethal mutants, each with the parameter that left the range.
        cache: parents that decoding found in the cache, and those that it had to reconstruct.
    """

    indices: list[int]
    measurements: Measurements
    examples: Examples
    squares: Callable[[], NDArray[np.float64]]
    lethal: dict[int, str] = field(default_factory=dict)
    cache: tuple[int, int] = (0, 0)


class Source(Protocol):
    """Measures the members of a cohort, chunk by chunk, so memory depends on the chunk and not on the cohort."""

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        ...

    @property
    def heads(self) -> int:
        """Number of memories whose use is reported."""
        ...

    def starts(self, cohort: Cohort) -> list[int]:
        """Where the parts of a cohort begin, see :class:`galab.evaluation.sources.Part`."""
        ...

    def measured(
        self, parts: Sequence[Part], examples: Examples, each: EachExample | None
    ) -> Iterator[Measured]:
        """Measure some parts of a cohort, in order; the bits of a part do not depend on the others."""
        ...


class ChunkedSource:
    """Base of the sources that cut a cohort into chunks of the evaluator's size."""

    _evaluator: MemberEvaluator | DeltaEvaluator

    @property
    def outputs(self) -> int:
        """See :class:`Source`."""
        return self._evaluator.outputs

    @property
    def heads(self) -> int:
        """See :class:`Source`."""
        return self._evaluator.heads

    def starts(self, cohort: Cohort) -> list[int]:
        """See :class:`Source`. Chunks are cut before lethal mutants are known, and padded in their place."""
        return list(range(0, len(cohort.births), self._evaluator.chunk))


class GenomeSource(ChunkedSource):
    """Members given as genomes.

    Args:
        decoder: turns births into weights.
        evaluator: scores weights.
    """

    _evaluator: MemberEvaluator

    def __init__(self, decoder: Decoder, evaluator: MemberEvaluator) -> None:
        self._decoder = decoder
        self._evaluator = evaluator

    def measured(
        self, parts: Sequence[Part], examples: Examples, each: EachExample | None
    ) -> Iterator[Measured]:
        """See :class:`Source`.

        One thread decodes. Two were no faster: each step of a decode is shorter than handing over the interpreter.
        """
        for part in parts:
            decoder = self._decoder
            hits, misses = decoder.hits, decoder.misses
            decoded = decoder.decode_all(part.births["id"].tolist())
            cache = decoder.hits - hits, decoder.misses - misses
            lethal = {
                place: error.parameter for place, error in enumerate(decoded) if isinstance(error, LethalMutationError)
            }
            members = [member for member in decoded if isinstance(member, Phenotype)]
            places = [place for place in range(len(part)) if place not in lethal]
            yield replace(self.of(places, members, examples, each), lethal=lethal, cache=cache)

    def of(
        self, indices: list[int], members: list[Phenotype], examples: Examples, each: EachExample | None
    ) -> Measured:
        """Decoded members, measured."""
        measurements = self._evaluator.measure(members, examples, each)
        return Measured(indices, measurements, examples, lambda: mean_squares(members))


class VectorSource(ChunkedSource):
    """Members given as weight vectors by a strategy.

    Args:
        members: from the number of the first member and a count to the weights of these members of the present
            generation, (count, D) float32.
        evaluator: scores weights.
    """

    _evaluator: MemberEvaluator

    def __init__(
        self, members: Callable[[int, int], NDArray[np.float32]], evaluator: MemberEvaluator
    ) -> None:
        self._members = members
        self._evaluator = evaluator

    def measured(
        self, parts: Sequence[Part], examples: Examples, each: EachExample | None
    ) -> Iterator[Measured]:
        """See :class:`Source`."""
        for part in parts:
            members = [WeightVector(row) for row in self._members(part.first, len(part))]
            measurements = self._evaluator.measure(members, examples, each)
            yield Measured(list(range(len(part))), measurements, examples, unknown_squares)


class PerturbedSource:
    """Perturbations of a centre, in antithetic pairs or one by one.

    Args:
        centre: name to the centre's tensor, which the strategy updates in place.
        directions: their noise.
        noise_of: the generation whose noise a generation uses.
        sigma: the step size of a generation.
        evaluator: scores them.
        groups: groups of members, each with its own part of the examples.
    """

    #: The use of memories is not reported.
    heads = 0

    def __init__(
        self,
        centre: Mapping[str, Tensor],
        directions: Directions,
        evaluator: CentreEvaluator,
        *,
        noise_of: Callable[[int], int],
        sigma: Callable[[int], float],
        groups: int = 1,
    ) -> None:
        self._centre = centre
        self._directions = directions
        self._evaluator = evaluator
        self._noise_of = noise_of
        self._sigma = sigma
        self._groups = groups

    @property
    def outputs(self) -> int:
        """See :class:`Source`."""
        return self._evaluator.outputs

    def starts(self, cohort: Cohort) -> list[int]:
        """See :class:`Source`."""
        signs = 2 if _in_pairs(cohort.births) else 1
        width = self._evaluator.directions_at_once(signs == 2)
        spans = [span for _, span in self._spans(len(cohort.births) // signs)]
        return [signs * at for first, last in spans for at in range(first, last, width)]

    def measured(
        self, parts: Sequence[Part], examples: Examples, each: EachExample | None
    ) -> Iterator[Measured]:
        """See :class:`Source`."""
        if not parts:
            return
        antithetic = _in_pairs(parts[0].births)
        signs = 2 if antithetic else 1
        size = len(examples) // self._groups
        for group, (first, last) in self._spans(parts[0].members // signs):
            starts = [part.first // signs - first for part in parts if first <= part.first // signs < last]
            if not starts:
                continue
            own = examples
            if self._groups > 1:
                shown = slice(group * size, (group + 1) * size)
                own = Examples(examples.inputs[shown], examples.targets[shown])
            generation = parts[0].generation
            ((_, noise),) = self._directions.between(self._noise_of(generation), first, last)
            chunks = self._evaluator.along(
                self._centre, noise, self._sigma(generation), own, each, antithetic=antithetic, starts=starts
            )
            for chunk in chunks:
                yield _measured(chunk, own, antithetic)

    def _spans(self, count: int) -> list[tuple[int, tuple[int, int]]]:
        """The groups of members, each with the spans of its directions that share products."""
        groups = range(self._groups)
        bounds = [(group, count * group // self._groups, count * (group + 1) // self._groups) for group in groups]
        return [(group, span) for group, start, stop in bounds for span in self._directions.spans(start, stop)]


def _in_pairs(births: NDArray[np.void]) -> bool:
    return bool((births["sign"] < 0).any())


def _measured(chunk: Chunk, examples: Examples, antithetic: bool) -> Measured:
    """The measurements of a chunk, with places in the cohort, where plus and minus of a pair are neighbours."""
    count = chunk.directions
    places = [2 * q + minus for minus in (0, 1) for q in range(count)] if antithetic else list(range(count))
    means = {name: sums / len(examples) for name, sums in chunk.sums.items()}
    evaluations = len(places) * len(examples) if chunk.evaluations is None else chunk.evaluations
    measurements = Measurements(means, chunk.failures, evaluations, chunk.examples, dict(chunk.spent), chunk.observed)
    return Measured(places, measurements, examples, unknown_squares)


def unknown_squares() -> NDArray[np.float64]:
    """In the place of mean squares where weights are not formed."""
    raise NotImplementedError("the weights of these members are not formed")


#: What the score is called among the means.
GRADIENT_COSINE = "gradient_cosine"
#: Evaluations that a gradient counts as, for each example: a forward pass, and a backward one that takes two of them.
GRADIENT_COST = 3

#: From (D,) float32 weights and examples to the (D,) gradient of minus the mean loss; None where no gradient exists.
Gradient = Callable[[NDArray[np.float32], Examples], NDArray[np.float32] | None]


class GradientCosineSource:
    """Scores children by their direction. See :class:`galab.evaluation.sources.Source`.

    This uses gradients, so it is no gradient-free search. It shows what selection would be worth if it knew the
    direction and not the outcome: two children of equal direction score alike, whatever the length of their steps.

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
            yield _with_cosines(found, cosines, gradients * GRADIENT_COST * len(examples))

    def of(
        self, indices: list[int], members: list[Phenotype], examples: Examples, each: EachExample | None
    ) -> Measured:
        """Decoded members outside the cohort, without parents here: each has a cosine of 0."""
        return _with_cosines(self._source.of(indices, members, examples, each), np.zeros(len(members)), 0)

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
        """(D,) the mean of the parents in units of 2^-bits, and the (D,) gradient there."""
        weights = [self._decoder.decode(parent).weights for parent in parents]
        middle = np.stack(weights).mean(axis=0, dtype=np.float64)
        slope = self._gradient(np.asarray(middle / self._decoder.layout.scale, dtype=np.float32), examples)
        return middle, np.full(len(middle), np.nan) if slope is None else slope.astype(np.float64)


def _with_cosines(found: Measured, cosines: NDArray[np.float64], evaluations: int) -> Measured:
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
            means={**measurements.means, GRADIENT_COSINE: values},
            evaluations=measurements.evaluations + evaluations,
        ),
    )
