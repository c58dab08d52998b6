"""``galab doctor``, and the lists: ``galab tasks``, ``galab models``, ``galab options``, ``galab completion``."""

from __future__ import annotations

import dataclasses
import inspect
import os
import platform
import shutil
import sys
import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from galab.cli.options import (
    GroupedCommand,
    beginning_options,
    config_options,
    format_option,
    given,
    long_help,
    metavar,
    names_of,
    strategies_of,
    trust_option,
)
from galab.cli.output import echo, emit
from galab.config import flag
from galab.config.fields import FIELDS
from galab.config.registry import MODELS, TASKS, Registry
from galab.errors import UsageError, closest
from galab.storage.files import json_text


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


@click.command()
@click.argument("group", required=False, metavar="[GROUP]")
@format_option
def options(group: str | None, style: str) -> None:
    """List every option of `galab run`, or those of one GROUP.

    Each with the strategies that it belongs to.
    The groups are problem, population, mutation, evolution, optimiser, evaluation, stop and record.
    """
    headings = dict.fromkeys(item.metadata["group"] for item in FIELDS.values())
    groups = {heading.split()[0].lower(): heading for heading in headings}
    if group is not None and group.lower() not in groups:
        raise UsageError(
            f"expected a group out of {', '.join(groups)}, got '{group}'.{closest(group.lower(), list(groups))}"
        )
    wanted = [groups[group.lower()]] if group is not None else list(headings)
    if style != "table":
        emit([_row_of(item) for item in FIELDS.values() if item.metadata["group"] in wanted], style)
        return
    formatter = click.get_current_context().make_formatter()
    for heading in wanted:
        with formatter.section(heading):
            formatter.write_dl(
                [
                    (f"{flag(item.name)} {metavar(item)}", long_help(item))
                    for item in FIELDS.values()
                    if item.metadata["group"] == heading
                ]
            )
    echo(formatter.getvalue().rstrip("\n"))


def _row_of(item: dataclasses.Field[Any]) -> dict[str, Any]:
    return {
        "flag": flag(item.name),
        "name": item.name,
        "group": item.metadata["group"],
        "default": item.metadata["default"],
        "strategies": strategies_of(item),
        "values": ", ".join(names_of(item)),
        "help": item.metadata["help"],
    }


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
    """What can be said in brackets, with the values it has otherwise; what has none must be said."""
    parameters = inspect.signature(found).parameters.values()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    free = [one for one in parameters if one.name not in given and one.kind not in variadic]
    return [one.name if one.default is one.empty else f"{one.name}={one.default}" for one in free]


def _machine() -> list[tuple[str, str, str]]:
    import numpy as np
    import torch

    from galab.version import __version__

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
    extras = {
        "mlxtend": "offline", "sklearn": "offline", "safetensors": "export", "ray": "cluster", "transformers": "llm",
    }  # fmt: skip
    for package, extra in extras.items():
        present = _importable(package)
        rows.append(
            (package, "installed" if present else "absent", "yes" if present else f"pip install 'galab[{extra}]'")
        )
    return rows


def _importable(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def _data() -> list[tuple[str, str, str]]:
    from galab.errors import DataError
    from galab.tasks.data import FASHION_MNIST, MNIST
    from galab.tasks.data.download import local_folder

    named = os.environ.get("GALAB_DATA") or "not set"
    try:
        local_folder(MNIST)
    except DataError as error:
        return [("GALAB_DATA", named, str(error))]
    rows = [("GALAB_DATA", named, "yes")]
    for source in (MNIST, FASHION_MNIST):
        where = local_folder(source)
        rows.append((f"data: {source.name}", where or "not here yet", "yes" if where else "downloaded at first use"))
    return rows


_WIDTH = 80
_INDENT = 12


@click.group(invoke_without_command=True)
@format_option
@click.pass_context
def doctor(context: click.Context, style: str) -> None:
    """Look at this machine, or at a run before it begins.

    Of the machine: versions, device, compiler, data.

    `galab doctor es` predicts and measures what an evolution strategy's estimate is worth.
    `galab doctor cluster` looks at the nodes of a Ray cluster.
    """
    if context.invoked_subcommand is None:
        look_at_machine(style)


@doctor.command("es", cls=GroupedCommand)
@config_options()
@beginning_options
@click.option(
    "--budget", type=float, default=30.0, show_default=True, metavar="X", help="Seconds that it may take, roughly."
)
@trust_option
@format_option
def evolution(
    preset: str | None, config_file: Path | None, budget: float, trust: bool, style: str, **flags: Any
) -> None:
    """Ask what an evolution strategy will see before it runs.

    It takes the flags of `galab run` (eggroll, unless --strategy openai-es) and predicts and measures how well one
    generation's estimate points along the true gradient, which population, rank, pairing, sigma and learning rate
    would do better, and how long a generation takes. Nothing is written.
    """
    from galab.doctor.es_advice import findings_json
    from galab.doctor.es_measurements import measure_estimate
    from galab.training.compose import compose

    config = compose(given(flags), preset=preset, config_file=config_file, trust=trust, evolution=True)
    content = findings_json(measure_estimate(config, budget=budget))
    if style == "json":
        echo(json_text(content, indent=2))
    elif style == "csv":
        emit(content["sigmas"]["tried"], style)
    else:
        _print(content)


@doctor.command("cluster")
@click.option(
    "--address", default="auto", show_default=True, metavar="ADDRESS",
    help="The cluster: auto finds one that runs, HOST:PORT is its head, local starts one here.",
)  # fmt: skip
@format_option
def cluster(address: str, style: str) -> None:
    """Look at the nodes of a Ray cluster: versions, cores, bandwidth, and whether they compute the same bits.

    A node whose digest differs scores other last bits than this machine. It takes some seconds a node.
    """
    from galab.doctor.cluster import look_at_cluster, verdicts

    nodes = look_at_cluster(address)
    emit([dataclasses.asdict(node) for node in nodes], style)
    if style == "table":
        for sentence in verdicts(nodes):
            echo(textwrap.fill(sentence, _WIDTH))


def _print(content: dict[str, Any]) -> None:
    rank = "" if content["rank"] is None else f", rank {content['rank']}"
    head = (
        f"{content['data']}: {content['strategy']}, population {content['population']:,}, pairs {content['pairs']}"
        f"{rank}, {content['parameters']:,} weights, fitness {content['fitness']}"
    )
    echo(textwrap.fill(head, _WIDTH))
    sigmas = content["sigmas"]
    title = f"{sigmas['pairs']} pairs at each sigma"
    if any(row["cosine"] is not None for row in sigmas["tried"]):
        title += f", cosine with the true gradient; {sigmas['cosine_predicted']:.3f} is predicted"
    echo(f"\n{title}")
    emit([_cells(row) for row in sigmas["tried"]], "table")
    for one in content["advice"]:
        mark = " " if one["good"] else "!"
        text = textwrap.wrap(one["say"], _WIDTH - _INDENT - 2)
        echo(f"{mark} {one['about']:<{_INDENT}}" + f"\n{'':{_INDENT + 2}}".join(text))


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "sigma": f"{row['sigma']:.4g}",
        "even/odd": None if row["even_to_odd"] is None else f"{row['even_to_odd']:.3g}",
        "ties": f"{row['ties']:.0%}",
        "failures": f"{row['failures']:.0%}",
        "cosine": None if row["cosine"] is None else f"{row['cosine']:.3f}",
    }
