"""The worker processes of a run: how each builds the same search, and how it follows that of the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.resolve import members_scored
from galab.contracts import Cohort
from galab.errors import GalabError, NumericProfileError, UsageError
from galab.evaluation.executors.worker import require_children
from galab.evaluation.executors.worker_pool import WorkerPool
from galab.evaluation.numeric_profile import differences
from galab.genome.initial import Founders
from galab.genome.parameters import evolve_also
from galab.genome.random import Table
from galab.training.build import build, network_and_task, profile_of
from galab.training.checkpoint import buffers_of, versions
from galab.training.saved_state import fit_network
from galab.training.search import RunComponents, Search, SharedSearch
from galab.training.trust import code_fingerprints


def check_workers(config: RunConfig) -> None:
    """Refuse workers where there can be none, before anything is written.

    Raises:
        UsageError: this process may not start others.
    """
    if config.workers:
        require_children(f"--workers {config.workers}", "--workers 0")


def workers_started(components: RunComponents) -> int:
    """How many workers an ordinary generation starts: no more than were asked for, nor than there are chunks."""
    config = components.config
    if not config.workers:
        return 0
    members = np.zeros(members_scored(config), dtype=[("id", np.int64), ("sign", np.int8)])
    members["sign"] = 1
    if getattr(components.strategy, "antithetic", False):
        members["sign"][1::2] = -1
    parts = _shared(components.search).executor.parts(Cohort(1, members, len(members)))
    return min(config.workers, len(parts))


@contextmanager
def with_workers(components: RunComponents) -> Iterator[RunComponents]:
    """The same components with an executor of worker processes, where the configuration asks for them."""
    workers, search = components.config.workers, components.search
    if not workers:
        yield components
        return
    shared = _shared(search)
    limit = components.config.member_seconds
    pool = WorkerPool(shared, partial(_state_of, shared), WorkerSearchFactory.of(components), workers, limit)
    try:
        yield replace(components, pool=pool)
    finally:
        pool.close()


@dataclass(frozen=True, slots=True)
class WorkerSearchFactory:
    """Everything that a worker needs to build its search; calling it builds the search.

    Code of the user's own is loaded again by its name, from the folder that the run was started in, and must be what
    the run began with.

    Attributes:
        config: resolved.
        founders: the recipe for generation 0.
        law: the table of the noise's distribution.
        buffers: the module's.
        profile: the numeric profile of the run.
        fingerprint: of the task's data.
        fingerprints: of the user's own code.
        place: the current folder.
    """

    config: RunConfig
    founders: Founders
    law: Table
    buffers: dict[str, NDArray[Any]]
    profile: dict[str, Any]
    fingerprint: str
    fingerprints: frozenset[str]
    place: str

    @classmethod
    def of(cls, components: RunComponents) -> WorkerSearchFactory:
        """What the components of a run were built of."""
        config = components.config
        return cls(
            config, components.founders, components.law, buffers_of(components.module), profile_of(components),
            components.task.fingerprint, code_fingerprints(config), os.getcwd(),
        )  # fmt: skip

    def __call__(self) -> SharedSearch:
        """Build it.

        Raises:
            UsageError: the code or the data is not what the run began with.
            NumericProfileError: scores would differ in the last bits here.
        """
        os.chdir(self.place)
        module, task = network_and_task(self.config, check=False)
        if code_fingerprints(self.config) != self.fingerprints or task.fingerprint != self.fingerprint:
            raise UsageError(
                "expected a worker to find the code and the data that the run began with, got others: they were "
                "changed meanwhile; put them back and resume the run"
            )
        evolve_also(module, self.founders.layout.names)
        fit_network(module, self.founders.layout, self.buffers, "the run")
        components = build(self.config, module, task, law=self.law, founders=self.founders)
        different = differences(self.profile, profile_of(components))
        if different:
            raise NumericProfileError(
                f"expected workers to compute as the run does, got {'; '.join(different)} in one of them; use "
                "--workers 0"
            )
        return _shared(components.search)


def _shared(search: Search) -> SharedSearch:
    """The search, where workers can share it; the configuration refuses workers for any other."""
    if not isinstance(search, SharedSearch):
        raise GalabError(f"expected a search that workers can share, got {type(search).__name__}; use --workers 0")
    return search


def _state_of(search: SharedSearch) -> tuple[dict[str, Any], NDArray[Any]]:
    """The state of a search and its recent records, for a worker that starts."""
    state = {"strategy": search.strategy.state_dict(), "versions": versions(), **search.state()}
    return state, search.recent_records()
