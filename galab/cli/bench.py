"""``galab bench``: what this machine reaches on a task and configuration, and with which settings."""

from __future__ import annotations

import shlex
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galab.cli.options import GroupedCommand, beginning_options, config_options, format_option, given, trust_option
from galab.cli.output import command, echo, emit, program
from galab.config import flag
from galab.errors import UsageError
from galab.storage.files import json_text

if TYPE_CHECKING:
    from galab.doctor.fastest_settings import SettingResult, TuningResult

_WIDTH = 100
_PLAIN_SECONDS = 10.0


@click.command(cls=GroupedCommand)
@click.argument("path", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@config_options()
@beginning_options
@click.option(
    "--budget", type=float, default=45.0, show_default=True, metavar="X", help="Seconds that it may take, roughly."
)
@click.option(
    "--vary", metavar="LIST",
    help="Settings to vary, such as chunk,threads; all that are not given as flags when absent. With precision, "
    "bfloat16 is tried on any processor.",
)  # fmt: skip
@click.option("--tune", is_flag=True, help="Write the best settings: into RUN, or into a file for galab run --config.")
@click.option(
    "-o", "--output", default="tuned.json", show_default=True, type=click.Path(path_type=Path, dir_okay=False),
    help="The file of --tune.",
)  # fmt: skip
@trust_option
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@format_option
def bench(
    path: Path | None,
    preset: str | None,
    config_file: Path | None,
    budget: float,
    vary: str | None,
    tune: bool,
    output: Path,
    trust: bool,
    quiet: bool,
    style: str,
    **flags: Any,
) -> None:
    """Measure whole generations here, and find the fastest settings.

    It takes the flags of `galab run`, or a run's folder, and lets chunk, threads, workers, precision and compilation
    take turns, one setting after the other. All settings must give the same losses. Without --tune nothing is written.
    """
    from galab.doctor.benchmark import benchmark_of_config, benchmark_of_run, best_settings, check_unused, write_file
    from galab.doctor.fastest_settings import parse_settings
    from galab.training.compose import compose

    began, typed = time.monotonic(), given(flags)
    varied = None if vary is None else parse_settings(vary)
    if path is not None and (typed or preset or config_file):
        also = flag(next(iter(typed))) if typed else "--preset" if preset else "--config"
        raise UsageError(f"expected a run or hyperparameters, got both ('{path}' and {also}); drop one of them")
    if path is not None:
        _check_run(path, tune)
        config, benchmark = None, benchmark_of_run(path, trust=trust)
    else:
        if tune:
            check_unused(output)
        config = compose(typed, preset=preset, config_file=config_file, trust=trust)
        benchmark = benchmark_of_config(config)
    left = budget - (time.monotonic() - began)
    with _progress(quiet) as progress:
        found = best_settings(benchmark, vary=varied, fixed=typed, budget=left, progress=progress)
    if style == "table":
        _print(found, benchmark.task.description)
    else:
        _emit(found, style)
    if path is not None:
        said = _into_run(path, found, tune)
    else:
        assert config is not None
        if tune and found.changes:
            write_file(output, config, found, f"{_verdict(found)}; measured by galab bench on {_where()}.")
        said = _command(found, typed, preset, config_file, output if tune else None)
    echo(said, err=style != "table")


def _check_run(path: Path, tune: bool) -> None:
    if tune and path.suffix == ".pkl":
        raise UsageError(f"expected a run's folder with --tune, got the checkpoint '{path}'; name its run")


def _into_run(path: Path, found: TuningResult, tune: bool) -> str:
    """What to do with the best settings of a run, after they were written if that was asked for."""
    from galab.doctor.benchmark import write_into
    from galab.storage.run_folder import RunFolder

    if not found.changes:
        return f"{path} keeps its settings"
    if not tune:
        return f"next:\n  {command('galab', 'bench', path, '--tune')}"
    folder = RunFolder.open(path)
    change = write_into(folder, found)
    words = [program("galab"), "resume", str(path), *(["--allow-numeric-change"] if change else [])]
    status = folder.read_status() or {}
    if status.get("state") == "finished":
        words += ["--generations", str(max(1, 2 * int(status["generation"])))]
    why = (
        "; what was scored so far was scored under the old ones, so resuming has to be told"
        if change
        else "; resuming needs no further flag"
    )
    return f"{path} has the best settings now{why}\nnext:\n  {shlex.join(words)}"


def _command(
    found: TuningResult, typed: dict[str, Any], preset: str | None, config_file: Path | None, output: Path | None
) -> str:
    """The command line of a run with the best settings."""
    from galab.doctor.fastest_settings import flags_of

    words = [program("galab"), "run"]
    if output is not None and found.changes:
        return f"{output} has the best settings\nnext:\n  {shlex.join([*words, '--config', str(output)])}"
    words += ["--preset", preset] if preset else []
    words += ["--config", str(config_file)] if config_file else []
    words += flags_of(typed | found.changes)
    return f"next:\n  {shlex.join(words)}"


def _print(found: TuningResult, data: str) -> None:
    evaluations = found.rows[0].timing.evaluations
    echo(f"{data}; {evaluations:,.0f} evaluations a generation, without its log, reports and checkpoints")
    emit([_cells(row, found) for row in found.rows], "table")
    lines = [
        "Medians; x default compares rounds in which both took turns, and the times of the others are the default's "
        "divided by it, as a machine's own speed changes by the minute. The losses of one generation agree with the "
        "default's within 0.01 % of the largest in float32 and 5 % with bfloat16. "
        "GEMM: one product of matrices of the shape of the network's largest layer, with the same precision and "
        "threads, is 100 %; the share is of what the Linear and Conv layers of all members would multiply densely, so "
        "members of low rank, which do not, may exceed 100 %.",
        *found.notes,
        _verdict(found),
    ]
    for line in lines:
        echo(textwrap.fill(line, _WIDTH))


def _cells(row: SettingResult, found: TuningResult) -> dict[str, Any]:
    timing, gain, seconds = row.timing, row.gain, found.seconds(row)
    return {
        "setting": f"{row.setting} (default)" if gain is None else row.setting,
        "ms/generation": f"{seconds * 1e3:,.1f}",
        "evaluations/s": f"{timing.evaluations / seconds:,.0f}",
        "x default": "1" if gain is None else f"{gain.median:.2f} ({gain.low:.2f} to {gain.high:.2f})",
        "of GEMM": "-" if (share := _share(row)) is None else f"{share:.0%}",
        "ask, decode or noise": f"{timing.prepare / timing.seconds:.0%}",
        "evaluate": f"{timing.evaluate / timing.seconds:.0%}",
        "tell": f"{timing.tell / timing.seconds:.0%}",
        "rounds": row.rounds,
    }


def _share(row: SettingResult) -> float | None:
    return None if row.peak is None else row.operations * row.timing.evaluations / row.timing.seconds / row.peak


def _verdict(found: TuningResult) -> str:
    """What it comes to, in one sentence."""
    from galab.doctor.fastest_settings import WORTH

    best, default = found.best, found.rows[0]
    if len(found.rows) == 1:
        return f"nothing else was tried; the default: {default.setting}"
    if best.gain is None:
        return f"the default is as good: {default.setting}; nothing that was tried is faster"
    gain = f"{best.gain.median:.2f} x the default ({best.gain.low:.2f} to {best.gain.high:.2f} in half of the rounds)"
    if found.worth:
        return f"best here: {best.setting}: {gain}"
    why = "which the rounds do not agree on" if best.gain.median >= WORTH else "and less than 5 % is noise"
    return f"the default is as good: {default.setting}; {best.setting} came to {gain}, {why}"


def _emit(found: TuningResult, style: str) -> None:
    rows = [
        {
            "setting": row.setting,
            "changes": row.name,
            "milliseconds": found.seconds(row) * 1e3,
            "evaluations_per_second": row.timing.evaluations / found.seconds(row),
            "gain": 1.0 if row.gain is None else row.gain.median,
            "gain_low": 1.0 if row.gain is None else row.gain.low,
            "gain_high": 1.0 if row.gain is None else row.gain.high,
            "share_of_gemm": _share(row),
            "prepare": row.timing.prepare / row.timing.seconds,
            "evaluate": row.timing.evaluate / row.timing.seconds,
            "tell": row.timing.tell / row.timing.seconds,
            "rounds": row.rounds,
        }
        for row in found.rows
    ]
    if style == "csv":
        emit(rows, style)
    else:
        content = {"rows": rows, "best": found.changes, "notes": found.notes, "verdict": _verdict(found)}
        echo(json_text(content, indent=2))


def _where() -> str:
    import platform

    return platform.node() or "this machine"


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """One live line on a terminal; a plain one now and then in a pipe."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    began, said = time.monotonic(), [0.0]

    def plain(sentence: str) -> None:
        if not quiet and time.monotonic() - said[0] >= _PLAIN_SECONDS:
            said[0] = time.monotonic()
            echo(f"{time.monotonic() - began:.0f} s: {sentence}", err=True)

    if quiet or not sys.stderr.isatty():
        yield plain
        return
    with Live(Text(""), console=Console(stderr=True), refresh_per_second=8, transient=True) as live:
        yield lambda sentence: live.update(Text(f"{time.monotonic() - began:.0f} s | {sentence}"))
