"""One configuration out of several sources: defaults, then a preset, a file or an origin, then flags.

What a flag takes back of a configuration that was saved before: values that hang on what the flag changes.

A run saves what it decided itself, such as the parents of a child, beside what was asked for. A run that starts from
it, or from its ``config.json``, decides that anew where a flag changes what it hangs on.

The hyperparameters of a run, and which of them somebody chose; and the command that makes the run again.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from galab.config.fields import OPTIMISER, RunConfig, flag
from galab.config.option import complete, default_of
from galab.config.parsing import split_outside
from galab.config.rules import CONTROLS, decided
from galab.config.strategy_kinds import kind_of
from galab.config.strategy_rules import is_foreign
from galab.errors import UsageError, closest
from galab.genome.step_sizes import reached_log_sigma, sigma
from galab.strategies.build_operators import steps_of
from galab.strategies.load import settled
from galab.training.individuals import members_of
from galab.training.saved_state import SavedState
from galab.training.trust import CODE, check, remember

_FIELDS = RunConfig.__dataclass_fields__


def _get(values: dict[str, Any], name: str) -> Any:
    return values.get(name, _FIELDS[name].default)


def _asexual(values: dict[str, Any]) -> bool:
    return bool(_get(values, "crossover") == "none")


def _global(values: dict[str, Any]) -> bool:
    return bool(_get(values, "granularity") == "global")


def _rule_is_not(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda values: _get(values, "step_size") != name


#: Fields that mean nothing, and are refused, where their condition holds.
_IDLE: dict[str, Callable[[dict[str, Any]], bool]] = {
    "parents_per_child": _asexual,
    "mate": _asexual,
    "step_size": lambda values: _get(values, "step_size") in CONTROLS and not _global(values),
    "sigma_schedule": _rule_is_not("schedule"),
    "step_size_down": _rule_is_not("three-point"),
    "sigma_factors": _global,
    "floor_rms": _global,
    "ceiling_rms": _global,
    "sigma_only": lambda values: not _global(values) or _get(values, "step_size") in CONTROLS,
    "sigma_search": lambda values: not _global(values) or _get(values, "step_size") in CONTROLS,
    "mutate_shares": lambda values: len(split_outside(_get(values, "mutate"), ",")) < 2,
}


def without_dependents(values: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Saved values without those that the flags make meaningless, and those that the saved run decided itself.

    Args:
        values: hyperparameters of another run, a preset or a file.
        flags: hyperparameters given by hand, which win.
    """
    kept = dict(values)
    for name in values:
        # One after the other: what is left must make the same run.
        if name not in flags and decides_itself(name, kept):
            del kept[name]
    if kept.get("survival") == "plus":
        # Saved as equal to its parents; a flag may change their number, or the kind of survival.
        kept.pop("elites", None)
    floor = kept.get("sigma_floor")
    if isinstance(floor, float) and flags.get("sigma", floor) < floor and "sigma_floor" not in flags:
        del kept["sigma_floor"]  # who asks for smaller steps than the saved floor gets a floor of their own
    for name, idle in _IDLE.items():
        if name in kept and name not in flags and idle(kept | flags) and not idle(values):
            del kept[name]
    return kept


def decides_itself(name: str, values: dict[str, Any]) -> bool:
    """Whether a run without this value has it all the same."""
    if name not in ("crossover", "step_size", "parents_per_child", "founders"):
        return False
    try:
        others = RunConfig.from_dict({other: value for other, value in values.items() if other != name})
    except UsageError:
        return False  # the value is needed; or another one is wrong, which is refused when it is used
    chosen = others.crossover if name == "crossover" else decided(others)[name]
    return bool(chosen == values[name])


#: What another run's configuration does not hand on to a run that starts from it: its own key and limits.
_NOT_INHERITED = ("seed", "origin", "init", "generations", "seconds", "target", "chunk")
#: What a baseline by gradients does not hear from another kind of run, as there is one way to compute a gradient.
_OF_GRADIENTS = ("precision", "compile", "workers", "chunk", "norm_penalty")


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
        trust: run code that the origin or the file names even if nobody here has run it before.
        evolution: make it an evolution strategy, EGGROLL, where it would be none.

    Raises:
        UsageError: an unknown name, or a value out of bounds.
    """
    values: dict[str, Any] = {}
    if flags.get("origin") is not None:
        values |= _inherited(Path(flags["origin"]))
    if preset is not None:
        values |= read_preset(preset)
    if config_file is not None:
        values |= _read_file(config_file)
    if evolution and not kind_of((values | flags).get("strategy", "ga")).estimates:
        flags = flags | {"strategy": "eggroll"}
    if "strategy" in flags:
        flags = flags | {"strategy": settled(flags["strategy"])}
    values = _of_this_kind(values, flags)
    config = RunConfig.from_dict(without_dependents(values, flags) | flags)
    typed = [name for name in CODE if name in flags]
    remember(config, typed)
    check(config, trust=trust, names=[name for name in CODE if name not in typed])
    return config


def varied(config: RunConfig, values: dict[str, Any]) -> RunConfig:
    """A configuration with other values; under another strategy without what belonged to the one before.

    Raises:
        UsageError: the values do not go with the configuration.
    """
    if "strategy" in values:
        values = values | {"strategy": settled(values["strategy"])}
    if values.get("strategy", config.strategy) == config.strategy:
        return dataclasses.replace(config, **values)
    kept = without_dependents(_of_this_kind(config.to_dict(), values), values)
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


def _of_this_kind(values: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Saved values without what belonged to another kind of search than the one that is asked for."""
    was, wanted = (source.get("strategy", "ga") for source in (values, values | flags))
    if was == wanted:
        return values
    fields = RunConfig.__dataclass_fields__
    if kind_of(was).gradients or kind_of(wanted).gradients:
        values = {name: value for name, value in values.items() if not _left_behind(name, value, was, wanted)}
    if kind_of(was) == kind_of(wanted):
        return values
    # The same name, but points of step sizes here and factors there.
    return {
        name: value
        for name, value in values.items()
        if name != "sigma_schedule" and not (name in fields and is_foreign(fields[name], wanted))
    }


def _left_behind(name: str, value: Any, was: str, wanted: str) -> bool:
    """Whether a saved value says nothing to, or beyond, a baseline by gradients: its optimiser is its own."""
    item = RunConfig.__dataclass_fields__.get(name)
    if item is None:  # refused by name later
        return False
    usual = bool(item.metadata["by_strategy"]) and value == default_of(item, was)
    return usual or item.metadata["group"] == OPTIMISER or (kind_of(wanted).gradients and name in _OF_GRADIENTS)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"expected a configuration at '{path}' (--config), found no file; check the path") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"expected --config '{path}' to be JSON, got: {error}") from None
    values = content.get("hyperparameters", content) if isinstance(content, dict) else content
    if not isinstance(values, dict):
        raise UsageError(f"expected --config '{path}' to be an object of hyperparameters, got {type(values).__name__}")
    return complete(values)


def _inherited(origin: Path) -> dict[str, Any]:
    """The origin's hyperparameters, with the step size that its best parent has reached."""
    saved = SavedState.open(origin)
    whole = complete(saved.state["hyperparameters"])
    values = {name: value for name, value in whole.items() if name not in _NOT_INHERITED}
    config = saved.config
    if not kind_of(config.strategy).breeds:
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
