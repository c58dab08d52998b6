"""What people call from Python: ``galab.run``, ``galab.run_trials``, ``galab.resume``, ``galab.load``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from galab.api.arguments import worded
from galab.api.objects import named
from galab.config.spelling import PYTHON, spelled
from galab.errors import UsageError
from galab.models.normalized import normalizes
from galab.saved_runs.export import network_of_genome
from galab.saved_runs.history import best_so_far
from galab.saved_runs.saved_run import SavedRun, open_saved
from galab.training.callbacks import Callback
from galab.training.compose import compose
from galab.training.loop import Hook, Result
from galab.training.start_or_resume import resume as _resume
from galab.training.start_or_resume import start
from galab.training.trials.trials import Trials, parse_seeds, start_trials


def run(
    *,
    name: str | None = None,
    runs: str | Path = "runs",
    preset: str | None = None,
    config: str | Path | None = None,
    trust: bool = False,
    hooks: Sequence[Hook] = (),
    callbacks: Sequence[Callback] = (),
    **hyperparameters: Any,
) -> Result:
    """Evolve networks; everything lands in ``runs/<name>``.

    With ``workers`` the generations are computed in processes, which import the calling script: call this under
    ``if __name__ == "__main__":`` then.

    Args:
        name: the run folder's name; made of the task and the strategy when absent.
        runs: the folder of all runs.
        preset: a shipped set of hyperparameters.
        config: a ``config.json`` to repeat.
        trust: run code that the file or the origin names even if it was never run here before.
        hooks: called with each log line, a dict.
        callbacks: functions of a :class:`galab.training.callbacks.RunView`, called after each generation, or objects
            with ``on_start``, ``on_generation`` and ``on_end``; one that gives True stops the run cleanly.
        **hyperparameters: fields of :class:`galab.config.RunConfig`, such as ``task="mnist", generations=100``;
            ``task`` may be a function of yours, ``model`` and ``strategy`` a class, that stands in a file.

    Raises:
        UsageError: an unknown name or a value out of bounds.
        GalabError: anything else that a person can mend, in one sentence.
    """
    file = None if config is None else Path(config)
    with spelled(PYTHON), named(worded(hyperparameters)) as given:
        composed = compose(given, preset=preset, config_file=file, trust=trust)
        return start(composed, name=name, runs=Path(runs), hooks=hooks, callbacks=callbacks)


def run_trials(
    *,
    seeds: Sequence[int] | str,
    name: str | None = None,
    runs: str | Path = "runs",
    jobs: int | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    trust: bool = False,
    callbacks: Sequence[Callback] = (),
    **hyperparameters: Any,
) -> Trials:
    """Run one configuration with several seeds; each trial is an ordinary run in ``runs/<name>/seed_<k>``.

    With more than one job the trials run in processes of their own, which import the calling script: call this under
    ``if __name__ == "__main__":``.

    Args:
        seeds: one trial each: numbers, or words such as ``"0-15"``.
        name: the group's folder; made of the task and the strategy when absent.
        runs: the folder of all runs.
        jobs: processes; as many as cores when absent, 1 is this process.
        preset: a shipped set of hyperparameters.
        config: a ``config.json`` to repeat; its seed is not used.
        trust: run code that the file or the origin names even if it was never run here before.
        callbacks: see :func:`run`; each trial calls them, in its own process where there is more than one job.
        **hyperparameters: fields of :class:`galab.config.RunConfig`, but for the seed.

    Raises:
        UsageError: an unknown name, a value out of bounds, or seeds that are none.
        GalabError: anything else that a person can mend, in one sentence; a trial that fails later is in the result.
    """
    if "seed" in hyperparameters:
        raise UsageError(f"expected seeds alone, got seed={hyperparameters['seed']!r} too; drop it")
    file = None if config is None else Path(config)
    with spelled(PYTHON), named(worded(hyperparameters)) as given:
        composed = compose(given, preset=preset, config_file=file, trust=trust)
        numbers = parse_seeds(seeds) if isinstance(seeds, str) else seeds
        return start_trials(composed, numbers, name=name, runs=Path(runs), jobs=jobs, callbacks=callbacks)


def resume(
    path: str | Path,
    *,
    allow_numeric_change: bool = False,
    trust: bool = False,
    hooks: Sequence[Hook] = (),
    callbacks: Sequence[Callback] = (),
    **changes: Any,
) -> Result:
    """Continue a run, bit for bit.

    Args:
        path: a run folder, or one of its checkpoints.
        allow_numeric_change: continue where scores can no longer be bit-identical.
        trust: run code that the run names even if it was never run here before.
        hooks: called with each log line.
        callbacks: see :func:`run`.
        **changes: stop rules, ``save_every``, ``keep``.

    Raises:
        GalabError: see :func:`galab.training.start_or_resume.resume`.
    """
    with spelled(PYTHON):
        return _resume(
            Path(path), worded(changes), allow_numeric_change=allow_numeric_change, trust=trust, hooks=hooks,
            callbacks=callbacks,
        )  # fmt: skip


def load(path: str | Path, member: int | None = None, *, best: bool = False, trust: bool = False) -> nn.Module:
    """A trained network from a run folder, a checkpoint or an exported genome, ready to use.

    Args:
        path: a run folder, a ``.pkl`` checkpoint, or a genome's ``.json``.
        member: rank of the parent by fitness, from 0; the champion when absent.
        best: the one that was best on validation data in any report so far, in the place of the champion of now.
        trust: run code that the file names even if it was never run here before.

    Raises:
        GalabError: there is no such run or member, or the checkpoint is damaged.
    """
    if best and (member is not None or Path(path).suffix == ".json"):
        raise UsageError("expected best=True with a run alone, got a member or a genome too; drop one of them")
    if Path(path).suffix == ".json":
        return network_of_genome(Path(path), trust=trust)
    saved: SavedRun = open_saved(Path(path), trust=trust)
    if not best:
        return saved.module_with(saved.member(member))
    found = best_so_far(saved)
    if normalizes(saved.module) and found.generation != saved.generation:
        if found.generation not in saved.generations:
            raise UsageError(
                f"expected a checkpoint of generation {found.generation} in '{path}', whose champion is the best so "
                "far, as it says what its network had seen by then, got none; keep it with --keep all and --save-every"
            )
        saved = saved.at(found.generation)
    return saved.module_with(found.member)
