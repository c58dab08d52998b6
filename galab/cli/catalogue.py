"""``galab tasks``, ``galab models``, ``galab completion``, and what ``galab doctor`` says of this machine."""

from __future__ import annotations

import inspect
import os
import platform
import shutil
import sys
from collections.abc import Collection
from typing import Any

import click

from galab.cli.options import format_option
from galab.cli.output import emit
from galab.registry import MODELS, TASKS, Registry


@click.command()
@format_option
def tasks(style: str) -> None:
    """List what can be learned."""
    from galab.tasks.load import GIVEN

    emit(_entries(TASKS, GIVEN), style)


@click.command()
@format_option
def models(style: str) -> None:
    """List the networks."""
    from galab.models.build import GIVEN

    emit(_entries(MODELS, GIVEN), style)


def look_at_machine(style: str) -> None:
    """Versions, device, compiler, data."""
    rows = [{"what": what, "found": found, "fine": fine} for what, found, fine in [*_machine(), *_data()]]
    emit(rows, style)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    For bash: eval "$(galab completion bash)"
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, shell
    click.echo(kind(click.get_current_context().find_root().command, {}, "galab", "_GALAB_COMPLETE").source())


def _entries(registry: Registry, given: Collection[str]) -> list[dict[str, Any]]:
    rows = []
    for name in registry.names():
        found = registry.load(name)
        documentation = inspect.getdoc(found) or ""
        what = documentation.split("\n\n")[0].replace("\n", " ").replace("``", "")
        rows.append({"name": name, "what": what, "options": ", ".join(_options(found, given))})
    return rows


def _options(found: Any, given: Collection[str]) -> list[str]:
    """What can be said in brackets, with the values it has otherwise."""
    parameters = inspect.signature(found).parameters.values()
    free = [one for one in parameters if one.name not in given and one.default is not one.empty]
    return [f"{one.name}={one.default}" for one in free]


def _machine() -> list[tuple[str, str, str]]:
    import numpy as np
    import torch

    from galab import __version__

    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    capability = torch.backends.cpu.get_cpu_capability()
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    rows = [
        ("galab", __version__, "yes"),
        ("python", f"{sys.version.split()[0]} on {platform.system()} {platform.machine()}", "yes"),
        ("numpy", np.__version__, "yes"),
        ("torch", str(torch.__version__), "yes"),
        ("cpu", f"{os.cpu_count()} cores, {capability}, {torch.get_num_threads()} threads", "yes"),
        ("cuda", cuda, "yes" if cuda != "none" else "not needed"),
        ("c++ compiler", compiler or "none", "yes" if compiler else "not needed yet"),
    ]
    for package, extra in (("mlxtend", "offline"), ("sklearn", "offline"), ("safetensors", "export")):
        here = _importable(package)
        rows.append((package, "installed" if here else "absent", "yes" if here else f"pip install 'galab[{extra}]'"))
    return rows


def _importable(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def _data() -> list[tuple[str, str, str]]:
    from galab.data import FASHION_MNIST, MNIST
    from galab.data.locate import whereabouts
    from galab.errors import DataError

    named = os.environ.get("GALAB_DATA") or "not set"
    try:
        whereabouts(MNIST)
    except DataError as error:
        return [("GALAB_DATA", named, str(error))]
    rows = [("GALAB_DATA", named, "yes")]
    for source in (MNIST, FASHION_MNIST):
        where = whereabouts(source)
        rows.append((f"data: {source.name}", where or "not here yet", "yes" if where else "downloaded at first use"))
    return rows
