"""A configuration whose values go together."""

from __future__ import annotations

import dataclasses
from typing import Any

from galab.config.fields import FIELDS, Fields
from galab.config.option import type_of
from galab.config.resolve import decide, view
from galab.config.rules import check
from galab.config.spelling import COMMAND_LINE
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

    def changed(self, other: RunConfig) -> dict[str, tuple[Any, Any]]:
        """Names whose values differ, each with this configuration's value and the other's."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in FIELDS}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def complete(saved: dict[str, Any]) -> dict[str, Any]:
    """What a run saved, with what the fields meant that its version did not have, where that is not today's default."""
    whole = "survival" in saved  # and not a few values that were written by hand
    return {"crossover": "none"} | saved if whole else saved


def flag(name: str) -> str:
    """The command-line spelling of a hyperparameter."""
    return COMMAND_LINE.name(name)


def field_type(name: str) -> type:
    """The type of a hyperparameter, without the "or None"."""
    return type_of(Fields, name)
