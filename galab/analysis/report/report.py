"""Everything about a run, or a group of runs, in one HTML file that needs no other."""

from __future__ import annotations

import io
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np

from galab.analysis.base import Progress, open_for, read_analyses, write_analysis
from galab.analysis.report import html as part
from galab.analysis.report.facts import Facts, Verdict, doctor_verdicts, facts_of, series, verdicts
from galab.analysis.report.html import Rows
from galab.config.registry import ANALYSES
from galab.errors import GalabError, RunFolderError, pass_interrupts
from galab.saved_runs.saved_run import open_saved
from galab.saved_runs.watch import film_of
from galab.stats.curves import band
from galab.stats.intervals import median_interval
from galab.stats.plots import Band, draw_bands
from galab.storage.files import output_place, write_atomic
from galab.storage.groups import is_group, runs_below
from galab.storage.run_folder import RunFolder
from galab.tasks.classic_drawings import plainly

logger = getLogger("galab")
#: Of the episode that is shown: its steps at most, and the width of a picture in pixels.
_EPISODE_STEPS, _EPISODE_WIDTH = 1000, 200


def report(
    path: Path,
    progress: Progress,
    *,
    analyses: Sequence[str] = (),
    doctor: float = 0.0,
    output: Path | None = None,
    trust: bool = False,
) -> Path:
    """Write a report.

    Args:
        path: a run, a checkpoint, a group, a sweep, or a folder that holds such.
        progress: called with what is being done, and the share of the whole that is done.
        analyses: names of analyses to make first, of every run; one that fails leaves its sentence in the report.
        doctor: seconds in which to examine the configuration of an evolution strategy; 0 does not.
        output: the file; ``analysis/report.html`` of the run or group when absent.
        trust: run code that the run names even if it has not been run here before.

    Returns:
        The file.

    Raises:
        UsageError: an analysis is unknown.
        RunFolderError: there is nothing at that path, or the file cannot be written.
    """
    path = Path(path)
    for name in analyses:
        ANALYSES.check(name)
    if output is None:
        file, text = _page(path, progress, analyses, doctor, trust)
        try:
            file.parent.mkdir(exist_ok=True)  # never the run's folder, which may be somewhere else by now
        except OSError as error:
            raise RunFolderError(
                f"expected to make '{file.parent}' for the report, got '{error.strerror or error}'; name a file with -o"
            ) from error
        write_atomic(file, [text.encode("utf-8", "backslashreplace")])
        return file
    with output_place(output) as place:
        _, text = _page(path, progress, analyses, doctor, trust)
        place.write_bytes(text.encode("utf-8", "backslashreplace"))
    return output


def _page(path: Path, progress: Progress, analyses: Sequence[str], doctor: float, trust: bool) -> tuple[Path, str]:
    """Where the report goes if no file is named, and the report."""
    if path.is_file() or (path / "config.json").is_file():
        home, text = _of_run(path, progress, analyses, doctor, trust)
    else:
        home, text = path, _of_group(path, progress, analyses, trust)
    suffix = f"-{path.stem}" if path.suffix == ".pkl" else ""
    return home / "analysis" / f"report{suffix}.html", text


def _of_run(path: Path, progress: Progress, analyses: Sequence[str], doctor: float, trust: bool) -> tuple[Path, str]:
    facts = facts_of(path)
    failed = make_analyses(path, analyses, progress, trust=trust)
    said = verdicts(facts)
    if doctor > 0:
        progress("asking the doctor", 0.8)
        said += doctor_verdicts(facts, doctor, trust=trust)
    progress("drawing", 0.9)
    home = facts.folder.path if facts.folder else path.parent
    text = part.page(
        **part.heading(facts),
        verdicts=said,
        choices=part.configuration(facts.values),
        data=part.data_rows(facts),
        figures=curves_of(facts),
        samples=_samples(facts),
        prompted=any("answers_reward" in line for line in facts.log),
        episode=_episode(facts, trust=trust),
        analyses=read_analyses(home / "analysis"),
        failed=failed,
        provenance_facts=part.provenance(facts),
    )
    return home, text


