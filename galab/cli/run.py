"""``galab run`` and ``galab resume``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galab.cli.options import (
    GroupedCommand,
    beginning_options,
    callback_option,
    config_options,
    given,
    jobs_option,
    runs_option,
    trust_option,
)
from galab.cli.output import HEADLINES, RESUMABLE, best_name, command, echo, headline, text, told_if_interrupted
from galab.cli.trials import resume_trials, run_trials
from galab.config.strategy_kinds import kind_of
from galab.contracts import FreshExamples
from galab.errors import UsageError

if TYPE_CHECKING:
    from galab.config import RunConfig
    from galab.storage.run_folder import RunFolder
    from galab.training.log_fields import Totals
    from galab.training.loop import Result
    from galab.training.search import RunComponents
    from galab.training.stop import StopRules
    from galab.training.tensorboard import Recorder


_EXAMPLES = """\b
Examples:
  galab run --task mnist --parents 8 --children 32 --seconds 60
  galab run --task mnist --strategy eggroll --population 1024 --lr 0.2 --generations 500
  galab run --from runs/mnist-ga --sigma 0.005 --seeds 0-7
"""


@click.command(cls=GroupedCommand, epilog=_EXAMPLES)
@config_options()
@click.option("--name", help="Name of the run's folder; made of task and strategy when absent.")
@runs_option
@beginning_options
@click.option("--seeds", metavar="LIST", help="Many trials, such as 0-15 or 0,3,7-9; each in runs/NAME/seed_K.")
@jobs_option
@callback_option
@trust_option
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@told_if_interrupted(lambda: RESUMABLE)
def run(
    name: str | None,
    runs: Path,
    preset: str | None,
    config_file: Path | None,
    seeds: str | None,
    jobs: int | None,
    callback: tuple[str, ...],
    trust: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """Evolve networks; everything lands in runs/NAME.

    Without a stop rule it ends after 1,000 generations. Ctrl-C finishes the generation and saves.
    """
    from galab.training.callbacks import load_callback
    from galab.training.compose import compose
    from galab.training.start_or_resume import start

    _explain(quiet)
    if seeds is not None and flags["seed"] is not None:
        raise UsageError(f"expected --seed or --seeds, got both ({flags['seed']} and {seeds}); drop one of them")
    if seeds is None and jobs is not None:
        raise UsageError("expected --jobs with --seeds, got a single run; share its generations with --workers")
    config = compose(given(flags), preset=preset, config_file=config_file, trust=trust)
    callbacks = [load_callback(reference) for reference in callback]
    if seeds is not None:
        return run_trials(config, seeds, name=name, runs=runs, jobs=jobs, quiet=quiet, callbacks=callbacks)
    return _report(start(config, name=name, runs=runs, recorders=_recorders(quiet), callbacks=callbacks))


@click.command(cls=GroupedCommand)
@click.argument("path", metavar="RUN_OR_PKL", type=click.Path(path_type=Path))
@config_options(changeable_only=True)
@click.option("--allow-numeric-change", is_flag=True, help="Continue although scores differ in the last bits here.")
@jobs_option
@callback_option
@trust_option
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@told_if_interrupted(lambda: RESUMABLE)
def resume(
    path: Path,
    allow_numeric_change: bool,
    jobs: int | None,
    callback: tuple[str, ...],
    trust: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """Continue a run from its newest checkpoint, bit for bit.

    Of a group, every unfinished trial is continued.

    Stop rules given here replace the old ones. An older checkpoint continues as a new run beside its own.
    """
    from galab.storage.groups import is_group
    from galab.training.callbacks import load_callback
    from galab.training.start_or_resume import resume as continue_run

    _explain(quiet)
    changes, recorders = given(flags), _recorders(quiet)
    if is_group(path):
        if callback:
            raise UsageError("expected --callback with a single run, got a group; continue its trials one by one")
        how = {"allow_numeric_change": allow_numeric_change, "trust": trust}
        return resume_trials(path, changes, jobs=jobs, quiet=quiet, **how)
    return _report(
        continue_run(
            path, changes, allow_numeric_change=allow_numeric_change, trust=trust, recorders=recorders,
            callbacks=[load_callback(reference) for reference in callback],
        )
    )


def _recorders(quiet: bool) -> Any:
    def make(folder: RunFolder, components: RunComponents, stop: StopRules, totals: Totals) -> list[Recorder]:
        from galab.cli.output import LiveLine

        generation = components.strategy.generation
        if not quiet:
            _introduce(folder, components, stop, generation)
        flips = components.config.genome == "binary"  # which have no size
        return [LiveLine(stop, totals, generation, quiet=quiet, steps=not flips)]

    return make


def _introduce(folder: RunFolder, components: RunComponents, stop: StopRules, generation: int) -> None:
    from galab.training.workers import workers_started

    config = components.config
    train = len(components.task.train)
    if config.episodes is not None:
        batch = f"{config.episodes:,} episode{'s' * (config.episodes > 1)} each"
        batch += f", {config.confirm_episodes:,} more of the best {config.confirm:,}" if config.confirm else ""
    elif isinstance(components.task, FreshExamples):
        batch = f"{config.batch or train:,} fresh examples a generation"
    elif 0 < config.batch < train:
        batch = f"{config.batch:,} of {train:,} examples a generation"
    else:
        batch = f"all {train:,} examples a generation"
    compiled = ", compiled" if components.search.numerics["compiled"] else ""
    arithmetic = "int8" if kind_of(config.strategy).name == "integer" else config.precision
    started = workers_started(components)
    workers = f", {started:,} worker{'s' * (started > 1)}" if started else ""
    if started < config.workers:
        workers += f" of the {config.workers:,} asked for"
    lines = [
        f"{components.task.description}",
        f"{config.model} with {components.founders.layout.size:,} parameters; {_searchers(config)}, {batch}, "
        f"{arithmetic}{compiled}, seed {config.seed}{workers}",
        f"{'continuing at generation ' + text(generation) + ' in' if generation else 'in'} {folder.path}"
        f" until {_until(stop)}",
    ]
    for line in lines:
        echo(line, err=True)


def _searchers(config: RunConfig) -> str:
    """Who searches, in words."""
    kind = kind_of(config.strategy).name
    if kind == "random":
        return f"{config.children:,} networks drawn a generation, the best {config.parents:,} of all kept"
    if kind == "gradients":
        return f"gradient descent, a baseline that uses gradients: {config.optimizer} with lr {config.lr:g}"
    if kind == "genetic":
        return f"{config.parents} parents, {config.children} children"
    if kind == "vectors":
        return f"{config.strategy}, population {config.population:,}, sigma {config.sigma:g}"
    if kind == "integer":
        noise = f"rank {config.rank}, sigma 2^-{config.sigma_shift}"
        return f"{config.strategy}, population {config.population:,} in pairs, {noise}"
    rank = "full-rank noise" if config.strategy == "openai-es" else f"rank {config.rank}"
    pairs = {"antithetic": "in pairs", "one-sided": "one-sided", "auto": "in pairs where they are worth it"}
    return (
        f"{config.strategy}, population {config.population:,} {pairs[config.pairs]}, {rank}, sigma {config.sigma:g}, "
        f"{config.optimizer} with lr {config.lr:g}"
    )


def _until(stop: StopRules) -> str:
    rules = []
    if stop.generations is not None:
        rules.append(f"generation {stop.generations:,}")
    if stop.seconds is not None:
        rules.append(f"{stop.seconds:g} seconds")
    if stop.target is not None:
        rules.append(f"{stop.measured} {stop.target:g}")
    if stop.patience is not None:
        rules.append(f"{stop.patience:,} generations without a better champion")
    return " or ".join(rules) or "Ctrl-C"


def _report(result: Result) -> int:
    """Print where everything is and what to type next; 130 when a person stopped it."""
    path = result.folder.path
    echo(
        f"{result.reason}: generation {result.generation:,}, {result.evaluations:,} evaluations "
        f"({result.unit}), {result.seconds:.1f} s, seed {result.seed}"
    )
    metrics, who = result.metrics, best_name(result.strategy, result.champion)
    if first := headline(metrics):
        echo(f"{who}: {first} on {result.data}")
        metrics = {name: value for name, value in metrics.items() if name.partition("_")[2] not in HEADLINES}
    if metrics:
        echo(f"{who}: " + ", ".join(f"{k} {text(v)}" for k, v in metrics.items()))
    # Who stopped a run wants to go on as planned; who let it end needs a new limit.
    further = () if result.interrupted else ("--generations", max(2 * result.generation, 1))
    lines = [
        command("galab", "show", path),
        command("galab", "evaluate", path),
        command("galab", "resume", path, *further),
        command("tensorboard", "--logdir", path.parent),
    ]
    echo("\n  ".join(["next:", *lines]))
    return 130 if result.interrupted else 0


def _explain(quiet: bool) -> None:
    """Silence the library's warnings when asked to be quiet."""
    if quiet:
        logging.getLogger("galab").setLevel(logging.ERROR)
