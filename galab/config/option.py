"""What the field of a hyperparameter says about itself (help, bounds, choices), and how a value is checked."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, get_type_hints

from galab.config.registry import Registry
from galab.config.spelling import OptionError
from galab.errors import closest

#: The kinds of strategy: genetic algorithms, random search, evolution strategies, baselines that use gradients, and
#: strategies that ask for weight vectors, and those of whole numbers.
KINDS = ("genetic", "random", "evolution", "gradients", "vectors", "integer")


def option(
    default: Any,
    help: str,
    *,
    group: str,
    kinds: tuple[str, ...] = KINDS,
    advanced: bool = False,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] | Registry | None = None,
    beyond: Callable[[Any], object] | None = None,
    changeable: bool = False,
    by_strategy: Mapping[str, Any] | None = None,
    idle: tuple[Callable[[Any], bool], str] | None = None,
) -> Any:
    """A dataclass field that is also a command-line flag.

    Args:
        default: the value when none is given; None means "not set", or that :mod:`galab.config.resolve` chooses.
        help: what it is, with the unit; the first sentence alone stands in ``galab run --help``.
        group: the heading under which the help shows it; it means nothing else.
        kinds: the kinds of strategy that understand it, out of :data:`KINDS`; all when absent.
        advanced: whether only ``--help-all`` and ``galab options`` show it.
        low: smallest value allowed, itself included.
        high: largest value allowed, itself included.
        above: what the value must exceed.
        choices: the words allowed, or the registry of names.
        beyond: reads what need not be one of the words, or raises a UsageError.
        changeable: whether ``galab resume`` may change it without changing what the run means.
        by_strategy: strategies that have another default. The field is None until it is resolved.
        idle: under which configurations it has no effect, and the sentence that refuses it there: a rule about this
            field alone, see :class:`galab.config.rule.Rule`.
    """
    metadata = {
        "help": help,
        "low": low,
        "high": high,
        "above": above,
        "choices": choices,
        "beyond": beyond,
        "group": group,
        "kinds": kinds,
        "advanced": advanced,
        "changeable": changeable,
        "default": default,
        "by_strategy": by_strategy or {},
        "idle": idle,
    }
    return field(default=None if by_strategy else default, metadata=metadata)


def understands(item: dataclasses.Field[Any], kind: str) -> bool:
    """Whether a kind of strategy understands a field."""
    return kind in item.metadata["kinds"]


def default_of(item: dataclasses.Field[Any], strategy: str) -> Any:
    """The value of a field under a strategy when none is given."""
    return item.metadata["by_strategy"].get(strategy, item.metadata["default"])


def or_auto(registry: Registry) -> Callable[[str], None]:
    """A check for a name of a registry, or ``auto``."""

    def accept(name: str) -> None:
        if name != "auto":
            registry.check(name)

    return accept


def check(owner: type, item: dataclasses.Field[Any], value: Any) -> None:
    """Refuse a value of the wrong type, out of bounds or not among the choices.

    Raises:
        UsageError: what is allowed.
    """
    if value is None and item.default is None:
        return
    name, kind = f"{{{item.name}}}", type_of(owner, item.name)
    accepted = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not accepted or isinstance(value, bool):
        raise OptionError(f"expected {name} to be of type {{kind}}, got {{value!r}}", kind=kind.__name__, value=value)
    if isinstance(value, (int, float)):
        _check_bounds(item, value)
    choices = item.metadata["choices"]
    if item.metadata["beyond"] is not None:
        item.metadata["beyond"](value)
    elif isinstance(choices, Registry):
        choices.check(value)
    elif choices is not None and value not in choices:
        raise OptionError(
            f"expected {name} to be one of {{known}}, got '{{value}}'.{{near}}",
            known=", ".join(choices), value=value, near=closest(value, list(choices)),
        )  # fmt: skip


def _check_bounds(item: dataclasses.Field[Any], value: float) -> None:
    low, high, above = (item.metadata[key] for key in ("low", "high", "above"))
    name = f"{{{item.name}}}"
    # A whole number may be too large for math.isfinite.
    finite = isinstance(value, int) or math.isfinite(value)
    if not finite or (low is not None and value < low) or (high is not None and value > high):
        lowest = above if low is None else low
        bounds = f"at least {lowest}" if high is None else f"between {lowest} and {high}"
        bounds = "to be a finite number" if lowest is None and high is None else bounds
        raise OptionError(f"expected {name} {bounds}, got {{value}}", value=value)
    if above is not None and value <= above:
        number = "a positive number" if above == 0 else f"a number above {above}"
        raise OptionError(f"expected {name} to be {number}, got {{value}}; name a larger one", value=value)


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
