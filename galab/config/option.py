"""What a hyperparameter's field says about itself (help, unit, bounds, choices), and how a value is checked."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, get_type_hints

from galab.config.registry import Registry
from galab.errors import UsageError, closest


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] | Registry | None = None,
    beyond: Callable[[str], object] | None = None,
    group: str,
    changeable: bool = False,
    flag: str | None = None,
    by_strategy: Mapping[str, Any] | None = None,
) -> Any:
    """A dataclass field that is also a command-line flag.

    Args:
        default: the value when nobody says otherwise; None means "not set".
        help: one sentence, with the unit.
        low: smallest value allowed, itself included.
        high: largest value allowed, itself included.
        above: what the value must exceed.
        choices: the words allowed, or the registry of names.
        beyond: reads what need not be one of the words, or raises a UsageError.
        group: the heading under which ``--help`` shows it.
        changeable: whether ``galab resume`` may change it without changing what the run means.
        flag: the command-line spelling, where it is not the field's name (``from`` is a word of Python).
        by_strategy: strategies that have another default. The field is None until somebody decides, see
            :func:`default_of`.
    """
    metadata = {
        "help": help,
        "low": low,
        "high": high,
        "above": above,
        "choices": choices,
        "beyond": beyond,
        "group": group,
        "changeable": changeable,
        "flag": flag,
        "default": default,
        "by_strategy": by_strategy or {},
    }
    return field(default=None if by_strategy else default, metadata=metadata)


def default_of(item: dataclasses.Field[Any], strategy: str) -> Any:
    """The value of a field under a strategy when nobody says otherwise."""
    return item.metadata["by_strategy"].get(strategy, item.metadata["default"])


def undecided(values: Any, strategy: str) -> dict[str, Any]:
    """Fields of a dataclass that nobody gave, whose default hangs on the strategy: name to that default."""
    fields = [item for item in dataclasses.fields(values) if item.metadata["by_strategy"]]
    return {item.name: default_of(item, strategy) for item in fields if getattr(values, item.name) is None}


def complete(saved: dict[str, Any]) -> dict[str, Any]:
    """What a run saved, with what the fields meant that its version did not have, where that is not today's default."""
    whole = "survival" in saved  # and not a few values that somebody wrote by hand
    return {"crossover": "none"} | saved if whole else saved


def or_auto(registry: Registry) -> Callable[[str], None]:
    """A check for a name of a registry, or ``auto``."""

    def accept(name: str) -> None:
        if name != "auto":
            registry.check(name)

    return accept


def spelling(item: dataclasses.Field[Any]) -> str:
    """The command-line spelling of a field: ``save_every`` is ``--save-every``."""
    return item.metadata["flag"] or "--" + item.name.replace("_", "-")


def check(owner: type, item: dataclasses.Field[Any], value: Any) -> None:
    """Refuse a value of the wrong type, out of bounds or not among the choices."""
    if value is None and item.default is None:
        return
    kind = type_of(owner, item.name)
    accepted = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not accepted or isinstance(value, bool):
        raise UsageError(f"expected {spelling(item)} to be of type {kind.__name__}, got {value!r}")
    low, high, above, choices = (item.metadata[key] for key in ("low", "high", "above", "choices"))
    if isinstance(value, (int, float)):
        # A whole number may be too large for math.isfinite.
        finite = isinstance(value, int) or math.isfinite(value)
        if not finite or (low is not None and value < low) or (high is not None and value > high):
            lowest = above if low is None else low
            bounds = f"at least {lowest}" if high is None else f"between {lowest} and {high}"
            raise UsageError(f"expected {spelling(item)} {bounds}, got {value}")
        if above is not None and value <= above:
            kind_of = "a positive number" if above == 0 else f"a number above {above}"
            raise UsageError(f"expected {spelling(item)} to be {kind_of}, got {value}; name a larger one")
    if item.metadata["beyond"] is not None:
        item.metadata["beyond"](value)
    elif isinstance(choices, Registry):
        choices.check(value)
    elif choices is not None and value not in choices:
        raise UsageError(
            f"expected {spelling(item)} to be one of {', '.join(choices)}, got '{value}'."
            f"{closest(value, list(choices))}"
        )


@functools.cache  # evaluating the hints of all fields takes longer than everything else here
def _hints(owner: type) -> dict[str, Any]:
    return get_type_hints(owner)


@functools.cache
def type_of(owner: type, name: str) -> type:
    """The type of a field, without the "or None"."""
    hint = _hints(owner)[name]
    arguments = [kind for kind in getattr(hint, "__args__", ()) if kind is not type(None)]
    kind: type = arguments[0] if arguments else hint
    return kind
