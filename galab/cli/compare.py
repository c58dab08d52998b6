"""``galab compare``."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galab.cli.options import format_option
from galab.cli.output import command, echo, emit, text, told_if_interrupted
from galab.errors import UsageError
from galab.storage.files import json_text, output_place

if TYPE_CHECKING:
    from galab.training.trials.curves import Curves

Say = Callable[[float], str]
#: Units of the axes, as the terminal explains them.
_UNITS = {
    "evaluations": "evaluations",
    "generations": "generations",
    "episodes": "episodes of an environment",
    "frames": "frames of an environment",
    "seconds": "seconds of wall time, which are fair between runs on one machine that had it to themselves",
}


@click.command()
@click.argument("paths", metavar="RUNS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--by", multiple=True, metavar="FIELD", help="Group by this hyperparameter; repeat it, or join with ','.")
@click.option(
    "--metric", show_default="validation_accuracy, or validation_return of environments", help="A field of the log.",
)  # fmt: skip
@click.option(
    "--axis", type=click.Choice(list(_UNITS)), default="evaluations", show_default=True, help="What has to be equal."
)
@click.option("--at", metavar="N,N", help="Where on the axis to compare, such as 1e7,5e7.")
@click.option("--to", metavar="X,X", help="Compare also when each run first reached this level, such as 0.95.")
@click.option("--figure", type=click.Path(path_type=Path, dir_okay=False), help="Image to write, not compare.png.")
@click.option(
    "--tensorboard", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
    help="Write an event folder per group, with its curve and band, for TensorBoard.",
)  # fmt: skip
@format_option
def compare(
    paths: tuple[Path, ...], by: tuple[str, ...], metric: str | None, axis: str, at: str | None, to: str | None,
    figure: Path | None, tensorboard: Path | None, style: str,
) -> None:  # fmt: skip
    """Compare runs, groups, sweeps or folders of such.

    They are compared at equal evaluations, generations or seconds.

    Medians with bootstrap 95 % intervals; rank tests: Mann-Whitney for two groups, Kruskal-Wallis and pairwise tests
    against the best (Holm) for more; and how large a difference is: A, the probability that a run of the best group is
    better than one of the other, and the difference of the medians. Without --by, each argument is a group.
    """
    from galab.analysis.report.compare import compared, draw, groups_of, write_tensorboard

    fields = [name for part in by for name in part.split(",") if name.strip()]
    places = None if at is None else _numbers(at, "--at", f"numbers of {axis}", "1e7,5e7", positive=True)
    levels = [] if to is None else _numbers(to, "--to", f"levels of {metric or 'the metric'}", "0.9,0.95")
    found = _curves(paths, fields, metric, axis)
    content = compared(found, at=places, to=levels)
    groups, image = groups_of(found), figure or _home(paths) / "compare.png"
    with told_if_interrupted(lambda: "no figure was written"), output_place(image, named=figure is not None) as place:
        draw(found, groups, place, budget=content["budgets"][-1][axis], level=levels[0] if levels else None)
    content["figure"] = str(image)
    if tensorboard is not None:
        with told_if_interrupted(lambda: f"'{image}' was written, and '{tensorboard}' is not whole"):
            content["tensorboard"] = [str(folder) for folder in write_tensorboard(found, groups, tensorboard)]
    for path in found.left_out:
        echo(f"left out: {path} has not measured {found.metric} yet", err=True)
    if style == "json":
        echo(json_text(content, indent=2))
    elif style == "csv":
        emit(_csv_rows(content), style)
    else:
        _print(content, tensorboard)


def _curves(paths: tuple[Path, ...], fields: list[str], metric: str | None, axis: str) -> Curves:
    """The curves of a metric; where none is named, of accuracy, or of the return where there is no accuracy."""
    from galab.training.trials.curves import read_curves

    if metric is not None:
        return read_curves(paths, by=fields, metric=metric, axis=axis)
    try:
        return read_curves(paths, by=fields, axis=axis)
    except UsageError:
        with contextlib.suppress(UsageError):
            return read_curves(paths, by=fields, metric="validation_return", axis=axis)
        raise


def _home(paths: tuple[Path, ...]) -> Path:
    """Where the figure goes: into a single group or folder, beside a run, else into the folder that holds the first."""
    first = paths[0]
    return first if len(paths) == 1 and not (first / "config.json").is_file() else first.parent


def _numbers(words: str, option: str, what: str, example: str, *, positive: bool = False) -> list[float]:
    found = []
    for word in words.split(","):
        try:
            found.append(float(word))
        except ValueError:
            found.append(math.nan)
        if not math.isfinite(found[-1]) or (positive and found[-1] <= 0):
            raise UsageError(f"expected {option} as {what}, got '{word.strip()}'; write such as {example}")
    return sorted(set(found))


def _csv_rows(content: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per group and budget, then a row per group and level; columns that one of them lacks are empty."""
    rows = [row for table in (*content["budgets"], *content["targets"]) for row in table["groups"]]
    return [{"metric": content["metric"], **row} for row in rows]


