"""The report of several runs: how they stand, what they have in common, their pooled curves, what was found in each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galab import __version__
from galab.analysis.statistics import median_interval
from galab.questions import report_page as part
from galab.questions.kept import read_kept
from galab.questions.markup import Markup, element, folded, joined, page, table
from galab.questions.report_facts import Facts
from galab.questions.report_figures import pooled_curves
from galab.questions.report_verdicts import Verdict, verdicts
from galab.store.groups import is_group

_METRICS = ("validation_accuracy", "test_accuracy", "validation_loss", "test_loss")


def group_page(path: Path, found: Sequence[tuple[Facts, list[str]]]) -> str:
    """The page.

    Args:
        path: the folder.
        found: the runs, each with the sentences of analyses that could not be made of it.
    """
    runs = [facts for facts, _ in found]
    cells = _cells(path, runs)
    data = dict.fromkeys(str(run.data.get("description", "")) for run in runs if run.data)
    name = path.resolve().name
    states = ", ".join(
        f"{sum(run.state == state for run in runs)} {state}" for state in dict.fromkeys(run.state for run in runs)
    )
    kinds = f"{len(cells)} configurations" if len(cells) > 1 else "one configuration"
    return page(
        f"galab report: {name}",
        element("h1", name),
        element("p", f"{len(runs)} runs ({states}), {kinds}, on {'; '.join(data) or 'no data yet'}", kind="lead"),
        _medians(cells),
        part.verdict_list(_verdicts(path, runs)),
        part.curves_part(pooled_curves(cells)),
        element("h2", "Runs"),
        table([_row(path, run) for run in runs]),
        _analyses(path, found),
        _configuration(cells),
        part.data_part(runs[0]),
        part.provenance(next((run for run in runs if run.versions), runs[0])),
        element("p", f"The provenance is that of one run. Made by galab {__version__}.", kind="quiet"),
    )


def _cells(path: Path, runs: Sequence[Facts]) -> dict[str, Sequence[Facts]]:
    """Runs by the group that they lie in, or by themselves."""
    cells: dict[str, list[Facts]] = {}
    for run in runs:
        home = run.path.parent if is_group(run.path.parent) else run.path
        name = home.relative_to(path).as_posix()
        cells.setdefault(path.resolve().name if name == "." else name, []).append(run)
    return dict(cells)


def _medians(cells: dict[str, Sequence[Facts]]) -> Markup:
    """Each group's champions: medians over its finished runs."""
    rows = []
    for name, runs in cells.items():
        finished = [run for run in runs if run.state == "finished"]
        row = {"group": name, "runs": len(runs), "finished": len(finished)}
        for metric in _METRICS:
            values = [run.result[metric] for run in finished if _is_number(run.result.get(metric))]
            row[metric.replace("_", " ")] = _interval(values)
        rows.append(row)
    say = "Medians over the champions of finished runs, in brackets bootstrap 95 % intervals."
    return joined([table(rows), element("p", say, kind="quiet")])


def _interval(values: list[float]) -> str:
    if not values:
        return "-"
    found = median_interval(values)
    around = f" [{part.number(found.low)}, {part.number(found.high)}]" if found.count > 1 else ""
    return part.number(found.median) + around


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == value


def _verdicts(path: Path, runs: Sequence[Facts]) -> list[Verdict]:
    """What is to be done in any run, by run; what is well is not repeated."""
    bad = [
        Verdict(False, f"{run.path.relative_to(path).as_posix()}: {one.say}")
        for run in runs
        for one in verdicts(run)
        if not one.good
    ]
    return bad or [Verdict(True, "no run warned of anything")]


def _row(path: Path, run: Facts) -> dict[str, Any]:
    return {
        "run": run.path.relative_to(path).as_posix(),
        "state": run.state,
        "generation": part.number(run.totals.get("generation", 0)),
        "evaluations": part.number(run.totals.get("evaluations", 0)),
        "seconds": part.number(run.totals.get("seconds", 0.0)),
        **{name.replace("_", " "): part.number(run.result.get(name)) for name in _METRICS},
        "message": run.message,
    }


def _configuration(cells: dict[str, Sequence[Facts]]) -> Markup:
    """What the groups differ in, then what the first of them has."""
    firsts = {name: next((run.values for run in runs if run.values), {}) for name, runs in cells.items()}
    names = dict.fromkeys(name for values in firsts.values() for name in values if name != "seed")
    different = [name for name in names if len({repr(values.get(name)) for values in firsts.values()}) > 1]
    first = next((values for values in firsts.values() if values), {})
    parts: list[Markup] = [part.configuration({key: value for key, value in first.items() if key not in different})]
    if different:
        rows = [
            {"group": name, **{one: part.number(values.get(one)) for one in different}}
            for name, values in firsts.items()
        ]
        parts += [element("p", "What the groups differ in:"), table(rows)]
    return joined(parts)


def _analyses(path: Path, found: Sequence[tuple[Facts, list[str]]]) -> Markup:
    """What lies in the group's own folder, then what lies in each run's."""
    own = [*read_kept(path / "analysis"), *(one for one in read_kept(path) if one.name == "compare")]
    parts = [part.analyses_part(own, [])] if own else [element("h2", "Analyses")]
    for run, failed in found:
        kept = read_kept(run.path / "analysis")
        if kept or failed:
            inside = [*(part.one_analysis(one) for one in kept), *(element("p", "! ", one) for one in failed)]
            answers = f"{len(kept)} analyses" + (f", {len(failed)} not made" if failed else "")
            parts.append(folded(f"{run.path.relative_to(path).as_posix()}: {answers}", *inside))
    if len(parts) == 1 and not own:
        parts.append(element("p", "None was made yet; `galab report --analyses all` makes all that fit."))
    return joined(parts)
