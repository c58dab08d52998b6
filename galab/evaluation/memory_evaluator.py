"""Scores banks of memories by the one memory in which a child differs from what it inherits.

How near a memory is to the examples depends on its vector alone. Where every generation sees the same examples, a child
inherits its parents' rows of nearness and computes only the row that changed; its weights are formed only if it
survives.

Exact: a row is always computed in a product of :data:`_ROWS_AT_ONCE` rows, in which neither its place nor the other
rows change its bits. So it is the same whether it was inherited, computed from the weights after a resume, or in a
worker.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.contracts import Examples, ReportsMemoryUse
from galab.errors import LethalMutationError
from galab.evaluation.blocks import EachExample
from galab.evaluation.dense_evaluator import Evaluator, Measurements, join_measurements
from galab.evaluation.sources import ChunkedSource, Measured, Part, unknown_squares
from galab.genome.births import Birth
from galab.genome.decoder import Decoder
from galab.genome.parameters import evolved_parameters
from galab.genome.pedigree import Pedigree
from galab.genome.weights import SCALE, Phenotype
from galab.operators.crossover import PerRow
from galab.operators.mutation.memory_bank import HeadChanges, Inherited, bank_of, is_bank_alone

#: Rows of one product; what is fewer is filled up.
_ROWS_AT_ONCE = 64
#: Memory for the rows of a generation's members, in bytes.
_MOST_BYTES = 256 << 20


def can_use_memory_deltas(module: nn.Module, decoder: Decoder, examples: Examples, members: int) -> bool:
    """Whether children differ from their parents by one memory, and all rows of nearness fit into memory.

    Args:
        module: the network.
        decoder: of the run.
        examples: of every generation.
        members: of a generation, with their parents.
    """
    developer = decoder.developer
    return (
        isinstance(module, ReportsMemoryUse)
        and is_bank_alone(decoder.layout)
        and all(getattr(operator, "alone", False) for operator in developer.mutations)
        and (developer.crossover is None or isinstance(developer.crossover, PerRow))
        and developer.steps.uniform
        and 4 * module.heads * len(examples) * members <= _MOST_BYTES
        and _replies_alone(module, examples.inputs[:8].cpu())
    )


def _replies_alone(module: nn.Module, inputs: Tensor) -> bool:
    """Whether ``forward`` equals ``reply`` of ``rows``, also in a user's own class; tried on a copy."""
    network: Any = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for parameter in evolved_parameters(network).values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        replied = network.reply(network.rows(network.stored, network.shown(inputs)), network.classes)
        forwarded = network(inputs)
    return replied.shape == forwarded.shape and torch.allclose(replied, forwarded, atol=1e-4)


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """What is kept of an individual.

    Attributes:
        near: (heads, B) how near each memory is to each example.
        classes: (heads, outputs) class logits, float32.
    """

    near: Tensor
    classes: Tensor