def _samples(facts: Facts) -> list[tuple[int, list[str]]]:
    """Generations with the lines of the text that a run on texts has logged there."""
    logged = ((line["generation"], line.get("sample")) for line in facts.log)
    return [(generation, text.split("\n")) for generation, text in logged if isinstance(text, str)]


def _episode(facts: Facts, *, trust: bool) -> Figure | None:
    """The champion's first test episode in pictures, of a run of episodes whose environment can be drawn."""
    if not any(name.endswith("_return") for name in facts.result):
        return None
    try:
        film = film_of(open_saved(facts.path, trust=trust), steps=_EPISODE_STEPS)
    except GalabError as error:
        logger.debug("no pictures of an episode: %s", error)
        return None
    image = io.BytesIO()
    film.reel.strip(widest=_EPISODE_WIDTH).save(image, format="PNG")
    whole = "" if film.ended else "the beginning of "
    said = f"{whole}the first test episode: return {plainly(film.total)} in {film.steps:,} steps"
    return Figure(said[0].upper() + said[1:], image.getvalue())


def _of_group(path: Path, progress: Progress, analyses: Sequence[str], trust: bool) -> str:
    runs = runs_below(path)
    if not runs:
        raise RunFolderError(f"expected a run or runs at '{path}', found none; `galab list` shows the runs")
    failed: dict[RunFolder, list[str]] = {}
    for number, run in enumerate(runs):
        progress(f"run {run.name}", 0.9 * number / len(runs))
        failed[run] = make_analyses(run.path, analyses, lambda what, share: None, trust=trust)
    progress("drawing", 0.9)
    facts: list[tuple[Facts, list[str]]] = [(facts_of(run.path), failed[run]) for run in runs]
    return group_page(path, facts)


def make_analyses(path: Path, names: Sequence[str], progress: Progress, *, trust: bool = False) -> list[str]:
    """Make analyses of a run and write their files.

    Args:
        path: the run or checkpoint.
        names: of the analyses.
        progress: called with what is being done, and the share of the whole that is done.
        trust: as in :func:`report`.

    Returns:
        A sentence for each that could not be made.
    """
    if not names:
        return []
    try:
        open_saved(path, trust=trust)  # what every analysis would say of it is said once
    except GalabError as error:
        return [f"{', '.join(names)}: {error}"]
    failed = []
    for number, name in enumerate(names):
        progress(name, 0.8 * number / len(names))
        try:
            analysis = ANALYSES.load(name)
            what, stem = open_for(analysis, path, name, trust=trust)
            write_analysis(analysis(what, lambda what, share: None), stem)
        except GalabError as error:
            failed.append(f"{name}: {error}")
        except BaseException as error:  # a bug in one analysis must not take the others' answers away
            pass_interrupts(error)
            logger.debug("%s", traceback.format_exc())
            say = f"unexpected {type(error).__name__}: {error}; `galab --debug analyze {name}` tells more"
            failed.append(f"{name}: {say}")
    return failed


_METRICS = (
    "validation_bits", "test_bits", "validation_accuracy", "test_accuracy", "validation_return", "test_return",
    "validation_loss", "test_loss",
)  # fmt: skip


def group_page(path: Path, found: Sequence[tuple[Facts, list[str]]]) -> str:
    """The page of a group.

    Args:
        path: the folder.
        found: the runs, each with the sentences of analyses that could not be made of it.
    """
    runs = [facts for facts, _ in found]
    cells = _cells(path, runs)
    data = dict.fromkeys(str(run.data.get("description", "")) for run in runs if run.data)
    states = ", ".join(
        f"{sum(run.state == state for run in runs)} {state}" for state in dict.fromkeys(run.state for run in runs)
    )
    kinds = f"{len(cells)} configurations" if len(cells) > 1 else "one configuration"
    common, differences = _configuration(cells)
    return part.page(
        name=path.resolve().name,
        lead=f"{len(runs)} runs ({states}), {kinds}, on {'; '.join(data) or 'no data yet'}",
        verdicts=_verdicts(path, runs),
        choices=part.configuration(common),
        data=part.data_rows(runs[0]),
        figures=pooled_curves(cells),
        analyses=[*read_analyses(path / "analysis"), *(one for one in read_analyses(path) if one.name == "compare")],
        provenance_facts=part.provenance(next((run for run in runs if run.versions), runs[0])),
        group={
            "medians": _medians(cells),
            "runs": [_row(path, run) for run in runs],
            "analyses": _analyses(path, found),
            "differences": differences,
        },
    )


