"""``galab compare``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galab.cli.options import format_option
from galab.cli.output import emit
from galab.errors import UsageError
from galab.store.files import json_text

if TYPE_CHECKING:
    from galab.analysis.statistics import Comparison
    from galab.lab.curves import Curve, Curves


@click.command()
@click.argument("paths", metavar="RUNS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--by", multiple=True, metavar="FIELD", help="Group by this hyperparameter; repeat it, or join with ','.")
@click.option("--metric", default="validation_accuracy", show_default=True, help="A field of the log.")
@click.option("--at", metavar="N,N", help="Evaluations at which to compare, such as 1e7,5e7.")
@click.option("--figure", type=click.Path(path_type=Path, dir_okay=False), help="Image to write, not compare.png.")
@format_option
def compare(
    paths: tuple[Path, ...], by: tuple[str, ...], metric: str, at: str | None, figure: Path | None, style: str
) -> None:
    """Compare runs, groups, sweeps or folders of such, at equal evaluations.

    Medians with bootstrap 95 % intervals, and rank tests: Mann-Whitney for two groups, Kruskal-Wallis and pairwise
    tests against the best (Holm) for more. Without --by, each argument is a group.
    """
    from galab.analysis.curves import default_budgets
    from galab.lab.curves import read_curves

    fields = [name for part in by for name in part.split(",") if name.strip()]
    found = read_curves(paths, by=fields, metric=metric)
    spent = [curve.evaluations for curve in found.curves]
    budgets = _budgets(at) if at is not None else default_budgets(spent)
    tables = [_at(found, metric, budget) for budget in budgets]
    image = figure or _home(paths) / "compare.png"
    _draw(found, metric, image)
    for path in found.left_out:
        click.echo(f"left out: {path} has not measured {metric} yet", err=True)
    content = {
        "metric": metric,
        "measured_on": _measured_on(metric),
        "data": found.data,
        "unit": found.unit,
        "budgets": tables,
        "figure": str(image),
    }
    if style == "json":
        click.echo(json_text(content, indent=2))
    elif style == "csv":
        emit([{"metric": metric, **row} for table in tables for row in table["groups"]], style)
    else:
        _print(content)


def _home(paths: tuple[Path, ...]) -> Path:
    """Where the figure goes: into a single group or folder, beside a run, else into the folder that holds the first."""
    from galab.store.groups import is_group

    first = paths[0]
    lone = len(paths) == 1 and not (first / "config.json").is_file()
    return first if lone or (is_group(first) and len(paths) == 1) else first.parent


def _budgets(at: str) -> list[float]:
    budgets = []
    for word in at.split(","):
        try:
            budgets.append(float(word))
        except ValueError:
            budgets.append(math.nan)
        if not (math.isfinite(budgets[-1]) and budgets[-1] > 0):
            raise UsageError(f"expected --at as numbers of evaluations, got '{word.strip()}'; write such as 1e7,5e7")
    return sorted(set(budgets))


def _at(found: Curves, metric: str, budget: float) -> dict[str, Any]:
    """Everything about one budget, as plain data."""
    from galab.analysis.curves import value_at
    from galab.analysis.statistics import compare as test

    values: dict[str, list[float]] = {name: [] for name in found.groups}
    for curve in found.curves:
        value = value_at(curve.evaluations, curve.values, budget)
        if not math.isnan(value):
            values[curve.group].append(value)
    there = {name: own for name, own in values.items() if own}
    if not there:
        raise UsageError(f"expected runs with a value at {budget:,.0f} evaluations, got none; {_reach(found)}")
    lower = _lower_is_better(metric)
    result = test(list(there.values()), lower_is_better=lower)
    rows = [_group_row(budget, name, place, result) for place, name in enumerate(there)]
    missing = {name: sum(c.group == name for c in found.curves) - len(own) for name, own in values.items()}
    return {
        "evaluations": budget,
        "groups": rows,
        "test": _test(result, list(there), [len(own) for own in there.values()]),
        "without_value": {name: count for name, count in missing.items() if count},
    }


def _group_row(budget: float, name: str, place: int, result: Comparison) -> dict[str, Any]:
    interval, versus = result.intervals[place], result.against_best.get(place)
    return {
        "evaluations": round(budget),
        "group": name,
        "seeds": interval.count,
        "median": interval.median,
        "low": _or_none(interval.low),
        "high": _or_none(interval.high),
        "best": place == result.best,
        "p": versus.p if versus else None,
        "best_is_better": versus.superiority if versus else None,
    }


def _test(result: Comparison, names: list[str], counts: list[int]) -> dict[str, Any]:
    """The test of all groups, as plain data."""
    if not result.against_best:
        alone = [name for name, count in zip(names, counts, strict=True) if count == 1]
        reason = f"one run only in {', '.join(alone)}" if alone else "there is one group"
        return {"name": None, "reason": f"no test is possible: {reason}"}
    if math.isnan(result.h):
        ((other, versus),) = result.against_best.items()
        pair = {"first": names[result.best], "second": names[other]}
        return {"name": "Mann-Whitney", **pair, "u": versus.u, "p": result.p}
    return {"name": "Kruskal-Wallis", "h": result.h, "p": result.p}


def _print(content: dict[str, Any]) -> None:
    click.echo(f"{content['metric']}, measured on {content['measured_on']} of {content['data']}")
    click.echo(f"medians over runs at equal evaluations ({content['unit']}), with bootstrap 95 % intervals")
    for table in content["budgets"]:
        rows = table["groups"]
        shown = ["group", "seeds", "median", "low", "high"]
        if any(row["p"] is not None for row in rows):
            shown += ["best", "p", "best_is_better"]
        title = f"at {table['evaluations']:,.0f} evaluations"
        emit([{name: _cell(name, row[name]) for name in shown} for row in rows], "table", title=title)
        click.echo(_test_sentence(table))
        for name, count in table["without_value"].items():
            click.echo(f"{count} of the runs in {name} had ended or had measured nothing at this budget")
    click.echo(f"figure: {content['figure']}")


def _cell(name: str, value: Any) -> Any:
    if name == "best":
        return "best" if value else ""
    return _p(value) if name == "p" and value is not None else value


def _test_sentence(table: dict[str, Any]) -> str:
    test, rows = table["test"], table["groups"]
    if test["name"] is None:
        return str(test["reason"])
    if test["name"] == "Kruskal-Wallis":
        return (
            f"Kruskal-Wallis: H = {test['h']:.3g}, p = {_p(test['p'])} over {len(rows)} groups; p in the table: "
            "Mann-Whitney against the best, corrected by Holm"
        )
    (share,) = [row["best_is_better"] for row in rows if row["best_is_better"] is not None]
    return (
        f"Mann-Whitney: U = {test['u']:g}, p = {_p(test['p'])}; probability that a run of {test['first']} has a larger "
        f"value than one of {test['second']}: {share:.2f}"
    )


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def _draw(found: Curves, metric: str, image: Path) -> None:
    from galab.analysis.curves import band
    from galab.analysis.figures import Band, draw_bands

    bands = []
    for group in found.groups:
        own: list[Curve] = [curve for curve in found.curves if curve.group == group]
        x, rows = band([curve.evaluations for curve in own], [curve.values for curve in own])
        bands.append(Band(f"{group} ({len(own)})", x, rows[0], rows[1], rows[2]))
    name = metric.replace("_", " ")
    label = name if name.startswith(_measured_on(metric).split()[0]) else f"{name} ({_measured_on(metric)})"
    try:
        draw_bands(
            image,
            bands,
            x_label=f"evaluations ({found.unit})",
            y_label=label,
            title=f"Medians over runs, bands: bootstrap 95 % intervals; {found.data}",
        )
    except ValueError as error:
        raise UsageError(f"expected --figure as the name of an image such as compare.png, got: {error}") from None


def _reach(found: Curves) -> str:
    last = max(float(curve.evaluations[-1]) for curve in found.curves)
    first = min(float(curve.evaluations[0]) for curve in found.curves)
    return f"they have values from {first:,.0f} to {last:,.0f}"


def _measured_on(metric: str) -> str:
    for split in ("validation", "test"):
        if metric.startswith(split):
            return f"{split} data"
    return "training data"


def _lower_is_better(metric: str) -> bool:
    return "loss" in metric


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
