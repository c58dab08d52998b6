"""The roles that the layers play for each other, and the values that pass between them.

Letters, here and everywhere: P members, B examples, D parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs and targets.

    Attributes:
        inputs: (B, ...) float32.
        targets: (B,) int64 class numbers, or what the task's ``measure`` takes.
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    def __len__(self) -> int:
        return int(self.inputs.shape[0])


class Task(Protocol):
    """The examples of a task and how outputs are scored. A task knows nothing of the search.

    Selection sees ``train`` alone; the champion and ``--target`` use ``validation``; ``test`` is only reported.
    """

    #: The name under which the registry knows it.
    name: str
    #: One line about the data that was really loaded, such as "mnist, 55,000 training images".
    description: str
    #: SHA-256 (hex) of the data and its split; a resumed run refuses another.
    fingerprint: str
    #: Shape of one input, without the batch axis.
    input_shape: tuple[int, ...]
    #: Number of outputs that the network must have.
    outputs: int
    train: Examples
    validation: Examples
    test: Examples

    def measure(self, outputs: torch.Tensor, targets: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Sums over examples, per member.

        Args:
            outputs: (P, B, outputs) float32.
            targets: (B,) the targets of the same examples.

        Returns:
            name to (P,) tensors of sums over the B examples. ``loss`` and ``correct`` are understood by the
            built-in fitness functions; any other name is logged.
        """
        ...


class Member(Protocol):
    """The weights of one network, from whatever source."""

    def write(self, parts: Sequence[NDArray[np.float32]]) -> None:
        """Write the weights into rows of memory one after the other, D numbers in all."""
        ...

    def floats(self) -> NDArray[np.float32]:
        """(D,) the weights."""
        ...


@runtime_checkable
class FreshExamples(Protocol):
    """Optional for a task: fresh training examples for every generation in place of the fixed ``train``."""

    def sample(self, run_key: int, generation: int, size: int) -> Examples:
        """The examples of one generation, the same for all members and at every call.

        Args:
            run_key: the run's key; all random bits derive from it and the generation, with
                ``galab.genome.random.Stream.EXAMPLES``.
            generation: its number, from 1.
            size: how many examples.

        Returns:
            inputs (size, ...) and targets (size, ...), in the form of ``train``.
        """
        ...


@runtime_checkable
class SeedDependent(Protocol):
    """Optional for a task: the key of the run from which its fixed data was made.

    The same task has other data in another run, so its ``description`` says how the data is made, without the key.
    Such runs count as runs on the same data if each has the data of its own key.
    """

    run_key: int


@runtime_checkable
class HasTrainParts(Protocol):
    """Optional for a task: named parts of its training examples, on each of which the champion is scored as well."""

    #: Name to examples; the accuracy on ``noise`` is logged as ``train_noise_accuracy``.
    parts: Mapping[str, Examples]


@runtime_checkable
class DescribesWeights(Protocol):
    """Optional for a task: figures computed from a network's weights, logged with the champion."""

    def inspect(self, parameters: Mapping[str, torch.Tensor]) -> Mapping[str, float]:
        """Figures about one network, such as how far it is from a known optimum.

        Args:
            parameters: name to tensor, float32 on the CPU, one network's.

        Returns:
            name to number; ``distance`` is logged as ``weights_distance``. Empty for networks that it does not know.
        """
        ...


