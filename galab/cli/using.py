"""``galab evaluate``, ``galab export`` and ``galab verify``."""

from __future__ import annotations

from pathlib import Path

import click

from galab.cli.options import format_option, trust_option
from galab.cli.output import emit, emit_one


@click.command()
@click.argument("path", metavar="RUN_OR_PKL", type=click.Path(path_type=Path))
@click.option(
    "--split", type=click.Choice(["test", "validation", "train"]), default="test", show_default=True,
    help="Which data.",
)  # fmt: skip
@click.option("--member", type=int, metavar="N", help="Rank of a parent by fitness, from 0, instead of the champion.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
@trust_option
@format_option
def evaluate(path: Path, split: str, member: int | None, device: str, trust: bool, style: str) -> None:
    """Score a run's champion on test data."""
    from galab.lab.rebuild import evaluate as score

    emit_one(score(path, split=split, member=member, device=device, trust=trust), style)


@click.command()
@click.argument("path", metavar="RUN_OR_PKL", type=click.Path(path_type=Path))
@click.option("--to", metavar="genome|torch|safetensors", default="torch", show_default=True, help="What to write.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write.")
@click.option("--member", type=int, metavar="N", help="Rank of a parent by fitness, from 0, instead of the champion.")
@click.option("--keyframe", is_flag=True, help="In a genome: the weights instead of the seeds, for long lineages.")
def export(path: Path, to: str, output: Path, member: int | None, keyframe: bool) -> None:
    """Write the champion to a file: a state_dict, safetensors, or its genome as seeds."""
    from galab.lab.export import export as write
    from galab.lab.rebuild import open_saved

    size = write(open_saved(path), to, output, member=member, keyframe=keyframe)
    click.echo(f"{output}: {size / 1000:,.1f} kB")


@click.command()
@click.argument("path", metavar="RUN", type=click.Path(path_type=Path))
@trust_option
@format_option
def verify(path: Path, trust: bool, style: str) -> int:
    """Replay a run's seeds (and an evolution strategy's scores) and compare with every checkpoint, bit for bit."""
    from galab.lab.verify import conclusion
    from galab.lab.verify import verify as replay
    from galab.store.run_folder import RunFolder

    verdicts = replay(RunFolder.open(path), trust=trust)
    emit([verdict.row() for verdict in verdicts], style)
    if style == "table":
        click.echo(conclusion(verdicts))
    return 0 if all(verdict.good for verdict in verdicts) else 1
