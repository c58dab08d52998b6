"""The search of a run, of whatever kind, and the components that a run is computed with."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.config import RunConfig
from galab.contracts import Cohort, Executor, Member, Outcome, Scores, SharedCentreStrategy, Strategy, Task
from galab.errors import GalabError, NoViableChildError
from galab.evaluation.executors.local import LocalExecutor
from galab.evaluation.executors.worker import WorkerSearch
from galab.genome.births import Birth
from galab.genome.initial import Founders
from galab.genome.random import Table
from galab.genome.weights import Layout, to_float
from galab.models.normalized import normalizes, set_sums, sums_of

T = TypeVar("T")


class Search(Protocol):
    """A strategy with its executor, its state in a checkpoint and its fields of the log.

    Attributes:
        normalizer: the network, where it normalises observations; it knows more of them from generation to generation.
    """

    normalizer: nn.Module | None

    @property
    def strategy(self) -> Strategy:
        """Proposes members and learns from their scores."""
        ...

    @property
    def executor(self) -> Executor:
        """Carries out a generation's evaluation."""
        ...

    @property
    def record_dtype(self) -> np.dtype[Any]:
        """Type of a row of the records: the lineage file, or the score log."""
        ...

    @property
    def numerics(self) -> dict[str, Any]:
        """What of its own decides the last bits of a score: ``chunk``, ``forward``, ``block`` and ``compiled``."""
        ...

    def initial_records(self) -> NDArray[Any]:
        """The records of generation 0."""
        ...

    def candidates(self) -> tuple[list[int], Sequence[Member]]:
        """Numbers and weights of the members that may become champion, best first."""
        ...

    def before_tell(self, cohort: Cohort) -> None:
        """Called before the strategy is told the scores."""
        ...

    def after_tell(self, outcome: Outcome) -> None:
        """Called after the strategy was told the scores."""
        ...

    def log_fields(self, cohort: Cohort, scores: Scores, outcome: Outcome, records: int) -> dict[str, Any]:
        """This kind of search's fields of the log; ``records`` is how many rows are written."""
        ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds in addition to ``strategy.state_dict()``, such as ``weights`` of the candidates."""
        ...

    def restore(self, state: dict[str, Any], records: NDArray[Any]) -> None:
        """Continue from a checkpoint and the records that it counts on."""
        ...


@runtime_checkable
class SharedSearch(Search, WorkerSearch, Protocol):
    """A search that worker processes can share; see :class:`galab.evaluation.executors.worker.WorkerSearch`."""

    @property
    def executor(self) -> LocalExecutor:
        """Carries out a generation's evaluation."""
        ...

    def recent_records(self) -> NDArray[Any]:
        """Records of as many generations back as a worker that starts now needs."""
        ...


