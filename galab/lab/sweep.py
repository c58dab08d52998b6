"""A small grid of configurations, several seeds each; what is finished already is not computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from galab.config import RunConfig
from galab.lab.cells import run_cells
from galab.lab.compose import varied
from galab.lab.grid import cells_of, checked_seeds
from galab.lab.trials import Trials
from galab.lab.workers import Observe
from galab.registry import TASKS


def sweep(
    config: RunConfig,
    grid: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    *,
    name: str | None = None,
    runs: Path = Path("runs"),
    jobs: int | None = None,
    observe: Observe | None = None,
) -> Trials:
    """Run every cell of a grid with every seed, each in ``runs/<name>/<field>=<value>,.../seed_<k>``.

    The same call again skips finished trials, continues unfinished ones, and begins what was added to the grid.

    Args:
        config: what the cells have in common.
        grid: fields of the configuration, each with its values.
        seeds: one trial each, in every cell.
        name: the sweep's folder; ``<task>-sweep`` when absent.
        runs: the folder of all runs.
        jobs: processes; as many as cores when absent.
        observe: hears how each trial comes along, by its index in the order of cells and seeds.

    Raises:
        UsageError: cells that cannot be carried out, all of them named; nothing was written then.
        RunFolderError: the folder holds something else.
    """
    path = Path(runs) / (name or f"{TASKS.parse(config.task).short}-sweep")
    cells = {cell: partial(varied, config, values) for cell, values in cells_of(grid).items()}
    return run_cells(path, cells, checked_seeds(seeds), jobs=jobs, workers=config.workers, observe=observe)
