"""``galab watch``: a film of the champion's episode."""

from __future__ import annotations

from pathlib import Path

import click

from galab.cli.options import trust_option
from galab.cli.output import echo


@click.command()
@click.argument("path", metavar="RUN_OR_PKL", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True,
    help="File to write: .gif for a film, .png for up to 8 pictures side by side.",
)  # fmt: skip
@click.option("--episode", type=int, default=0, metavar="N", show_default=True, help="Which one, from 0.")
@click.option(
    "--split", type=click.Choice(["test", "validation"]), default="test", show_default=True, help="Which episodes."
)
@click.option("--fps", type=int, default=30, show_default=True, help="Pictures of a film in a second, 1 to 50.")
@click.option("--steps", type=int, default=500, show_default=True, help="The most steps to look at.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="How much larger to make the pictures.")
@trust_option
def watch(
    path: Path, output: Path, episode: int, split: str, fps: int, steps: int, scale: float, trust: bool
) -> None:
    """Film an episode of the champion of a run of episodes.

    It is one of those that `galab evaluate` scores; no screen is needed.

    For example: galab watch runs/first -o film.gif --episode 3
    """
    from galab.saved_runs.saved_run import open_saved
    from galab.saved_runs.watch import watch as write
    from galab.tasks.classic_drawings import plainly

    saved = open_saved(path, trust=trust)
    film = write(saved, output, episode=episode, split=split, fps=fps, steps=steps, scale=scale)
    said = f"return {plainly(film.total)}, {film.steps:,} steps"
    if not film.ended:
        said += " of an episode that goes on (--steps shows more)"
    if film.apart is not None:
        said += (
            f"; the pictures after step {film.apart:,} show another episode: the environment does not repeat itself"
        )
    echo(f"{said}: {output}", err=not output.is_file())
