"""What is decided before a run begins: every "choose for me", and the quantile table of its distribution.

:mod:`galab.config.resolve` chooses what follows from the configuration alone. A quantile table is made once, kept in
the run folder and read from there.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
from pathlib import Path
from typing import Any

from galab.config import RunConfig
from galab.config.distribution import parse, shown
from galab.config.registry import STRATEGIES, TASKS
from galab.config.resolve import decide
from galab.config.strategy_kinds import kind_of
from galab.errors import CheckpointError, UsageError
from galab.evaluation.numeric_profile import default_threads, resolve_device, resolve_precision
from galab.genome import quantile_tables
from galab.genome.random import Table, table
from galab.genome.step_sizes import sigma, snap
from galab.storage.run_folder import RunFolder, locate

#: How long a run goes on that has no stop rule.
DEFAULT_GENERATIONS = 1000
#: Settings that change how fast a run is and not what it searches for, in the order in which `galab bench` tries them:
#: each later one with the best of those before. Compiling takes longest.
SPEED_SETTINGS = ("precision", "threads", "workers", "chunk", "compile")


def resolve(config: RunConfig) -> RunConfig:
    """The configuration with the seed drawn, step sizes snapped and every "choose for me" chosen.

    What is saved is then what was computed, also when it is run again on another machine.
    """
    config = decide(config)
    device = resolve_device(config.device)
    limits = (config.generations, config.seconds, config.target, config.patience)
    endless = all(limit is None for limit in limits)
    return dataclasses.replace(
        config,
        generations=DEFAULT_GENERATIONS if endless else config.generations,
        seed=secrets.randbits(32) if config.seed is None else config.seed,
        device=device,
        precision=resolve_precision(config.precision, device),
        threads=config.threads or _threads(config),
        **_snapped(config),
    )


def _threads(config: RunConfig) -> int:
    """Of each process: as many as the cores that it has."""
    if config.executor == "ray":
        return max(1, int(config.worker_cpus or 1))
    return max(1, default_threads() // max(1, config.workers))


def _snapped(config: RunConfig) -> dict[str, Any]:
    """The step size of a genetic algorithm and its bounds on the grid of step sizes.

    All of them: if one alone were rounded, the step size could fall below a floor equal to it.
    """
    if config.sigma_floor is None:
        return {}
    names = ("sigma", "sigma_floor", "sigma_ceiling")
    return {name: float(sigma(snap(getattr(config, name)))) for name in names}


def default_name(config: RunConfig) -> str:
    """The name of a run that is given none, and of its curves in TensorBoard: its task and strategy."""
    strategy, task = STRATEGIES.parse(config.strategy).short, TASKS.parse(config.task)
    if task.name in ("gym", "atari"):  # the world is what is in the brackets
        words = str(next(iter(task.arguments.values()), task.short))
        return f"{re.sub('[^A-Za-z0-9]+', '-', words).strip('-').lower()[:60] or task.short}-{strategy}"
    return f"{TASKS.parse(config.task).short}-{strategy}{'-gradients' if kind_of(config.strategy).gradients else ''}"


def load_table(distribution: str, folder: RunFolder) -> Table:
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
        with path.open("rb") as handle:  # one byte more than there should be is enough to see that it is too long
            return quantile_tables.load(meant, handle.read(4 * quantile_tables.LEVELS + 1))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"expected the quantile table of {shown(meant.text)} in '{path}', got {reason}; restore the file "
            "from a copy"
        ) from error


def resolve_distribution(config: RunConfig) -> tuple[RunConfig, Table]:
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
        return config, load_table(config.distribution, origin)
    made = quantile_tables.make(config.distribution)
    if meant.source == "built-in":
        return config, made
    return dataclasses.replace(config, distribution=meant.pinned(made.sha256)), made


def table_files(distribution: str, table: Table) -> dict[str, bytes]:
    """What a run folder has to hold for its distribution: content by path in the folder.

    Args:
        distribution: as the run's configuration has it.
        table: its table.
    """
    if parse(distribution).source == "built-in":
        return {}
    home = RunFolder(Path())
    return {str(home.table_path(table.sha256)): table.to_bytes()}


def same_distribution(typed: str, saved: str) -> bool:
    """Whether a distribution typed by hand is the one that a run has saved with its table's hash."""
    try:
        return parse(typed).text == parse(saved).text and parse(typed).sha256 in (None, parse(saved).sha256)
    except UsageError:
        return False
