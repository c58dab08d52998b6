"""A configuration whose values go together, and what of a saved one holds where new values are laid over it.

A run saves what was chosen for it, such as the parents of a child, beside what was asked for. A run that starts from
it, or from its ``config.json``, chooses that again where a new value changes what it depends on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from galab.config.fields import FIELDS, Fields
from galab.config.idle_rules import IDLE_RULES
from galab.config.option import default_of, type_of, understands
from galab.config.registry import is_environment
from galab.config.resolve import decide, view
from galab.config.rules import RULES, check
from galab.config.spelling import COMMAND_LINE, OptionError
from galab.config.strategy_kinds import kind_of
from galab.config.traits import plays_episodes
from galab.errors import UsageError, closest


class RunConfig(Fields):
    """All that decides what a run computes, when it stops and what it records.

    Raises:
        UsageError: a value that is wrong, by itself or with the others.
    """

    # A dataclass by inheritance: to make the methods of its fields a second time would double the time of an import.
    __slots__ = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check(view(self))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``config.json`` and the checkpoint."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """A configuration from plain data.

        Raises:
            UsageError: an unknown name, a value of the wrong type, or one out of bounds.
        """
        for name in values:
            if name not in FIELDS:
                near = closest(name, list(FIELDS))
                raise UsageError(f"no hyperparameter is called '{name}'.{near} `galab options` lists them.")
        return cls(**values)

    @classmethod
    def from_saved(cls, values: dict[str, Any]) -> RunConfig:
        """The configuration that a run of this version or an earlier one saved, decided.

        Raises:
            UsageError: as :meth:`from_dict`.
        """
        return decide(cls.from_dict(complete(values)))

    def on(self, device: str) -> RunConfig:
        """The same configuration on another device."""
        return dataclasses.replace(self, device=device)

    def in_one_process(self) -> RunConfig:
        """The same configuration without workers, and without what belongs to them."""
        names = ("address", "worker_cpus", "worker_gpus", "price_per_hour", "member_seconds")
        none: dict[str, Any] = dict.fromkeys(names)
        return dataclasses.replace(self, workers=0, executor="processes", **none)

    def changed(self, other: RunConfig) -> dict[str, tuple[Any, Any]]:
        """Names whose values differ, each with this configuration's value and the other's."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in FIELDS}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def complete(saved: dict[str, Any]) -> dict[str, Any]:
    """What a run saved, as today's version means it.

    A field that its version did not have is what it meant there, where that is not today's default. A value that had
    no effect is dropped.
    """
    whole = "survival" in saved  # and not a few values that were written by hand
    if not whole:
        return saved
    values = {"crossover": "none"} | saved
    strategy = values.get("strategy", "ga")
    if isinstance(strategy, str):
        # What its kind of strategy knows nothing of stood there with the default of that version.
        kind = kind_of(strategy).name
        values = {name: it for name, it in values.items() if name not in FIELDS or understands(FIELDS[name], kind)}
    read = _read(values)
    # Versions before 0.2.0 took these without a word; they changed nothing.
    idle = {name for rule in IDLE_RULES if read is not None and rule.makes_idle(read) for name in rule.fields}
    idle -= {name for name in idle if values.get(name) == default_of(FIELDS[name], values.get("strategy", "ga"))}
    return {name: value for name, value in values.items() if name not in idle}


def flag(name: str) -> str:
    """The command-line spelling of a hyperparameter."""
    return COMMAND_LINE.name(name)


def field_type(name: str) -> type:
    """The type of a hyperparameter, without the "or None"."""
    return type_of(Fields, name)


#: What another genome has other values of.
_OF_A_GENOME = ("sigma", "sigma_floor", "mutate", "bounds", "at_bounds", "step_size")
#: Defaults that depend on the genome.
_BY_GENOME = ("sigma", "mutate")
#: Defaults that depend on the strategy and the task.
_BY_STRATEGY = ("model",)
#: Defaults that depend on whether the task is an environment.
_BY_TASK = ("model", "fitness", "precision", "compile", "batch")
#: What belongs to environments alone, or has another meaning there.
_OF_ENVIRONMENTS = (
    "episodes", "episode_steps", "confirm", "confirm_episodes", "act", "normalize_observations", "target", "batch",
    "fitness", "model",
)  # fmt: skip
#: Choices that are made again. The others are kept: they depend on the strategy alone, or belong to the exact scores.
_CHOSEN_AGAIN = ("mutate", "crossover", "step_size", "parents_per_child", "founders", "elites")


