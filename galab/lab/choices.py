"""The hyperparameters of a run, and which of them somebody chose; and the command that makes the run again."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from galab.config import RunConfig, flag
from galab.evolution_compatibility import is_foreign
from galab.lab.dependents import decides_itself
from galab.options import default_of

#: Decided at the start of every run, so that their difference from "choose for me" says nothing.
DECIDED = ("seed", "sigma_floor", "device", "chunk", "threads")
#: How much a step size may change when it is snapped to its grid.
_SNAPPED = 0.002


@dataclass(frozen=True, slots=True)
class Choice:
    """One hyperparameter of a run.

    Attributes:
        name: of the field.
        value: what the run has.
        default: what it would have had.
        own: whether somebody chose it.
        help: what it is.
    """

    name: str
    value: Any
    default: Any
    own: bool
    help: str


def choices_of(values: Mapping[str, Any]) -> list[Choice]:
    """The hyperparameters that mean something to a run, in the order of the configuration.

    Args:
        values: hyperparameters by name, as ``config.json`` and checkpoints have them; unknown names are passed by.
    """
    strategy, found = values.get("strategy", "ga"), []
    for item in dataclasses.fields(RunConfig):
        value = values.get(item.name)
        if value is None or is_foreign(item, strategy):
            continue
        decided = item.name in DECIDED or decides_itself(item.name, dict(values))
        default = default_of(item, strategy)
        own = not decided and not _near(value, default)
        about = item.metadata["help"]
        if about[:1].islower():  # some only go on what their heading begins
            about = f"{item.metadata['group']} {about}"
        found.append(Choice(item.name, value, default, own, about))
    return found


def _near(value: Any, default: Any) -> bool:
    """Whether a value is the default, but for the snapping of step sizes to their grid."""
    if isinstance(value, float) and isinstance(default, float):
        return abs(value - default) <= _SNAPPED * abs(default)
    return bool(value == default)


def command_of(values: Mapping[str, Any], name: str) -> str:
    """The command that makes a run again from nothing, with everything that its scores hang on.

    Args:
        values: its hyperparameters.
        name: of the new run.
    """
    words = ["galab", "run"]
    for choice in choices_of(values):
        if choice.value != choice.default and not decides_itself(choice.name, dict(values)):
            words += [flag(choice.name), str(choice.value)]
    return shlex.join([*words, "--name", name])
