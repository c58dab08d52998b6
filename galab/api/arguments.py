"""Arguments in Python: checked with one sentence each, and options in Python's ways of writing them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from galab.config.fields import FIELDS
from galab.config.run_config import field_type
from galab.errors import UsageError


def check_function(name: str, value: Any, what: str) -> None:
    """Refuse what cannot be called.

    Args:
        name: of the argument.
        value: what was given.
        what: the function that is expected, in words with their article.

    Raises:
        UsageError: it is no function.
    """
    if not callable(value):
        raise UsageError(f"expected {name} as {what}, got {value!r:.80}; give one")


def check_whole(name: str, value: Any, low: int) -> None:
    """Refuse what is no whole number from ``low`` on.

    Raises:
        UsageError: it is none.
    """
    value = _plainly(value)
    if type(value) is not int or value < low:
        raise UsageError(f"expected {name} as a whole number of {low} or more, got {value!r:.80}; correct it")


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Refuse what is none of a few values, of their types.

    Raises:
        UsageError: it is none.
    """
    value = _plainly(value)
    if not any(type(value) is type(one) and value == one for one in choices):
        listed = ", ".join(map(repr, choices[:-1]))
        raise UsageError(f"expected {name} as {listed} or {choices[-1]!r}, got {value!r:.80}; name one of them")


def worded(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters whose values are words, where Python has a shorter way to write them.

    ``bounds=(-1, 1)`` is ``"-1:1"``; ``hidden=16`` and ``hidden=[32, 16]``, ``freeze=["a.*", "b"]`` and
    ``sigma_factors=(1, 0.5)`` are their items with commas between; ``mutate={"dense": 0.8, "layer": 0.2}`` is
    ``"dense:0.8,layer:0.2"``; ``move_share=0.5`` and ``fast_fitness=True`` are ``"0.5"`` and ``"on"``. NumPy's
    numbers are taken as Python's, a path as its text.
    """
    return {name: _words(name, value) for name, value in hyperparameters.items()}


def _words(name: str, value: Any) -> Any:
    if name in ("task", "model", "strategy"):  # may be code
        return value
    value = _plainly(value)
    if name not in FIELDS or field_type(name) is not str:
        return value
    if type(value) in (int, float) and (name == "move_share" or (name == "hidden" and type(value) is int)):
        return str(value)
    choices = FIELDS[name].metadata["choices"]
    if type(value) is bool and isinstance(choices, tuple) and set(choices) == {"on", "off"}:
        return "on" if value else "off"
    if isinstance(value, Mapping) and value and all(map(_plain, (*value, *value.values()))):
        return ",".join(f"{one}:{number}" for one, number in value.items())
    if isinstance(value, list | tuple) and value and all(map(_plain, value)):
        return (":" if name == "bounds" else ",").join(map(str, value))
    return value


def _plainly(value: Any) -> Any:
    """Numbers and arrays of NumPy, also in sequences and mappings, and paths as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if type(value) in (list, tuple):
        return type(value)(map(_plainly, value))
    return {name: _plainly(one) for name, one in value.items()} if type(value) is dict else value


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
