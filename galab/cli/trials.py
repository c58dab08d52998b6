"""Many trials on the terminal, one live summary and one table at the end; and ``galab sweep``."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from galab.cli.options import (
    GroupedCommand,
    beginning_options,
    config_options,
    given,
    jobs_option,
    runs_option,
    trust_option,
)
from galab.cli.output import RESUMABLE, command, echo, emit, text, told_if_interrupted
from galab.config import flag
from galab.errors import GalabError, UsageError, printable

if TYPE_CHECKING:
    from galab.config import RunConfig
    from galab.training.tensorboard import Progress
    from galab.training.trials.trials import Trials, TrialStatus

_PLAIN_SECONDS = 10.0
#: What runs are told by, and runs of episodes: fields of the log.
ACCURACIES, RETURNS = ("validation_accuracy", "test_accuracy"), ("validation_return", "test_return")


def _metrics(trials: Sequence[TrialStatus]) -> tuple[str, str]:
    """What trials are told by: returns where they were scored by episodes."""
    return RETURNS if any(RETURNS[0] in one.metrics for one in trials) else ACCURACIES


def run_trials(
    config: RunConfig,
    seeds: str,
    *,
    name: str | None,
    runs: Path,
    jobs: int | None,
    quiet: bool,
    callbacks: Sequence[Any] = (),
) -> int:
    """``galab run --seeds``."""
    from galab.training.trials.trials import parse_seeds, start_trials

    numbers = parse_seeds(seeds)
    with Summary(len(numbers), quiet=quiet).shown() as summary:
        trials = start_trials(
            config, numbers, name=name, runs=runs, jobs=jobs, progress=summary.update, callbacks=callbacks
        )
    return report(trials)


def resume_trials(path: Path, changes: dict[str, Any], *, jobs: int | None, quiet: bool, **how: bool) -> int:
    """``galab resume`` of a group or a sweep."""
    from galab.storage.groups import runs_below
    from galab.training.trials.trials import resume_trials as go_on

    with Summary(len(runs_below(path)), quiet=quiet).shown() as summary:
        trials = go_on(path, changes, jobs=jobs, progress=summary.update, **how)
    return report(trials)


class Summary:
    """One line about all trials: live on a terminal, now and then in a pipe.

    Args:
        count: how many trials there are.
        quiet: show nothing.
    """

    def __init__(self, count: int, *, quiet: bool = False) -> None:
        self._count = count
        self._quiet = quiet
        self._live: Live | None = None
        self._news: dict[int, Progress] = {}
        self._began = time.monotonic()
        self._said = 0.0
        self._before: dict[int, float] = {}

    @contextmanager
    def shown(self) -> Iterator[Summary]:
        """Show the line while trials run."""
        if not sys.stderr.isatty() or self._quiet:
            yield self
            return
        with Live(Text(""), console=Console(stderr=True), refresh_per_second=8, transient=True) as self._live:
            yield self

    def update(self, index: int, progress: Progress) -> None:
        """How one trial comes along."""
        self._before.setdefault(index, progress.fraction)
        self._news[index] = progress
        if self._live is not None:
            self._live.update(Text(printable(self.sentence())))
        elif not self._quiet and time.monotonic() - self._said >= _PLAIN_SECONDS:
            self._said = time.monotonic()
            echo(self.sentence(), err=True)

    def sentence(self) -> str:
        """The line."""
        news = list(self._news.values())
        generations = [one.generation for one in news]
        parts = [
            f"{len(news)} of {self._count} trials begun",
            f"generation {min(generations):,} to {max(generations):,}",
        ]
        known = [one.validation_accuracy for one in news if one.validation_accuracy is not None]
        if known:
            parts.append(f"median validation {statistics.median(known):.1%}")
        done = sum(one.fraction for one in news)
        parts.append(f"{done / max(self._count, len(news)):.0%} done")
        moved = done - sum(self._before.values())
        if moved > 0:
            left = (time.monotonic() - self._began) * (max(self._count, len(news)) - done) / moved
            parts.append(f"{int(left) // 60}:{int(left) % 60:02} left")
        return " | ".join(parts)


def report(trials: Trials) -> int:
    """Print what became of trials and what to type next; 130 when a person stopped them, 1 when one failed."""
    several = len({one.path.parent for one in trials.trials}) > 1
    _table(trials.trials, trials.path)
    for title, members in _by_group(trials).items():
        echo((f"{title}: " if several else "") + _median_sentence(members))
    echo(f"validation and test are those of each trial's champion on {trials.data or 'unknown data'}")
    for one in trials.failed:
        echo(f"galab: {one.path} failed: {one.message}", err=True)
    unfinished = any(one.state != "finished" for one in trials.trials)
    lines = [command("galab", "show", trials.path)]
    if unfinished:
        lines.append(command("galab", "resume", trials.path))
    lines.append(command("galab", "compare", trials.path, *(_by(trials) if several else ())))
    lines.append(command("tensorboard", "--logdir", trials.path))
    echo("next:\n" + "\n".join(f"  {line}" for line in lines))
    return 1 if trials.failed else 130 if trials.interrupted else 0


def show_trials(path: Path, style: str) -> None:
    """``galab show`` of a group or a sweep."""
    from galab.storage.groups import GroupFolder
    from galab.training.trials.trials import Trials, data_description, groups_in, trial_folders, trial_status

    ended = [
        trial_status(folder, one.seed or 0)
        for config, group in groups_in(path)
        for folder, one in trial_folders(group, config, GroupFolder(group).read("trials")["seeds"])
    ]
    if style != "table":
        emit([_row(one, path, _metrics(ended)) for one in ended], style)
        return
    trials = Trials(path, tuple(ended), data=data_description(ended))
    groups = _by_group(trials)
    kind = f"{len(groups)} configurations with" if len(groups) > 1 else "one configuration with"
    states = ", ".join(f"{sum(one.state == state for one in ended)} {state}" for state in dict.fromkeys(_states(ended)))
    echo(f"{path}: {kind} {len(ended)} trials in all ({states}), {trials.data or 'no data yet'}")
    _table(ended, path)
    for title, own in groups.items():
        echo((f"{title}: " if len(groups) > 1 else "") + _median_sentence(own))


def _states(ended: Sequence[TrialStatus]) -> list[str]:
    return [one.state for one in ended]


def _by_group(trials: Trials) -> dict[str, list[TrialStatus]]:
    groups: dict[str, list[TrialStatus]] = {}
    for one in trials.trials:
        groups.setdefault(one.path.parent.name, []).append(one)
    return groups


def _row(one: TrialStatus, path: Path, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "trial": one.path.relative_to(path).as_posix(),
        "state": one.state,
        "generation": one.generation,
        "evaluations": one.evaluations,
        "seconds": round(one.seconds, 1),
        **{name: one.metrics.get(name) for name in metrics},
    }


def _table(trials: Sequence[TrialStatus], path: Path) -> None:
    rows = [_row(one, path, _metrics(trials)) for one in trials]
    emit([{name: value for name, value in row.items() if name != "seconds"} for row in rows], "table")


def _median_sentence(trials: Sequence[TrialStatus]) -> str:
    """The medians of a group's finished trials, with how far they may be off and on how many evaluations."""
    from galab.stats.intervals import median_interval

    finished = [one for one in trials if one.state == "finished"]
    parts = []
    form = ".5g" if _metrics(finished) == RETURNS else ".2%"
    for name in _metrics(finished):
        values = [one.metrics[name] for one in finished if one.metrics.get(name) is not None]
        if values:
            found = median_interval(values)
            interval = f" [{found.low:{form}}, {found.high:{form}}]" if found.count > 1 else ""
            parts.append(f"median {name.replace('_', ' ')} {found.median:{form}}{interval}")
    if not parts:
        return f"{len(finished)} of {len(trials)} trials finished"
    spent = sorted(one.evaluations for one in finished)
    evaluations = text(spent[0]) if spent[0] == spent[-1] else f"{spent[0]:,} to {spent[-1]:,}"
    return (
        f"{', '.join(parts)} ({len(finished)} of {len(trials)} trials finished, {evaluations} evaluations each; "
        "in brackets the bootstrap 95 % interval)"
    )


