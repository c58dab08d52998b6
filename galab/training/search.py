"""What a run needs of its search, whether it breeds genomes or moves a centre."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.config.fields import RunConfig
from galab.contracts import Cohort, Executor, Member, Outcome, Scores, Strategy, Task
from galab.genome.initial import Founders
from galab.genome.random import Table

if TYPE_CHECKING:
    from galab.training.build import Experiment


@dataclass(slots=True)
class Shared:
    """What the trials of one process have in common; none of it changes what one of them computes.

    Attributes:
        interrupted: set by whoever hears Ctrl-C for all of them; None where the run listens for itself.
        tasks: tasks that were loaded already, by name and data, and by the seed where their data is made from it.
        like: the first trial that was built, whose evaluator and prepared data serve the others.
        cache_share: the part of ``--cache-mb`` that one trial gets.
    """

    interrupted: threading.Event | None = None
    tasks: dict[tuple[str, str, int | None], Task] = field(default_factory=dict)
    like: Experiment | None = None
    cache_share: float = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
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
    shared: Shared

    @property
    def twin(self) -> Experiment | None:
        """Another trial in this process that differs in the seed alone, whose evaluator may serve here too."""
        like = self.shared.like
        if like is None or like.task is not self.task:
            return None
        same = dataclasses.replace(self.config, seed=like.config.seed) == like.config
        return like if same and _alike(self.module, like.module) else None


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks are alike but for their weights, which an evaluator does not use."""
    pairs = zip(one.named_buffers(), other.named_buffers(), strict=True)
    return type(one) is type(other) and all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


class Search(Protocol):
    """A strategy with all that runs it."""

    #: What of a generation is written down for ever, in the folder's file of this name, as rows of this type.
    records: str

    @property
    def strategy(self) -> Strategy:
        """Whom to evaluate, and what follows from the scores."""
        ...

    @property
    def executor(self) -> Executor:
        """Carries out a generation's evaluation."""
        ...

    @property
    def record_dtype(self) -> np.dtype[Any]:
        """Type of a row of the records."""
        ...

    @property
    def numerics(self) -> dict[str, Any]:
        """What of its own decides the last bits of a score: ``chunk``, ``forward`` and ``block``."""
        ...

    def begin(self) -> NDArray[Any]:
        """The records of generation 0."""
        ...

    def candidates(self) -> tuple[list[int], Sequence[Member]]:
        """Numbers and weights of those who may be champion, best first."""
        ...

    def before(self, cohort: Cohort) -> None:
        """Called before the strategy hears the scores."""
        ...

    def after(self, outcome: Outcome) -> None:
        """Called when it has heard them."""
        ...

    def line(self, cohort: Cohort, scores: Scores, outcome: Outcome, records: int) -> dict[str, Any]:
        """This kind of search's fields of the log; ``records`` is how many rows are written."""
        ...

    def state(self) -> dict[str, Any]:
        """What its checkpoint holds besides ``strategy.state_dict()``: ``weights`` of the candidates, and the like."""
        ...

    def recent(self) -> NDArray[Any]:
        """Records of as many generations back as anybody in a worker asks for."""
        ...

    def restore(self, state: dict[str, Any], records: NDArray[Any]) -> None:
        """Continue from a checkpoint and the records that it counts on."""
        ...

    def news(self) -> dict[str, Any]:
        """What the same search in a worker has to know before it scores members of the generation that was asked."""
        ...

    def heard(self, fitness: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """What it needs of a generation's fitness, (P,), to move on; None where the news of the next will do."""
        ...

    def follow(self, news: dict[str, Any], births: Sequence[NDArray[np.void]]) -> bool:
        """In a worker: be ready to score these parts of the cohort; False if that takes the whole state."""
        ...

    def settle(self) -> None:
        """In a worker: do what can wait until its parts are scored."""
        ...

    def hear(self, fitness: NDArray[np.float64]) -> None:
        """In a worker: what :meth:`heard` gave."""
        ...
