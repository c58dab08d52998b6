"""Everything about a run, or a group of runs, in one HTML file that needs no other."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from logging import getLogger
from pathlib import Path

from galab import __version__
from galab.errors import GalabError, RunFolderError
from galab.questions import report_page as part
from galab.questions.analysis import Heard
from galab.questions.kept import opened, read_kept, write_analysis
from galab.questions.markup import element, page
from galab.questions.report_facts import Facts, facts_of
from galab.questions.report_figures import curves_of
from galab.questions.report_group import group_page
from galab.questions.report_verdicts import examined, verdicts
from galab.registry import ANALYSES
from galab.store.files import write_atomic
from galab.store.groups import runs_below
from galab.store.run_folder import RunFolder

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
    from galab.lab.rebuild import open_saved

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