def _by(trials: Trials) -> list[str]:
    fields = [part.partition("=")[0] for part in trials.trials[0].path.parent.name.split(",")]
    return [word for field in fields for word in ("--by", field)]


def _tell_left_out(config: RunConfig, cells: Mapping[str, dict[str, Any]], own: dict[str, Any]) -> None:
    """Say which flags mean nothing in which cells."""
    from galab.training.compose import varied

    for cell, values in cells.items():
        with suppress(GalabError):  # said, with those of all cells, when they are made
            made = varied(config, values, list(own))
            for name in own:
                if name not in values and getattr(made, name) != getattr(config, name):
                    echo(f"{cell}: {flag(name)} {own[name]} means nothing there and is left out", err=True)


def _shared(
    cells: Mapping[str, dict[str, Any]], compose: Callable[[dict[str, Any]], RunConfig], own: dict[str, Any]
) -> RunConfig:
    """What the cells have in common; a flag need not mean something in all of them, but in one."""
    first: UsageError | None = None
    for cell in cells.values():
        try:
            return compose(own | cell)
        except UsageError as error:
            first = first or error
    assert first is not None, "a grid has cells"
    raise first


@click.command(cls=GroupedCommand)
@click.option(
    "--grid", multiple=True, metavar="FIELD=V,V", required=True,
    help="A hyperparameter and its values; repeat it for more fields. ';' separates values that hold commas.",
)  # fmt: skip
@click.option("--seeds", metavar="LIST", default="0-4", show_default=True, help="Trials of each cell, such as 0-15.")
@config_options()
@click.option("--name", help="Name of the sweep's folder; <task>-sweep when absent.")
@runs_option
@beginning_options
@jobs_option
@trust_option
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@told_if_interrupted(lambda: RESUMABLE)
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
    """Run every cell of a small grid with every seed.

    Each cell is a group of trials in runs/NAME/FIELD=VALUE,.... The same command continues a sweep; finished trials
    are skipped. A flag that means nothing in some cells, such as --tournament beside selection=rank, is left out there.
    """
    from galab.training.compose import compose
    from galab.training.trials.sweep import cells_of, parse_grid
    from galab.training.trials.sweep import sweep as run_sweep
    from galab.training.trials.trials import parse_seeds

    values = parse_grid(grid)
    own = given(flags)
    if "seed" in own:
        raise UsageError(f"expected --seeds for the seeds of a sweep, got --seed {own['seed']}; write --seeds")
    if twice := sorted(values.keys() & own.keys()):
        raise UsageError(f"expected '{twice[0]}' in --grid or as a flag, got both; drop one of them")
    numbers = parse_seeds(seeds)
    config = _shared(cells_of(values), partial(compose, preset=preset, config_file=config_file, trust=trust), own)
    count = len(numbers) * math.prod(map(len, values.values()))
    if not quiet:
        _tell_left_out(config, cells_of(values), own)
    with Summary(count, quiet=quiet).shown() as summary:
        trials = run_sweep(
            config, values, numbers, name=name, runs=runs, jobs=jobs, progress=summary.update, typed=list(own)
        )
    return report(trials)
