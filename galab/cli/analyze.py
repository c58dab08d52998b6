"""``galab analyze``, one command for each analysis of saved runs, and ``galab report``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from galab.cli.options import trust_option
from galab.cli.output import echo, told_if_interrupted
from galab.config.registry import ANALYSES
from galab.errors import closest, printable

if TYPE_CHECKING:
    from galab.analysis.base import Analysis, Option, Progress

class _Analyses(click.Group):
    """A command for each name in the registry, made when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the registry."""
        return ANALYSES.names()

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of an analysis."""
        return _command(name) if name in ANALYSES.names() else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names with their summaries, which the registry holds, so that no analysis is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, ANALYSES.summary(name) or _summary_of(name)) for name in ANALYSES.names()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """See :meth:`click.Group.resolve_command`."""
        if args and not args[0].startswith("-") and args[0] not in ANALYSES.names():
            hint = closest(args[0], ANALYSES.names())
            ctx.fail(f"no analysis is called '{args[0]}'.{hint} `{ANALYSES.listing}` lists the names.")
        return super().resolve_command(ctx, args)


@click.group(cls=_Analyses)
def analyze() -> None:
    """Learn something from a saved run.

    Figure, table and numbers go into its analysis folder.
    """


def _command(name: str) -> click.Command:
    from galab.analysis.base import options_of, summary_of, takes_many

    analysis: Callable[..., Analysis] = ANALYSES.load(name)
    many = takes_many(analysis)

    def carry_out(path: Path | tuple[Path, ...], trust: bool, quiet: bool, **options: Any) -> None:
        from galab.analysis.base import open_for, write_analysis

        written = "nothing was written; the same command starts again"
        with told_if_interrupted(lambda: written), progress(name, quiet=quiet) as report_progress:
            what, stem = open_for(analysis, path, name, trust=trust)
            found = analysis(what, report_progress, **options)
            report_progress("drawing", 0.95)
            written = f"some of the files '{stem}.*' may be missing or of an earlier time; the same command makes them"
            files = write_analysis(found, stem)
        echo(found.sentence)
        echo(f"wrote {', '.join(map(str, files))}", err=True)

    params: list[click.Parameter] = [
        click.Argument(["path"], metavar="RUNS...", nargs=-1, required=True, type=click.Path(path_type=Path))
        if many
        else click.Argument(["path"], metavar="RUN_OR_PKL", type=click.Path(path_type=Path)),
        *(
            click.Option(
                [_flag(one)], type=one.kind, default=one.default, show_default=one.default is not None,
                is_flag=one.kind is bool, help=_capital(one.help),
            )
            for one in options_of(analysis)
        ),
        click.Option(["-q", "--quiet"], is_flag=True, help="Show no progress."),
    ]  # fmt: skip
    command: click.Command = trust_option(
        click.Command(name, callback=carry_out, params=params, help=summary_of(analysis))
    )
    return command


def _summary_of(name: str) -> str:
    """The summary of an analysis of another package, which has no row in the registry's table."""
    from galab.analysis.base import summary_of

    return summary_of(ANALYSES.load(name))


def _flag(option: Option) -> str:
    return "--" + option.name.replace("_", "-")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@contextmanager
def progress(name: str, *, quiet: bool) -> Iterator[Progress]:
    """One line that says what is being done; nothing in a pipe."""
    if quiet or not sys.stderr.isatty():
        yield lambda what, share: None
        return
    with Live(Text(f"{name} ..."), console=Console(stderr=True), refresh_per_second=8, transient=True) as live:
        began = time.monotonic()
        yield lambda what, share: live.update(Text(printable(_standing(name, what, share, time.monotonic() - began))))


def _standing(name: str, what: str, share: float, seconds: float) -> str:
    """What is being done, how much of the whole is done, and how long the rest will take at that pace."""
    rest = f", {seconds / share * (1 - share):,.0f} s to go" if share > 0.02 and seconds > 2 else ""
    return f"{name}: {what} | {share:.0%} done{rest}"


@click.command()
@click.argument("path", metavar="RUN_OR_GROUP", type=click.Path(path_type=Path))
@click.option("--analyses", metavar="all|NAME,NAME", help="Make these analyses first; one that fails says why.")
@click.option(
    "--doctor", type=float, default=0.0, metavar="X",
    help="Of an evolution strategy: examine its configuration too, for about so many seconds.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write, not analysis/report.html."
)
@trust_option
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def report(path: Path, analyses: str | None, doctor: float, output: Path | None, trust: bool, quiet: bool) -> None:
    """Write everything about a run or a group into one HTML file.

    It holds verdicts, curves, analyses, configuration and origin.

    The file needs no other file, no network and no script, so it can be sent to somebody.
    """
    from galab.analysis.report.report import report as write

    names = [name.strip() for name in (analyses or "").split(",") if name.strip()]
    if names == ["all"]:
        names = ANALYSES.names()
    before = "; the analyses that were done are in the analysis folder" if names else ""
    written = f"no report was written{before}; the same command starts again"
    with told_if_interrupted(lambda: written), progress("report", quiet=quiet) as report_progress:
        file = write(path, report_progress, analyses=names, doctor=doctor, output=output, trust=trust)
    if file.is_file():
        echo(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB); open it with a browser")
