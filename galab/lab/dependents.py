"""What a flag takes back of a configuration that was saved before: values that hang on what the flag changes.

A run saves what it decided itself, such as the parents of a child, beside what was asked for. A run that starts from
it, or from its ``config.json``, decides that anew where a flag changes what it hangs on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from galab.calls import split_outside
from galab.compatibility import CONTROLS, decided
from galab.config import RunConfig
from galab.errors import UsageError

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
