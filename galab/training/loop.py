"""The loop of a run: ask, score, tell, log, save.

A run is a generator. It yields an :class:`EvaluationRequest`, is sent an :class:`EvaluationResult`, and returns its
result at the end. So the same code runs one trial alone and many side by side, and what a trial computes cannot depend
on the other trials.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from galab.config.strategy_kinds import kind_of
from galab.config.traits import evaluations_in_words, target_metric
from galab.contracts import Cohort, Member, Scores
from galab.errors import as_exception, pass_interrupts
from galab.evaluation.blocks import added
from galab.evaluation.continued_text import sample, sampled
from galab.evaluation.episode_evaluator import EpisodeRules
from galab.evaluation.executors.worker_pool import WorkerPool
from galab.evaluation.film import film
from galab.genome.initial import tensors_of
from galab.models.normalized import observe
from galab.storage import checkpoints
from galab.storage.held_folder import HeldFolder
from galab.storage.lineage import LineageFile
from galab.storage.log import LogFile
from galab.storage.run_folder import RunFolder
from galab.tasks.episodes import EpisodeTask
from galab.tasks.prompts import PromptTask
from galab.tasks.text import ByteText
from galab.training.build import profile_of
from galab.training.callbacks import Callbacks, RunView, read_only
from galab.training.champion import Champion, ChampionSelector
from galab.training.checkpoint import capture
from galab.training.confirmation import confirmed, contenders, second_cohort
from galab.training.log_fields import Totals, generation_line, warnings_for, worker_fields
from galab.training.search import RunComponents
from galab.training.stop import StopRules
from galab.training.tensorboard import Recorder, ShowsPictures, Stopwatch

logger = logging.getLogger("galab")
T = TypeVar("T")

#: Runs that took less are not drawn: it would take longer than they do.
_SECONDS_TO_DRAW = 1.0
#: Steps of an episode that are drawn, and how wide a picture is, in pixels.
_STEPS_DRAWN, _PICTURE_WIDTH = 200, 200


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """A cohort to score.

    Attributes:
        components: of the run; their executor scores the cohort.
        cohort: the members to evaluate.
    """

    components: RunComponents
    cohort: Cohort


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """The answer to a request.

    Attributes:
        scores: of its cohort.
        seconds: the trial's share of the time that scoring took.
    """

    scores: Scores
    seconds: float


def run_to_end(steps: Generator[EvaluationRequest, EvaluationResult, T]) -> T:
    """Run one trial alone to its end."""
    try:
        request = next(steps)
        while True:
            began = time.perf_counter()
            try:
                scores = request.components.executor.score(request.cohort)
            except BaseException as error:
                request = steps.throw(error)
            else:
                request = steps.send(EvaluationResult(scores, time.perf_counter() - began))
    except StopIteration as end:
        result: T = end.value
        return result
    except BaseException as error:
        if isinstance(error, Exception):
            raise
        raise as_exception(error) from error
    finally:
        steps.close()


#: Called with each line of the log.
Hook = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    Attributes:
        folder: where everything lies.
        generation: generations done.
        evaluations: (member, example) pairs scored, over all sessions.
        seconds: wall time over all sessions.
        reason: why it stopped, in words.
        interrupted: whether a person stopped it.
        champion: birth of the parent that is best on validation data.
        metrics: its ``validation_...``, ``test_...`` and ``weights_...`` metrics.
        data: the data set in words.
        seed: the run's key.
        strategy: how it searched.
        unit: what its evaluations are, in words.
    """

    folder: RunFolder
    generation: int
    evaluations: int
    seconds: float
    reason: str
    interrupted: bool
    champion: int
    metrics: dict[str, float]
    data: str
    seed: int
    strategy: str = "ga"
    unit: str = "evaluations"


