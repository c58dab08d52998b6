"""``galab generate``: text from a language model of a run."""

from __future__ import annotations

import codecs
from pathlib import Path

import click

from galab.cli.options import trust_option
from galab.cli.output import echo


@click.command()
@click.argument("path", metavar="RUN_OR_PKL", type=click.Path(path_type=Path))
@click.argument("prompt", default="\n")
@click.option("--length", type=int, default=200, show_default=True, help="Bytes, or tokens, at most.")
@click.option("--temperature", type=float, default=0.8, show_default=True, help="0 takes the likeliest byte each time.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@click.option("--member", type=int, metavar="N", help="Rank of a parent by fitness, from 0, instead of the champion.")
@trust_option
def generate(
    path: Path, prompt: str, length: int, temperature: float, seed: int, member: int | None, trust: bool
) -> None:
    """Go on with a text, or answer a prompt, as the language model of a run would.

    Without PROMPT a text begins with a new line.

    For example: galab generate runs/first "ROMEO:" --length 200 --seed 1
    """
    from galab.saved_runs.generate import generate as draw
    from galab.saved_runs.saved_run import open_saved
    from galab.tasks.prompts import PromptTask

    saved = open_saved(path, trust=trust)
    drawn = draw(saved, prompt, length=length, temperature=temperature, seed=seed, member=member)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    if not isinstance(saved.task, PromptTask):  # whose answer stands by itself
        echo(prompt.lstrip("\n"), nl=False)
    for byte in drawn:
        echo(decoder.decode(bytes([byte])), nl=False)
    echo(decoder.decode(b"", final=True))
