"""Command-line flags, made of the fields of the configuration."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from galab.config import RunConfig, field_type, flag
from galab.config.fields import EVOLUTION, MUTATION, POPULATION, PROBLEM
from galab.config.registry import Registry

#: Headings of the options that begin a search; all others follow as they come.
_ORDER = (PROBLEM, POPULATION, MUTATION, EVOLUTION)


class GroupedCommand(click.Command):
    """A command whose help shows the options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See :meth:`click.Command.format_options`."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "group", "Options"), []).append(record)
        for heading in sorted(groups, key=lambda heading: _ORDER.index(heading) if heading in _ORDER else len(_ORDER)):
            with formatter.section(heading):
                formatter.write_dl(groups[heading])


class _ConfigOption(click.Option):
    """An option that belongs to a heading and completes from a registry."""

    def __init__(self, *args: Any, group: str, names: Callable[[], list[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group
        self._names = names

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Names that begin with what was typed."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]


def config_options(*, changeable_only: bool = False) -> Callable[[Any], Any]:
    """Adds one flag per field; values arrive by field name, None where a flag was not given.

    Args:
        changeable_only: mention only those that ``resume`` may change in the help; the others stay accepted, so that
            a changed one is answered with the command that works.
    """

    def decorate(function: Any) -> Any:
        for item in reversed(dataclasses.fields(RunConfig)):
            hidden = changeable_only and not item.metadata["changeable"]
            function = click.option(
                flag(item.name),
                item.name,
                cls=_ConfigOption,
                type=field_type(item.name),
                default=None,
                help=_texts(item.name)[0],
                metavar=_texts(item.name)[1],
                hidden=hidden,
                group=item.metadata["group"],
                names=_names(item),
            )(function)
        return function

    return decorate


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The configuration flags that were given."""
    names = {item.name for item in dataclasses.fields(RunConfig)}
    return {name: value for name, value in values.items() if name in names and value is not None}


def trust_option(function: Any) -> Any:
    """Adds ``--trust``."""
    text = "Run code that a checkpoint or file names although it was never run here before."
    return click.option("--trust", is_flag=True, help=text)(function)


def beginning_options(function: Any) -> Any:
    """Adds ``--preset`` and ``--config``: the hyperparameters to begin with."""
    file = click.Path(path_type=Path)
    words = "Begin with a run's config.json; flags win."
    function = click.option("--config", "config_file", metavar="FILE", type=file, help=words)(function)
    text = "Begin with a shipped set of hyperparameters; flags win."
    return click.option("--preset", metavar="NAME", help=text)(function)


def jobs_option(function: Any) -> Any:
    """Adds ``--jobs``."""
    text = "Processes that share many trials; as many as cores when absent, each with --workers. Threads: cores / jobs."
    return click.option("--jobs", type=int, metavar="N", help=text)(function)


def format_option(function: Any) -> Any:
    """Adds ``-f table|json|csv``."""
    return click.option(
        "-f", "--format", "style", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True,
        help="How to print.",
    )(function)  # fmt: skip


@functools.cache  # several commands have these flags, and naming what is installed takes longer than all else
def _texts(name: str) -> tuple[str, str]:
    """The help of a field's flag, and what it calls its value."""
    item = RunConfig.__dataclass_fields__[name]
    return _help(item), _metavar(item)


def _names(item: dataclasses.Field[Any]) -> Callable[[], list[str]]:
    choices = item.metadata["choices"]
    return choices.names if isinstance(choices, Registry) else lambda: list(choices or ())


def _metavar(item: dataclasses.Field[Any]) -> str:
    names = _names(item)()
    if isinstance(item.metadata["choices"], tuple):
        return "|".join([*names, "..."] if item.metadata["beyond"] else names)
    if names:
        return "NAME"
    return {int: "N", float: "X", str: "TEXT"}[field_type(item.name)]


def _help(item: dataclasses.Field[Any]) -> str:
    text: str = item.metadata["help"]
    if isinstance(item.metadata["choices"], Registry):
        text += f" Names: {', '.join(_names(item)())}."
    usual, others = item.metadata["default"], item.metadata["by_strategy"]
    if usual is None:
        return text
    more = "".join(f"; {_plainly(value)} with {strategy}" for strategy, value in others.items())
    return f"{text}  [default: {_plainly(usual)}{more}]"


def _plainly(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
