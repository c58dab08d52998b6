"""A saved run and the individuals in it: for evaluating, exporting, verifying and analysing them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from galab.config.schedules import parse_rate_schedule
from galab.config.strategy_kinds import kind_of
from galab.contracts import Member
from galab.errors import RunFolderError, UsageError
from galab.evaluation.numeric_profile import resolve_device
from galab.genome.develop import Developer
from galab.genome.initial import tensors_of
from galab.genome.step_sizes import mean_log_sigma, root_mean_square, sigma
from galab.genome.weights import Phenotype
from galab.models.normalized import normalizes
from galab.storage.checkpoints import checkpoint_path, list_checkpoints
from galab.storage.groups import runs_below
from galab.strategies.build import developer, steps_of
from galab.training.build import own_threads
from galab.training.champion import ChampionSelector
from galab.training.checkpoint import candidates_of, numbers_of
from galab.training.saved_state import SavedState, load_state
from galab.training.search import SharedByTrials
from galab.training.trust import OPERATORS, check


class SavedRun(SavedState):
    """A run at one of its checkpoints, with the individuals in it; see :class:`SavedState`."""

    def at(self, generation: int) -> SavedRun:
        """The same run at another of its checkpoints, with the same task and network in memory.

        Raises:
            CheckpointError: there is no such checkpoint, or it is damaged.
        """
        file = checkpoint_path(self.home.checkpoints, generation)
        other = SavedRun(load_state(file), self.home, file, trust=self.trust)
        other.check_configuration()
        other.task = self.task
        if not normalizes(self.module):  # what was observed by then is another thing
            other.module = self.module
        other.founders, other.law = self.founders, self.law
        return other

    @property
    def generations(self) -> list[int]:
        """Those of the checkpoints that are still there, in order; of a lone checkpoint its own."""
        if self.folder is None:
            return [self.generation]
        return [generation for generation, _ in list_checkpoints(self.folder.checkpoints)]

    @property
    def numbers(self) -> list[int]:
        """Who may be champion, best first: the parents' births, or the generation of the centre."""
        return numbers_of(self.state)

    def place(self, member: int | None) -> int:
        """Rank of a member among the parents; None is the champion.

        Raises:
            UsageError: there is no such member.
        """
        count = len(self.numbers)
        if member is None:
            return int(self.state["champion"]["place"])
        if not 0 <= member < count:
            raise UsageError(f"expected --member between 0 (the fittest parent) and {count - 1}, got {member}")
        return member

    def member(self, member: int | None = None) -> Member:
        """A parent by its rank in fitness, or the champion; the centre where there is one."""
        return candidates_of(self.state)[self.place(member)]

    def module_with(self, member: Member) -> nn.Module:
        """A network of the caller's own with a member's weights; ``requires_grad`` is set if some are frozen."""
        module = self.new_module()
        module.load_state_dict(self.tensors(member), strict=False)
        return module

    def tensors(self, member: Member) -> dict[str, torch.Tensor]:
        """A member's parameters by name, float32."""
        return tensors_of(self.layout, member)

    @cached_property
    def developer(self) -> Developer:
        """What makes an individual of its birth and its parents, in a run of a genetic algorithm.

        Raises:
            UsageError: the run names operators that are not trusted, or this is a lone checkpoint.
        """
        check(self.config, trust=self.trust, names=OPERATORS)
        return developer(self.config, self.founders, self.law)

    def typical_step_size(self, member: Member, generation: int) -> float:
        """The geometric mean of an individual's step sizes over the weights; that of the noise around a centre.

        It is ``step_size`` in the log (there the mean over the parents), and the step size of the analyses
        ``gradient-cosine`` and ``gradients``.

        Args:
            member: an individual, or the centre.
            generation: its own; a schedule of the step size depends on it.

        Returns:
            In weight units.
        """
        if not isinstance(member, Phenotype):
            return self._scheduled(generation)
        return float(sigma(round(mean_log_sigma(steps_of(self.config, self.layout), member.log_sigma))))

    def rms_step_size(self, member: Member, generation: int) -> float:
        """The root mean square of an individual's step sizes over the weights: how long its dense mutations are.

        It is the step size of the analysis ``generation-size``. Equal to :meth:`typical_step_size` where one step
        size serves all weights.

        Args:
            member: an individual, or the centre.
            generation: its own; a schedule of the step size depends on it.

        Returns:
            In weight units.
        """
        if not isinstance(member, Phenotype):
            return self._scheduled(generation)
        return root_mean_square(steps_of(self.config, self.layout), member.log_sigma)

    def _scheduled(self, generation: int) -> float:
        """The step size of the noise around a centre; that of a descent along gradients is its ``--sigma``."""
        schedule = parse_rate_schedule(self.config.sigma_schedule or "constant", "sigma_schedule")
        return float(self.config.sigma * schedule.factor(max(generation, 1), self.config.generations))


def open_saved(path: Path, *, trust: bool = False) -> SavedRun:
    """Open a run folder (its newest checkpoint) or a checkpoint file.

    Args:
        path: the folder or the file.
        trust: run code that it names even if it was never run here before.

    Raises:
        CheckpointError: it is damaged or no checkpoint of a run.
        RunFolderError: there is nothing at that path.
    """
    return SavedRun.open(path, trust=trust)


def open_below(paths: Sequence[Path], *, trust: bool = False) -> list[SavedRun]:
    """Open every run at or below paths, each once: runs, groups, sweeps, folders that hold such, and checkpoints.

    Runs of one task share its data in memory.

    Args:
        paths: where they are.
        trust: run code that they name even if it was never run here before.

    Raises:
        CheckpointError: a run is damaged or has no checkpoint.
        RunFolderError: a path holds no runs.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        below = [path] if path.is_file() else [run.path for run in runs_below(path)]
        if not below:
            raise RunFolderError(f"expected runs at '{path}', found none; `galab list` shows the runs")
        for one in below:
            found.setdefault(one.resolve(), one)
    shared = SharedByTrials()
    return [SavedRun.open(one, trust=trust, shared=shared) for one in found.values()]


def _who(saved: SavedRun, member: int | None, place: int) -> dict[str, Any]:
    if not kind_of(saved.config.strategy).breeds:
        return {"member": "centre"}
    return {"member": "champion" if member is None else member, "birth": saved.numbers[place]}


@own_threads()
def evaluate(
    path: Path, *, split: str = "test", member: int | None = None, device: str = "auto", trust: bool = False
) -> dict[str, Any]:
    """Score the champion, or another parent, on a split of the run's data; in float32.

    Args:
        path: a run folder or a checkpoint.
        split: ``test``, ``validation`` or ``train``.
        member: rank of the parent by fitness, from 0; the champion when absent.
        device: where to compute.
        trust: run code that the run names even if it was never run here before.

    Returns:
        Plain data: who was scored, on which data, and the metrics, such as ``test_accuracy``; and what the task says of
        the weights themselves, such as ``weights_distance``.
    """
    saved = open_saved(path, trust=trust)
    task = saved.task
    torch.set_num_threads(saved.config.threads)
    place = saved.place(member)
    config = saved.config.on(resolve_device(device))
    selector = ChampionSelector(config, saved.module, saved.layout, task)
    metrics = selector.score(candidates_of(saved.state)[place], split)
    return {
        "run": str(path),
        "generation": saved.generation,
        "evaluations": saved.state["totals"]["evaluations"],
        **_who(saved, member, place),
        "data": task.description,
        "examples": len(getattr(task, split)),
        **metrics,
    }
