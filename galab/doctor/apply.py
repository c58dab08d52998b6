"""The best settings for a run or a configuration on this machine, and how they get into it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from galab.config import RunConfig
from galab.doctor.benchmark import Benchmark
from galab.doctor.tuning import SETTINGS, Machine, Tuner, TuningResult
from galab.errors import UsageError
from galab.evaluation.batched.compiled import compiler
from galab.evaluation.numeric_profile import resolve_precision
from galab.storage import checkpoints
from galab.storage.files import write_json_atomic
from galab.storage.run_folder import RunFolder
from galab.training.build import own_threads


@own_threads()
def best_settings(
    benchmark: Benchmark,
    *,
    vary: Collection[str] | None = None,
    fixed: Collection[str] = (),
    budget: float = 45.0,
    progress: Callable[[str], None] = lambda sentence: None,
) -> TuningResult:
    """Measure whole generations under several settings, in turns.

    Args:
        benchmark: makes the contenders.
        vary: settings to vary, those named by hand; all but the fixed ones when absent.
        fixed: settings that stay as they are.
        budget: seconds that it may take, roughly.
        progress: hears how it comes along.
    """
    began = time.perf_counter()
    settings = [name for name in SETTINGS if (name in vary if vary is not None else name not in fixed)]
    machine = machine_for(benchmark.config)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    tuner = Tuner(
        benchmark.config, benchmark.make, machine, settings, vary or (), began + budget, time.perf_counter, progress
    )  # fmt: skip
    found = tuner.search()
    if load > machine.cores / 2:
        found.notes.append(
            f"others were computing (a load of {load:.1f} on {machine.cores} cores at the start): without them other "
            "settings may be the best"
        )
    if (
        "precision" in settings
        and vary is None
        and not machine.fast_bfloat16
        and benchmark.config.precision == "float32"
    ):
        found.notes.append("bfloat16: not tried, as there are no matrix units for it here; --vary precision tries it")
    return found


def machine_for(config: RunConfig) -> Machine:
    """What this machine offers to a configuration."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fast = resolve_precision("auto", config.device) == "bfloat16"
    return Machine(cores, fast, compiler() is not None)


def check_unused(path: Path) -> None:
    """Refuse to overwrite a file, before anything is measured.

    Raises:
        UsageError: there is one.
    """
    if path.exists():
        raise UsageError(f"expected '{path}' to be free for the tuned configuration, got one that exists; name another")


def write_file(path: Path, config: RunConfig, found: TuningResult, about: str) -> None:
    """Write a configuration with the best settings, for ``galab run --config``.

    Args:
        path: the file, which must not exist.
        config: as it was asked for, before anything was decided for it.
        found: what was measured.
        about: one sentence for the reader.
    """
    check_unused(path)
    given = {name: value for name, (value, _) in config.changed(RunConfig()).items()}
    write_json_atomic(path, {"about": about, "hyperparameters": given | found.changes})


def write_into(folder: RunFolder, found: TuningResult) -> bool:
    """Make the best settings a run's own, from its newest checkpoint on; older checkpoints keep theirs.

    Before its first generation nothing was scored under the old settings, so the numeric profile follows. Later it
    stays, and ``galab resume`` stops unless it is told with ``--allow-numeric-change``, which it then writes into the
    log.

    Args:
        folder: the run.
        found: what was measured.

    Returns:
        Whether resuming needs ``--allow-numeric-change``.

    Raises:
        RunFolderError: the run is going on, or its folder cannot be written.
        CheckpointError: its newest checkpoint is damaged.
    """
    with folder.lock():
        content = folder.read_config()
        present = checkpoints.list_checkpoints(folder.checkpoints)
        state = checkpoints.load_checked(present[-1][1]) if present else None
        generation = int(state["generation"]) if state else 0
        note = {"generation": generation, **found.changes}
        content["hyperparameters"] |= found.changes
        content["tuned"] = [*content.get("tuned", []), note]
        write_json_atomic(folder.config_path, content)
        if state is None:
            return False
        before: dict[str, Any] = state["numeric_profile"]
        state["hyperparameters"] |= found.changes
        if generation == 0:
            state["numeric_profile"] = found.profile
        checkpoints.save(folder.checkpoints, generation, state)
        return bool(state["numeric_profile"] == before and before != found.profile)
