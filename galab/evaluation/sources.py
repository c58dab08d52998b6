"""Where the members of a cohort come from: decoded genomes, or a centre and its directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from galab.contracts import Cohort, Examples, Scores
from galab.errors import LethalMutationError
from galab.evaluation.bases import Lineage
from galab.evaluation.blocks import EachExample
from galab.evaluation.evaluator import Evaluator, Measurements, together
from galab.evaluation.family_evaluator import FamilyEvaluator
from galab.evaluation.fitness import mean_squares
from galab.evaluation.perturbed_evaluator import PerturbedEvaluator
from galab.genome.decode import Decoder
from galab.genome.descent import Chain, Change, Descents, unchanged
from galab.genome.pedigree import Pedigree
from galab.genome.phenotype import Phenotype
from galab.perturbation.directions import Directions


@dataclass(frozen=True, slots=True)
class Measured:
    """What some members of a cohort scored.

    Attributes:
        indices: their places in the cohort.
        measurements: in that order.
        examples: on what.
        squares: gives the mean square of each member's weights, in squared weight units: (P,).
    """

    indices: list[int]
    measurements: Measurements
    examples: Examples
    squares: Callable[[], NDArray[np.float64]]


class Source(Protocol):
    """Measures the members of a cohort, chunk by chunk, so memory depends on the chunk and not on the cohort."""

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        ...

    def measured(
        self, cohort: Cohort, examples: Examples, each: EachExample | None, found: Scores
    ) -> Iterator[Measured]:
        """All members that can live, in cohort order; lethal ones are entered into ``found`` as failures."""
        ...


class Decoded:
    """Members that are genomes.

    Args:
        decoder: turns births into weights.
        evaluator: scores weights.
    """

    def __init__(self, decoder: Decoder, evaluator: Evaluator) -> None:
        self._decoder = decoder
        self._evaluator = evaluator

    @property
    def outputs(self) -> int:
        """See :class:`Source`."""
        return self._evaluator.outputs

    def measured(
        self, cohort: Cohort, examples: Examples, each: EachExample | None, found: Scores
    ) -> Iterator[Measured]:
        """See :class:`Source`."""
        for indices, members in self._chunks(cohort, found):
            yield self.of(indices, members, examples, each)

    def of(
        self, indices: list[int], members: list[Phenotype], examples: Examples, each: EachExample | None
    ) -> Measured:
        """Decoded members, measured."""
        measurements = self._evaluator.measure(members, examples, each)
        return Measured(indices, measurements, examples, lambda: mean_squares(members))

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


class Families:
    """Members that are genomes, told apart from their parents by changes of low rank; their weights are not formed.

    Args:
        decoder: turns births into weights, and into what they add to their parents.
        evaluator: scores these.
        lineage: see :meth:`FamilyEvaluator.bases`.
    """

    def __init__(self, decoder: Decoder, evaluator: FamilyEvaluator, lineage: Lineage | None) -> None:
        self._decoder = decoder
        self._evaluator = evaluator
        self._bases = evaluator.bases(lineage)

    @property
    def outputs(self) -> int:
        """See :class:`Source`."""
        return self._evaluator.outputs

    def measured(
        self, cohort: Cohort, examples: Examples, each: EachExample | None, found: Scores
    ) -> Iterator[Measured]:
        """See :class:`Source`."""
        births, chunk = cohort.births["id"].tolist(), self._evaluator.chunk
        starts = range(0, len(births), chunk)
        chunks = [births[start : start + chunk] for start in starts]
        every = [self._decoder.descents(some, cohort.generation, self._evaluator.rank) for some in chunks]
        self._bases.begin({number: who for descents in every for number, who in descents.phenotypes.items()})
        for start, some, descents in zip(starts, chunks, every, strict=True):
            dead = self._dead(some, descents)
            measured = self._evaluator.measure(some, descents, self._bases, examples, each)
            for place, parameter in dead.items():
                found.lethal[start + place] = parameter
                found.failures[start + place] = f"lethal: a weight of '{parameter}' left +-128"
            alive = [place for place in range(len(some)) if place not in dead]
            yield Measured([start + place for place in alive], measured.of(alive, len(some)), examples, _unknown)

    def of(
        self, indices: list[int], members: list[Phenotype], examples: Examples, each: EachExample | None
    ) -> Measured:
        """Decoded members, measured as the members of a cohort are."""
        evaluator, parts = self._evaluator, []
        size = self._bases.slots
        for start in range(0, len(members), size):
            some = dict(enumerate(members[start : start + size]))
            descents = Descents(list(some), some, unchanged(self._decoder.layout, evaluator.rank, len(some)))
            parts.append((evaluator.measure(list(some), descents, evaluator.bases(), examples, each), len(some)))
        return Measured(indices, together(parts), examples, _unknown)

    def _dead(self, births: list[int], descents: Descents) -> dict[int, str]:
        """Place to the parameter that left the representable range."""
        dead = {}
        for place in np.flatnonzero(descents.doubtful()).tolist():
            try:
                self._decoder.decode(births[place])
            except LethalMutationError as error:
                dead[place] = error.parameter
        return dead


class Lines:
    """See :class:`galab.evaluation.bases.Lineage`.

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
        """See :class:`galab.evaluation.bases.Lineage`."""
        return self._pedigree[number].generation % self._period == 0

    def chain(self, number: int) -> Chain:
        """See :class:`galab.evaluation.bases.Lineage`."""
        births, ancestor = 0, number
        while not self.is_anchor(ancestor):
            births, ancestor = births + 1, self.parent(ancestor)
        return self._decoder.chain(number, births)

    def parent(self, number: int) -> int:
        """See :class:`galab.evaluation.bases.Lineage`."""
        (parent,) = self._pedigree[number].parents
        return parent

    def change(self, number: int) -> list[Change]:
        """See :class:`galab.evaluation.bases.Lineage`."""
        return self._decoder.chain(number, 1).changes[0]


