"""``galab list``, ``show``, ``evaluate``, ``export`` and ``verify``: a look at saved runs."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galab.cli.options import format_option, runs_option, trust_option
from galab.cli.output import best_name, echo, emit, emit_one, text
from galab.cli.trials import ACCURACIES, RETURNS, show_trials
from galab.config.fields import FIELDS
from galab.config.option import understands
from galab.config.strategy_kinds import kind_of, label_of
from galab.config.traits import evaluations_in_words
from galab.errors import GalabError, printable_data
from galab.storage.files import json_text

if TYPE_CHECKING:
    from galab.saved_runs.saved_run import SavedRun
    from galab.storage.run_folder import RunFolder

_BARS = "▁▂▃▄▅▆▇█"
_CURVES = (
    "fitness_best", "validation_accuracy", "validation_return", "validation_loss", "test_accuracy", "step_size",
    "selection_success_rate", "diversity_distance", "diversity_common_ancestor", "learning_rate", "estimate_norm",
    "estimate_cosine", "estimate_even_to_odd", "gradient_norm", "weights_norm",
)  # fmt: skip
_WIDTH = 60
#: What a table of 80 columns has room for; JSON and CSV have everything.
_IN_TABLE = ("run", "state", "generation", "validation_accuracy", "test_accuracy", "task", "strategy", "seed")
_COPIED = ("task", "model", "strategy", "parents", "children", "population", "seed")
_COLUMNS = (
    "run", "state", "generation", "evaluations", "seconds", "validation_accuracy", "test_accuracy", *_COPIED, *RETURNS
)  # fmt: skip


@click.command("list")
@runs_option
@format_option
def list_runs(runs: Path, style: str) -> None:
    """List the runs of a folder, trials of groups included."""
    from galab.storage.groups import runs_below
    from galab.storage.run_folder import clear_abandoned

    found = runs_below(runs)
    for home in {runs, *(folder.path.parent for folder in found)}:
        clear_abandoned(home)
    rows = [_row(folder, runs) for folder in found]
    if style == "table":
        # A damaged run has no strategy.
        labels = [{"strategy": row["strategy"] and label_of(row["strategy"])} for row in rows]
        columns = _columns_for(rows)
        rows = [{name: row[name] for name in columns} | label for row, label in zip(rows, labels, strict=True)]
    emit(rows, style, empty=f"no runs in '{runs}'; `galab run` makes one")


def _columns_for(rows: list[dict[str, Any]]) -> list[str]:
    """Columns of a table: accuracies, returns where a run has some, and those alone where no run has an accuracy."""
    accurate, returned = (
        any(row[name] is not None for row in rows for name in names) for names in (ACCURACIES, RETURNS)
    )
    scores = (*ACCURACIES, *RETURNS) if accurate and returned else RETURNS if returned else ACCURACIES
    place = _IN_TABLE.index(ACCURACIES[0])
    return [*_IN_TABLE[:place], *scores, *_IN_TABLE[place + len(ACCURACIES) :]]


@click.command()
@click.argument("path", metavar="RUN_OR_PKL", type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="The champion's whole seed chain instead of its ends.")
@format_option
def show(path: Path, full: bool, style: str) -> None:
    """Show a run, or what a group of trials holds.

    Of a run: configuration, curves and the champion's seed chain.

    Of an evolution strategy, the score log in place of the chain: with the seeds it makes every update again.

    With -f csv: the log, one line a generation.
    """
    from galab.storage.groups import is_group

    if is_group(path):
        show_trials(path, style)
        return
    from galab.saved_runs.saved_run import open_saved
    from galab.storage import checkpoints
    from galab.storage.log import read_log

    saved = open_saved(path)
    log = read_log(saved.folder.log_path) if saved.folder else []
    log = [line for line in log if line["generation"] <= saved.generation]
    if style == "csv":
        emit(log, style)
        return
    content: dict[str, Any] = {
        "run": str(path),
        "generation": saved.generation,
        "totals": saved.state["totals"],
        "task": saved.state["task"],
        "hyperparameters": saved.config.to_dict(),
        "started_with": _started_with(saved),
        "numeric_profile": saved.state["numeric_profile"],
        "status": (saved.folder.read_status() or {}) if saved.folder else {},
        "champion": saved.state["champion"],
        "checkpoints": [g for g, _ in checkpoints.list_checkpoints(saved.folder.checkpoints)] if saved.folder else [],
    }
    if not kind_of(saved.config.strategy).breeds:
        content["score_log"] = _score_log(saved)
    else:
        content["seed_chain"] = _chain(saved)
    if style == "json":
        echo(json_text(content, indent=2))
        return
    _print(printable_data(content), printable_data(log), full)


def _started_with(saved: SavedRun) -> dict[str, Any]:
    """What a resumed run was started with, where that is not what holds at this checkpoint."""
    try:
        content = saved.folder.read_config() if saved.folder else {}
    except GalabError:  # a damaged file hides nothing that the checkpoint has
        content = {}
    now = saved.config.to_dict()
    before = content.get("hyperparameters", {}) | content.get("started_with", {})
    return {name: value for name, value in before.items() if name in now and value != now[name]}


def _row(folder: RunFolder, runs: Path) -> dict[str, Any]:
    """One line about a run; a damaged one must not hide the others."""
    name = folder.path.relative_to(runs).as_posix()
    try:
        return summary(folder) | {"run": name}
    except GalabError as error:
        echo(f"{folder.path}: {error}", err=True)
        return dict.fromkeys(_COLUMNS) | {"run": name, "state": "damaged"}


def summary(folder: RunFolder) -> dict[str, Any]:
    """One line about a run."""
    from galab.storage.log import last_line

    values = folder.read_config().get("hyperparameters") or {}
    status = folder.read_status() or {}
    state = status.get("state", "new")
    if state == "running" and not folder.in_use():
        state = "killed"
    last = last_line(folder.log_path) or {}
    having = (last_line(folder.log_path, having=name) for name in ("validation_accuracy", "validation_return"))
    report = next((line for line in having if line), {})
    result = status.get("result") or report
    return {
        "run": folder.name,
        "state": state,
        "generation": last.get("generation", 0),
        "evaluations": last.get("evaluations", 0),
        "seconds": last.get("seconds", 0.0),
        "validation_accuracy": result.get("validation_accuracy"),
        "test_accuracy": result.get("test_accuracy"),
        **{name: values.get(name) for name in _COPIED} | dict.fromkeys(_foreign(values)),
        **{name: result.get(name) for name in RETURNS},
    }


def _foreign(values: dict[str, Any]) -> list[str]:
    """Of the copied hyperparameters, those that the run's strategy knows nothing of."""
    kind = kind_of(values.get("strategy", "ga")).name
    return [name for name in _COPIED if not understands(FIELDS[name], kind)]


