"""Opening a saved run: its checkpoint, its folder, and the components that are built from them.

Everything that continues, verifies, replays or analyses a run opens it here, so that the checks (trusted code, the
run's own data, a network of the same shape) are made in one place.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.config import RunConfig, flag
from galab.config.parsing import hidden_sizes
from galab.config.registry import MODELS
from galab.contracts import Task
from galab.errors import CheckpointError, GalabError, UsageError
from galab.evaluation.numeric_profile import resolve_device
from galab.genome.initial import Founders, frozen_hash
from galab.genome.parameters import evolve_also, frozen_values, set_frozen
from galab.genome.random import Table, table
from galab.genome.weights import Layout
from galab.storage import checkpoints
from galab.storage.lineage import read_counted
from galab.storage.run_folder import RunFolder, locate
from galab.training import trust as trust_rules
from galab.training.build import build, network_of, task_of
from galab.training.checkpoint import (
    check_buffers,
    check_data,
    check_layout,
    config_in,
    config_of,
    layout_of,
    load_buffers,
    load_founders,
    records_of,
)
from galab.training.checkpoint_schema import check_records
from galab.training.resolve import SPEED_SETTINGS, load_table
from galab.training.search import RunComponents, SharedByTrials

logger = logging.getLogger("galab")
#: A network may draw so many numbers, 64 MB, whatever it holds.
_SMALL = 2**24


class SavedState:
    """An opened checkpoint. Task, network, founders and tables are loaded when first asked for, and only once.

    Args:
        state: the checkpoint's content.
        folder: the run folder around it, if there is one.
        path: what was opened, for messages.
        config: the run's configuration; the one in the checkpoint when absent.
        trust: whether code that the checkpoint names may run even if it was never run here before.
        shared: what other runs in this process have loaded already.

    Attributes:
        state: the checkpoint's content.
        config: the run's configuration.
        layout: where each parameter lies in a weight vector.
        folder: the run folder around it, if there is one.
        path: what was opened.
        trust: see above.
    """

    def __init__(
        self,
        state: dict[str, Any],
        folder: RunFolder | None,
        path: Path,
        *,
        config: RunConfig | None = None,
        trust: bool = False,
        shared: SharedByTrials | None = None,
    ) -> None:
        self.state = state
        self.config = config_of(state, path) if config is None else config
        self.layout: Layout = layout_of(state)
        self.folder = folder
        self.path = path
        self.trust = trust
        self._shared = shared

    @classmethod
    def open(cls, path: Path, *, trust: bool = False, shared: SharedByTrials | None = None) -> Self:
        """Open a run folder (its newest checkpoint) or a checkpoint file.

        Args:
            path: the folder or the file.
            trust: run code that it names even if it was never run here before.
            shared: what other runs in this process have loaded already.

        Raises:
            CheckpointError: it is damaged or no checkpoint of a run, and the newest good one beside it is named; or it
                is another run's than that of its folder.
            RunFolderError: there is no run at that path.
        """
        saved = cls(read_state(path), locate(path)[0], path, trust=trust, shared=shared)
        saved.check_configuration()
        return saved

    @property
    def generation(self) -> int:
        """The checkpoint's generation."""
        return int(self.state["generation"])

    @property
    def home(self) -> RunFolder:
        """The run folder.

        Raises:
            UsageError: this is a lone checkpoint.
        """
        if self.folder is None:
            raise UsageError(
                f"expected the run folder of '{self.path}', as its founders and its records lie there, got the lone "
                "checkpoint; give the checkpoint inside its run"
            )
        return self.folder

    @cached_property
    def task(self) -> Task:
        """The run's task, with the data that the run saw.

        Raises:
            CheckpointError: the data here is other data.
            UsageError: the task is code that is not trusted.
        """
        trust_rules.check(self.config, trust=self.trust, names=["task"])
        task = task_of(self.config, self._shared)
        check_data(task, self.state, str(self.path))
        return task

    @cached_property
    def module(self) -> nn.Module:
        """The run's network, with the run's buffers and arbitrary weights; it is shared, so do not change it.

        Raises:
            UsageError: the network is code that is not trusted, or has changed its shape.
        """
        return self.new_module()

    def check_configuration(self) -> None:
        """Refuse a checkpoint that says of its run what ``config.json`` beside it does not.

        A checkpoint holds all that is needed, so a ``config.json`` that cannot be read is no reason to lose it.

        Raises:
            CheckpointError: a hyperparameter that cannot change is another one there.
        """
        if self.folder is None:
            return
        try:
            begun = config_in(self.folder)
        except GalabError as error:
            logger.warning("%s; its checkpoint says what the run is", error)
            return
        for name in sorted(meaning(self.config, begun)):
            raise CheckpointError(
                f"expected {flag(name)} {getattr(begun, name)} in '{self.path}', as '{self.folder.config_path}' has "
                f"it, got {getattr(self.config, name)}; one of the two was changed: restore it from a copy"
            )

    def new_module(self) -> nn.Module:
        """A network like :attr:`module` of the caller's own; the data is not needed for it.

        Raises:
            UsageError: the network is code that is not trusted, or has changed its shape.
        """
        module = self._constructed()
        set_frozen(module, self.frozen, str(self.path))
        return module

    @property
    def frozen_as_constructed(self) -> bool:
        """Whether the model's constructor still gives the run's frozen parameters, so that their hash is enough."""
        wanted = self.state.get("frozen")
        return wanted is None or frozen_hash(frozen_values(self._constructed())) == wanted

    def _constructed(self) -> nn.Module:
        """The network as its constructor makes it, with the run's buffers."""
        trust_rules.check(self.config, trust=self.trust, names=["model"])
        fits = self.state["task"]
        check_size(self.config, self.layout, self.state, str(self.path))
        module = network_of(self.config, tuple(fits["input_shape"]), fits["outputs"], check=False)
        evolve_also(module, self.layout.names)
        fit_network(module, self.layout, self.state["buffers"], str(self.path))
        return module

    @cached_property
    def frozen(self) -> Mapping[str, NDArray[Any]]:
        """Name to the values of each parameter that the run does not evolve.

        They lie in the run folder; those of a lone checkpoint are as the constructor makes them, if that is still so.

        Raises:
            CheckpointError: they are not the run's.
        """
        wanted = self.state.get("frozen")
        if wanted is None:
            return {}
        values = self.founders.frozen if self.folder is not None else frozen_values(self._constructed())
        if frozen_hash(values) != wanted:
            raise CheckpointError(
                f"expected the frozen parameters that '{self.path}' was made with, got other values: the model's "
                "constructor gives others now, or the folder holds another run's; open the checkpoint in its own run "
                "folder, which keeps them"
            )
        return values

    @cached_property
    def founders(self) -> Founders:
        """The recipe for generation 0, as the run folder has it.

        Raises:
            CheckpointError: the file is missing, damaged or changed.
            UsageError: this is a lone checkpoint.
        """
        founders = load_founders(self.home.founders_path, self.layout.domain)
        if founders.layout != self.layout:
            raise CheckpointError(
                f"expected '{self.home.founders_path}' to hold founders of the network of '{self.path}', got those of "
                "another one; restore the file"
            )
        return founders

    def check_founders(self) -> None:
        """Refuse a folder that holds the founders of another run.

        Raises:
            CheckpointError: it does.
        """
        if self.founders.sha256 != self.state["founders"] or self.founders.run_key != self.config.seed:
            raise CheckpointError(
                f"expected '{self.home.founders_path}' to hold the founders of this run, got others; restore the file"
            )

    @cached_property
    def law(self) -> Table:
        """The table of the distribution of the run's mutations or noise.

        Raises:
            CheckpointError: the stored table is missing or damaged.
            UsageError: it lies in a run folder, and this is a lone checkpoint.
        """
        if self.folder is not None:
            return load_table(self.config.distribution, self.folder)
        try:
            return table(self.config.distribution)
        except UsageError as error:
            raise UsageError(
                f"expected the run folder of '{self.path}', as its distribution {self.config.distribution} lies "
                "there, got the lone checkpoint; give the checkpoint inside its run"
            ) from error

    @cached_property
    def records(self) -> NDArray[np.void]:
        """The rows of the lineage file, or of the score log, that the checkpoint counts on; oldest first.

        Raises:
            CheckpointError: they are others, or the checkpoint's individuals are not among them.
            UsageError: this is a lone checkpoint.
        """
        name, dtype = records_of(self.config)
        lineage = self.state["lineage"]
        rows = read_counted(self.home.path / name, dtype, lineage["births"], lineage["sha256"])
        check_records(self.state, self.config, rows, self.path)
        return rows

    def built(self, config: RunConfig | None = None, *, shared: SharedByTrials | None = None) -> RunComponents:
        """The run's components as they are before generation 0.

        Args:
            config: as :attr:`config` but for settings that leave the run what it is, such as the device.
            shared: what other trials in this process have built already.

        Raises:
            CheckpointError: the data here, the founders or the table are not the run's.
            UsageError: the run names code that is not trusted, its network has changed, or there is no such device.
        """
        config = self.config if config is None else config
        resolve_device(config.device)
        trust_rules.check(self.config, trust=self.trust)
        task, module = self.task, self.module  # in this order: where both are wrong, the error is about the data
        return build(config, module, task, law=self.law, founders=self.founders, shared=shared)

    def components(self, config: RunConfig | None = None) -> RunComponents:
        """The run's components at the checkpoint; the files of the run are only read.

        Args:
            config: see :meth:`built`.

        Raises:
            CheckpointError: the data here, the founders or the table are not the run's.
            UsageError: the run names code that is not trusted, its network has changed, or there is no such device.
        """
        self.check_founders()
        records = self.records
        components = self.built(config)
        self.restore(components, records)
        return components

    def restore(self, components: RunComponents, records: NDArray[np.void]) -> None:
        """Bring components from generation 0 to the checkpoint.

        Raises:
            CheckpointError: the state does not fit together.
        """
        try:
            components.search.restore(self.state, records)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"expected a state that --strategy {self.config.strategy} can go on from in '{self.path}', got "
                f"{type(error).__name__}: {error}; it was damaged or changed, so use another checkpoint"
            ) from error


