"""Tables, JSON and CSV on the terminal."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from galab.evolution_compatibility import has_centre
from galab.store.files import csv_text, json_text

#: Whole numbers that name something: they are read out or copied, not compared, so they get no separators.
_NAMES = ("seed", "birth", "member")


def emit(rows: list[dict[str, Any]], style: str, *, title: str = "", empty: str = "nothing to show") -> None:
    """Print rows that share their keys.

    Args:
        rows: one dict per line.
        style: ``table``, ``json`` or ``csv``.
        title: above a table.
        empty: what a table says when there are no rows.
    """
    if style == "json":
        click.echo(json_text(rows, indent=2))
    elif style == "csv":
        click.echo(csv_text(rows), nl=False)
    elif not rows:
        click.echo(empty)
    else:
        _table(rows, title)


def emit_one(values: dict[str, Any], style: str, *, title: str = "") -> None:
    """Print one record: JSON as an object, CSV as a line under its header, a table as two columns."""
    if style == "json":
        click.echo(json_text(values, indent=2))
    elif style == "csv":
        click.echo(csv_text([values]), nl=False)
    else:
        _table([{"": name.replace("_", " "), " ": value} for name, value in values.items()], title)


def text(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return f"{value:,}"
    return str(value)


def best_name(strategy: str, number: int) -> str:
    """The one that evaluate and export use, by what it is: a birth, or the centre after some generation."""
    return f"centre of generation {number:,}" if has_centre(strategy) else f"champion {number}"


def _table(rows: list[dict[str, Any]], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        numbers = all(isinstance(row[name], (int, float)) or row[name] is None for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(row[name]) if name in _NAMES else text(row[name])) for name in rows[0]))
    console = Console()
    # A pipe has no width of its own; a table squeezed into 80 columns would break the words that people grep for.
    if not console.is_terminal:
        console = Console(width=240)
    console.print(table)


def program(name: str) -> str:
    """How to call a program of this environment: by its name where the shell finds it, else by its place."""
    beside = Path(sys.argv[0]).parent / name
    return name if shutil.which(name) or not beside.exists() else str(beside)