def _score_log(saved: SavedRun) -> dict[str, int]:
    """How many updates of an evolution strategy are written down up to this checkpoint, and in how many bytes."""
    from galab.training.checkpoint import records_of

    updates = int(saved.state["lineage"]["births"])
    return {"updates": updates, "bytes": updates * records_of(saved.config)[1].itemsize}


def _chain(saved: Any) -> list[dict[str, Any]]:
    """The champion's births, oldest first; empty for a lone checkpoint, and where the lineage is damaged."""
    from galab.errors import CheckpointError
    from galab.genome.step_sizes import sigma
    from galab.saved_runs.export import chain_of

    try:
        births = chain_of(saved)
    except CheckpointError as error:
        if saved.folder is not None:
            echo(f"galab: {error}", err=True)
        return []
    one = saved.config.granularity == "global"  # else the step sizes of a child are decoded with its weights
    return [
        {
            "birth": b.id,
            "parents": list(b.parents),
            "generation": b.generation,
            "step_size": float(sigma(b.log_sigma)) if one or not b.mutation else None,
        }
        for b in births
    ]


def _print(content: dict[str, Any], log: list[dict[str, Any]], full: bool) -> None:
    from galab.training.compose import choices_of

    totals, strategy = content["totals"], content["hyperparameters"]["strategy"]
    echo(f"{content['run']}: {content['task']['description']}")
    kind = kind_of(strategy)
    unit = evaluations_in_words(content["hyperparameters"]["task"], strategy)
    echo(
        f"generation {content['generation']:,}, {totals['evaluations']:,} evaluations ({unit}), "
        f"{totals['seconds']:.1f} s; checkpoints at {', '.join(map(str, content['checkpoints'])) or 'none'}"
    )
    if kind.gradients:
        echo(f"{strategy} is a baseline that uses gradients: each generation is one step along one")
    echo("\nhyperparameters (* differs from the default)")
    values = content["hyperparameters"]
    for one in choices_of(values):
        shown = one.value if isinstance(one.value, int) else text(one.value)
        echo(f"  {'*' if one.own else ' '} {one.name:<16} {shown}{_before(one.name, content)}")
    for name in content["started_with"]:
        if values[name] is None:
            echo(f"    {name:<16} -{_before(name, content)}")
    if log:
        echo("\ncurves")
        for name in _CURVES:
            series = [line[name] for line in log if _is_number(line.get(name))]
            if series:
                echo(f"  {name:<25} {sparkline(series)}  {text(series[0])} -> {text(series[-1])}")
    warned = [(line["generation"], sentence) for line in log for sentence in _list(line.get("warnings"))]
    said = [f"  generation {generation}: {sentence}" for generation, sentence in warned]
    if said:
        echo("\n".join(["\nwarnings", *said]))
    if content["status"].get("output"):
        echo(f"\noutput: {content['status']['output']}")
    champion = content["champion"]
    found = ", ".join(f"{name} {text(value)}" for name, value in champion["metrics"].items())
    if "score_log" in content:
        log_size = content["score_log"]
        echo(f"\n{best_name(strategy, champion['id'])}: {found or 'not measured yet'}")
        what = f"score log: {log_size['updates']:,} updates in {log_size['bytes'] / 1000:,.1f} kB"
        if kind.gradients:
            echo(f"{what}; with the seed, {values['seed']}, the data makes every centre again")
        else:
            echo(f"{what}; with the seed, {values['seed']}, they make every centre again")
        return
    echo(f"\nchampion {champion['id']} (rank {champion['place']} by fitness): {found}")
    _print_chain(content["seed_chain"], full)