def _cells(path: Path, runs: Sequence[Facts]) -> dict[str, Sequence[Facts]]:
    """Runs by the group that they lie in, or by themselves."""
    cells: dict[str, list[Facts]] = {}
    for run in runs:
        home = run.path.parent if is_group(run.path.parent) else run.path
        name = home.relative_to(path).as_posix()
        cells.setdefault(path.resolve().name if name == "." else name, []).append(run)
    return dict(cells)


def _medians(cells: dict[str, Sequence[Facts]]) -> Rows:
    """Each group's champions: medians over its finished runs."""
    rows = []
    for name, runs in cells.items():
        finished = [run for run in runs if run.state == "finished"]
        row = {"group": name, "runs": len(runs), "finished": len(finished)}
        for metric in _METRICS:
            values = [run.result[metric] for run in finished if _is_number(run.result.get(metric))]
            row[metric.replace("_", " ")] = _interval(values)
        rows.append(row)
    return rows


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


def _configuration(cells: dict[str, Sequence[Facts]]) -> tuple[dict[str, Any], Rows]:
    """The hyperparameters of the first group that all share, and a row for each group with those that differ."""
    firsts = {name: next((run.values for run in runs if run.values), {}) for name, runs in cells.items()}
    names = dict.fromkeys(name for values in firsts.values() for name in values if name != "seed")
    different = [name for name in names if len({repr(values.get(name)) for values in firsts.values()}) > 1]
    first = next((values for values in firsts.values() if values), {})
    rows = [
        {"group": name, **{one: part.number(values.get(one)) for one in different}} for name, values in firsts.items()
    ]
    return {key: value for key, value in first.items() if key not in different}, rows if different else []


def _analyses(path: Path, found: Sequence[tuple[Facts, list[str]]]) -> list[dict[str, Any]]:
    """What lies in the folder of each run, where there is anything."""
    shown = []
    for run, failed in found:
        kept = read_analyses(run.path / "analysis")
        if kept or failed:
            answers = f"{len(kept)} analyses" + (f", {len(failed)} not made" if failed else "")
            title = f"{run.path.relative_to(path).as_posix()}: {answers}"
            shown.append({"title": title, "kept": kept, "failed": failed})
    return shown


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn in one figure.

    Attributes:
        title: what it shows, and on what data.
        y_label: of the y axis.
        fields: label to field of the log.
        ends: fields of the lower and upper end of a band around the first curve, if there is one.
        by_ratio: whether the y axis is logarithmic.
        idle: whether it says nothing where it never changes.
    """

    title: str
    y_label: str
    fields: dict[str, str]
    ends: tuple[str, str] | None = None
    by_ratio: bool = False
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that was drawn.

    Attributes:
        title: what it shows.
        image: as PNG.
    """

    title: str
    image: bytes