def carried_over(saved: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Saved values without what belonged to another strategy, what was chosen, and what the new values make idle.

    Args:
        saved: hyperparameters of another run, a preset or a file.
        new: hyperparameters given by hand, which win.
    """
    kept = _of_strategy(saved, saved.get("strategy", "ga"), (saved | new).get("strategy", "ga"))
    if (saved | new).get("genome", "real") != saved.get("genome", "real"):
        kept = {name: value for name, value in kept.items() if name not in _OF_A_GENOME}
    was, wanted = (str(values.get("task", "mnist")) for values in (saved, saved | new))
    if is_environment(was) != is_environment(wanted):
        kept = {name: value for name, value in kept.items() if name not in _OF_ENVIRONMENTS}
    for name in _CHOSEN_AGAIN:
        # One after the other: what is left must make the same run.
        if name not in new and is_chosen(name, kept):
            del kept[name]
    floor = kept.get("sigma_floor")
    if isinstance(floor, float) and new.get("sigma", floor) < floor and "sigma_floor" not in new:
        del kept["sigma_floor"]  # who asks for smaller steps than the saved floor gets a floor for them
    return without_idle(kept, before=saved, new=new)


def without_idle(values: dict[str, Any], *, before: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Values without those that had an effect before, and have none beside the new ones.

    Args:
        values: hyperparameters to keep.
        before: those among which they had an effect.
        new: hyperparameters given by hand, which win.
    """
    kept = dict(values)
    read = _read(before)
    for rule in RULES:
        idle = [name for name in rule.fields if name in kept and name not in new] if rule.idle is not None else []
        after = _read(kept | new) if idle else None
        if read is None or after is None or rule.makes_idle(read) or not rule.makes_idle(after):
            continue
        for name in idle:
            del kept[name]
    return kept


def check_given(config: RunConfig, given: Mapping[str, Any]) -> None:
    """Refuse a value that was given by hand and that the others replace, as it equals the default.

    Args:
        config: made of the given values and others.
        given: values by name.

    Raises:
        OptionError: the value, and what would take its place.
    """
    decided = view(config)
    beside = dict.fromkeys(_BY_GENOME, "genome") | dict.fromkeys(_BY_STRATEGY, "strategy")
    if plays_episodes(config):
        beside |= dict.fromkeys(_BY_TASK, "task")
    for name, other in beside.items():
        if name in given and getattr(decided, name) != given[name]:
            raise OptionError(
                f"expected another {{{name}}} with {{{other}.given}}, got {{{name}.value}}; drop it, which makes it "
                f"{getattr(decided, name)}",
                config,
            )


def is_chosen(name: str, values: dict[str, Any]) -> bool:
    """Whether a run without this value has it all the same."""
    if name not in _CHOSEN_AGAIN or name not in values:
        return False
    try:
        others = RunConfig.from_dict({other: value for other, value in values.items() if other != name})
    except UsageError:
        return False  # the value is needed; or another one is wrong, which is refused when it is used
    return bool(getattr(view(others), name) == values[name])


def _of_strategy(saved: dict[str, Any], was: str, wanted: str) -> dict[str, Any]:
    """Saved values without what belonged to another kind of strategy than the one that is asked for."""
    if was == wanted:
        return dict(saved)
    kinds = kind_of(was).name, kind_of(wanted).name
    return {name: value for name, value in saved.items() if not _left_behind(name, value, was, kinds)}


def _left_behind(name: str, value: Any, was: str, kinds: tuple[str, str]) -> bool:
    item = FIELDS.get(name)
    if item is None:
        return False  # refused by name later
    if item.metadata["by_strategy"] and value == default_of(item, was):
        return True
    # The optimiser of a baseline by gradients is its own.
    if "gradients" in kinds and understands(item, "gradients") and not understands(item, "genetic"):
        return True
    # A schedule of sigma has the same name, but points of step sizes in one kind and factors in the other.
    return kinds[0] != kinds[1] and (name == "sigma_schedule" or not understands(item, kinds[1]))


def _read(values: dict[str, Any]) -> Fields | None:
    """Values as rules look at them; None where one is wrong by itself, which is refused when it is used."""
    try:
        return view(Fields(**{name: value for name, value in values.items() if name in FIELDS}))
    except UsageError:
        return None
