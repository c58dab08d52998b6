"""``galab report``."""

from __future__ import annotations

from pathlib import Path

import click

from galab.cli.analyzing import progress
from galab.cli.options import trust_option
from galab.registry import ANALYSES


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
    """Write everything about a run or a group into one HTML file: verdicts, curves, analyses, configuration, origin.

    The file needs no other file, no network and no script, so it can be sent to somebody.
    """
    from galab.questions.report import report as write

    names = [name.strip() for name in (analyses or "").split(",") if name.strip()]
    if names == ["all"]:
        names = ANALYSES.names()
    with progress("report", quiet=quiet) as heard:
        file = write(path, heard, analyses=names, doctor=doctor, output=output, trust=trust)
    click.echo(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB); open it with a browser")