class MemoryDeltaSource(ChunkedSource):
    """Genomes expressed as a change of one memory of their parents.

    Args:
        decoder: turns births into weights.
        pedigree: whose births they are.
        evaluator: measures the answers of memories.
    """

    _evaluator: Evaluator

    def __init__(self, decoder: Decoder, pedigree: Pedigree, evaluator: Evaluator) -> None:
        self._decoder = decoder
        self._pedigree = pedigree
        self._evaluator = evaluator
        # Checked once: a check of the protocol at each call would take as long as the call.
        self._module: Any = evaluator.module
        self._bank = bank_of(decoder.layout)
        self._generation = -1
        self._states: dict[int, _State] = {}
        self._shown: Tensor | None = None

    def measured(
        self, parts: Sequence[Part], examples: Examples, each: EachExample | None
    ) -> Iterator[Measured]:
        """See :class:`galab.evaluation.sources.Source`."""
        if parts and parts[0].generation != self._generation:
            self._generation = parts[0].generation
            kept = {int(birth) for part in parts for name in ("id", "parents") for birth in part.births[name].ravel()}
            self._states = {birth: state for birth, state in self._states.items() if birth in kept}
        for part in parts:
            hits, misses = self._decoder.hits, self._decoder.misses
            near, classes, lethal = self._answering(part, examples)
            alive = [place for place in range(len(part)) if place not in lethal]
            found = self._evaluator.answered(near, classes, examples, each).of(alive, len(near))
            cache = self._decoder.hits - hits, self._decoder.misses - misses
            yield Measured(alive, found, examples, unknown_squares, lethal, cache)

    def of(
        self, indices: list[int], members: list[Phenotype], examples: Examples, each: EachExample | None
    ) -> Measured:
        """Decoded members, measured as the members of a cohort are."""
        chunk, parts = self._evaluator.chunk, list[tuple[Measurements, int]]()
        for start in range(0, len(members), chunk):
            some = [self._state_of(member, examples) for member in members[start : start + chunk]]
            every = [some[min(place, len(some) - 1)] for place in range(chunk)]
            near, classes = torch.stack([one.near for one in every]), torch.stack([one.classes for one in every])
            found = self._evaluator.answered(near, classes, examples, each).of(range(len(some)), chunk)
            parts.append((found, len(some)))
        return Measured(indices, join_measurements(parts), examples, unknown_squares)

    def _answering(self, part: Part, examples: Examples) -> tuple[Tensor, Tensor, dict[int, str]]:
        """Nearness (chunk, heads, B) and classes (chunk, heads, outputs) of a part's members, and the lethal ones."""
        rows = [self._pedigree[birth] for birth in part.births["id"].tolist()]
        born = [bool(row.mutation) and row.generation == part.generation for row in rows]
        families = [row.parents if new else (row.id,) for row, new in zip(rows, born, strict=True)]
        people = {birth: place for place, birth in enumerate(sorted({one for family in families for one in family}))}
        states = [self._state(birth, examples) for birth in people]
        sources = self._sources(rows, families, people)
        near, classes = self._inherited(states, sources)
        weights = np.stack([self._decoder.decode(birth).weights for birth in people])
        lethal: dict[int, str] = {}
        for mutation in {row.mutation for row, new in zip(rows, born, strict=True) if new}:
            places = [place for place, row in enumerate(rows) if born[place] and row.mutation == mutation]
            operator = self._decoder.developer.mutations[mutation - 1]
            for some, changes in _changes(operator, rows, places, Inherited(weights, sources, self._bank)):
                if changes is None:
                    lethal[some[0]] = _why(self._decoder, rows[some[0]])
                else:
                    self._enter(some, changes, near, classes, examples)
        self._states |= {row.id: _State(near[place], classes[place]) for place, row in enumerate(rows)}
        return near, classes, lethal

    def _enter(
        self, places: list[int], changes: HeadChanges, near: Tensor, classes: Tensor, examples: Examples
    ) -> None:
        """Enter the memory that each child does not inherit."""
        device = near.device
        rows, heads = torch.tensor(places, device=device), torch.from_numpy(changes.heads).to(device)
        near[rows, heads] = self._rows(changes.vectors, examples)
        classes[rows, heads] = torch.from_numpy(changes.logits.astype(np.float32)).mul_(1 / SCALE).to(device)

    def _inherited(self, states: Sequence[_State], sources: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Nearness and classes of a chunk, each memory from one of the states; filled up with the last member."""
        chunk = self._evaluator.chunk
        theirs, answers = torch.stack([one.near for one in states]), torch.stack([one.classes for one in states])
        whose = torch.from_numpy(sources[np.minimum(np.arange(chunk), len(sources) - 1)]).to(theirs.device)
        if (sources == sources[:, :1]).all():
            return theirs.index_select(0, whose[:, 0]), answers.index_select(0, whose[:, 0])
        heads = torch.arange(whose.shape[1], device=whose.device)
        return theirs[whose, heads], answers[whose, heads]

    def _sources(
        self, births: Sequence[Birth], families: Sequence[tuple[int, ...]], people: dict[int, int]
    ) -> NDArray[np.int64]:
        """(P, heads) the place among the people that each memory comes from."""
        heads, crossover = self._bank.heads, self._decoder.developer.crossover
        found = np.empty((len(births), heads), dtype=np.int64)
        for row, birth, family in zip(found, births, families, strict=True):
            if len(family) > 1 and birth.crossover and isinstance(crossover, PerRow):
                whose = np.array([people[parent] for parent in family])
                row[:] = whose[crossover.coins(len(family), birth.id, heads)]
            else:
                row[:] = people[family[0]]
        return found

    def _state(self, birth: int, examples: Examples) -> _State:
        """The state of an individual that was born earlier."""
        if birth not in self._states:
            self._states[birth] = self._state_of(self._decoder.decode(birth), examples)
        return self._states[birth]

    def _state_of(self, member: Phenotype, examples: Examples) -> _State:
        """The same from the weights alone."""
        logits = self._bank.logits_of(member.weights)
        near = self._rows(self._bank.vectors_of(member.weights), examples)
        return _State(near, torch.from_numpy(logits.astype(np.float32)).mul_(1 / SCALE).to(near.device))

    def _rows(self, vectors: NDArray[np.int32], examples: Examples) -> Tensor:
        """(n, B) nearness of (n, dims) vectors in units of 2^-24."""
        module, count = self._module, len(vectors)
        padded = np.zeros((-(-count // _ROWS_AT_ONCE) * _ROWS_AT_ONCE, self._bank.dims), dtype=np.float32)
        padded[:count] = vectors
        padded *= np.float32(1 / SCALE)
        with torch.inference_mode():
            if self._shown is None:
                self._shown = module.shown(examples.inputs)
            stored = torch.from_numpy(padded).to(self._shown.device).split(_ROWS_AT_ONCE)
            return torch.cat([module.rows(some, self._shown) for some in stored])[:count]


def _changes(
    operator: Any, rows: Sequence[Birth], places: list[int], inherited: Inherited
) -> Iterator[tuple[list[int], HeadChanges | None]]:
    """The memories that births of one operator change: of all at once, or one by one with None for lethal births.

    Args:
        operator: of the births at ``places``.
        rows: P births.
        places: whose.
        inherited: what all P inherit.
    """

    def of(some: list[int]) -> HeadChanges | None:
        own = replace(inherited, sources=inherited.sources[some])
        found: HeadChanges | None = operator.changes([rows[place] for place in some], own)
        return found

    together = of(places)
    yield from [(places, together)] if together is not None else (([place], of([place])) for place in places)


def _why(decoder: Decoder, birth: Birth) -> str:
    """The parameter by which a birth leaves the representable range."""
    try:
        decoder.decode(birth.id)
    except LethalMutationError as error:
        return error.parameter
    raise AssertionError(f"birth {birth.id} can live, but its memory was refused")