def newest(folder: RunFolder) -> Path:
    """The newest checkpoint of a run.

    Raises:
        CheckpointError: the run has none.
    """
    present = checkpoints.list_checkpoints(folder.checkpoints)
    if not present:
        raise CheckpointError(
            f"expected a checkpoint in '{folder.checkpoints}', found none: the run was killed before its first; "
            f"continue it with `galab resume {folder.path}`"
        )
    return present[-1][1]


def checkpoint_of(path: Path) -> Path:
    """The checkpoint that a path on the command line means: itself, or the newest one of a run folder.

    Raises:
        CheckpointError: the run has none.
        RunFolderError: there is no run at that path.
    """
    folder, file = locate(path)
    if file is not None:
        return file
    assert folder is not None
    return newest(folder)


def read_state(path: Path) -> dict[str, Any]:
    """The content of the newest checkpoint of a run folder, or of the checkpoint at a path.

    Raises:
        CheckpointError: it is damaged; the newest good one beside it is named.
        RunFolderError: there is no run at that path.
    """
    return load_state(checkpoint_of(path))


def load_state(file: Path) -> dict[str, Any]:
    """The content of a checkpoint.

    Raises:
        CheckpointError: it is damaged or no checkpoint of a run; the newest good one beside it is named.
    """
    state = checkpoints.load_checked(file)
    config_of(state, file)
    named = checkpoints.generation_of(file)
    if named is not None and named != state["generation"]:
        raise CheckpointError(
            f"expected the checkpoint of generation {named} in '{file}', as its name says, got that of generation "
            f"{state['generation']}; give it its own name back"
        )
    return state