class Loop:
    """One session of a run: from its start, or from a checkpoint, to a stop rule.

    Args:
        components: what to compute with, at the generation to continue from.
        home: where to write; the caller holds the folder and its lock.
        totals: what earlier sessions have spent.
        stop: when to end.
        accuracy: validation accuracy of the last report, if the generation to continue from was one with a report.
        recorders: called after every generation, in addition to ``log.jsonl``; the caller closes them after an error.
        hooks: called with each log line.
        callbacks: shown the run after each generation.

    Attributes:
        extra_fields: what is added to the next line of the log.
    """

    def __init__(
        self,
        components: RunComponents,
        home: HeldFolder,
        totals: Totals,
        *,
        stop: StopRules,
        accuracy: float | None = None,
        recorders: Sequence[Recorder] = (),
        hooks: Sequence[Hook] = (),
        callbacks: Callbacks | None = None,
    ) -> None:
        self._components = components
        self._home = home
        self._totals = totals
        self._stop = stop
        self._accuracy = accuracy
        self._recorders = recorders
        self._hooks = hooks
        self._callbacks = callbacks or Callbacks()
        self._selector = ChampionSelector(components.config, components.module, components.layout, components.task)
        self._profile = profile_of(components)
        folder = home.here()
        with ExitStack() as opened:  # a file that cannot be opened must not leave the other one open
            self._log_file = opened.enter_context(LogFile(folder.log_path))
            records = folder.path / kind_of(components.config.strategy).record
            self._records = opened.enter_context(LineageFile(records, components.search.record_dtype))
            opened.pop_all()
        self.extra_fields: dict[str, str] = {}
        self._evaluations_logged = totals.evaluations
        self._saved = self._drawn = -1
        self._selected: tuple[int, Champion] | None = None

    def begin(self) -> None:
        """Record the founders and write checkpoint 0, which precedes generation 1."""
        self._records.append(self._components.search.initial_records())
        self.save()

    def steps(self) -> Generator[EvaluationRequest, EvaluationResult, Result]:
        """Evolve until a stop rule holds; the state is saved whatever ends it, but a crash."""
        config, strategy = self._components.config, self._components.strategy
        stopwatch, began = Stopwatch(), strategy.generation
        self._show("on_start", {}, np.empty(0))
        while (reason := self._callbacks.stopped or self._reason()) is None:
            cohort = strategy.ask()
            stopwatch.pause()
            scored = yield EvaluationRequest(self._components, cohort)
            stopwatch.resume(scored.seconds)
            scores = told = scored.scores
            if config.confirm and len(places := contenders(config, cohort, scores)):
                stopwatch.pause()
                again = yield EvaluationRequest(self._components, second_cohort(cohort, places))
                stopwatch.resume(again.seconds)
                told = confirmed(config, scores, places, again.scores)
            line = self._tell(cohort, scores, told)
            if told is not scores and len(best := told.fitness[places][np.isfinite(told.fitness[places])]):
                line["fitness_confirmed"] = float(best.max())
            if strategy.generation % config.report_every == 0:
                champion = self._champion(test=True)
                line |= {"champion": champion.id, **champion.metrics}
                self._accuracy = champion.metrics.get(target_metric(config))
                self._stop.reported(strategy.generation, champion.metrics)
            line |= self._timing(stopwatch, line["evaluations"]) | self._worker_fields() | self.extra_fields
            self.extra_fields = {}
            if "champion" in line:
                stopwatch.pause()  # a text costs what the search did not spend
                line |= self._sample()
                if sampled(strategy.generation, config.report_every):
                    self._draw_episode()
                stopwatch.resume(0.0)
            self._home.here()  # what is open goes where the folder goes, unless it was removed
            self._log_file.append(line)
            for recorder in self._recorders:
                recorder.record(line, scores.fitness)
            if strategy.generation % config.save_every == 0:
                self.save()
            for hook in self._hooks:
                hook(line)
            self._show("on_generation", line, scores.fitness)
        result = self._finish(reason)
        self._show("on_end", result.metrics, np.empty(0), reason)
        # A finished run that is resumed as it is ends here at once, and should say so.
        return result if strategy.generation > began else replace(result, reason=f"nothing left to do, {reason}")

    def _reason(self) -> str | None:
        return self._stop.reason(self._components.strategy.generation, self._totals.seconds, self._accuracy)

    def _show(self, method: str, line: Mapping[str, Any], fitness: NDArray[np.float64], reason: str = "") -> None:
        """Show the run to its callbacks."""
        if len(self._callbacks):
            components = self._components
            generation, path = components.strategy.generation, self._home.here().path
            seen = np.array(fitness, dtype=np.float64)
            view = RunView(generation, read_only(line), seen, components.config, path, reason, self._champion_network)
            self._callbacks.call(method, view)

    def _sample(self) -> dict[str, str]:
        """A text by the champion of a language model: now and then, or its answers to prompts in every report."""
        task, generation = self._components.task, self._components.strategy.generation
        if isinstance(task, PromptTask):
            return {"sample": self._selector.shown(self._champion_member())}
        if not isinstance(task, ByteText) or not sampled(generation, self._components.config.report_every):
            return {}
        return {"sample": sample(self._champion_network(), task.length)}

    def _draw_episode(self) -> None:
        """Show recorders the beginning of the champion's first test episode, once a generation, if it can be drawn."""
        components = self._components
        task, generation = components.task, components.strategy.generation
        shows = [recorder for recorder in self._recorders if isinstance(recorder, ShowsPictures)]
        if not shows or not isinstance(task, EpisodeTask) or self._drawn == generation:
            return
        if self._totals.seconds < _SECONDS_TO_DRAW:
            return
        self._drawn = generation
        weights, rules = tensors_of(components.layout, self._champion_member()), EpisodeRules.of(components.config)
        try:
            found = film(
                components.module, weights, task, task.test.targets.numpy(), 0, steps=_STEPS_DRAWN, rules=rules
            )
            pixels = np.asarray(found.reel.strip(widest=_PICTURE_WIDTH))
        except BaseException as error:  # a picture is no reason to lose a run
            pass_interrupts(error)
            logger.info("generation %d: no pictures of an episode: %s", generation, error)
            return
        for recorder in shows:
            recorder.picture("episode", pixels, generation)

    def _champion_member(self) -> Member:
        return self._components.search.candidates()[1][self._champion(test=False).place]

    def _champion_network(self) -> nn.Module:
        """A copy of the network with the weights of the champion."""
        module = copy.deepcopy(self._components.module)
        module.load_state_dict(tensors_of(self._components.layout, self._champion_member()), strict=False)
        return module.eval()

    def _tell(self, cohort: Cohort, scores: Scores, told: Scores) -> dict[str, Any]:
        """Tell the strategy; ``told`` are the scores after a second look, where there was one."""
        components = self._components
        for reason in dict.fromkeys(told.failures.values()):
            logger.info("generation %d: a member failed: %s", cohort.generation, reason)
        self._totals.members += len(cohort.births)
        self._totals.evaluations += told.evaluations
        self._totals.spent = added([self._totals.spent, told.spent])
        search = components.search
        search.before_tell(cohort)
        outcome = search.strategy.tell(told)
        search.after_tell(outcome)
        self._records.append(outcome.records)
        scores = replace(scores, failures=told.failures)
        line = generation_line(cohort, scores, self._totals)
        line |= search.log_fields(cohort, scores, outcome, self._records.length)
        if scores.observed is not None:  # after the parents were compared with their children
            observe(components.module, scores.observed)
        line |= warnings_for(components.config, line, scores, cohort.children, self._totals)
        return line

    def _timing(self, stopwatch: Stopwatch, evaluations: int) -> dict[str, float]:
        split = stopwatch.split()
        self._totals.seconds += split
        before, self._evaluations_logged = self._evaluations_logged, evaluations
        return {
            "seconds": round(self._totals.seconds, 3),
            "generation_seconds": round(split, 6),
            "evaluations_per_second": round((evaluations - before) / split, 1),
        }

    def _worker_fields(self) -> dict[str, Any]:
        pool = self._components.pool
        if not isinstance(pool, WorkerPool):
            return {}
        return worker_fields(self._components.config, pool.use_since(), self._totals)

    def _champion(self, *, test: bool) -> Champion:
        """The best candidate; selected once a generation, however often it is asked for."""
        generation = self._components.strategy.generation
        numbers, members = self._components.search.candidates()
        if self._selected is None or self._selected[0] != generation:
            self._selected = generation, self._selector.select(numbers, members, test=test)
        champion = self._selected[1]
        if test and not any(name.startswith("test_") for name in champion.metrics):
            champion.metrics.update(self._selector.score(members[champion.place], "test"))
        return champion

    def save(self) -> None:
        """Write the checkpoint of this generation, once."""
        generation = self._components.strategy.generation
        if generation == self._saved:
            return
        # What a checkpoint counts on must survive a power cut before the checkpoint itself does.
        self._records.sync()
        self._log_file.sync()
        lineage = {"births": self._records.length, "sha256": self._records.digest}
        log = self._log_file.mark
        judged = self._champion(test=False)
        # A checkpoint names its champion alike whether or not a report fell on the same generation.
        kept = {name: value for name, value in judged.metrics.items() if not name.startswith("test_")}
        champion = replace(judged, metrics=kept)
        state = capture(self._components, champion, self._totals, self._profile, lineage=lineage, log=log)
        keep = self._components.config.keep
        self._home.write(lambda folder: checkpoints.save(folder.checkpoints, generation, state))
        self._home.write(lambda folder: checkpoints.prune(folder.checkpoints, keep))
        self._home.write(lambda folder: folder.write_status("running", generation=generation))
        self._saved = generation

    def _finish(self, reason: str) -> Result:
        self.save()
        champion = self._champion(test=True)
        interrupted = self._stop.interrupted.is_set() or self._callbacks.failed
        state = "stopped" if interrupted or self._callbacks.stopped else "finished"
        generation = self._components.strategy.generation
        self._home.write(
            lambda folder: folder.write_status(state, generation=generation, message=reason, result=champion.metrics)
        )
        self._draw_episode()
        for recorder in self._recorders:
            recorder.close(champion.metrics)
        self.close()
        return Result(
            self._home.here(),
            generation,
            self._totals.evaluations,
            self._totals.seconds,
            reason,
            interrupted,
            champion.id,
            champion.metrics,
            self._components.task.description,
            self._components.founders.run_key,
            self._components.config.strategy,
            evaluations_in_words(self._components.config.task, self._components.config.strategy),
        )

    def close(self, result: dict[str, Any] | None = None) -> None:
        """Close the files; the result is for recorders alone."""
        self._log_file.close()
        self._records.close()