def _print(content: dict[str, Any], board: Path | None) -> None:
    from galab.analysis.report.compare import number

    axis = content["axis"]
    echo(f"{content['metric']}, measured on {content['measured_on']} of {content['data']}")
    unit = f" ({content['unit']})" if axis == "evaluations" else ""
    echo(f"medians over runs at equal {_UNITS[axis]}{unit}; in brackets bootstrap 95 % intervals")
    if any(row["p"] is not None for table in content["budgets"] for row in table["groups"]):
        echo(
            "A: probability that a run of the best group is better than one of this group, ties half; 0.5 is no "
            "difference"
        )
    for table in content["budgets"]:
        _print_table(table, f"at {number(table[axis])} {axis}", text)
        for name, count in table["without_value"].items():
            echo(f"{count} of the runs in {name} had ended or had measured nothing there")
    for table in content["targets"]:
        _print_table(table, f"{axis} to {content['metric']} {table['level']:g}", number, never="never")
        if table["watched"] is not None:
            late = f"; {table['beyond']} that came later count as never" if table["beyond"] else ""
            echo(
                f"never: not within {number(table['watched'])} {axis}, where {table['shortest']} ended without "
                f"reaching it{late}"
            )
    echo(f"\nfigure: {content['figure']}")
    if board is not None:
        words = command("tensorboard", "--logdir", board)
        echo(f"groups for TensorBoard: {words}  (Custom Scalars has the bands)")


def _print_table(table: dict[str, Any], title: str, say: Say, never: str = "-") -> None:
    rows = table["groups"]
    tested = any(one["p"] is not None for one in rows)
    echo(f"\n{title}")
    emit([_cells(row, say, never, tested=tested) for row in rows], "table")
    echo(_test_sentence(table))


def _cells(row: dict[str, Any], say: Say, never: str, *, tested: bool) -> dict[str, Any]:
    """A group's row as it is shown."""
    from galab.stats.intervals import p_text  # in here, as it loads SciPy, which help does without

    cells = {"group": row["group"], "runs": row["seeds"]}
    if "reached" in row:
        cells["reached"] = f"{row['reached']} of {row['seeds']}" + (f", {row['later']} later" if row["later"] else "")
    ends = [row["low"], row["high"]] if row["seeds"] > 1 else None
    cells["median"] = _with_ends(row["median"], ends, say, never)
    if tested:
        best = "best" if row["best"] and row["median"] is not None else ""
        cells |= {"p": best if row["p"] is None else p_text(row["p"]), "A": "", "best minus this": ""}
    if row["p"] is not None:
        low, high = row["best_is_better_low"], row["best_is_better_high"]
        cells["A"] = f"{row['best_is_better']:.2f}" + ("" if low is None else f" [{low:.2f}, {high:.2f}]")
        around = [row["difference_low"], row["difference_high"]]
        cells["best minus this"] = _with_ends(row["difference"], None if None in around else around, say, "-")
    return cells


def _with_ends(value: float | None, ends: list[float | None] | None, say: Say, never: str) -> str:
    around = "" if ends is None else f" [{', '.join(never if end is None else say(end) for end in ends)}]"
    return (never if value is None else say(value)) + around


def _test_sentence(table: dict[str, Any]) -> str:
    from galab.stats.intervals import p_text  # in here, as it loads SciPy, which help does without

    test, rows = table["test"], table["groups"]
    if test["name"] is None:
        return str(test["reason"])
    if test["name"] == "Kruskal-Wallis":
        return (
            f"Kruskal-Wallis: H = {test['h']:.3g}, p = {p_text(test['p'])} over {len(rows)} groups; p in the table: "
            "Mann-Whitney against the best, corrected by Holm"
        )
    return f"Mann-Whitney: U = {test['u']:g}, p = {p_text(test['p'])} between {test['first']} and {test['second']}"
