"""The state of a run and its log, read from its folder, and the verdicts that a reader needs first.

A folder is read piece by piece: a damaged piece is reported and does not hide the others.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from galab.config import RunConfig, complete
from galab.config.strategy_kinds import kind_of
from galab.config.traits import evaluations_in_words
from galab.doctor.es_advice import advice
from galab.doctor.es_measurements import measure_estimate
from galab.errors import GalabError, printable, printable_data
from galab.storage import checkpoints
from galab.storage.groups import group_of
from galab.storage.log import read_log
from galab.storage.run_folder import RunFolder, locate
from galab.training import trust as trust_rules
from galab.training.saved_state import read_state

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Facts:
    """A run.

    Attributes:
        path: its folder, or the checkpoint file that was asked for.
        folder: its folder; None for a checkpoint that lies alone.
        name: its name.
        state: how it stands, such as ``finished`` or ``killed``; empty where that is unknown.
        message: why it ended.
        values: its hyperparameters, those of the newest checkpoint where one can be read.
        data: what its data is.
        log: one line a generation.
        result: the champion's metrics.
        totals: generation, evaluations and seconds done.
        versions: of what its result may depend on.
        profile: its numeric profile.
        saved: generations of which there are checkpoints.
        origin: where it was branched from, or {}.
        problems: what could not be read, in sentences.
    """

    path: Path
    folder: RunFolder | None
    name: str
    state: str
    message: str
    values: dict[str, Any]
    data: dict[str, Any]
    log: list[dict[str, Any]]
    result: dict[str, Any]
    totals: dict[str, Any]
    versions: dict[str, Any]
    profile: dict[str, Any]
    saved: list[int]
    origin: dict[str, Any]
    problems: list[str] = field(default_factory=list)

    @property
    def strategy(self) -> str:
        """The name of its strategy."""
        return str(self.values.get("strategy", "ga"))

    @property
    def unit(self) -> str:
        """What its evaluations are, in words."""
        return evaluations_in_words(str(self.values.get("task", "")), self.strategy)


def facts_of(path: Path) -> Facts:
    """Read a run folder or a checkpoint.

    Raises:
        RunFolderError: there is neither.
    """
    folder, file = locate(path)
    problems: list[str] = []

    def attempt(read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except GalabError as error:
            problems.append(str(error))
            return otherwise

    nothing: dict[str, Any] = {}
    log: list[dict[str, Any]] = []
    present: list[tuple[int, Path]] = []
    content = status = nothing
    if folder is not None:
        content = printable_data(attempt(folder.read_config, nothing))
        status = printable_data(attempt(lambda: folder.read_status() or nothing, nothing))
        log = [_shown(line) for line in attempt(lambda: read_log(folder.log_path), log)]
        present = attempt(lambda: checkpoints.list_checkpoints(folder.checkpoints), present)
    state = printable_data(attempt(lambda: read_state(path), nothing))
    if file is not None and "generation" in state:
        log = [line for line in log if line.get("generation", 0) <= state["generation"]]
    values = _dict(state.get("hyperparameters")) or _dict(content.get("hyperparameters"))
    last = log[-1] if log else nothing
    report = next((line for line in reversed(log) if "champion" in line), nothing)
    champion = _dict(_dict(state.get("champion")).get("metrics"))
    measured = {name: value for name, value in report.items() if name.startswith(("validation_", "test_", "weights_"))}
    totals = _dict(state.get("totals")) | {name: last[name] for name in ("evaluations", "seconds") if name in last}
    return Facts(
        path=path,
        folder=folder,
        name=_name(folder, path) + (f", {path.name}" if folder and file else ""),
        state="" if file else _state(folder, status),
        message=str(status.get("message", "")),
        values=complete(values) if values else {},
        data=_dict(content.get("data")) or _dict(state.get("task")),
        log=log,
        result=champion if file else _dict(status.get("result")) or champion or measured,
        totals={"generation": last.get("generation", state.get("generation", 0)), **totals},
        versions=_dict(state.get("versions")),
        profile=_dict(state.get("numeric_profile")),
        saved=[generation for generation, _ in present],
        origin=_dict(content.get("branched_from")),
        problems=problems,
    )


def _name(folder: RunFolder | None, path: Path) -> str:
    """A run's name, after that of its groups."""
    if folder is None:
        return path.stem
    name, group = folder.path.resolve().name, group_of(folder.path.resolve())
    return f"{group}/{name}" if group else name


def _state(folder: RunFolder | None, status: dict[str, Any]) -> str:
    state = str(status.get("state", "new"))
    return "killed" if state == "running" and folder is not None and not folder.in_use() else state


