"""The quantile table of a run's distribution: made once, kept in the run folder, read from there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from galab.config import RunConfig
from galab.config.distribution import parse, shown
from galab.errors import CheckpointError, UsageError
from galab.genome import quantile_tables
from galab.genome.random import Table, table
from galab.storage.run_folder import RunFolder, locate


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
