"""``galab sweep``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from galab.cli.options import GroupedCommand, beginning_options, config_options, given, jobs_option, trust_option
from galab.cli.trials import Summary, report
from galab.errors import UsageError


@click.command(cls=GroupedCommand)
@click.option(
    "--grid", multiple=True, metavar="FIELD=V,V", required=True,
    help="A hyperparameter and its values; repeat it for more fields. ';' separates values that hold commas.",
)  # fmt: skip
@click.option("--seeds", metavar="LIST", default="0-4", show_default=True, help="Trials of each cell, such as 0-15.")
@config_options()
@click.option("--name", help="Name of the sweep's folder; <task>-sweep when absent.")
@click.option("--runs", default="runs", show_default=True, type=click.Path(path_type=Path), help="Folder of all runs.")
@beginning_options
@jobs_option
@trust_option
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def sweep(
    grid: tuple[str, ...],
    seeds: str,
    name: str | None,
    runs: Path,
    preset: str | None,
    config_file: Path | None,
    jobs: int | None,
    trust: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """Run every cell of a small grid with every seed; the same command continues a sweep.

    Each cell is a group of trials in runs/NAME/FIELD=VALUE,.... Finished trials are skipped.
    """
    from galab.lab.compose import compose
    from galab.lab.grid import parse_grid, parse_seeds
    from galab.lab.sweep import sweep as run_sweep

    values = parse_grid(grid)
    own = given(flags)
    if "seed" in own:
        raise UsageError(f"expected --seeds for the seeds of a sweep, got --seed {own['seed']}; write --seeds")
    if twice := sorted(values.keys() & own.keys()):
        raise UsageError(f"expected '{twice[0]}' in --grid or as a flag, got both; drop one of them")
    numbers = parse_seeds(seeds)
    config = compose(own, preset=preset, config_file=config_file, trust=trust)
    count = len(numbers) * math.prod(map(len, values.values()))
    with Summary(count, quiet=quiet).shown() as summary:
        trials = run_sweep(config, values, numbers, name=name, runs=runs, jobs=jobs, observe=summary.hear)
    return report(trials)
