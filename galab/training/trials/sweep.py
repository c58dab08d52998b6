"""Sweeps: several configurations with several seeds each, in one folder; what is finished is not computed again.

The configurations are named cells, or the combinations of a grid such as ``sigma=0.01,0.02``.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from galab.config import RunConfig, field_type
from galab.config.parsing import split_outside
from galab.config.registry import TASKS
from galab.config.spelling import Given, OptionError
from galab.config.traits import plans_its_end
from galab.errors import GalabError, RunFolderError, UsageError, closest
from galab.storage import checkpoints
from galab.storage.groups import GroupFolder, is_group
from galab.storage.run_folder import RunFolder
from galab.training import trust as trust_rules
from galab.training.checkpoint import config_in, config_of
from galab.training.compose import varied
from galab.training.search import SharedByTrials
from galab.training.start_or_resume import STOP_RULES
from galab.training.trials.processes import ProgressCallback, Trial
from galab.training.trials.trials import (
    Trials,
    TrialStatus,
    checked_seeds,
    data_description,
    group_json,
    jobs_for,
    prepared_config,
    run_all,
    trial_folders,
    trial_status,
)

#: Chosen by the machine unless given: cells that go on keep what they began with.
_MACHINE = ("device", "threads", "chunk")


@dataclass(frozen=True, slots=True)
class Words:
    """How messages speak of the cells.

    Attributes:
        whole: what they are together.
        cell: one of them.
        mend: what to do with those that cannot be carried out.
        elsewhere: what to do where the folder holds something else.
    """

    whole: str = "sweep"
    cell: str = "cell of the grid"
    mend: str = "leave these values out"
    elsewhere: str = "choose another --name"


SWEEP = Words()


def run_cells(
    path: Path,
    cells: Mapping[str, Callable[[], RunConfig]],
    seeds: Sequence[int],
    *,
    jobs: int | None = None,
    workers: int = 0,
    progress: ProgressCallback | None = None,
    longer_counts: bool = False,
    words: Words = SWEEP,
) -> Trials:
    """Run every cell with every seed, each in ``<path>/<cell>/seed_<k>``.

    The same call again skips finished trials, continues unfinished ones, and begins what was added.

    Args:
        path: the folder of them all.
        cells: the name of each cell's folder, and what makes its configuration; only ``generations`` and other
            changeable hyperparameters may differ from what the folder was begun with.
        seeds: one trial each, in every cell.
        jobs: processes; as many as cores when absent.
        workers: of each trial.
        progress: called with the progress of each trial, by its index in the order of cells and seeds.
        longer_counts: whether a trial that has passed the generations asked for is left as it is; a resumed run is
            exact, so its log up to there is the log of a run that ended there.
        words: how messages speak of the cells.

    Raises:
        UsageError: cells that cannot be carried out, all of them named; nothing was written then.
        RunFolderError: the folder holds something else.
    """
    jobs = jobs_for(jobs, len(cells) * len(seeds), workers)
    ready = _checked_cells(path, cells, seeds[0], jobs, words)
    trials, weights, done = [], [], []
    for cell, (resolved, size) in ready.items():
        for place, one in trial_folders(path / cell, resolved, seeds):
            trial = _to_do(place, one, longer_counts, words)
            if trial is None:
                done.append(trial_status(place, one.seed or 0))
            else:
                trials.append(trial)
                weights.append(size)
    _claim(path, ready, seeds)
    ran = run_all(path, trials, weights, jobs, progress)
    order = {path / cell: number for number, cell in enumerate(cells)}
    everyone: list[TrialStatus] = sorted((*done, *ran.trials), key=lambda one: (order[one.path.parent], one.seed))
    return dataclasses.replace(ran, trials=tuple(everyone), data=ran.data or data_description(done))


def _checked_cells(
    path: Path, cells: Mapping[str, Callable[[], RunConfig]], seed: int, jobs: int, words: Words
) -> dict[str, tuple[RunConfig, int]]:
    """Each cell's resolved configuration and number of parameters; everything is built once before anything runs."""
    if path.exists() and not is_group(path) and any(path.iterdir()):
        raise RunFolderError(f"expected '{path}' to be free or a {words.whole}, got another folder; {words.elsewhere}")
    if is_group(path) and GroupFolder(path).read()["kind"] != "sweep":
        raise RunFolderError(
            f"expected '{path}' to be a {words.whole}, got trials of one configuration; {words.elsewhere}"
        )
    ready: dict[str, tuple[RunConfig, int]] = {}
    refused: dict[str, str] = {}
    shared = SharedByTrials()
    for name, make in cells.items():
        try:
            wanted = _as_begun(make(), path / name)
            ready[name] = prepared_config(wanted, seed, jobs, shared)
            trust_rules.remember(ready[name][0])
        except GalabError as error:
            refused[name] = str(error)
    if refused:
        reasons = " | ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise UsageError(
            f"expected every {words.cell} to be possible, got {len(refused)} of {len(cells)} that are not "
            f"({reasons}); {words.mend}"
        )
    return ready


def _as_begun(config: RunConfig, path: Path) -> RunConfig:
    """The configuration with what the machine chose when the cell was begun, where it is left to the machine."""
    if not is_group(path):
        return config
    saved = RunConfig.from_saved(GroupFolder(path).read("trials")["hyperparameters"])
    defaults = RunConfig.__dataclass_fields__
    kept = {name: getattr(saved, name) for name in _MACHINE if getattr(config, name) == defaults[name].default}
    return dataclasses.replace(config, **kept)


