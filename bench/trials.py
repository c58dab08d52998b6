"""Generations of many trials in one process against those of one trial alone, with everything that a run records."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from timing import Row, interleaved

from galab.config import RunConfig
from galab.genome.step_sizes import Steps
from galab.training.build import network_and_task, own_threads
from galab.training.loop import EvaluationResult
from galab.training.resolve import resolve
from galab.training.search import SharedByTrials
from galab.training.trials.processes import Trial, score_one_by_one
from galab.training.trials.trials import trial_batches

_TRIALS = 16
_GENERATIONS = 5
#: What is asked of the default network, and of one with fewer than 10,000 weights.
_MLP_BAR, _SMALL_BAR = 0.95, 3.0


def trial_rows(rounds: int) -> list[Row]:
    """Interleaved medians, warm: generations per second of a trial among others, against a trial alone."""
    rounds *= 3  # they are short
    return [
        _row("MLP 784-128-10", RunConfig(), _MLP_BAR, rounds),
        _row("784-12-10", RunConfig(hidden="12"), _SMALL_BAR, rounds),
        _row("digits 64-32-10", RunConfig(task="digits", hidden="32"), _SMALL_BAR, rounds),
    ]


def _row(what: str, config: RunConfig, bar: float, rounds: int) -> Row:
    # In float32, because bfloat16 is arithmetic alone where the processor has no instructions for it.
    config = resolve(
        dataclasses.replace(config, seed=0, batch=512, threads=1, precision="float32", generations=1_000_000)
    )
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(own_threads())
        trials = [
            Trial(Path(folder) / f"seed_{seed}", dataclasses.replace(config, seed=seed), {}) for seed in range(_TRIALS)
        ]
        module, _ = network_and_task(config)
        weights = sum(parameter.numel() for parameter in module.parameters())
        batch = trial_batches(trials, [weights] * _TRIALS, 1)[0]
        alone = _stepper([Trial(Path(folder) / "alone", config, {})], stack)
        among = _stepper([trials[index] for index in batch], stack)
        times = interleaved({"alone": alone, "among": among}, rounds)
    ratio = times["alone"] * len(batch) / times["among"]
    return Row(f"{_TRIALS} trials of {what}, {len(batch)} side by side, against one alone", ratio, "x", bar, "least")


def _stepper(trials: list[Trial], stack: ExitStack) -> Callable[[], object]:
    """A call that takes every trial a few generations further."""
    shared = SharedByTrials(cache_share=1 / len(trials))
    runs = [stack.enter_context(closing(trial.steps(lambda progress: None, shared))) for trial in trials]
    requests = _rounds(runs)
    return lambda: [next(requests) for _ in range(_GENERATIONS)]


def _rounds(runs: list[Steps]) -> Iterator[None]:
    """One generation of every run at each step."""
    waiting = [next(run) for run in runs]
    while True:
        yield
        scores = score_one_by_one(waiting)
        failed = [error for error in scores if isinstance(error, Exception)]
        if failed:
            raise failed[0]
        answers = [EvaluationResult(score, 0.0) for score in scores if not isinstance(score, Exception)]
        waiting = [run.send(answer) for run, answer in zip(runs, answers, strict=True)]
