"""Trials: runs of one configuration that differ in nothing but the seed, in one group folder.

Starting and resuming them, and the status of each as its folder says.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galab.config import RunConfig
from galab.errors import RunFolderError, UsageError, printable
from galab.evaluation.executors.processes import cores
from galab.genome.parameters import evolved_parameters
from galab.storage.groups import GroupFolder
from galab.storage.log import last_line
from galab.storage.run_folder import RunFolder
from galab.training import trust as trust_rules
from galab.training.build import build, network_and_task, own_threads
from galab.training.callbacks import Callback, Callbacks
from galab.training.checkpoint import config_from
from galab.training.resolve import default_name, resolve, resolve_distribution
from galab.training.search import SharedByTrials
from galab.training.start_from import origin_founders, pinned_origin
from galab.training.start_or_resume import changed
from galab.training.stop import interruptible
from galab.training.tensorboard import Progress
from galab.training.trials.processes import ProgressCallback, Trial, run_in_processes, run_in_this_process

logger = logging.getLogger("galab")

@dataclass(frozen=True, slots=True)
class TrialStatus:
    """The status of one trial.

    Attributes:
        path: its run folder.
        seed: its key.
        state: ``finished``, ``stopped``, ``failed``, ``killed``, ``running`` or ``waiting`` (not begun).
        generation: generations done.
        evaluations: (member, example) pairs, over all sessions.
        seconds: its own time, over all sessions.
        message: why it stopped or failed, in words.
        metrics: the champion's ``validation_...``, ``test_...`` and ``weights_...`` metrics.
    """

    path: Path
    seed: int
    state: str
    generation: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    message: str = ""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)


def trial_status(path: Path, seed: int) -> TrialStatus:
    """The status of a trial, as its folder says."""
    folder = RunFolder(path)
    if not folder.config_path.is_file():
        return TrialStatus(path, seed, "waiting")
    status = folder.read_status() or {"state": "killed"}
    state = "killed" if status["state"] == "running" and not folder.in_use() else status["state"]
    line = last_line(folder.log_path) or {}
    metrics = status.get("result") or {}
    if not metrics:
        report = last_line(folder.log_path, having="champion") or {}
        names = [name for name in report if name.startswith(("validation_", "test_", "weights_"))]
        metrics = {name: report[name] for name in names if isinstance(report[name], int | float)}
    return TrialStatus(
        path,
        seed,
        state,
        line.get("generation", 0),
        line.get("evaluations", 0),
        line.get("seconds", 0.0),
        printable(status.get("message", "")),
        metrics,
    )


def data_description(trials: Sequence[TrialStatus]) -> str:
    """The data of trials in words, from the first that was begun and is still there."""
    for trial in trials:
        if RunFolder(trial.path).config_path.is_file():
            data = RunFolder(trial.path).read_config().get("data") or {}
            return printable(data.get("description", ""))
    return ""


#: Trials that one process steps side by side at most.
MOST_TOGETHER = 16
#: Larger networks spend their time in arithmetic; their trials only get into each other's way in the processor's cache.
_MOST_WEIGHTS = 20_000


@dataclass(frozen=True, slots=True)
class Trials:
    """How the trials of a group ended.

    Attributes:
        path: the group's folder.
        trials: one entry per trial.
        interrupted: whether a person stopped them.
        data: the data set in words.
    """

    path: Path
    trials: tuple[TrialStatus, ...]
    interrupted: bool = False
    data: str = ""

    @property
    def failed(self) -> list[TrialStatus]:
        """Trials that an error ended."""
        return [trial for trial in self.trials if trial.state == "failed"]


def start_trials(
    config: RunConfig,
    seeds: Sequence[int],
    *,
    name: str | None = None,
    runs: Path = Path("runs"),
    jobs: int | None = None,
    progress: ProgressCallback | None = None,
    callbacks: Sequence[Callback] = (),
) -> Trials:
    """Run one configuration with several seeds, each in ``runs/<name>/seed_<k>``.

    Args:
        config: what to do; its own seed is not used.
        seeds: one trial each.
        name: the group's folder; made of the task and the strategy when absent.
        runs: the folder of all runs.
        jobs: processes; as many as cores when absent.
        progress: called with the progress of each trial.
        callbacks: each trial is shown to them, see :mod:`galab.training.callbacks`.

    Raises:
        UsageError: the configuration cannot be carried out, or there are no valid seeds; nothing was written then.
        RunFolderError: the folder is taken or cannot be written.
    """
    seeds = checked_seeds(seeds)
    Callbacks(callbacks)  # refused here, before anything is written
    jobs = jobs_for(jobs, len(seeds), config.workers)
    config, weights = prepared_config(config, seeds[0], jobs)
    trust_rules.remember(config)
    stem = default_name(config)
    content = group_json(config, seeds)
    group = GroupFolder.create(runs, name, content) if name else GroupFolder.create_free(runs, stem, content)
    shown = tuple(callbacks)
    trials = [Trial(path, one, {}, callbacks=shown) for path, one in trial_folders(group.path, config, seeds)]
    return run_all(group.path, trials, [weights] * len(trials), jobs, progress)


def resume_trials(
    path: Path,
    changes: dict[str, Any] | None = None,
    *,
    jobs: int | None = None,
    allow_numeric_change: bool = False,
    trust: bool = False,
    progress: ProgressCallback | None = None,
) -> Trials:
    """Continue every unfinished trial of a group or a sweep, bit for bit.

    Args:
        path: the folder of the group or the sweep.
        changes: stop rules and other changeable hyperparameters; with them, finished trials go on too.
        jobs: processes; as many as cores when absent.
        allow_numeric_change: continue where scores can no longer be bit-identical.
        trust: run code that the runs name even if it was never run here before.
        progress: called with the progress of each trial.

    Raises:
        RunFolderError: there is no group at the path, or its ``group.json`` is damaged.
    """
    trials, weights, done = [], [], []
    shared = SharedByTrials()
    for config, group in groups_in(path):
        seeds = GroupFolder(group).read("trials")["seeds"]
        config = dataclasses.replace(config, seed=seeds[0])
        if changes:  # refused here, before any trial goes on, and taken over by those that have not begun
            config = changed(config, changes, RunFolder(group))
            GroupFolder(group).write(group_json(config, seeds))
        own = trial_folders(group, config, seeds)
        unfinished = [
            member for member in own if changes or trial_status(*_folder_and_seed(member)).state != "finished"
        ]
        done += [trial_status(*_folder_and_seed(member)) for member in own if member not in unfinished]
        if unfinished:
            trust_rules.check(config, trust=trust)
            weights += [_network_size(config, shared)] * len(unfinished)
        trials += [Trial(folder, one, changes or {}, allow_numeric_change, trust) for folder, one in unfinished]
    workers = max((trial.changes.get("workers", trial.config.workers) for trial in trials), default=0)
    ran = run_all(Path(path), trials, weights, jobs_for(jobs, len(trials), workers), progress)
    everyone = sorted((*done, *ran.trials), key=lambda one: (one.path.parent, one.seed))
    return dataclasses.replace(ran, trials=tuple(everyone), data=ran.data or data_description(done))


def run_all(
    path: Path, trials: Sequence[Trial], weights: Sequence[int], jobs: int, progress: ProgressCallback | None = None
) -> Trials:
    """Run trials, several of a small network side by side in each process.

    Args:
        path: the folder of them all.
        trials: what to run.
        weights: parameters of each one's network.
        jobs: processes; one is this process.
        progress: called with the progress of each trial.
    """
    interrupted = threading.Event()
    batches = trial_batches(trials, weights, jobs)
    report = progress or _ignore_progress
    with interruptible(interrupted):
        if jobs == 1:
            why = run_in_this_process(batches, trials, report, interrupted)
        else:
            why = run_in_processes(batches, trials, report, interrupted, jobs)
    ended = []
    for index, trial in enumerate(trials):
        one = trial_status(trial.path, trial.config.seed or 0)
        error = why.get(index)
        ended.append(one if error is None else dataclasses.replace(one, state="failed", message=error))
    return Trials(path, tuple(ended), interrupted.is_set(), data_description(ended))


def trial_batches(trials: Sequence[Trial], weights: Sequence[int], jobs: int) -> list[list[int]]:
    """Which trials share a process at the same time: indices by batch, filled evenly.

    A trial with workers has a process of its own, or all would have their workers at the same time.
    """
    alike: dict[str, list[int]] = {}
    batches = []
    for index, trial in enumerate(trials):
        if weights[index] > _MOST_WEIGHTS or trial.config.workers:
            batches.append([index])
        else:
            alike.setdefault(repr(dataclasses.replace(trial.config, seed=None)), []).append(index)
    for indices in alike.values():
        # Each process gets its part even where one batch could hold all.
        size = math.ceil(len(indices) / max(math.ceil(len(indices) / MOST_TOGETHER), min(jobs, len(indices))))
        batches += [indices[at : at + size] for at in range(0, len(indices), size)]
    return sorted(batches)


def jobs_for(jobs: int | None, trials: int, workers: int = 0) -> int:
    """How many processes to use for so many trials.

    Args:
        jobs: as asked for; None takes as many as the cores are enough for.
        trials: how many there are.
        workers: of each trial.

    Raises:
        UsageError: fewer than one process was asked for.
    """
    if jobs is not None and jobs < 1:
        raise UsageError(f"expected --jobs of at least 1, got {jobs}; leave it out to use every core")
    number = max(1, min(jobs or cores() // max(1, workers), trials))
    if jobs is not None and number > cores():
        logger.warning(
            "%d processes share %d core%s and get into each other's way: --jobs %d is as fast",
            number, cores(), "s" * (cores() > 1), cores(),
        )  # fmt: skip
    return number


def prepared_config(
    config: RunConfig, seed: int, jobs: int, shared: SharedByTrials | None = None
) -> tuple[RunConfig, int]:
    """The configuration of a group with everything decided, and its network's number of parameters.

    Everything is built once, so that what cannot work is refused before a folder is made.

    Raises:
        GalabError: the configuration cannot be carried out.
    """
    threads = config.threads or (max(1, cores() // (jobs * max(1, config.workers))) if jobs > 1 else 0)
    with own_threads():
        # Every trial then has the numbers of this table, or says that it cannot.
        config, law = resolve_distribution(
            pinned_origin(resolve(dataclasses.replace(config, seed=seed, threads=threads)))
        )
        module, task = network_and_task(config, shared)
        components = build(config, module, task, law=law, founders=origin_founders(config, module))
    return config, components.founders.layout.size


def group_json(config: RunConfig, seeds: Sequence[int]) -> dict[str, Any]:
    """What ``group.json`` says of trials."""
    return {"kind": "trials", "seeds": list(seeds), "hyperparameters": config.to_dict() | {"seed": None}}


def trial_folders(path: Path, config: RunConfig, seeds: Iterable[int]) -> list[tuple[Path, RunConfig]]:
    """Folder and configuration of each trial of a group."""
    return [(path / f"seed_{seed}", dataclasses.replace(config, seed=seed)) for seed in seeds]


def groups_in(path: Path, depth: int = 3) -> list[tuple[RunConfig, Path]]:
    """The groups in a group or a sweep: the configuration and the folder of each.

    Args:
        path: the folder.
        depth: how many folders of groups may lie in each other.

    Raises:
        RunFolderError: there is none, or a ``group.json`` is damaged.
        UsageError: a hyperparameter in one is wrong.
    """
    content = GroupFolder(Path(path)).read(None if depth else "trials")
    if content["kind"] == "sweep":
        return [group for name in content["cells"] for group in groups_in(Path(path) / name, depth - 1)]
    return [(config_from(content["hyperparameters"], Path(path) / "group.json", RunFolderError), Path(path))]


def _network_size(config: RunConfig, shared: SharedByTrials) -> int:
    module, _ = network_and_task(config, shared, check=False)
    return sum(parameter.numel() for parameter in evolved_parameters(module).values())


def _folder_and_seed(member: tuple[Path, RunConfig]) -> tuple[Path, int]:
    return member[0], member[1].seed or 0


def _ignore_progress(_index: int, _progress: Progress) -> None:
    """Ignores progress."""


_MOST_SEEDS = 10_000
_ADVICE = "give whole numbers and ranges, such as 0-15 or 0,3,7-9"


def parse_seeds(text: str) -> tuple[int, ...]:
    """``"0,3,7-9"`` as ``(0, 3, 7, 8, 9)``.

    Raises:
        UsageError: a part is no number or range, a range goes down, or a seed comes twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"expected --seeds as whole numbers, got '{part.strip() or text}'; {_ADVICE}")
        low, high = int(first), int(last or first)
        if high < low:
            raise UsageError(f"expected a range of --seeds to go up, got '{part.strip()}'; write {high}-{low}")
        if high - low + len(seeds) >= _MOST_SEEDS:
            raise UsageError(f"expected at most {_MOST_SEEDS:,} seeds, got more in '{text}'; {_ADVICE}")
        seeds.extend(range(low, high + 1))
    return checked_seeds(seeds)


def checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Seeds that can be those of trials.

    Raises:
        UsageError: there are none, one comes twice, or one is no seed.
    """
    if not seeds:
        raise UsageError(f"expected at least one seed, got none; {_ADVICE}")
    if twice := [seed for seed, count in Counter(seeds).items() if count > 1]:
        raise UsageError(f"expected every seed once, got {twice[0]} twice; leave one out")
    for seed in seeds:
        RunConfig(seed=seed)  # bounds and type
    return tuple(seeds)