def _before(name: str, content: dict[str, Any]) -> str:
    """What a hyperparameter was at the start of a run, where it is another one now."""
    started = content["started_with"]
    return f"  ({text(started[name])} when the run was started)" if name in started else ""


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < sys.float_info.max


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _print_chain(chain: list[dict[str, Any]], full: bool) -> None:
    if not chain:
        echo("seed chain: not at hand, the checkpoint lies outside its run folder, or its lineage is damaged")
        return
    sexual = any(len(birth["parents"]) > 1 for birth in chain)
    what = "lineage" if sexual else "seed chain"
    echo(f"{what}, {len(chain):,} births from {'the founders' if sexual else 'founder'} to champion")
    ends = chain if full or len(chain) <= 8 else [*chain[:4], None, *chain[-4:]]
    for birth in ends:
        if birth is None:
            echo("  ...")
        else:
            step = "" if birth["step_size"] is None else f" step {text(birth['step_size'])}"
            parents = f" of {' and '.join(map(str, birth['parents']))}" if sexual and birth["parents"] else ""
            echo(f"  {birth['birth']:>10}  generation {birth['generation']:<8}{step}{parents}".rstrip())


def sparkline(series: list[float], width: int = _WIDTH) -> str:
    """A curve in one line of text: means of equal stretches, drawn as bars from the smallest to the largest."""
    width = min(width, len(series))
    edges = [len(series) * place // width for place in range(width + 1)]
    means = [sum(series[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)


@click.command()
@click.argument("path", metavar="RUN_OR_PKL", type=click.Path(path_type=Path))
@click.option(
    "--split", type=click.Choice(["test", "validation", "train"]), default="test", show_default=True,
    help="Which data.",
)  # fmt: skip
@click.option("--member", type=int, metavar="N", help="Rank of a parent by fitness, from 0, instead of the champion.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
@trust_option
@format_option
def evaluate(path: Path, split: str, member: int | None, device: str, trust: bool, style: str) -> None:
    """Score a run's champion on test data."""
    from galab.saved_runs.saved_run import evaluate as score

    emit_one(score(path, split=split, member=member, device=device, trust=trust), style)


@click.command()
@click.argument("path", metavar="RUN_OR_PKL", type=click.Path(path_type=Path))
@click.option("--to", metavar="genome|torch|safetensors", default="torch", show_default=True, help="What to write.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write.")
@click.option("--member", type=int, metavar="N", help="Rank of a parent by fitness, from 0, instead of the champion.")
@click.option("--keyframe", is_flag=True, help="In a genome: the weights instead of the seeds, for long lineages.")
@trust_option
def export(path: Path, to: str, output: Path, member: int | None, keyframe: bool, trust: bool) -> None:
    """Write the champion to a file: a state_dict, safetensors, or its genome as seeds."""
    from galab.saved_runs.export import export as write
    from galab.saved_runs.saved_run import open_saved

    size = write(open_saved(path, trust=trust), to, output, member=member, keyframe=keyframe)
    echo(f"{output}: {size / 1000:,.1f} kB", err=not output.is_file())


@click.command()
@click.argument("path", metavar="RUN", type=click.Path(path_type=Path))
@trust_option
@format_option
def verify(path: Path, trust: bool, style: str) -> int:
    """Replay a run's seeds and compare with every checkpoint, bit for bit.

    Of an evolution strategy its scores are replayed too.
    """
    from galab.saved_runs.verify import conclusion
    from galab.saved_runs.verify import verify as replay
    from galab.storage.run_folder import RunFolder

    verdicts = replay(RunFolder.open(path), trust=trust)
    emit([verdict.row() for verdict in verdicts], style)
    if style == "table":
        echo(conclusion(verdicts))
    return 0 if all(verdict.good for verdict in verdicts) else 1
