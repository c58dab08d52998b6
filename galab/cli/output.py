"""Output: tables, JSON and CSV; and while a run goes on one live line on a terminal, plain lines in a pipe."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from galab.config.strategy_kinds import kind_of
from galab.errors import printable
from galab.storage.files import csv_text, json_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from galab.training.log_fields import Totals
    from galab.training.stop import StopRules

#: Whole numbers that name something: they are read out or copied, not compared, so they get no separators.
_NAMES = ("seed", "birth", "member")


def echo(message: object, *, err: bool = False, nl: bool = True) -> None:
    """Print lines; the only way to the terminal beside tables.

    What runs, groups and genomes say of themselves may be a stranger's words: control characters are spelt out.

    Args:
        message: one line or several.
        err: to the error stream.
        nl: end the line.
    """
    click.echo(printable(str(message), lines=True), err=err, nl=nl)


def emit(rows: list[dict[str, Any]], style: str, *, title: str = "", empty: str = "nothing to show") -> None:
    """Print rows that share their keys.

    Args:
        rows: one dict per line.
        style: ``table``, ``json`` or ``csv``.
        title: above a table.
        empty: what a table says when there are no rows.
    """
    if style == "json":
        echo(json_text(rows, indent=2))
    elif style == "csv":
        echo(csv_text(rows), nl=False)
    elif not rows:
        echo(empty)
    else:
        _table(rows, title)


def emit_one(values: dict[str, Any], style: str, *, title: str = "") -> None:
    """Print one record: JSON as an object, CSV as a line under its header, a table as two columns."""
    if style == "json":
        echo(json_text(values, indent=2))
    elif style == "csv":
        echo(csv_text([values]), nl=False)
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
    return printable(str(value))


#: What a person asks of a network first, by what its task measures; the first that there is.
_FIRST = (
    ("bits", "", lambda value: f"{value:.3f} bits a byte"),
    ("accuracy", " accuracy", lambda value: f"{value:.2%}"),
    ("loss", " loss", text),
)
#: The measures of which the headline says one for all.
HEADLINES = tuple(name for name, _, _ in _FIRST)


def headline(metrics: Mapping[str, Any]) -> str:
    """What a network reaches on test and validation data, in words; empty where it was scored on none."""
    for name, called, shown in _FIRST:
        if f"test_{name}" in metrics:
            parts = [f"{split}{called} {shown(metrics[f'{split}_{name}'])}" for split in ("test", "validation")]
            return ", ".join(parts)
    return ""


def best_name(strategy: str, number: int) -> str:
    """The one that evaluate and export use, by what it is: a birth, or the centre after some generation."""
    return f"champion {number}" if kind_of(strategy).breeds else f"centre of generation {number:,}"


def _table(rows: list[dict[str, Any]], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=printable(title) or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        numbers = all(isinstance(row[name], (int, float)) or row[name] is None for row in rows)
        table.add_column(printable(name).replace("_", " "), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(str(row[name])) if name in _NAMES else text(row[name])) for name in rows[0]))
    console = Console()
    # A pipe has no width of its own; a table squeezed into 80 columns would break the words that people grep for.
    if not console.is_terminal:
        console = Console(width=240)
    console.print(table)


def program(name: str) -> str:
    """How to call a program of this environment: by its name where the shell finds it, else by its place."""
    beside = Path(sys.argv[0]).parent / name
    return name if shutil.which(name) or not beside.exists() else str(beside)


#: What is true of a run or of trials after Ctrl-C.
RESUMABLE = "`galab list` shows what was begun, `galab resume` continues from its last checkpoint"


class InterruptedWorkError(click.exceptions.Abort):
    """Ctrl-C, with a sentence about what became of the work."""


@contextmanager
def told_if_interrupted(what: Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C say what is true of this command.

    Args:
        what: what was written, and how to go on.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        echo("", err=True)  # the terminal has shown ^C in this line
        raise InterruptedWorkError(what()) from error


def command(name: str, *words: object) -> str:
    """A command that a person can paste into a shell: a program of this environment and its words, quoted."""
    return shlex.join([program(name), *map(str, words)])


_PLAIN_SECONDS = 10.0
#: How far a search goes in a generation: the first that a strategy logs is shown.
_PACE = (("step", "step_size"), ("gradient", "gradient_norm"))


class LiveLine:
    """A recorder that shows progress.

    Args:
        stop: the stop rules, for the estimate of the time left.
        totals: what earlier sittings have spent.
        generation: generations done before this sitting.
        quiet: show nothing.
        steps: whether there are step sizes to show.
    """

    def __init__(
        self, stop: StopRules, totals: Totals, generation: int, *, quiet: bool = False, steps: bool = True
    ) -> None:
        self._pace = _PACE if steps else ()
        self._stop = stop
        self._began = (time.monotonic(), stop.fraction(generation, totals.seconds))
        self._report: dict[str, Any] = {}
        self._last_plain = 0.0
        self._quiet = quiet
        self._live: Live | None = None
        if sys.stderr.isatty() and not quiet:
            self._live = Live(Text(""), console=Console(stderr=True), refresh_per_second=8, transient=True)
            self._live.start()

    def record(self, line: dict[str, Any], fitness: NDArray[np.float64]) -> None:
        """See :class:`galab.training.tensorboard.Recorder`."""
        reported = "champion" in line
        if reported:
            self._report = line
        if self._live is not None:
            self._live.update(Text(printable(self._sentence(line))))
        elif not self._quiet and (reported or line["generation"] == 1):
            now = time.monotonic()
            if now - self._last_plain >= _PLAIN_SECONDS or line["generation"] == 1:
                self._last_plain = now
                echo(self._sentence(line), err=True)

    def close(self, result: dict[str, Any]) -> None:
        """See :class:`galab.training.tensorboard.Recorder`."""
        if self._live is not None:
            self._live.stop()

    def _sentence(self, line: dict[str, Any]) -> str:
        parts = [
            f"generation {line['generation']:,}",
            "no fitness" if line["fitness_best"] is None else f"fitness {line['fitness_best']:.4f}",
            *[f"{word} {line[name]:.2g}" for word, name in self._pace if line.get(name) is not None][:1],
            f"{line['evaluations_per_second']:,.0f} evaluations/s",
        ]
        if "validation_bits" in self._report:
            parts.insert(2, f"validation {self._report['validation_bits']:.3f} bits a byte")
        elif "validation_accuracy" in self._report:
            parts.insert(2, f"validation {self._report['validation_accuracy']:.1%}")
        elif "validation_return" in self._report:
            parts.insert(2, f"validation return {self._report['validation_return']:.5g}")
        elif "validation_loss" in self._report:
            parts.insert(2, f"validation loss {self._report['validation_loss']:.4g}")
        if line["failures"]:
            parts.append(f"{line['failures']} failed")
        left = self._left(line)
        return " | ".join([*parts, *([f"{left} left"] if left else [])])

    def _left(self, line: dict[str, Any]) -> str:
        """Time left by the stop rules that can tell, from this sitting's own pace."""
        done = self._stop.fraction(line["generation"], line["seconds"])
        began, before = self._began
        if done <= before:
            return ""
        seconds = (time.monotonic() - began) * (1 - done) / (done - before)
        if self._stop.seconds is not None:  # the first generations are slow, and the budget is known
            seconds = min(seconds, max(self._stop.seconds - line["seconds"], 0.0))
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
