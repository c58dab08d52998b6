"""Everything about a run, or a group of runs, in one HTML file that needs no other.

The report of several runs: how they stand, what they have in common, their pooled curves, what was found in each.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

from galab import __version__
from galab.analysis.base import Heard, opened, read_kept, write_analysis
from galab.analysis.report import html as part
from galab.analysis.report.facts import Facts, Verdict, examined, facts_of, verdicts
from galab.analysis.report.figures import curves_of, pooled_curves
from galab.analysis.report.html import Markup, element, folded, joined, page, table
from galab.config.registry import ANALYSES
from galab.errors import GalabError, RunFolderError
from galab.stats.intervals import median_interval
from galab.storage.files import write_atomic
from galab.storage.groups import is_group, runs_below
from galab.storage.run_folder import RunFolder

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


logger = getLogger("galab")


def report(
    path: Path,
    heard: Heard,
    *,
    analyses: Sequence[str] = (),
    doctor: float = 0.0,
    output: Path | None = None,
    trust: bool = False,
) -> Path:
    """Write a report.

    Args:
        path: a run, a checkpoint, a group, a sweep, or a folder that holds such.
        heard: hears how it comes along.
        analyses: names of analyses to make first, of every run; one that fails leaves its sentence in the report.
        doctor: seconds in which to examine the configuration of an evolution strategy; 0 does not.
        output: the file; ``analysis/report.html`` of the run or group when absent.
        trust: run code that the run names even if nobody here has run it before.

    Returns:
        The file.

    Raises:
        UsageError: an analysis is unknown.
        RunFolderError: there is nothing at that path, or the file cannot be written.
    """
    path = Path(path)
    for name in analyses:
        ANALYSES.check(name)
    if path.is_file() or (path / "config.json").is_file():
        home, text = _of_run(path, heard, analyses, doctor, trust)
    else:
        home, text = path, _of_group(path, heard, analyses, trust)
    suffix = f"-{path.stem}" if path.suffix == ".pkl" else ""
    file = output or home / "analysis" / f"report{suffix}.html"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"expected to make '{file.parent}' for the report, got '{error.strerror or error}'; name a file with -o"
        ) from error
    write_atomic(file, [text.encode("utf-8", "backslashreplace")])
    return file


def _of_run(path: Path, heard: Heard, analyses: Sequence[str], doctor: float, trust: bool) -> tuple[Path, str]:
    facts = facts_of(path)
    failed = make_analyses(path, analyses, heard, trust=trust)
    said = verdicts(facts)
    if doctor > 0:
        heard("asking the doctor", 0.8)
        said += examined(facts, doctor, trust=trust)
    heard("drawing", 0.9)
    home = facts.folder.path if facts.folder else path.parent
    text = page(
        f"galab report: {facts.name}",
        part.heading(facts),
        part.verdict_list(said),
        part.configuration(facts.values),
        part.data_part(facts),
        part.curves_part(curves_of(facts)),
        part.analyses_part(read_kept(home / "analysis"), failed),
        part.provenance(facts),
        element("p", f"Made by galab {__version__}.", kind="quiet"),
    )
    return home, text


def _of_group(path: Path, heard: Heard, analyses: Sequence[str], trust: bool) -> str:
    runs = runs_below(path)
    if not runs:
        raise RunFolderError(f"expected a run or runs at '{path}', found none; `galab list` shows the runs")
    failed: dict[RunFolder, list[str]] = {}
    for number, run in enumerate(runs):
        heard(f"run {run.name}", 0.9 * number / len(runs))
        failed[run] = make_analyses(run.path, analyses, lambda what, share: None, trust=trust)
    heard("drawing", 0.9)
    facts: list[tuple[Facts, list[str]]] = [(facts_of(run.path), failed[run]) for run in runs]
    return group_page(path, facts)


def make_analyses(path: Path, names: Sequence[str], heard: Heard, *, trust: bool = False) -> list[str]:
    """Make analyses of a run and write their files.

    Args:
        path: the run or checkpoint.
        names: of the analyses.
        heard: hears how it comes along.
        trust: as in :func:`report`.

    Returns:
        A sentence for each that could not be made.
    """
    from galab.saved_runs.saved_run import open_saved

    if not names:
        return []
    try:
        open_saved(path, trust=trust)  # what every analysis would say of it is said once
    except GalabError as error:
        return [f"{', '.join(names)}: {error}"]
    failed = []
    for number, name in enumerate(names):
        heard(name, 0.8 * number / len(names))
        try:
            analysis = ANALYSES.load(name)
            what, stem = opened(analysis, path, name, trust=trust)
            write_analysis(analysis(what, lambda what, share: None), stem)
        except GalabError as error:
            failed.append(f"{name}: {error}")
        except Exception as error:  # a bug in one analysis must not take the others' answers away
            logger.debug("%s", traceback.format_exc())
            say = f"unexpected {type(error).__name__}: {error}; `galab --debug analyze {name}` tells more"
            failed.append(f"{name}: {say}")
    return failed
