"""Where a run comes from: another run's parents, or an earlier checkpoint of its own run.

The quantile table of a run's mutations: made once, kept in the run folder by its hash, and never computed again.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path

import numpy as np
import torch

from galab.config.distribution import parse, shown
from galab.config.fields import RunConfig
from galab.config.rules import decided
from galab.config.strategy_kinds import kind_of
from galab.errors import CheckpointError, UsageError
from galab.genome import quantile_tables
from galab.genome.initial import Founders, founders_fixed
from galab.genome.random import Table, table
from galab.storage import checkpoints, pickle_format
from galab.storage.lineage import LineageFile
from galab.storage.log import cut_log, read_log
from galab.storage.run_folder import RunFolder, locate
from galab.training.checkpoint import records_of
from galab.training.individuals import fixed_points_of
from galab.training.saved_state import SavedState, checkpoint_of, fit_network, load_state
from galab.training.tensorboard import TensorBoard

logger = logging.getLogger("galab")


def pinned_origin(config: RunConfig) -> RunConfig:
    """The configuration with ``--from RUN`` made the very checkpoint that is meant, as the other run may go on."""
    if config.origin is None:
        return config
    return dataclasses.replace(config, origin=str(checkpoint_of(Path(config.origin))))


def origin_founders(config: RunConfig, module: torch.nn.Module) -> Founders | None:
    """Founders made of another run's parents (``--from``), or None."""
    if config.origin is None:
        return None
    if config.init is not None:
        raise UsageError(f"expected --from or --init, got both ('{config.origin}', '{config.init}'); drop one of them")
    origin = SavedState.open(Path(config.origin))
    fit_network(module, origin.layout, origin.state["buffers"], config.origin)
    assert config.seed is not None
    clones = kind_of(config.strategy).breeds and decided(config)["founders"] == "clones"
    if clones and len(origin.state["weights"]) > 1:
        logger.warning("every founder is a clone of the fittest parent of %s: gene laws need one base", config.origin)
    return founders_fixed(module, fixed_points_of(origin.state), config.seed)


def branch(folder: RunFolder, file: Path) -> RunFolder:
    """A new run that shares another's history up to one of its checkpoints."""
    saved = SavedState(load_state(file), folder, file)
    state, config = saved.state, saved.config
    files = files_of(config.distribution, saved.law)
    generation = state["generation"]
    content = {"hyperparameters": state["hyperparameters"], "branched_from": {"run": folder.name, "file": str(file)}}
    new = RunFolder.create_free(folder.path.parent, f"{folder.name}-from-{generation}", content, files=files)
    name, dtype = records_of(config)
    with LineageFile(new.path / name, dtype) as records:
        records.append(saved.records)
    shutil.copy(folder.founders_path, new.founders_path)
    shutil.copy(folder.log_path, new.log_path)
    cut_log(new.log_path, generation)
    pickle_format.dump(state, checkpoints.checkpoint_path(new.checkpoints, generation))
    board = TensorBoard(new.path, state["hyperparameters"])
    for line in read_log(new.log_path):
        board.record({name: value for name, value in line.items() if name != "champion"}, np.empty(0))
    board.close({})
    return new


def resolve(distribution: str, folder: RunFolder) -> Table:
    """The table of a run's distribution, built in or as the run has stored it.

    Args:
        distribution: as the run's configuration has it, with the hash of its table.
        folder: the run.

    Raises:
        CheckpointError: the stored table is missing or damaged.
    """
    meant = parse(distribution)
    if meant.source == "built-in":
        return table(meant.name)
    if meant.sha256 is None:
        raise CheckpointError(
            f"expected the distribution {shown(distribution)} of '{folder.path}' to end with # and the hash of its "
            "table, as runs save it, got none; restore the file that says so from a copy"
        )
    path = folder.table_path(meant.sha256)
    try:
        return quantile_tables.load(meant, path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"expected the quantile table of {shown(meant.text)} in '{path}', got {reason}; restore the file "
            "from a copy"
        ) from error


def settle(config: RunConfig) -> tuple[RunConfig, Table]:
    """Fix the distribution of a new run.

    A hash in it came out of another run's configuration: the numbers are then that run's where it is the origin, and
    else they are made again and must come out the same.

    Returns:
        The configuration, which names the table by its hash where that is not built in; and the table.

    Raises:
        UsageError: the distribution cannot be had.
        CheckpointError: the origin's table is damaged.
    """
    meant = parse(config.distribution)
    origin = None if config.origin is None else locate(Path(config.origin))[0]
    if meant.sha256 is not None and origin is not None and origin.table_path(meant.sha256).exists():
        return config, resolve(config.distribution, origin)
    made = quantile_tables.make(config.distribution)
    if meant.source == "built-in":
        return config, made
    return dataclasses.replace(config, distribution=meant.pinned(made.sha256)), made


def files_of(distribution: str, table: Table) -> dict[str, bytes]:
    """What a run folder has to hold for its distribution: content by path in the folder.

    Args:
        distribution: as the run's configuration has it.
        table: its table.
    """
    if parse(distribution).source == "built-in":
        return {}
    home = RunFolder(Path())
    return {str(home.table_path(table.sha256)): table.to_bytes()}


def repeats(typed: str, saved: str) -> bool:
    """Whether a distribution typed by hand is the one that a run has saved with its table's hash."""
    try:
        return parse(typed).text == parse(saved).text and parse(typed).sha256 in (None, parse(saved).sha256)
    except UsageError:
        return False
