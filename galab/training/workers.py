"""The worker processes of a run: how each builds the same search, and how it follows that of the run."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.registry import TASKS
from galab.config.resolve import members_scored
from galab.contracts import Cohort, Task
from galab.errors import GalabError, NumericProfileError, UsageError
from galab.evaluation.executors.link import Links
from galab.evaluation.executors.processes import ProcessLinks, require_children
from galab.evaluation.executors.worker import MissingDataError
from galab.evaluation.executors.worker_pool import WorkerPool
from galab.evaluation.numeric_profile import differences
from galab.genome.initial import Founders
from galab.genome.parameters import evolve_also
from galab.genome.random import Table
from galab.storage.process_folder import process_folder
from galab.tasks.prompts import PromptTask
from galab.training.build import build, network_of, profile_of, task_of
from galab.training.checkpoint import buffers_of, versions
from galab.training.probe import computes_exactly, probe_digest
from galab.training.saved_state import fit_network
from galab.training.search import RunComponents, Search, SharedByTrials, SharedSearch
from galab.training.trust import code_files, code_fingerprints

#: What the folder of a worker's code is called; the number of its process follows.
_CODE = "galab-code-"


def check_workers(config: RunConfig) -> None:
    """Refuse workers where there can be none, before anything is written.

    Raises:
        UsageError: this process may not start others, Ray is not installed, or nobody answers at its address.
    """
    if config.executor == "ray":
        from galab.evaluation.executors.ray_workers import import_ray, join

        ray, address = import_ray(), config.address or "local"
        if address != "local":  # whose start takes longer than finding out what else is wrong
            join(ray, address, 0)
    elif config.workers:
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
def with_workers(components: RunComponents, *, allow_numeric_change: bool = False) -> Iterator[RunComponents]:
    """The same components with an executor of workers, where the configuration asks for them.

    Args:
        components: of the run.
        allow_numeric_change: take workers whose scores differ in the last bits.

    Raises:
        UsageError: Ray is asked for and is not there.
    """
    workers, search = components.config.workers, components.search
    if not workers:
        yield components
        return
    shared, links = _shared(search), links_for(components.config)
    factory = WorkerSearchFactory.of(components, allow_numeric_change)
    pool = WorkerPool(
        shared, partial(_state_of, shared), factory, workers, links, partial(sendable, components.task),
        components.config.member_seconds, repeats=components.config.generator == "transformers",
    )  # fmt: skip
    try:
        yield replace(components, pool=pool)
    finally:
        pool.close()


def links_for(config: RunConfig) -> Links[Any]:
    """What starts the workers of a configuration.

    Raises:
        UsageError: Ray is asked for and is not there, or answers at no such address.
    """
    if config.executor == "ray":
        from galab.evaluation.executors.ray_workers import RayLinks

        return RayLinks.connect(config.address or "local", config.workers, config.worker_cpus, config.worker_gpus)
    return ProcessLinks()


def sendable(task: Task) -> Task:
    """A task whose data a worker has not got, if it can be sent.

    Raises:
        UsageError: it is a class of the user's own.
    """
    if type(task).__module__.startswith("galab.") and not isinstance(task, PromptTask):  # whose reward is code
        return task
    raise UsageError(
        f"expected the data of task '{task.name}' where each worker runs, as code of your own comes with it, which "
        "galab cannot send; put its files where every machine finds them"
    )


@dataclass(frozen=True, slots=True)
class WorkerSearchFactory:
    """Everything that a worker needs to build its search; calling it builds the search.

    Code of the user's own is loaded again by its name, from the folder that the run was started in, and must be what
    the run began with. Where there is no such folder, on another machine, its files are written into one.

    Attributes:
        config: resolved.
        founders: the recipe for generation 0.
        law: the table of the noise's distribution.
        buffers: the module's.
        profile: the numeric profile of the run.
        digest: of the scores of its probe, see :func:`galab.training.probe.probe_digest`; None where workers are
            processes of the same machine, and empty where a server scores, which promises no bits.
        allow: whether both may differ.
        fingerprint: of the task's data.
        fingerprints: of the user's own code.
        files: its files, by the names that the configuration gives them.
        place: the current folder.
    """

    config: RunConfig
    founders: Founders
    law: Table
    buffers: dict[str, NDArray[Any]]
    profile: dict[str, Any]
    digest: str | None
    allow: bool
    fingerprint: str
    fingerprints: frozenset[str]
    files: dict[str, bytes]
    place: str

    @classmethod
    def of(cls, components: RunComponents, allow: bool = False) -> WorkerSearchFactory:
        """What the components of a run were built of."""
        config = components.config
        digest = None
        if config.executor != "processes":
            digest = ""  # a server promises no bits
            if config.generator == "transformers":
                digest = probe_digest(config, components.module, components.task, components.founders, components.law)
        return cls(
            config, components.founders, components.law, buffers_of(components.module), profile_of(components),
            digest, allow, components.task.fingerprint, code_fingerprints(config), code_files(config), os.getcwd(),
        )  # fmt: skip

    def __call__(self, task: Task | None = None) -> tuple[SharedSearch, str]:
        """Build it.

        Args:
            task: with its data; None looks for that.

        Returns:
            The search, and in what its scores may differ, in words.

        Raises:
            MissingDataError: the data is not here.
            UsageError: the code or the data is not what the run began with.
            NumericProfileError: scores would differ in the last bits here.
        """
        self._enter_folder()
        config = self.config
        task = self._found_task() if task is None else task
        module = network_of(config, task.input_shape, task.outputs, examples=task.train.inputs, check=False)
        if code_fingerprints(config) != self.fingerprints or task.fingerprint != self.fingerprint:
            raise UsageError(
                "expected a worker to find the code and the data that the run began with, got others: they were "
                "changed meanwhile; put them back and resume the run"
            )
        evolve_also(module, self.founders.layout.names)
        fit_network(module, self.founders.layout, self.buffers, "the run")
        shared = SharedByTrials()
        different = []
        if self.digest:
            found = probe_digest(config, module, task, self.founders, self.law, shared)
            different = [f"scores {self.digest[:8]} -> {found[:8]}"] if found != self.digest else []
        components = build(config, module, task, law=self.law, founders=self.founders, shared=shared)
        if not computes_exactly(config):
            different += differences(self.profile, profile_of(components))
        if different and not self.allow:
            raise NumericProfileError(
                f"expected workers to compute as the run does, got {'; '.join(different)} in one of them"
                f"{self._where()}; use --workers 0"
                f"{', or --allow-numeric-change with galab resume' if self.digest is not None else ''}"
            )
        return _shared(components.search), "; ".join(different)

    def _where(self) -> str:
        return f" on {platform.node()}" if self.digest is not None else ""

    def _found_task(self) -> Task:
        try:
            task = task_of(self.config)
        except GalabError as error:
            if self._own_task():
                raise
            raise MissingDataError(str(error)) from error
        if task.fingerprint != self.fingerprint and not self._own_task():
            raise MissingDataError(f"expected the data of {task.name} that the run has, got other data")
        return task

    def _own_task(self) -> bool:
        """Whether the task is code of the user's own."""
        return not TASKS.is_own(TASKS.parse(self.config.task).name)

    def _enter_folder(self) -> None:
        """Go where the run was started; where that is not, into a folder that holds its code."""
        try:
            os.chdir(self.place)
            if self.digest is None:
                return
        except OSError:
            pass
        if code_fingerprints(self.config) == self.fingerprints:
            return
        folder = process_folder(_CODE)
        for name, content in self.files.items():
            path = (folder / name).resolve()
            if not path.is_relative_to(folder):
                raise UsageError(
                    f"expected your code in the folder where the run is started, or below it, as it is sent to "
                    f"{platform.node()}, got '{name}'; move it there, or have it at that place on every machine"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        os.chdir(folder)


def _shared(search: Search) -> SharedSearch:
    """The search, where workers can share it; the configuration refuses workers for any other."""
    if not isinstance(search, SharedSearch):
        raise GalabError(f"expected a search that workers can share, got {type(search).__name__}; use --workers 0")
    return search


def _state_of(search: SharedSearch) -> tuple[dict[str, Any], NDArray[Any]]:
    """The state of a search and its recent records, for a worker that starts."""
    state = {"strategy": search.strategy.state_dict(), "versions": versions(), **search.state()}
    return state, search.recent_records()
