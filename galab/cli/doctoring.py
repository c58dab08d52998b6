"""``galab doctor``: this machine; and ``galab doctor es``: an evolution strategy before it runs."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click

from galab.cli.catalogue import look_at_machine
from galab.cli.options import GroupedCommand, beginning_options, config_options, format_option, given, trust_option
from galab.cli.output import emit
from galab.store.files import json_text

_WIDTH = 80
_INDENT = 12


@click.group(invoke_without_command=True)
@format_option
@click.pass_context
def doctor(context: click.Context, style: str) -> None:
    """Look at this machine: versions, device, compiler, data; or at a run before it begins.

    `galab doctor es` predicts and measures what an evolution strategy's estimate is worth.
    """
    if context.invoked_subcommand is None:
        look_at_machine(style)


@doctor.command("es", cls=GroupedCommand)
@config_options()
@beginning_options
@click.option(
    "--budget", type=float, default=30.0, show_default=True, metavar="X", help="Seconds that it may take, roughly."
)
@trust_option
@format_option
def evolution(
    preset: str | None, config_file: Path | None, budget: float, trust: bool, style: str, **flags: Any
) -> None:
    """Ask what an evolution strategy will see before it runs.

    It takes the flags of `galab run` (eggroll, unless --strategy openai-es) and predicts and measures how well one
    generation's estimate points along the true gradient, which population, rank, pairing, sigma and learning rate
    would do better, and how long a generation takes. Nothing is written.
    """
    from galab.lab.advice import content_of
    from galab.lab.compose import compose
    from galab.lab.doctor import examine

    config = compose(given(flags), preset=preset, config_file=config_file, trust=trust, evolution=True)
    content = content_of(examine(config, budget=budget))
    if style == "json":
        click.echo(json_text(content, indent=2))
    elif style == "csv":
        emit(content["sigmas"]["tried"], style)
    else:
        _print(content)


def _print(content: dict[str, Any]) -> None:
    rank = "" if content["rank"] is None else f", rank {content['rank']}"
    head = (
        f"{content['data']}: {content['strategy']}, population {content['population']:,}, pairs {content['pairs']}"
        f"{rank}, {content['parameters']:,} weights, fitness {content['fitness']}"
    )
    click.echo(textwrap.fill(head, _WIDTH))
    sigmas = content["sigmas"]
    title = f"{sigmas['pairs']} pairs at each sigma"
    if any(row["cosine"] is not None for row in sigmas["tried"]):
        title += f", cosine with the true gradient; {sigmas['cosine_predicted']:.3f} is predicted"
    click.echo(f"\n{title}")
    emit([_cells(row) for row in sigmas["tried"]], "table")
    for one in content["advice"]:
        mark = " " if one["good"] else "!"
        text = textwrap.wrap(one["say"], _WIDTH - _INDENT - 2)
        click.echo(f"{mark} {one['about']:<{_INDENT}}" + f"\n{'':{_INDENT + 2}}".join(text))


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "sigma": f"{row['sigma']:.4g}",
        "even/odd": None if row["even_to_odd"] is None else f"{row['even_to_odd']:.3g}",
        "ties": f"{row['ties']:.0%}",
        "failures": f"{row['failures']:.0%}",
        "cosine": None if row["cosine"] is None else f"{row['cosine']:.3f}",
    }
