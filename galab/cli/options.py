"""Command-line flags, made of the fields of the configuration."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from galab.config import field_type, flag, strategy_kinds
from galab.config.fields import EVOLUTION, FIELDS, MUTATION, OPTIMISER, POPULATION
from galab.config.option import KINDS
from galab.config.registry import Registry
from galab.config.spelling import plainly
from galab.errors import UsageError

#: Whether the help that is being written shows everything, in the ``meta`` of click's context.
_ALL = "galab.help_all"
#: Heading of what is no hyperparameter.
_OWN = "Options"
#: Headings of the short help, where they are not those of the fields.
_SHORT_HEADINGS = {
    POPULATION: "Genetic algorithm", MUTATION: "Genetic algorithm",
    EVOLUTION: "Evolution strategies", OPTIMISER: "Evolution strategies",
}  # fmt: skip
#: Letters beyond which the words of a choice do not stand beside the flag.
_WIDEST = 32


class GroupedCommand(click.Command):
    """A command whose help shows the options under headings, those of the command itself last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See :meth:`click.Command.format_options`."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                heading = parameter.item.metadata["group"] if isinstance(parameter, _FieldOption) else _OWN
                if not ctx.meta.get(_ALL, False):
                    heading = _SHORT_HEADINGS.get(heading, heading)
                groups.setdefault(heading, []).append(record)
        for heading in sorted(groups, key=lambda heading: heading == _OWN):
            with formatter.section(heading):
                formatter.write_dl(groups[heading])


class _FieldOption(click.Option):
    """A hyperparameter as an option: its help is short or long, and its names complete from a registry.

    Args:
        item: the field.
        everywhere: whether a short help shows it although it is advanced.
        hidden: whether no help shows it.
    """

    def __init__(self, item: dataclasses.Field[Any], *, everywhere: bool, hidden: bool) -> None:
        super().__init__(
            [flag(item.name), item.name], type=field_type(item.name), default=None, metavar=metavar(item),
            hidden=hidden,
        )  # fmt: skip
        self.item = item
        self._everywhere = everywhere

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """See :meth:`click.Option.get_help_record`."""
        everything = ctx.meta.get(_ALL, False)
        if self.hidden or (self.item.metadata["advanced"] and not (everything or self._everywhere)):
            return None
        return f"{flag(self.item.name)} {metavar(self.item)}", (long_help if everything else _short_help)(self.item)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names that begin with what was typed."""
        return [CompletionItem(name) for name in names_of(self.item) if name.startswith(incomplete)]


@functools.cache  # several commands share them
def _field_options(changeable_only: bool) -> tuple[_FieldOption, ...]:
    return tuple(
        _FieldOption(item, everywhere=changeable_only, hidden=changeable_only and not item.metadata["changeable"])
        for item in FIELDS.values()
    )


def config_options(*, changeable_only: bool = False) -> Callable[[Any], Any]:
    """Adds one flag per field; values arrive by field name, None where a flag was not given.

    Args:
        changeable_only: mention only those that ``resume`` may change in the help; the others stay accepted, so that
            a changed one is answered with the command that works. Otherwise the help shows the basic ones, and
            ``--help-all`` all.
    """

    def decorate(function: Any) -> Any:
        if not changeable_only:
            function = click.option(
                "--help-all", is_flag=True, is_eager=True, expose_value=False, callback=_show_all,
                help="Show every option, with the strategies that it belongs to.",
            )(function)  # fmt: skip
        # As click's own decorators do it: the last one comes first.
        function.__click_params__ = [*getattr(function, "__click_params__", []), *_field_options(changeable_only)[::-1]]
        return function

    return decorate


def _show_all(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help())
        ctx.exit()


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The configuration flags that were given."""
    return {name: value for name, value in values.items() if name in FIELDS and value is not None}


def trust_option(function: Any) -> Any:
    """Adds ``--trust``."""
    text = "Run code that a checkpoint or file names although it was never run here before."
    return click.option("--trust", is_flag=True, help=text)(function)