@runtime_checkable
class ReportsMemoryUse(Protocol):
    """Optional for a network: a bank of memories that reports which of them answered.

    Attributes:
        heads: number of memories.
        reports_usage: while True, ``forward`` returns two more columns, as float32: how near the nearest memory is to
            the input, and its number, -1 where all are empty.
    """

    heads: int
    reports_usage: bool

    @property
    def stored(self) -> torch.Tensor:
        """(heads, width) the evolved parameters of the memories; a row of zeros is an empty memory."""
        ...

    @property
    def classes(self) -> torch.Tensor:
        """(heads, outputs) their class logits."""
        ...

    def vectors(self) -> torch.Tensor:
        """(heads, dims) the memories in the space where inputs are compared with them; an empty one is zeros."""
        ...

    def nearness(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, heads) how near each memory is to each of inputs (B, ...); minus infinity for empty ones."""
        ...

    def shown(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, dims) inputs (B, ...) in the space where memories are compared with them."""
        ...

    def rows(self, stored: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """(n, B) how near n memories (n, width) are to inputs (B, dims); no row depends on another."""
        ...

    def reply(self, near: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """The outputs of ``forward``, from (..., heads, B) nearness and (..., heads, outputs) class logits."""
        ...


@dataclass(frozen=True, slots=True)
class Cohort:
    """The members to be evaluated in one generation.

    Attributes:
        generation: number of the generation, from 1.
        births: (P,) rows with a field ``id``. Of a genetic algorithm, births: the children in order, then those parents
            that are scored again. Of an evolution strategy, directions, each with a sign.
        children: how many of the rows are children, or members along directions.
    """

    generation: int
    births: NDArray[np.void]
    children: int


@dataclass(frozen=True, slots=True)
class Scores:
    """What an evaluation found, in the order of its cohort.

    Attributes:
        fitness: (P,) float64, higher is better; NaN marks a failure.
        failures: index in the cohort to the reason why that member has no fitness.
        lethal: index in the cohort to the parameter that left the representable range (a kind of failure).
        metrics: name to (P,) float64 means over the examples.
        evaluations: number of (member, example) pairs that were computed: the unit of every evaluation axis.
        further: (P, K - 1) float64 where a fitness has K > 1 keys: each column decides between members that are equal
            in the fitness and in the columns before; higher is better, NaN marks a failure.
        cases: (P, C) float32 where they were asked for: what the first base makes of each example, or the mean of that
            over each class; higher is better, rows of NaN for failures.
        behaviour: (P, B) unsigned where it was asked for: the class that each example was answered with, uint8 where
            the classes fit; rows of zeros for failures.
        use: (P, heads) where it was asked for: how many examples each memory answered; zeros for failures.
        hidden: (P, ...) int8 where members remember: the states in which they ended.
        spent: what else the evaluation took, by unit: ``episodes`` and ``frames`` of an environment.
        observed: (P, 1 + 2 D) float64 where policies normalise observations: how many each saw, the sum of each of
            their D numbers, and the sum of its squares; NaN for failures.
        cache_hits: parents that decoding the cohort found in the cache.
        cache_misses: parents that it had to reconstruct.
    """

    fitness: NDArray[np.float64]
    failures: dict[int, str] = field(default_factory=dict)
    lethal: dict[int, str] = field(default_factory=dict)
    metrics: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    evaluations: int = 0
    further: NDArray[np.float64] | None = None
    cases: NDArray[np.float32] | None = None
    behaviour: NDArray[np.unsignedinteger[Any]] | None = None
    use: NDArray[np.int32] | None = None
    cache_hits: int = 0
    cache_misses: int = 0
    hidden: NDArray[np.int8] | None = None
    spent: dict[str, int] = field(default_factory=dict)
    observed: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of ``tell``.

    Attributes:
        records: rows for the run's permanent record: the births of the children that became parents, in order, or the
            scores of an evolution strategy's members.
        parents: (parents,) numbers of the individuals that may be champion now, best first.
    """

    records: NDArray[np.void]
    parents: NDArray[np.int64]


class Strategy(Protocol):
    """A search with ask and tell. All randomness derives from (run key, generation, purpose)."""

    @property
    def generation(self) -> int:
        """Generations done."""
        ...

    def ask(self) -> Cohort:
        """The members to be evaluated next."""
        ...

    def tell(self, scores: Scores) -> Outcome:
        """Receive the scores of the cohort that ``ask`` gave last."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue, as plain data."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the state that ``state_dict`` gave."""
        ...


class CentreStrategy(Strategy, Protocol):
    """A strategy that moves one vector of weights, the centre (the mean of its search distribution).

    Attributes:
        planned: generations that the run is meant to have, on which schedules may depend; None where it has no end.
    """

    planned: int | None

    @property
    def centre(self) -> NDArray[np.float32]:
        """(D,) the vector, a copy."""
        ...


class SharedCentreStrategy(CentreStrategy, Protocol):
    """A strategy of whose centre each worker moves a copy."""

    @property
    def checksum(self) -> int:
        """A number that differs, almost surely, where the state does."""
        ...


class VectorStrategy(Protocol):
    """A strategy over weight vectors, which knows neither networks nor seeds: SNES, PGPE, or a class of your own.

    It is made as ``Class(start, run_key=..., population=..., sigma=..., **options)``: where the search begins, (D,)
    float32; a number from which all its random numbers derive, together with the generation; P, the number of members
    of a generation; the step size at the start, in weight units; and what ``--strategy 'NAME(option=value)'`` gives.

    An attribute ``sigma``, a number or one for each weight, is optional: it is logged as ``step_size``. A bad option is
    refused by a ``ValueError`` in ``__init__``, whose sentence the user reads. A class with a parameter ``generations``
    gets from :func:`galab.minimize` the number that the budget allows.

    Between two generations the state is everything: two objects with the same arguments and the same state ask for the
    same members to the bit. That is what makes runs resumable, and equal with any number of workers.
    """

    @property
    def generation(self) -> int:
        """Generations done: how often ``tell`` was called."""
        ...

    @property
    def centre(self) -> NDArray[np.float32]:
        """(D,) float32, what is validated, evaluated and exported."""
        ...

    def ask(self) -> NDArray[np.float32]:
        """(P, D) float32, the weights of all members; the same until ``tell``."""
        ...

    def tell(self, fitness: NDArray[np.float64]) -> None:
        """Move on.

        Args:
            fitness: (P,) in the order of ``ask``, higher is better. NaN marks a failure, which counts as the worst; at
                least one is finite.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue between two generations: numbers, texts, lists and NumPy arrays, no objects."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the state that ``state_dict`` gave."""
        ...


@runtime_checkable
class MemberByMember(Protocol):
    """Optional for a strategy over weight vectors: it makes some members without the others."""

    def members(self, numbers: Sequence[int]) -> NDArray[np.float32]:
        """(len(numbers), D) float32, those rows of ``ask``, bit for bit; ``tell`` may follow it as it may ``ask``."""
        ...


@runtime_checkable
class ExactMembers(Protocol):
    """Optional for a strategy over weight vectors: it keeps its vectors in float64, and shows them unrounded."""

    @property
    def exact_centre(self) -> NDArray[np.float64]:
        """(D,) what ``centre`` rounds to float32, a copy."""
        ...

    def exact_members(self) -> NDArray[np.float64]:
        """(P, D) what ``ask`` gives in float32; ``tell`` may follow it as it may ``ask``."""
        ...


class Executor(Protocol):
    """Computes scores somewhere."""

    def score(self, cohort: Cohort) -> Scores:
        """Fitness of every member of the cohort on the generation's shared examples."""
        ...