CHARTS = (
    Chart("Fitness, on the training data", "fitness (higher is better)",
          {"best member": "fitness_best", "mean of the cohort": "fitness_mean"}),
    Chart("Reward of the members' answers, from the worst to the best, and of the candidate", "reward",
          {"members, mean": "answers_reward", "candidate, training": "validation_reward",
           "candidate, test (not used)": "test_reward"}, ("answers_reward_worst", "answers_reward_best")),
    Chart("The members' answers beside the base model's", "share of answers, or of members",
          {"differ": "answers_changed", "are right": "answers_correct", "right there, wrong here": "answers_lost",
           "members of equal fitness": "answers_tied"}),
    Chart("Divergence of the candidate from the base model", "nats a token",
          {"training": "validation_kl", "test (not used)": "test_kl"}),
    Chart("Accuracy on each data set; on training data that of the generation's best member", "accuracy",
          {"validation": "validation_accuracy", "test (not used)": "test_accuracy",
           "training, best member": "train_accuracy"}),
    Chart("Loss on each data set; on training data that of the generation's best member", "loss",
          {"validation": "validation_loss", "test (not used)": "test_loss",
           "training, best member": "train_loss"}),
    Chart("Bits a byte of each part of the text; on training data those of the generation's best member", "bits a byte",
          {"validation": "validation_bits", "test (not used)": "test_bits", "training, best member": "train_bits"}),
    Chart("Step size: mean of the parents, and from the smallest to the largest", "step size",
          {"mean": "step_size"}, ("step_size_min", "step_size_max"), by_ratio=True,
          idle=True),
    Chart("Success rate: children better than their parents, on the training data", "share of children",
          {"success rate": "selection_success_rate"}),
    Chart("Diversity: root mean square distance between parents", "distance", {"parents": "diversity_distance"}),
    Chart("Age of the parents' last common ancestor", "generations", {"age": "diversity_common_ancestor"}),
    Chart("Cosine of the estimate with the true gradient, on the training data", "cosine",
          {"measured": "estimate_cosine", "predicted": "estimate_cosine_predicted"}),
    Chart("Learning rate", "learning rate", {"learning rate": "learning_rate"}, idle=True),
    Chart("Length of the weights", "Euclidean norm", {"centre": "weights_norm"}),
    Chart("Members without a finite fitness, in each generation", "members", {"failures": "failures"}, idle=True),
)  # fmt: skip
#: What is drawn of a group: median and interval over its runs.
POOLED = (
    "fitness_best", "validation_bits", "validation_accuracy", "test_accuracy", "validation_loss", "step_size",
    "estimate_cosine",
)  # fmt: skip


def curves_of(facts: Facts) -> list[Figure]:
    """The figures of a run; those of which it has logged nothing are left out."""
    figures = []
    for chart in CHARTS:
        bands = [one for label, name in chart.fields.items() if (one := _band(facts, label, name, chart)) is not None]
        flat = all(one.x.size > 1 and np.ptp(one.middle) == 0 for one in bands)
        if bands and not (chart.idle and flat):
            figures.append(_draw(chart.title, chart.y_label, bands, by_ratio=chart.by_ratio))
    return figures


def _band(facts: Facts, label: str, name: str, chart: Chart) -> Band | None:
    points = np.array(series(facts.log, name), dtype=np.float64).reshape(-1, 2)
    if not len(points):
        return None
    low = high = np.full(len(points), np.nan)
    if chart.ends is not None and name == next(iter(chart.fields.values())):
        low, high = (_along(facts, end, points[:, 0]) for end in chart.ends)
    return Band(label, points[:, 0], points[:, 1], low, high)


def _along(facts: Facts, name: str, generations: np.ndarray) -> np.ndarray:
    found = dict(series(facts.log, name))
    return np.array([found.get(int(generation), np.nan) for generation in generations])


def pooled_curves(groups: dict[str, Sequence[Facts]]) -> list[Figure]:
    """The figures of several groups: medians over runs with bootstrap intervals, as far as all runs of one came.

    Args:
        groups: name to its runs.
    """
    figures = []
    for name in POOLED:
        bands = []
        for label, runs in groups.items():
            found = [np.array(one) for run in runs if (one := series(run.log, name))]
            if found:
                places, rows = band([one[:, 0] for one in found], [one[:, 1] for one in found])
                bands.append(Band(f"{label} ({len(found)})", places, *rows))
        if any(one.x.size for one in bands):
            words = name.replace("_", " ")
            title = f"{words}: medians over runs (in brackets their number), bands: bootstrap 95 % intervals"
            if len(bands) == 1:
                title = f"{words}: median of {bands[0].label} runs, band: bootstrap 95 % interval"
            figures.append(_draw(title, words, bands, by_ratio=name == "step_size"))
    return figures


def _draw(title: str, y_label: str, bands: Sequence[Band], *, by_ratio: bool) -> Figure:
    by_ratio = by_ratio and all((one.middle > 0).all() for one in bands)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "figure.png"
        draw_bands(
            image, bands, x_label="generation", y_label=y_label, title=title, by_ratio=by_ratio,
            even=True,
            size=(6.6, 3.8),
        )  # fmt: skip
        return Figure(title, image.read_bytes())