class _AdvancedOption(click.Option):
    """An option that a short help leaves out where there is a long one."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """See :meth:`click.Option.get_help_record`."""
        has_long_help = any("--help-all" in parameter.opts for parameter in ctx.command.params)
        return super().get_help_record(ctx) if ctx.meta.get(_ALL, False) or not has_long_help else None


def callback_option(function: Any) -> Any:
    """Adds ``--callback``."""
    text = "Call a function of yours with a view of the run after every generation; True stops the run. Repeatable."
    return click.option("--callback", metavar="FILE.py:NAME", multiple=True, help=text, cls=_AdvancedOption)(function)


def beginning_options(function: Any) -> Any:
    """Adds ``--preset`` and ``--config``: the hyperparameters to begin with."""
    file = click.Path(path_type=Path)
    words = "Begin with a run's config.json; flags win."
    function = click.option("--config", "config_file", metavar="FILE", type=file, help=words)(function)
    text = "Begin with a shipped set of hyperparameters; flags win."
    return click.option("--preset", metavar="NAME", help=text)(function)


def jobs_option(function: Any) -> Any:
    """Adds ``--jobs``."""
    text = "Processes for the trials; as many as cores when absent. Threads: cores / jobs."
    return click.option("--jobs", type=int, metavar="N", help=text)(function)


def runs_option(function: Any) -> Any:
    """Adds ``--runs``."""
    return click.option(
        "--runs", default="runs", show_default=True, type=click.Path(path_type=Path), help="Folder of all runs.",
        callback=_folder,
    )(function)  # fmt: skip


def _folder(ctx: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """Refuse a file, or a path below one, where a folder is or will be made."""
    first = next((place for place in (value, *value.parents) if os.path.lexists(place)), None)
    if first is not None and not first.is_dir():
        raise UsageError(f"expected a folder of runs at '{value}' (--runs), got the file '{first}'; name a folder")
    return value


def format_option(function: Any) -> Any:
    """Adds ``-f table|json|csv``."""
    return click.option(
        "-f", "--format", "style", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True,
        help="How to print.",
    )(function)  # fmt: skip


def names_of(item: dataclasses.Field[Any]) -> list[str]:
    """The words or names that a field takes; none where it takes any text."""
    choices = item.metadata["choices"]
    return choices.names() if isinstance(choices, Registry) else list(choices or ())


def long_help(item: dataclasses.Field[Any]) -> str:
    """All about a field: what it is, the names that it takes, its default and its strategies."""
    text: str = item.metadata["help"]
    if names_of(item) and metavar(item) in ("NAME", "WORD"):
        text += f" Names: {', '.join(names_of(item))}."
    text += _default(item)
    return text if item.metadata["kinds"] == KINDS else f"{text}  [with {strategies_of(item)}]"


def strategies_of(item: dataclasses.Field[Any]) -> str:
    """The built-in strategies that understand a field; ``all`` where they all do."""
    kinds = item.metadata["kinds"]
    rows = (row for row in strategy_kinds.KINDS if row.name in kinds)
    return "all" if kinds == KINDS else ", ".join(name for row in rows for name in row.strategies)


def _short_help(item: dataclasses.Field[Any]) -> str:
    """The first sentence, and the default."""
    text: str = item.metadata["help"].partition(". ")[0].removesuffix(".")
    usual = item.metadata["default"]
    return f"{text}." if usual is None else f"{text}.  [default: {plainly(usual)}]"


def _default(item: dataclasses.Field[Any]) -> str:
    usual, others = item.metadata["default"], item.metadata["by_strategy"]
    if usual is None:
        return ""
    more = "".join(f"; {plainly(value)} with {strategy}" for strategy, value in others.items())
    return f"  [default: {plainly(usual)}{more}]"


def metavar(item: dataclasses.Field[Any]) -> str:
    """What the help writes for a field's value."""
    choices = item.metadata["choices"]
    if isinstance(choices, tuple):
        words = "|".join([*choices, "..."] if item.metadata["beyond"] else choices)
        return words if len(words) < _WIDEST else "WORD"
    return "NAME" if choices is not None else {int: "N", float: "X", str: "TEXT"}[field_type(item.name)]