def _to_do(path: Path, config: RunConfig, longer_counts: bool, words: Words) -> Trial | None:
    """What is left to do of one trial, or None; see :func:`run_cells`.

    Raises:
        UsageError: there is a run of other hyperparameters in its place.
    """
    if not (path / "config.json").is_file():
        return Trial(path, config, {})
    saved = _newest_config(RunFolder(path))
    different = saved.changed(config)
    fields = RunConfig.__dataclass_fields__
    refused = [name for name in different if not fields[name].metadata["changeable"]]
    if refused:
        was, got = different[refused[0]]
        raise OptionError(
            "expected the hyperparameters that '{path}' was begun with ({was}), got {got}; {elsewhere}",
            path=path, was=Given(((refused[0], was),)), got=Given(((refused[0], got),)), elsewhere=words.elsewhere,
        )  # fmt: skip
    may_be_longer = longer_counts and config.generations is not None and not plans_its_end(config)
    if may_be_longer and trial_status(path, config.seed or 0).generation >= (config.generations or 0):
        return None
    changes = {name: getattr(config, name) for name in different}
    if changes.keys() & set(STOP_RULES):
        changes |= {name: getattr(config, name) for name in STOP_RULES}
    if not changes and trial_status(path, config.seed or 0).state == "finished":
        return None
    return Trial(path, config, changes)


def _newest_config(folder: RunFolder) -> RunConfig:
    """The hyperparameters that a run goes on with: those of its newest checkpoint, else those that it began with."""
    present = checkpoints.list_checkpoints(folder.checkpoints)
    if present:
        return config_of(checkpoints.load_checked(present[-1][1]), present[-1][1])
    return config_in(folder)


def _claim(path: Path, ready: Mapping[str, tuple[RunConfig, int]], seeds: Sequence[int]) -> None:
    """Write down what the folder holds, with what it held before."""
    known: list[str] = GroupFolder(path).read("sweep")["cells"] if is_group(path) else []
    content = {"kind": "sweep", "cells": [*known, *(name for name in ready if name not in known)]}
    if is_group(path):
        GroupFolder(path).write(content)
    else:
        GroupFolder.create(path.parent, path.name, content)
    for name, (config, _) in ready.items():
        if is_group(path / name):
            group = GroupFolder(path / name)
            had = group.read("trials")["seeds"]
            group.write(group_json(config, [*had, *(seed for seed in seeds if seed not in had)]))
        else:
            GroupFolder.create(path, name, group_json(config, seeds))


def sweep(
    config: RunConfig,
    grid: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    *,
    name: str | None = None,
    runs: Path = Path("runs"),
    jobs: int | None = None,
    progress: ProgressCallback | None = None,
    typed: Collection[str] = (),
) -> Trials:
    """Run every cell of a grid with every seed, each in ``runs/<name>/<field>=<value>,.../seed_<k>``.

    The same call again skips finished trials, continues unfinished ones, and begins what was added to the grid.

    Args:
        config: what the cells have in common.
        grid: fields of the configuration, each with its values.
        seeds: one trial each, in every cell.
        name: the sweep's folder; ``<task>-sweep`` when absent.
        runs: the folder of all runs.
        jobs: processes; as many as cores when absent.
        progress: called with the progress of each trial, by its index in the order of cells and seeds.
        typed: fields of the configuration that were given by hand.

    Raises:
        UsageError: cells that cannot be carried out, all of them named; nothing was written then.
        RunFolderError: the folder holds something else.
    """
    path = Path(runs) / (name or f"{TASKS.parse(config.task).short}-sweep")
    cells = {cell: partial(varied, config, values, typed) for cell, values in cells_of(grid).items()}
    return run_cells(path, cells, checked_seeds(seeds), jobs=jobs, workers=config.workers, progress=progress)


def parse_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """``["sigma=0.01,0.02"]`` as ``{"sigma": [0.01, 0.02]}``; a ``;`` separates values that hold commas themselves.

    Raises:
        UsageError: a text is no ``field=values``, the field is unknown or given twice, or a value is of another type.
    """
    known = [item.name for item in dataclasses.fields(RunConfig)]
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        separator = ";" if len(split_outside(values, ";")) > 1 else ","
        words = [word for word in split_outside(values, separator) if word]
        if not equals or not words:
            raise UsageError(f"expected --grid as FIELD=VALUE,VALUE, got '{text}'; write for example sigma=0.01,0.02")
        if name not in known:
            raise UsageError(f"no hyperparameter is called '{name}'.{closest(name, known)} `galab options` lists them.")
        if name == "seed":
            raise UsageError("expected --seeds for the seeds of a sweep, got --grid seed=...; write --seeds 0-4")
        if name in grid or len(set(words)) < len(words):
            raise UsageError(f"expected every field and value of a grid once, got '{text}' again; leave one out")
        grid[name] = [_typed(name, word) for word in words]
    if not grid:
        raise UsageError("expected at least one --grid FIELD=VALUE,VALUE, got none; write for example sigma=0.01,0.02")
    return grid


def cells_of(grid: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, Any]]:
    """Every combination of a grid, by the name of its folder: ``sigma=0.01,crossover=none``.

    Raises:
        UsageError: two combinations would have the same folder.
    """
    cells: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*grid.values()):
        cell = dict(zip(grid, values, strict=True))
        name = "".join("_" if letter in '/\\:*?"<>|' else letter for letter in ",".join(map(_word, cell.items())))
        if name in cells:
            raise UsageError(f"expected values that differ as words of a folder's name, got '{name}' twice")
        cells[name] = cell
    return cells


def _word(item: tuple[str, Any]) -> str:
    name, value = item
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"


def _typed(name: str, word: str) -> Any:
    kind = field_type(name)
    try:
        return kind(word)
    except ValueError:
        raise UsageError(f"expected {name} in --grid to be of type {kind.__name__}, got '{word}'; correct it") from None
