"""One configuration out of several sources: defaults, then a preset, a file or an origin, then flags."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from pathlib import Path
from typing import Any

from galab.config import RunConfig
from galab.errors import UsageError, closest
from galab.evolution_compatibility import EVOLUTION_STRATEGIES, GRADIENTS, has_centre, is_foreign, kind_of
from galab.evolution_options import OPTIMISER
from galab.genome.sigma import sigma
from galab.lab.dependents import without_dependents
from galab.lab.members import members_of
from galab.lab.operators import steps_of
from galab.lab.origins import read_state
from galab.lab.state import config_of, layout_of
from galab.lab.step_sizes import reached
from galab.lab.trust import CODE, check, remember
from galab.options import complete, default_of

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
    if evolution and (values | flags).get("strategy") not in EVOLUTION_STRATEGIES:
        flags = flags | {"strategy": "eggroll"}
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
    if {was, wanted} & set(GRADIENTS):
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
    return usual or item.metadata["group"] == OPTIMISER or (wanted in GRADIENTS and name in _OF_GRADIENTS)


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
    state = read_state(origin)
    values = {name: value for name, value in complete(state["hyperparameters"]).items() if name not in _NOT_INHERITED}
    config = config_of(state, origin)
    if has_centre(config.strategy):
        return values
    come_to = reached(steps_of(config, layout_of(state)), config.sigma, members_of(state)[0].log_sigma)
    # Rows and columns together, and factors, may lie outside of the bounds of a single step size.
    lowest = 0.0 if config.sigma_floor is None else config.sigma_floor
    values["sigma"] = min(max(float(sigma(come_to)), lowest), config.sigma_ceiling)
    return values
