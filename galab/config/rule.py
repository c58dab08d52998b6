"""What a rule about hyperparameters is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from galab.config.fields import FIELDS, Fields
from galab.config.option import KINDS, default_of
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


def means_something(
    name: str, where: Callable[[Fields], bool], task: str, kinds: tuple[str, ...] = KINDS
) -> Rule:
    """A field that has an effect with some tasks alone.

    Args:
        name: the field.
        where: whether a configuration has such a task.
        task: such a task in words, ``an environment as {task}, such as cartpole``.
        kinds: of strategies that understand the field.
    """
    return Rule(
        kinds=kinds,
        fields=(name,),
        idle=lambda config: not where(config),
        sentence=f"expected {{{name}}} with {task}, got {{{name}.value}} with {{task.given}}, where it changes "
        "nothing; drop it",
    )


def has_to_be_plain(name: str, refused: str, where: Callable[[Fields], bool], expected: str, why: str) -> Rule:
    """A value that some tasks refuse.

    Args:
        name: the field.
        refused: the value.
        where: whether a configuration has such a task.
        expected: what goes there, as it is given.
        why: in words.
    """
    return Rule(
        kinds=KINDS,
        fields=(name,),
        refused=lambda config: where(config) and getattr(config, name) == refused,
        sentence=f"expected {expected} with {{task.given}}, got {{{name}.value}}: {why}; drop it",
    )
