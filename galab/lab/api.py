"""What people call from Python: ``galab.run``, ``galab.resume``, ``galab.load``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from galab.lab.compose import compose
from galab.lab.loop import Hook, Result
from galab.lab.rebuild import Saved, open_saved
from galab.lab.run import resume as _resume
from galab.lab.run import start


def run(
    *,
    name: str | None = None,
    runs: str | Path = "runs",
    preset: str | None = None,
    config: str | Path | None = None,
    hooks: Sequence[Hook] = (),
    **hyperparameters: Any,
) -> Result:
    """Evolve networks; everything lands in ``runs/<name>``.

    Args:
        name: the run folder's name; made of the task and the strategy when absent.
        runs: the folder of all runs.
        preset: a shipped set of hyperparameters.
        config: a ``config.json`` to repeat.
        hooks: called with each log line, a dict.
        **hyperparameters: fields of :class:`galab.config.RunConfig`, such as ``task="mnist", generations=100``.

    Raises:
        UsageError: an unknown name or a value out of bounds.
        GalabError: anything else that a person can mend, in one sentence.
    """
    composed = compose(hyperparameters, preset=preset, config_file=None if config is None else Path(config))
    return start(composed, name=name, runs=Path(runs), hooks=hooks)


def resume(
    path: str | Path, *, allow_numeric_change: bool = False, hooks: Sequence[Hook] = (), **changes: Any
) -> Result:
    """Continue a run, bit for bit.

    Args:
        path: a run folder, or one of its checkpoints.
        allow_numeric_change: continue where scores can no longer be bit-identical.
        hooks: called with each log line.
        **changes: stop rules, ``save_every``, ``keep``.

    Raises:
        GalabError: see :func:`galab.lab.run.resume`.
    """
    return _resume(Path(path), changes, allow_numeric_change=allow_numeric_change, hooks=hooks)


def load(path: str | Path, member: int | None = None) -> nn.Module:
    """A trained network from a run folder or a checkpoint, ready to use.

    Args:
        path: a run folder, or a ``.pkl`` checkpoint.
        member: rank of the parent by fitness, from 0; the champion when absent.

    Raises:
        GalabError: there is no such run or member, or the checkpoint is damaged.
    """
    saved: Saved = open_saved(Path(path))
    return saved.module_with(saved.member(member))
