"""How messages name hyperparameters: ``--lr 0.1`` on the command line, ``lr=0.1`` in Python.

A message is written once, as a template with the names of fields in braces::

    {lr}         the name: --lr, or lr
    {lr:0.5}     the name with a value: --lr 0.5, or lr=0.5
    {lr.value}   the value that the configuration has
    {lr.given}   the name with that value

Any other name in braces is a value that the message was given.
"""

from __future__ import annotations

import contextlib
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from galab.errors import UsageError


@dataclass(frozen=True, slots=True)
class Spelling:
    """How one surface writes hyperparameters.

    Attributes:
        flags: whether they are flags of the command line, and not arguments in Python.
        names: field to its name, where it is not the usual one.
        phrases: field and value to how that pair is written, where it is not the usual way.
    """

    flags: bool
    names: Mapping[str, str] = field(default_factory=dict)
    phrases: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def name(self, name: str) -> str:
        """The name of a field: ``save_every`` is ``--save-every`` on the command line."""
        usual = "--" + name.replace("_", "-") if self.flags else name
        return self.names.get(name, usual)

    def pair(self, name: str, value: Any) -> str:
        """A field with a value: ``--lr 0.5``, or ``lr=0.5``."""
        if (name, str(value)) in self.phrases:
            return self.phrases[name, str(value)]
        if self.flags:
            return f"{self.name(name)} {value}"
        return f'{self.name(name)}="{value}"' if isinstance(value, str) else f"{self.name(name)}={value}"


#: ``from`` is a word of Python, so its field is ``origin``.
COMMAND_LINE = Spelling(flags=True, names={"origin": "--from"})
PYTHON = Spelling(flags=False)


@dataclass(frozen=True, slots=True)
class Given:
    """Fields with values, as one value of a message: ``--lr 0.5, --batch 0``.

    Attributes:
        pairs: each field with its value.
    """

    pairs: tuple[tuple[str, Any], ...]


class OptionError(UsageError):
    """A value that is wrong, or wrong together with others; ``str()`` says it for the command line.

    Args:
        template: the sentence, see the head of this module.
        config: has the values of the fields that the template asks for.
        values: the other names in braces.
    """

    def __init__(self, template: str, config: Any = None, /, **values: Any) -> None:
        asked = {name.partition(".")[0] for _, name, _, _ in string.Formatter().parse(template) if name}
        self._template = template
        self._values = values
        self._fields = {name: getattr(config, name, None) for name in asked - values.keys()}
        super().__init__(self.spelled(COMMAND_LINE))

    def spelled(self, spelling: Spelling) -> str:
        """The sentence as a surface writes it."""
        named = {name: _Field(spelling, name, value) for name, value in self._fields.items()}
        values = {name: _listed(value, spelling) for name, value in self._values.items()}
        return self._template.format_map({**named, **values})

    def within(self, where: str) -> OptionError:
        """The same error, with where it was found in front of its sentence."""
        named = where.replace("{", "{{").replace("}", "}}")
        return _restored(type(self), f"{named}: {self._template}", self._fields, self._values, ())._said()

    def _said(self) -> OptionError:
        self.args = (self.spelled(COMMAND_LINE),)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is pickled as its class and its arguments, which here are no template.
        return _restored, (type(self), self._template, self._fields, self._values, self.args)


def plainly(value: Any) -> str:
    """A value as a person writes it: 0.1, and not 0.1000000001."""
    return f"{value:g}" if isinstance(value, float) else str(value)


@contextlib.contextmanager
def spelled(spelling: Spelling) -> Iterator[None]:
    """Errors about options that leave this block are written as a surface writes them."""
    try:
        yield
    except OptionError as error:
        error.args = (error.spelled(spelling),)
        raise


@dataclass(frozen=True, slots=True)
class _Field:
    spelling: Spelling
    name: str
    value: Any

    @property
    def given(self) -> str:
        return self.spelling.pair(self.name, self.value)

    def __format__(self, value: str) -> str:
        return self.spelling.pair(self.name, _as_number(value)) if value else self.spelling.name(self.name)


def _listed(value: Any, spelling: Spelling) -> Any:
    if not isinstance(value, Given):
        return value
    return ", ".join(spelling.pair(name, plainly(one) if spelling.flags else one) for name, one in value.pairs)


def _restored(
    kind: type[OptionError], template: str, fields: dict[str, Any], values: dict[str, Any], args: tuple[str, ...]
) -> OptionError:
    error = kind.__new__(kind)
    error._template, error._fields, error._values, error.args = template, fields, values, args
    return error


def _as_number(text: str) -> float | str:
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return text