def meaning(config: RunConfig, other: RunConfig) -> set[str]:
    """Names of the hyperparameters that two checkpoints of one run must have in common, and have not.

    A run may move to a CPU, or be tuned, with ``--allow-numeric-change``; its numeric profile tells.
    """
    fields = RunConfig.__dataclass_fields__
    changed = {name for name in other.changed(config) if not fields[name].metadata["changeable"]}
    return changed - {"device", *SPEED_SETTINGS}


def check_size(config: RunConfig, layout: Layout, state: dict[str, Any], name: str) -> None:
    """Refuse a network of galab's own that is larger than the saved one, before memory is taken for it.

    Code of the user's own is trusted, and may not run without memory.

    Args:
        config: names the network.
        layout: the saved parameters.
        state: what was saved, with ``task`` and ``buffers``.
        name: where it comes from, for messages.

    Raises:
        CheckpointError: it is.
        UsageError: it has other parameters.
    """
    call = MODELS.parse(config.model)
    if not MODELS.is_own(call.name):
        return
    task, buffers = state["task"], state["buffers"]
    saved = layout.size + sum(value.size for value in buffers.values())
    asked = [(f"--model {config.model}", value * math.prod(task["input_shape"]), max(_SMALL, 4 * saved))
             for value in call.arguments.values() if isinstance(value, int)]  # fmt: skip
    # Each hidden unit has a number of its own, if it is not frozen.
    units = hidden_sizes(config.hidden) or ()
    asked.append((f"--hidden {config.hidden}", sum(units), max(_SMALL if "frozen" in state else 1024, 4 * saved)))
    layers = 10_000 if "frozen" in state else len(layout.names) + len(buffers)
    asked.append((f"--hidden {config.hidden}", len(units), layers))
    for what, wanted, most in asked:
        if wanted > most:
            raise CheckpointError(
                f"expected a network of the {saved:,} numbers that '{name}' holds, got {what:.80}, which asks for many "
                "more; it was damaged or changed, so use another file"
            )
    try:
        with torch.device("meta"):
            measured = network_of(config, tuple(task["input_shape"]), task["outputs"])
    except UsageError as error:
        if "meta" in str(error):  # numbers that a constructor draws itself cannot be left out when it is tried
            return
        raise
    evolve_also(measured, layout.names)
    check_layout(layout, measured, name)
    check_buffers(measured, buffers, name)


def fit_network(module: nn.Module, layout: Layout, buffers: dict[str, NDArray[Any]], name: str) -> None:
    """Give a freshly built network a run's buffers.

    Args:
        module: the network.
        layout: the parameters that the run's weights were made for.
        buffers: name to values.
        name: where the weights come from, for the message.

    Raises:
        UsageError: the network has other parameters.
    """
    check_layout(layout, module, name)
    load_buffers(module, buffers, name)
