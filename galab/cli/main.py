"""The ``galab`` command and what it does with errors."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import traceback
from typing import Any

import click

from galab.cli.analyze import analyze, report
from galab.cli.bench import bench
from galab.cli.compare import compare
from galab.cli.doctor import completion, doctor, models, options, tasks
from galab.cli.generate import generate
from galab.cli.inspect import evaluate, export, list_runs, show, verify
from galab.cli.output import InterruptedWorkError, echo
from galab.cli.run import resume, run
from galab.cli.trials import sweep
from galab.cli.watch import watch
from galab.errors import GalabError, closest, printable
from galab.storage.streams import lost_output, outlive_readers
from galab.version import __version__

#: After Ctrl-C in a command that says nothing of its own: files are written whole, when everything is computed.
_NOTHING = "nothing was written"
_TRACEBACK_HINT = "add --debug right after `galab` for the traceback"


class _Printable(logging.Formatter):
    """A message may quote a stranger's file: its control characters are spelt out."""

    def format(self, record: logging.LogRecord) -> str:
        """See :meth:`logging.Formatter.format`."""
        return printable(super().format(record), lines=True)


class _Commands(click.Group):
    """A group that shows its commands under headings, and answers an unknown one with the closest."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See :meth:`click.Group.format_commands`."""
        width = max(map(len, self.commands))
        for heading, commands in _COMMANDS.items():
            limit = formatter.width - 6 - width
            rows = [(f"{command.name:<{width}}", command.get_short_help_str(limit)) for command in commands]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """See :meth:`click.Group.resolve_command`."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            hint = closest(args[0], self.list_commands(ctx))
            ctx.fail(f"no command is called '{args[0]}'.{hint} `galab --help` lists the commands.")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a person needs them."""
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="galab")
@click.option("--debug", is_flag=True, help="Show tracebacks and log everything.")
def cli(debug: bool) -> None:
    """A laboratory for training neural networks without gradients.

    Begin with: galab run --task mnist --parents 8 --children 32 --seconds 60
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("galab").setLevel(logging.DEBUG if debug else logging.WARNING)


#: The commands under their headings, in the order in which a person needs them.
_COMMANDS = {
    "Run": (run, resume, sweep, bench),
    "Look": (list_runs, show, compare, evaluate, generate, watch, tasks, models, options),
    "Ask": (analyze, report, verify, doctor),
    "Share": (export, completion),
}
for _command in itertools.chain(*_COMMANDS.values()):
    cli.add_command(_command)


def main(arguments: list[str] | None = None, command: click.Command = cli, name: str = "galab") -> None:
    """Run the command line and exit: 0 done, 1 something is wrong, 2 wrong usage, 130 interrupted.

    Args:
        arguments: what was typed; those of this process when absent.
        command: what to run, where it is not all of ``galab``.
        name: what its help calls it.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    outlive_readers()
    try:
        result = command.main(arguments, prog_name=name, standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except BaseException as error:
        # click ends so when it completes words for a shell; else SystemExit comes out of somebody's own code.
        if isinstance(error, SystemExit) and f"_{name.upper()}_COMPLETE" in os.environ:
            raise
        code = _explain(error)
        if "--debug" in arguments[:1]:
            traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    lost = [one for one in lost_output() if not one.reader_left]
    if lost:  # what was asked for did not arrive, as on a full disk
        _say("; ".join(map(str, lost)))
        code = code or 1
    sys.exit(code)


def _explain(error: BaseException) -> int:
    """Say in one sentence what went wrong; the exit code."""
    match error:
        case click.ClickException():
            error.show()
            return error.exit_code
        case click.exceptions.Abort() | KeyboardInterrupt():
            _say(f"interrupted; {error if isinstance(error, InterruptedWorkError) else _NOTHING}")
            return 130
        case GalabError():
            _say(str(error))
            return error.exit_code
        case OSError():
            where = f": {error.filename}" if error.filename else ""
            _say(f"{error.strerror or error}{where}; {_TRACEBACK_HINT}")
            return 1
        case _:
            kind = type(error).__name__
            _say(f"unexpected {kind}: {error}; a bug in galab or in your own code: {_TRACEBACK_HINT}")
            return 1


def _say(message: str) -> None:
    echo(f"galab: {message}", err=True)