class Around:
    """Members that lie around a centre, in pairs or one by one.

    Args:
        centre: name to the centre's tensor, as it is at the time.
        directions: their noise.
        noise_of: the generation whose noise a generation uses.
        sigma: the step size of a generation.
        evaluator: scores them.
        groups: groups of members, each with its own part of the examples.
    """

    def __init__(
        self,
        centre: Mapping[str, Tensor],
        directions: Directions,
        evaluator: PerturbedEvaluator,
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

    def measured(
        self, cohort: Cohort, examples: Examples, each: EachExample | None, found: Scores
    ) -> Iterator[Measured]:
        """See :class:`Source`."""
        antithetic = bool((cohort.births["sign"] < 0).any())
        count = len(cohort.births) // (2 if antithetic else 1)
        sigma = self._sigma(cohort.generation)
        size = len(examples) // self._groups
        for group in range(self._groups):
            own = examples
            if self._groups > 1:
                part = slice(group * size, (group + 1) * size)
                own = Examples(examples.inputs[part], examples.targets[part])
            bounds = (count * group // self._groups, count * (group + 1) // self._groups)
            yield from self._along(self._noise_of(cohort.generation), bounds, sigma, own, each, antithetic)

    def _along(
        self,
        generation: int,
        bounds: tuple[int, int],
        sigma: float,
        examples: Examples,
        each: EachExample | None,
        antithetic: bool,
    ) -> Iterator[Measured]:
        """The members along directions ``bounds[0]`` to ``bounds[1] - 1``."""
        for first, noise in self._directions.between(generation, *bounds):
            for chunk in self._evaluator.along(self._centre, noise, sigma, examples, each, antithetic=antithetic):
                at = first + chunk.start
                # Plus and minus of a pair lie side by side in the cohort, and apart in the chunk.
                indices = (
                    [2 * (at + q) + minus for minus in (0, 1) for q in range(chunk.directions)]
                    if antithetic
                    else list(range(at, at + chunk.directions))
                )
                means = {name: sums / len(examples) for name, sums in chunk.sums.items()}
                count = len(indices) * len(examples)
                yield Measured(indices, Measurements(means, chunk.failures, count, chunk.examples), examples, _unknown)


def _unknown() -> NDArray[np.float64]:
    raise NotImplementedError("the weights of these members are not formed")
