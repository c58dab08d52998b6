"""Starting and resuming runs, and what may differ between a run and its continuation."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch

from galab.config import RunConfig, flag
from galab.config.run_config import carried_over
from galab.config.spelling import Given, OptionError
from galab.config.strategy_kinds import kind_of
from galab.config.traits import target_metric
from galab.errors import CheckpointError, NumericProfileError, RunFolderError, UsageError, as_exception
from galab.evaluation.numeric_profile import differences
from galab.genome.parameters import fits_bfloat16
from galab.storage import checkpoints
from galab.storage.held_folder import HeldFolder
from galab.storage.lineage import LineageFile
from galab.storage.log import check_log, cut_log, last_line, read_log
from galab.storage.run_folder import RunFolder, locate
from galab.training import trust as trust_rules
from galab.training.build import build, network_and_task, own_threads, profile_of
from galab.training.callbacks import Callback, Callbacks
from galab.training.checkpoint import check_data, config_in, data_of, save_founders
from galab.training.compose import varied
from galab.training.find_sigma import find_sigma
from galab.training.log_fields import Totals
from galab.training.loop import EvaluationRequest, EvaluationResult, Hook, Loop, Result, run_to_end
from galab.training.resolve import (
    default_name,
    load_table,
    resolve,
    resolve_distribution,
    same_distribution,
    table_files,
)
from galab.training.saved_state import SavedState, newest
from galab.training.search import RunComponents, SharedByTrials
from galab.training.start_from import branch, origin_founders, pinned_origin
from galab.training.stop import StopRules, interruptible
from galab.training.tensorboard import Recorder, TensorBoard
from galab.training.workers import check_workers, with_workers

#: Hyperparameters that say when a run ends; new ones replace all old ones.
STOP_RULES = ("generations", "seconds", "target", "patience")
_ORIGINS = ("origin", "init")


def changed(config: RunConfig, changes: dict[str, Any], folder: RunFolder) -> RunConfig:
    """The saved configuration with those changes that a resumed run may make.

    Raises:
        UsageError: a change would make it another run; the sentence holds the command that works.
    """
    if not changes:
        return config
    if changes.keys() & set(STOP_RULES):
        # New limits replace the old ones: a run that ended at 100 generations may go on for 60 seconds.
        changes = dict.fromkeys(STOP_RULES) | changes
    if same_distribution(changes.get("distribution", ""), config.distribution):
        changes = {**changes, "distribution": config.distribution}
    new = RunConfig.from_dict(carried_over(config.to_dict(), changes) | changes)
    # As saved: repeating the flag that a run was started with, such as a --sigma that is off the grid, is no change.
    resolved = resolve(new)
    # Resolved on both sides: a checkpoint of an earlier version leaves out what was not there to decide.
    different = resolve(config).changed(resolved)
    fields = RunConfig.__dataclass_fields__
    refused = {name: pair for name, pair in different.items() if not fields[name].metadata["changeable"]}
    if refused:
        # What follows from a change needs no flag.
        refused = {name: pair for name, pair in refused.items() if name in changes} or refused
        was = Given(tuple((name, before) for name, (before, _) in refused.items() if before is not None))
        got = Given(tuple((name, getattr(new, name)) for name in refused))
        command = ["galab", "run"]
        if not refused.keys() & set(_ORIGINS):
            command += ["--from", str(folder.path)]
        for name in refused:
            command += [flag(name), str(getattr(new, name))]
        raise OptionError(
            "expected {was} as the run was started with, got {got}: a resumed run keeps its hyperparameters; start a "
            "new one with `{command}`",
            was=was if was.pairs else "no such flag", got=got, command=shlex.join(command),
        )  # fmt: skip
    return resolved


def on_this_machine(config: RunConfig, allow: bool) -> RunConfig:
    """The configuration on a device that this machine has.

    Raises:
        NumericProfileError: the run used a GPU, this machine has none, and no other device was allowed.
    """
    if config.device != "cuda" or torch.cuda.is_available():
        return config
    if not allow:
        raise NumericProfileError(
            "expected a CUDA device, on which the run was started, found none: scores would differ in the last bits; "
            "continue all the same on the CPU with --allow-numeric-change"
        )
    return config.on("cpu")


def check_profile(saved: dict[str, Any], components: RunComponents, allow: bool) -> dict[str, str]:
    """Refuse to continue where scores would not be bit-identical.

    Returns:
        What the next line of the log says about an allowed change.

    Raises:
        NumericProfileError: the numeric profile is another one, and that was not allowed.
    """
    different = differences(saved, profile_of(components))
    if not different:
        return {}
    if not allow:
        raise NumericProfileError(
            f"expected the numeric profile that the run was started with, got {'; '.join(different)}: scores would "
            "differ in the last bits; continue all the same with --allow-numeric-change"
        )
    logger.warning("the numeric profile changed (%s): scores are no longer bit-identical", "; ".join(different))
    return {"numeric_change": "; ".join(different)}


logger = logging.getLogger("galab")
#: Makes the recorders of a session, given the folder, the components, the stop rules and what was spent before.
RecorderFactory = Callable[[RunFolder, RunComponents, StopRules, Totals], Sequence[Recorder]]
#: A run as a generator of evaluation requests, see :mod:`galab.training.loop`.
RunSteps = Generator[EvaluationRequest, EvaluationResult, Result]


@own_threads()
def start(
    config: RunConfig,
    *,
    name: str | None = None,
    runs: Path = Path("runs"),
    recorders: RecorderFactory | None = None,
    hooks: Sequence[Hook] = (),
    callbacks: Sequence[Callback] = (),
) -> Result:
    """A new run in a folder of its own.

    Args:
        config: what to do; "auto" values are decided here and saved.
        name: the folder's name in ``runs``; made of the task and the strategy when absent.
        runs: the folder of all runs.
        recorders: further recorders, such as a live line.
        hooks: called with each log line.
        callbacks: shown the run after each generation, see :mod:`galab.training.callbacks`.

    Raises:
        UsageError: the configuration cannot be carried out; nothing was written then.
        RunFolderError: the folder is taken or cannot be written.
    """
    steps = start_steps(config, name=name, runs=runs, recorders=recorders, hooks=hooks, callbacks=callbacks)
    return run_to_end(steps)


def start_steps(
    config: RunConfig,
    *,
    name: str | None = None,
    runs: Path = Path("runs"),
    recorders: RecorderFactory | None = None,
    hooks: Sequence[Hook] = (),
    callbacks: Sequence[Callback] = (),
    shared: SharedByTrials | None = None,
) -> RunSteps:
    """:func:`start` by the turn; ``shared`` is what the trials of this process have in common."""
    config = varied(config, {"strategy": config.strategy})  # whose kind its class decides, where it is the user's own
    Callbacks(callbacks)  # refused here, before anything is written
    asked, floor = config.precision, config.sigma_floor
    config, law = resolve_distribution(pinned_origin(resolve(config)))
    trust_rules.remember(config)
    check_workers(config)
    module, task = network_and_task(config, shared)
    if asked == "auto" and not fits_bfloat16(module):
        config = dataclasses.replace(config, precision="float32")

    def built(own: RunConfig) -> RunComponents:
        return build(own, module, task, law=law, founders=origin_founders(own, module), shared=shared)

    if config.find_sigma == "on":
        config = find_sigma(config, built, floor=floor)
    components = built(config)
    content = {"hyperparameters": config.to_dict(), "data": data_of(task)}
    files = table_files(config.distribution, law)
    create, called = (RunFolder.create, name) if name else (RunFolder.create_free, default_name(config))
    folder = create(runs, called, content, files=files)
    return (yield from _run_session(folder, components, Totals(), None, recorders, hooks, callbacks, shared=shared))


@own_threads()
def resume(
    path: Path,
    changes: dict[str, Any] | None = None,
    *,
    allow_numeric_change: bool = False,
    trust: bool = False,
    recorders: RecorderFactory | None = None,
    hooks: Sequence[Hook] = (),
    callbacks: Sequence[Callback] = (),
) -> Result:
    """Continue a run from its newest checkpoint, bit for bit.

    Args:
        path: a run folder, or one of its checkpoints; an older one continues as a new run beside it.
        changes: stop rules and other hyperparameters that do not change what the run means.
        allow_numeric_change: continue where scores can no longer be bit-identical.
        trust: run code that the run names even if it was never run here before.
        recorders: further recorders.
        hooks: called with each log line.
        callbacks: shown the run after each generation, see :mod:`galab.training.callbacks`.

    Raises:
        UsageError: a hyperparameter that may not change was changed.
        CheckpointError: the checkpoint is damaged, or the data is not the run's.
        NumericProfileError: this machine computes scores differently in the last bits.
        RunFolderError: the folder is missing or in use.
    """
    return run_to_end(
        resume_steps(
            path, changes, allow_numeric_change=allow_numeric_change, trust=trust, recorders=recorders, hooks=hooks,
            callbacks=callbacks,
        )
    )


def resume_steps(
    path: Path,
    changes: dict[str, Any] | None = None,
    *,
    allow_numeric_change: bool = False,
    trust: bool = False,
    recorders: RecorderFactory | None = None,
    hooks: Sequence[Hook] = (),
    callbacks: Sequence[Callback] = (),
    shared: SharedByTrials | None = None,
) -> RunSteps:
    """:func:`resume` as a generator; ``shared`` is what the trials of this process share."""
    folder, file = locate(path)
    if folder is None:
        raise UsageError(
            f"expected a run folder, got the lone checkpoint '{path}', which cannot be resumed without its lineage; "
            f"start a new run from it with `galab run --from {shlex.quote(str(path))}`"
        )
    if file is not None and file.resolve() != newest(folder).resolve():
        folder = branch(folder, file)
        logger.warning("%s is not the newest checkpoint of its run: continuing as the new run %s", file, folder.path)
    with folder.lock():
        listening = (recorders, hooks, callbacks)
        return (yield from _resume(folder, changes or {}, allow_numeric_change, trust, *listening, shared))


def _resume(
    folder: RunFolder,
    changes: dict[str, Any],
    allow_numeric_change: bool,
    trust: bool,
    recorders: RecorderFactory | None,
    hooks: Sequence[Hook],
    callbacks: Sequence[Callback],
    shared: SharedByTrials | None,
) -> RunSteps:
    if not checkpoints.list_checkpoints(folder.checkpoints):
        # Killed before its first checkpoint: nothing was evolved yet, so the run starts at 0 in its own folder.
        _refuse_lost_checkpoints(folder)
        config = changed(on_this_machine(config_in(folder), allow_numeric_change), changes, folder)
        trust_rules.check(config, trust=trust)
        check_workers(config)
        module, task = network_and_task(config, shared)
        check_data(task, {"task": folder.read_config().get("data") or data_of(task)}, str(folder.path))
        law = load_table(config.distribution, folder)
        components = build(config, module, task, law=law, founders=origin_founders(config, module), shared=shared)
        (folder.path / kind_of(config.strategy).record).unlink(missing_ok=True)
        folder.log_path.unlink(missing_ok=True)
        return (
            yield from _run_session(
                folder, components, Totals(), None, recorders, hooks, callbacks, locked=True, shared=shared
            )
        )
    saved = SavedState.open(folder.path, trust=trust, shared=shared)
    config = changed(on_this_machine(saved.config, allow_numeric_change), changes, folder)
    check_workers(config)
    saved.check_founders()
    records = saved.records  # looked at before anything is built, and before the files are cut
    components, state = saved.built(config, shared=shared), saved.state
    extra_fields = check_profile(state["numeric_profile"], components, allow_numeric_change)
    if "log" in state:  # a checkpoint of version 0.1.0 says nothing of it
        check_log(folder.log_path, state["log"])
    lineage = state["lineage"]
    with LineageFile(folder.path / kind_of(config.strategy).record, components.search.record_dtype) as file:
        file.cut(lineage["births"], lineage["sha256"])
    if (cut_log(folder.log_path, state["generation"]) or 0) < state["generation"]:
        raise RunFolderError(
            f"expected '{folder.log_path}' to reach generation {state['generation']} as its checkpoint does, got fewer "
            "lines; restore the file, or use an older checkpoint"
        )
    saved.restore(components, records)
    totals = Totals(**state["totals"])
    return (
        yield from _run_session(
            folder, components, totals, state, recorders, hooks, callbacks, extra_fields, locked=True, shared=shared,
            allow_numeric_change=allow_numeric_change,
        )
    )


def _run_session(
    folder: RunFolder,
    components: RunComponents,
    totals: Totals,
    state: dict[str, Any] | None,
    make_recorders: RecorderFactory | None,
    hooks: Sequence[Hook],
    callbacks: Sequence[Callback],
    extra_fields: dict[str, str] | None = None,
    *,
    locked: bool = False,
    shared: SharedByTrials | None = None,
    allow_numeric_change: bool = False,
) -> RunSteps:
    """One session: from the state, or from generation 0, to a stop rule."""
    config, generation = components.config, components.strategy.generation
    stop, shown = StopRules.of(config), Callbacks(callbacks)
    if config.patience is not None and state is not None:
        for line in read_log(folder.log_path):
            if "champion" in line:
                stop.reported(line["generation"], line)
    with ExitStack() as stack:
        if not locked:
            stack.enter_context(folder.lock())
        if shared is not None and shared.interrupted is not None:
            stop.interrupted = shared.interrupted
        else:
            stack.enter_context(interruptible(stop.interrupted))
        components = stack.enter_context(with_workers(components, allow_numeric_change=allow_numeric_change))
        home = stack.enter_context(HeldFolder(folder))
        parts: list[Recorder | Loop] = []
        try:
            if locked:
                folder.change_config(config.to_dict())
            folder.write_status("running", generation=generation)
            board = TensorBoard(folder.path, config.to_dict(), generation=generation, evaluations=totals.evaluations)
            parts.append(board)
            recorders = [board, *(make_recorders(folder, components, stop, totals) if make_recorders else ())]
            parts[:] = recorders
            accuracy = _last_accuracy(state, config)
            loop = Loop(
                components, home, totals, stop=stop, accuracy=accuracy, recorders=recorders, hooks=hooks,
                callbacks=shown,
            )  # fmt: skip
            loop.extra_fields = extra_fields or {}
            parts.append(loop)
            if state is None:
                save_founders(folder.founders_path, components.founders)
                loop.begin()
            elif state["hyperparameters"] != config.to_dict():
                loop.save()  # so that new limits outlive a kill
            return (yield from loop.steps())
        except BaseException as error:
            error = error if isinstance(error, (KeyboardInterrupt, GeneratorExit)) else as_exception(error)
            _end_with_error(home, components.strategy.generation, error, parts)
            raise error


def _last_accuracy(state: dict[str, Any] | None, config: RunConfig) -> float | None:
    """What the last report found on validation, if it was made in the checkpoint's own generation.

    An unbroken run may stop at ``--target`` there, so a run that was killed after that checkpoint must too.
    """
    if state is None or state["generation"] == 0 or state["generation"] % config.report_every:
        return None
    accuracy: float | None = state["champion"]["metrics"].get(target_metric(config))
    return accuracy


def _end_with_error(home: HeldFolder, generation: int, error: BaseException, parts: Sequence[Recorder | Loop]) -> None:
    """Say what ended the run and close everything; on a full disk neither may hide the error itself."""
    interrupted = isinstance(error, (KeyboardInterrupt, GeneratorExit))
    message = "interrupted" if interrupted else str(error) or type(error).__name__
    with suppress(Exception):
        state = "stopped" if interrupted else "failed"
        home.write(lambda folder: folder.write_status(state, generation=generation, message=message))
    for part in parts:
        with suppress(Exception):
            part.close({})


def _refuse_lost_checkpoints(folder: RunFolder) -> None:
    """A run without checkpoints starts from generation 0 only where nothing would be lost.

    Raises:
        CheckpointError: it had come further.
    """
    line = last_line(folder.log_path)
    if line is not None or "branched_from" in folder.read_config():
        reached = f"generation {line['generation']}" if line else "the run that it continues"
        raise CheckpointError(
            f"expected checkpoints in '{folder.checkpoints}' up to {reached}, as the log has it, found none; restore "
            "one, or start a new run"
        )