def _shown(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the log with its control characters spelt out; a text that a model has made keeps its lines."""
    text = line.get("sample")
    sample = {"sample": printable(text, lines=True)} if isinstance(text, str) else {}
    return dict(printable_data(line)) | sample


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


#: Share of the last generations over which noisy numbers are averaged.
_END = 0.25
#: Measured cosine, as a share of the predicted one, below which the fitness bends within sigma.
_AS_PREDICTED = 0.75
#: How far below its best a curve ends before that is worth a sentence: so much, and so many typical changes between
#: two reports, as the best of many noisy reports is better than it is.
_FELL, _CHANGES = 0.01, 3.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence.

    Attributes:
        good: whether nothing has to be done.
        say: the sentence.
    """

    good: bool
    say: str


def verdicts(facts: Facts) -> list[Verdict]:
    """All verdicts, problems first."""
    found = [Verdict(False, problem) for problem in facts.problems]
    return [*found, *_ended(facts), *_warnings(facts), *_failures(facts), *_fell(facts), *_estimate(facts)]


def _ended(facts: Facts) -> list[Verdict]:
    why = f": {facts.message}" if facts.message else ""
    match facts.state:
        case "":
            return []
        case "new":
            return [Verdict(False, "the run has not begun: it has a configuration and nothing else")]
        case "killed":
            return [Verdict(False, "the run was killed: it is marked as running, and nobody writes in it")]
        case _:
            return [Verdict(facts.state in ("finished", "running"), f"{facts.state}{why}")]


def _warnings(facts: Facts) -> list[Verdict]:
    return [
        Verdict(False, f"generation {line.get('generation', 0):,}: {sentence}")
        for line in facts.log
        for sentence in line.get("warnings") or ()
    ]


def _failures(facts: Facts) -> list[Verdict]:
    failed = sum(line.get("failures") or 0 for line in facts.log)
    if not failed:
        return []
    members = facts.log[-1].get("members") or 0
    reasons = next((line["failure_reasons"] for line in facts.log if line.get("failure_reasons")), [""])
    share = f"{failed / members:.2%} of {members:,}" if members else f"{failed:,}"
    return [Verdict(False, f"{share} members had no finite fitness; the first reason: {reasons[0]}")]


def _fell(facts: Facts) -> list[Verdict]:
    """Whether validation was better before the end."""
    points = series(facts.log, "validation_accuracy")
    if len(points) < 2:
        return []
    (end, last), (when, best) = points[-1], max(points, key=lambda point: point[1])
    changes = [abs(after[1] - before[1]) for before, after in itertools.pairwise(points)]
    if best - last > max(_FELL, _CHANGES * statistics.median(changes)):
        say = f"validation accuracy was best in generation {when:,}, {best:.2%}, and ended at {last:.2%}"
        return [Verdict(False, f"{say}: a checkpoint from then may serve better")]
    near = f"its best is {best:.2%}, in generation {when:,}" if best > last else "its best"
    return [Verdict(True, f"validation accuracy was {last:.2%} at the last report, generation {end:,}: {near}")]


def _estimate(facts: Facts) -> list[Verdict]:
    """Whether an evolution strategy's steps point where the law predicts."""
    found = series(facts.log, "estimate_cosine")
    law = dict(series(facts.log, "estimate_cosine_predicted"))
    pairs = [(value, law[generation]) for generation, value in found if generation in law]
    pairs = pairs[-max(1, math.ceil(_END * len(pairs))) :]
    if not pairs:
        return []
    mean, predicted = (statistics.fmean(column) for column in zip(*pairs, strict=True))
    say = f"the estimate's cosine with the true gradient was {mean:.3f} at the end, {predicted:.3f} is predicted"
    if mean < _AS_PREDICTED * predicted:
        return [Verdict(False, f"{say}: less, as the fitness bends within sigma; try a lower --sigma")]
    return [Verdict(True, say)]


def doctor_verdicts(facts: Facts, budget: float, *, trust: bool = False) -> list[Verdict]:
    """What ``galab doctor es`` says of the run's configuration; measured again, where the run began.

    Args:
        facts: the run.
        budget: seconds that it may take, roughly.
        trust: run code that the run names even if it has not been run here before.
    """
    if not kind_of(facts.strategy).estimates:
        return [Verdict(True, "the doctor knows evolution strategies alone, and this run is none")]
    try:
        config = RunConfig.from_saved(facts.values)
        trust_rules.check(config, trust=trust)
        found = advice(measure_estimate(config, budget=budget))
    except GalabError as error:
        return [Verdict(False, f"the doctor could not look at the run: {error}")]
    return [Verdict(one.good, f"doctor, {one.about}: {one.say}") for one in found]


def series(log: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    """Generations and values of a field, where it is a finite number."""
    return [
        (int(line["generation"]), float(line[name]))
        for line in log
        if "generation" in line and isinstance(line.get(name), (int, float)) and math.isfinite(line[name])
    ]
