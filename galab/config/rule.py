"""What a rule about hyperparameters is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from galab.config.fields import FIELDS, Fields
from galab.config.option import default_of
from galab.config.spelling import Given, OptionError
from galab.config.strategy_kinds import kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One fact about values that are right alone and wrong together.

    Attributes:
        fields: what it concerns; all that can be idle, where it says so.
        sentence: what is expected, what came and what to do; see :mod:`galab.config.spelling`.
        idle: when the fields have no effect; one that is not at its default is an error then.
        refused: when the values contradict each other; a mapping holds further values for the sentence.
        kinds: the kinds of strategy for which it holds.
    """

    fields: tuple[str, ...]
    sentence: str
    idle: Callable[[Fields], bool] | None = None
    refused: Callable[[Fields], bool | Mapping[str, Any]] | None = None
    kinds: tuple[str, ...] = ("genetic",)

    def makes_idle(self, config: Fields) -> bool:
        """Whether the fields have no effect in a configuration, of whatever strategy."""
        return self.idle is not None and kind_of(config.strategy).name in self.kinds and self.idle(config)

    def check(self, config: Fields) -> None:
        """Refuse a configuration that breaks the rule, whose strategy must be of the rule's kinds.

        Raises:
            OptionError: the sentence.
        """
        idle = self.idle is not None and self.idle(config)
        values = {name: getattr(config, name) for name in self.fields} if idle else {}
        given = {name: it for name, it in values.items() if it != default_of(FIELDS[name], config.strategy)}
        if given:
            raise OptionError(self.sentence, config, idle=Given(tuple(given.items())))
        found = self.refused(config) if self.refused is not None else False
        if found:
            raise OptionError(self.sentence, config, **(found if isinstance(found, Mapping) else {}))
