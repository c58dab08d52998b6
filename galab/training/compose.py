"""The configuration of a new run: defaults, then a preset, a file or an origin, then flags.

It also says which hyperparameters of a run were asked for, and the command that makes the run again.
"""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from galab.config import RunConfig, complete, flag
from galab.config.fields import FIELDS
from galab.config.option import default_of, understands
from galab.config.parsing import hidden_sizes
from galab.config.registry import MODELS
from galab.config.resolve import view
from galab.config.run_config import carried_over, check_given, is_chosen, without_idle
from galab.config.spelling import OptionError
from galab.config.strategy_kinds import kind_of
from galab.errors import RunFolderError, UsageError, closest
from galab.genome.step_sizes import reached_log_sigma, sigma
from galab.storage.files import read_json
from galab.storage.leaves import Leaves
from galab.strategies.build import canonical_strategy, steps_of
from galab.tasks.load import canonical_task
from galab.training.checkpoint import members_of
from galab.training.saved_state import SavedState
from galab.training.trust import CODE, check, remember

#: What another run's configuration does not hand on to a run that starts from it: its own key and limits.
_NOT_INHERITED = ("seed", "origin", "init", "generations", "seconds", "target", "chunk")


def compose(
    flags: dict[str, Any],
    *,
    preset: str | None = None,
    config_file: Path | None = None,
    trust: bool = False,
    evolution: bool = False,
) -> RunConfig:
    """The configuration of a new run.

    Args:
        flags: hyperparameters given by hand; they win. ``origin`` makes the origin's hyperparameters the defaults.
        preset: name of a shipped set of hyperparameters.
        config_file: a run's ``config.json``, or a JSON file of hyperparameters.
        trust: run code that the origin or the file names even if it was never run here before.
        evolution: make it an evolution strategy, EGGROLL, where it would be none.

    Raises:
        UsageError: an unknown name, or a value out of bounds.
    """
    values: dict[str, Any] = {}
    if flags.get("origin") is not None:
        values |= _inherited(Path(flags["origin"]))
    if preset is not None:
        values |= read_preset(preset)
    written: dict[str, Any] = {}
    if config_file is not None:
        read = _read_file(config_file)
        values |= read
        written = {} if "survival" in read else read  # by hand, and not by a run
    if evolution and not kind_of((values | flags).get("strategy", "ga")).estimates:
        flags = flags | {"strategy": "eggroll"}
    if "strategy" in flags:
        flags = flags | {"strategy": canonical_strategy(flags["strategy"])}
    if isinstance(flags.get("task"), str):
        flags = flags | {"task": canonical_task(flags["task"])}
    config = RunConfig.from_dict(carried_over(values, flags) | flags)
    check_given(config, written | flags)
    typed = [name for name in CODE if name in flags]
    remember(config, typed)
    check(config, trust=trust, names=[name for name in CODE if name not in typed])
    _check_layers(config, flags)
    return config


def _check_layers(config: RunConfig, given: Mapping[str, Any]) -> None:
    """Refuse sizes or kinds of layers that were given by hand and that the network does not ask for.

    Raises:
        OptionError: what is not asked for.
    """
    if not given.keys() & {"hidden", "activation"}:
        return  # so that no code of others runs for this
    decided = view(config)
    known = inspect.signature(MODELS.load(decided.model)).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in known):
        return
    names = {one.name for one in known}
    for name in ("hidden", "activation"):
        value = getattr(config, name)
        if name == "hidden" and not hidden_sizes(value):
            continue
        if name in given and name not in names and value != default_of(FIELDS[name], config.strategy):
            raise OptionError(
                f"expected {{model}} with a constructor that takes {name}, got {{model.value}} with {{{name}.given}}, "
                f"which would change nothing; drop {{{name}}}",
                decided,
            )


def varied(config: RunConfig, values: dict[str, Any], typed: Collection[str] = ()) -> RunConfig:
    """A configuration with other values, without what means nothing beside them.

    Args:
        config: the configuration.
        values: the others.
        typed: fields that were given by hand: they are kept where they mean something, also where they are a default.

    Raises:
        UsageError: the values do not go with the configuration.
    """
    if "strategy" in values:
        values = values | {"strategy": canonical_strategy(values["strategy"])}
    if values.get("strategy", config.strategy) == config.strategy:
        own = config.to_dict()
        return RunConfig.from_dict(without_idle(own, before=own, new=values) | values)
    own, kind = config.to_dict(), kind_of(values["strategy"]).name
    given = {name: own[name] for name in typed if name not in values and understands(FIELDS[name], kind)}
    kept = without_idle(carried_over(own, values) | given, before=own, new=values)
    return RunConfig.from_dict(kept | values)


def preset_names() -> list[str]:
    """Names of the shipped presets."""
    folder = resources.files("galab").joinpath("presets")
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def read_preset(name: str) -> dict[str, Any]:
    """The hyperparameters of a shipped preset.

    Raises:
        UsageError: no such preset.
    """
    names = preset_names()
    if name not in names:
        raise UsageError(f"no preset is called '{name}'.{closest(name, names)} Presets: {', '.join(names)}.")
    text = resources.files("galab").joinpath("presets", f"{name}.json").read_text(encoding="utf-8")
    values: dict[str, Any] = json.loads(text)["hyperparameters"]
    return values


def _read_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise UsageError(f"expected a configuration at '{path}' (--config), found no file; check the path")
    try:
        content = read_json(path)
    except RunFolderError as error:
        raise UsageError(f"expected --config '{path}' to be JSON, got: {error}") from None
    values = content.get("hyperparameters", content) if isinstance(content, dict) else content
    if not isinstance(values, dict):
        raise UsageError(f"expected --config '{path}' to be an object of hyperparameters, got {type(values).__name__}")
    leaves = Leaves(path, UsageError, "correct it")
    for name, value in values.items():
        leaves.scalar(value, name)
    leaves.text(values.get("strategy", "ga"), "strategy")
    return complete(values)


def _inherited(origin: Path) -> dict[str, Any]:
    """The origin's hyperparameters, with the step size that its best parent has reached."""
    saved = SavedState.open(origin)
    whole = complete(saved.state["hyperparameters"])
    values = {name: value for name, value in whole.items() if name not in _NOT_INHERITED}
    config = saved.config
    if not kind_of(config.strategy).breeds or config.genome == "binary":
        return values
    come_to = reached_log_sigma(steps_of(config, saved.layout), config.sigma, members_of(saved.state)[0].log_sigma)
    # Rows and columns together, and factors, may lie outside of the bounds of a single step size.
    lowest = 0.0 if config.sigma_floor is None else config.sigma_floor
    values["sigma"] = min(max(float(sigma(come_to)), lowest), config.sigma_ceiling)
    return values


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
        own: whether it was asked for.
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
    for item in FIELDS.values():
        value = values.get(item.name)
        if value is None or not understands(item, kind_of(strategy).name):
            continue
        decided = item.name in DECIDED or is_chosen(item.name, dict(values))
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
    """The command that repeats a run, with everything that its scores depend on.

    Args:
        values: its hyperparameters.
        name: of the new run.
    """
    words = ["galab", "run"]
    for choice in choices_of(values):
        if choice.value != choice.default and not is_chosen(choice.name, dict(values)):
            words += [flag(choice.name), str(choice.value)]
    return shlex.join([*words, "--name", name])
