"""What an activation is to the members, written on the tensor itself.

Shapes alone cannot say it: a table with as many rows as there are examples is no batch. So a mark is put on the inputs
and handed on by every torch function from what it was given to what it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

#: Has met no parameter: the same for all members.
SHARED = "shared"
#: Holds the rows of all members, member-major, in its batch axis.
FOLDED = "folded"

_NAME = "galab_mark"


def mark_of(x: Any) -> str | None:
    """``SHARED``, ``FOLDED``, or None for what does not come from the inputs."""
    return getattr(x, _NAME, None)


def marked(value: Any, mark: str) -> Any:
    """The value with a mark on every tensor in it."""
    for leaf in leaves(value):
        if isinstance(leaf, Tensor):
            setattr(leaf, _NAME, mark)
    return value


def leaves(value: Any) -> Iterator[Any]:
    """What lies in nested lists, tuples and dictionaries."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    else:
        yield value


def mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """The same nested lists, tuples and dictionaries with another value for each leaf; named tuples become plain."""
    if isinstance(value, list):
        return [mapped(item, function) for item in value]
    if isinstance(value, tuple):
        return tuple(mapped(item, function) for item in value)
    if isinstance(value, dict):
        return {name: mapped(item, function) for name, item in value.items()}
    return function(value)