class SearchBase:
    """Defaults: no records before generation 1, and nothing to do before or after the strategy is told.

    Attributes:
        normalizer: the network, where it normalises observations.
    """

    normalizer: nn.Module | None = None

    @property
    def record_dtype(self) -> np.dtype[Any]:
        """See :class:`Search`."""
        raise NotImplementedError

    def initial_records(self) -> NDArray[Any]:
        """See :class:`Search`."""
        return np.zeros(0, dtype=self.record_dtype)

    def before_tell(self, cohort: Cohort) -> None:
        """See :class:`Search`."""

    def after_tell(self, outcome: Outcome) -> None:
        """See :class:`Search`."""

    def recent_records(self) -> NDArray[Any]:
        """See :class:`SharedSearch`."""
        return np.zeros(0, dtype=self.record_dtype)

    def result_for_workers(self, fitness: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """See :class:`SharedSearch`."""
        return None

    def observed(self) -> NDArray[np.float64] | None:
        """See :class:`SharedSearch`."""
        return None if self.normalizer is None else sums_of(self.normalizer)

    def receive_observed(self, sums: NDArray[np.float64]) -> None:
        """See :class:`SharedSearch`."""
        assert self.normalizer is not None
        set_sums(self.normalizer, sums)

    def finish(self) -> None:
        """See :class:`SharedSearch`."""

    def receive_result(self, result: NDArray[np.float64]) -> None:
        """See :class:`SharedSearch`."""


class SharedCentre:
    """The workers' half of a search that moves a centre: each worker moves a copy of its own by the same scores."""

    strategy: SharedCentreStrategy

    def update_for_workers(self) -> dict[str, Any]:
        """Generation and checksum of the centre: all copies must agree."""
        return {"generation": self.strategy.generation, "checksum": self.strategy.checksum}

    def result_for_workers(self, fitness: NDArray[np.float64]) -> NDArray[np.float64]:
        """All of it: the centre is moved by nothing else."""
        return fitness

    def prepare(self, update: dict[str, Any], births: Sequence[NDArray[np.void]]) -> bool:
        """Whether the copy here is where the centre is."""
        return self.update_for_workers() == update

    def receive_result(self, result: NDArray[np.float64]) -> None:
        """Move the copy."""
        self.strategy.ask()
        try:
            self.strategy.tell(Scores(result))
        except NoViableChildError:  # the run says so, and ends
            return


@dataclass(frozen=True, slots=True)
class RunComponents:
    """What one run is computed with.

    Attributes:
        config: the configuration, with every "auto" decided.
        task: what is learned.
        module: the network's structure and buffers.
        founders: the recipe for generation 0.
        law: the table of the noise's distribution.
        search: the strategy with its executor.
        pool: the workers that carry out evaluations; None where this process does.
    """

    config: RunConfig
    task: Task
    module: nn.Module
    founders: Founders
    law: Table
    search: Search
    pool: Executor | None = None

    @property
    def layout(self) -> Layout:
        """Where each parameter lies in a weight vector."""
        return self.founders.layout

    @property
    def strategy(self) -> Strategy:
        """Proposes members and learns from their scores."""
        return self.search.strategy

    @property
    def executor(self) -> Executor:
        """Carries out a generation's evaluation."""
        return self.search.executor if self.pool is None else self.pool

    def search_as(self, kind: type[T]) -> T:
        """The search, where it is known to be of this class.

        Raises:
            GalabError: it is another one.
        """
        if not isinstance(self.search, kind):
            raise GalabError(
                f"expected a strategy that runs in a {kind.__name__}, got --strategy {self.config.strategy}; choose "
                "another run"
            )
        return self.search


@dataclass(slots=True)
class SharedByTrials:
    """What the trials of one process share; none of it changes what one of them computes.

    Attributes:
        interrupted: set by Ctrl-C, which stops all of them; None where the run handles Ctrl-C itself.
        tasks: tasks that were loaded already, by name and data, and by the seed where their data is made from it.
        first_built: the first trial that was built, whose evaluator and prepared data serve the others.
        cache_share: the part of ``--cache-mb`` that one trial gets.
    """

    interrupted: threading.Event | None = None
    tasks: dict[tuple[str, str, int | None], Task] = field(default_factory=dict)
    first_built: RunComponents | None = None
    cache_share: float = 1.0


@dataclass(frozen=True, slots=True)
class SearchInputs:
    """What a search is built of.

    Attributes:
        config: the configuration, resolved.
        task: what is learned.
        module: the network.
        founders: the recipe for where the search begins.
        law: the table of the noise's distribution.
        shared: what other trials in this process have built already.
    """

    config: RunConfig
    task: Task
    module: nn.Module
    founders: Founders
    law: Table
    shared: SharedByTrials

    def reusable_search(self, kind: type[T]) -> T | None:
        """The search of another trial in this process that differs in the seed alone: its evaluator may serve here too.

        Args:
            kind: the class of the search, which is the same there.
        """
        first_built = self.shared.first_built
        if first_built is None or first_built.task is not self.task or normalizes(self.module):
            return None  # what was observed is a trial's own
        same = dataclasses.replace(self.config, seed=first_built.config.seed) == first_built.config
        return first_built.search_as(kind) if same and _same_network(self.module, first_built.module) else None


def initial_centre(founders: Founders) -> NDArray[np.float32]:
    """(D,) where a search with a centre begins: at the weights of the first founder."""
    return to_float(founders.decode(Birth(0, (), 0, 0, 0, 0, 0)))


def _same_network(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks differ in nothing but their weights, which an evaluator does not use."""
    pairs = zip(one.named_buffers(), other.named_buffers(), strict=True)
    return type(one) is type(other) and all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
