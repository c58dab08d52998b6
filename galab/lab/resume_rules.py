"""What may differ between a run and its continuation."""

from __future__ import annotations

import logging
import shlex
from typing import Any

import torch

from galab.config import RunConfig, flag
from galab.errors import NumericProfileError, UsageError
from galab.evaluation.profile import differences
from galab.lab.dependents import without_dependents
from galab.lab.experiment import Experiment, profile_of
from galab.lab.resolving import resolve
from galab.lab.tables import repeats
from galab.store.run_folder import RunFolder

logger = logging.getLogger("galab")

#: Hyperparameters that say when a run ends; new ones replace all old ones.
STOP_RULES = ("generations", "seconds", "target")
_ORIGINS = ("origin", "init")


def changed(config: RunConfig, changes: dict[str, Any], folder: RunFolder) -> RunConfig:
    """The saved configuration with those changes that a resumed run may make.

    Raises:
        UsageError: a change would make it another run; the sentence holds the command that works.
    """
    if not changes:
        return config
    if changes.keys() & set(STOP_RULES):
        # New limits replace the old ones: a run that ended at 100 generations may go on for 60 seconds.
        changes = dict.fromkeys(STOP_RULES) | changes
    if repeats(changes.get("distribution", ""), config.distribution):
        changes = {**changes, "distribution": config.distribution}
    new = RunConfig.from_dict(without_dependents(config.to_dict(), changes) | changes)
    # As saved: repeating the flag that a run was started with, such as a --sigma that is off the grid, is no change.
    resolved = resolve(new)
    # Resolved on both sides: a checkpoint of an earlier version leaves out what was not there to decide.
    different = resolve(config).changed(resolved)
    fields = RunConfig.__dataclass_fields__
    refused = {name: pair for name, pair in different.items() if not fields[name].metadata["changeable"]}
    if refused:
        # What follows from a change needs no flag.
        refused = {name: pair for name, pair in refused.items() if name in changes} or refused
        was = ", ".join(f"{flag(name)} {_short(before)}" for name, (before, _) in refused.items() if before is not None)
        got = ", ".join(f"{flag(name)} {_short(getattr(new, name))}" for name in refused)
        command = ["galab", "run"]
        if not refused.keys() & set(_ORIGINS):
            command += ["--from", str(folder.path)]
        for name in refused:
            command += [flag(name), str(getattr(new, name))]
        raise UsageError(
            f"expected {was or 'no such flag'} as the run was started with, got {got}: a resumed run keeps its "
            f"hyperparameters; start a new one with `{shlex.join(command)}`"
        )
    return resolved


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def on_this_machine(config: RunConfig, allow: bool) -> RunConfig:
    """The configuration on a device that is there.

    Raises:
        NumericProfileError: the run used a GPU, there is none here, and no other device was allowed.
    """
    if config.device != "cuda" or torch.cuda.is_available():
        return config
    if not allow:
        raise NumericProfileError(
            "expected a CUDA device, on which the run was started, found none: scores would differ in the last bits; "
            "continue all the same on the CPU with --allow-numeric-change"
        )
    return config.on("cpu")


def check_profile(saved: dict[str, Any], experiment: Experiment, allow: bool) -> dict[str, str]:
    """Refuse to continue where scores would not be bit-identical.

    Returns:
        What the next line of the log says about an allowed change.

    Raises:
        NumericProfileError: the numeric profile is another one, and that was not allowed.
    """
    different = differences(saved, profile_of(experiment))
    if not different:
        return {}
    if not allow:
        raise NumericProfileError(
            f"expected the numeric profile that the run was started with, got {'; '.join(different)}: scores would "
            "differ in the last bits; continue all the same with --allow-numeric-change"
        )
    logger.warning("the numeric profile changed (%s): scores are no longer bit-identical", "; ".join(different))
    return {"numeric_change": "; ".join(different)}
