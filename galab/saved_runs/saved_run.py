"""Individuals out of run folders and checkpoints: for evaluating, exporting and loading them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from galab.config.fields import RunConfig
from galab.config.parsing import hidden_sizes
from galab.config.strategy_kinds import breeds
from galab.contracts import Member, Task
from galab.errors import RunFolderError, UsageError
from galab.evaluation.numeric_profile import resolve_device
from galab.genome.initial import tensors_of
from galab.genome.weights import Layout
from galab.models import build_model
from galab.storage.groups import runs_below
from galab.storage.run_folder import RunFolder, locate
from galab.tasks import load_task
from galab.training import trust as trust_rules
from galab.training.build import own_threads
from galab.training.champion import Judge
from galab.training.checkpoint import check_data, check_layout, config_of, layout_of, load_buffers
from galab.training.individuals import candidates_of, numbers_of
from galab.training.origin import read_state


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint, opened.

    Attributes:
        state: its content.
        config: the run's configuration.
        layout: where each parameter lies in a weight vector.
        folder: the run folder around it, if there is one.
        path: what was opened.
        trust: whether code that the checkpoint names may run even if nobody here has run it before.
    """

    state: dict[str, Any]
    config: RunConfig
    layout: Layout
    folder: RunFolder | None
    path: Path
    trust: bool = False

    @property
    def generation(self) -> int:
        """The checkpoint's generation."""
        return int(self.state["generation"])

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

    def task(self) -> Task:
        """The run's task, with the data that the run saw.

        Raises:
            CheckpointError: the data here is other data.
            UsageError: the task is code that is not trusted.
        """
        trust_rules.check(self.config, trust=self.trust, names=["task"])
        task = load_task(self.config.task, self.config.data, run_key=self.config.seed or 0)
        check_data(task, self.state, str(self.path))
        return task

    def module(self) -> nn.Module:
        """The run's network, with the run's buffers and any weights; the data is not needed for it.

        Raises:
            UsageError: the network is code that is not trusted, or has changed its shape.
        """
        trust_rules.check(self.config, trust=self.trust, names=["model"])
        config, task = self.config, self.state["task"]
        shape, outputs = tuple(task["input_shape"]), task["outputs"]
        hidden = hidden_sizes(config.hidden)
        module = build_model(
            config.model, shape, outputs, hidden, config.activation, run_key=config.seed or 0
        )
        check_layout(self.layout, module, str(self.path))
        load_buffers(module, self.state["buffers"])
        return module

    def module_with(self, member: Member) -> nn.Module:
        """The run's network with a member's weights."""
        module = self.module()
        module.load_state_dict(self.tensors(member), strict=False)
        return module

    def tensors(self, member: Member) -> dict[str, torch.Tensor]:
        """A member's parameters by name, float32."""
        return tensors_of(self.layout, member)


def open_saved(path: Path, *, trust: bool = False) -> Saved:
    """Open a run folder (its newest checkpoint) or a checkpoint file.

    Args:
        path: the folder or the file.
        trust: run code that it names even if nobody here has run it before.

    Raises:
        CheckpointError: it is damaged or no checkpoint of a run.
        RunFolderError: there is nothing at that path.
    """
    folder, file = locate(path)
    state = read_state(path)
    config = config_of(state, file or path)
    return Saved(state, config, layout_of(state), folder, path, trust)


def open_below(paths: Sequence[Path], *, trust: bool = False) -> list[Saved]:
    """Open every run at or below paths, each once: runs, groups, sweeps, folders that hold such, and checkpoints.

    Args:
        paths: where they are.
        trust: run code that they name even if nobody here has run it before.

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
    return [open_saved(one, trust=trust) for one in found.values()]


def _who(saved: Saved, member: int | None, place: int) -> dict[str, Any]:
    if not breeds(saved.config):
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
        trust: run code that the run names even if nobody here has run it before.

    Returns:
        Plain data: who was scored, on which data, and the metrics, such as ``test_accuracy``; and what the task says of
        the weights themselves, such as ``weights_distance``.
    """
    saved = open_saved(path, trust=trust)
    task = saved.task()
    module = saved.module()
    torch.set_num_threads(saved.config.threads)
    place = saved.place(member)
    config = saved.config.on(resolve_device(device))
    judge = Judge(config, module, saved.layout, task)
    metrics = judge.score(candidates_of(saved.state)[place], split)
    return {
        "run": str(path),
        "generation": saved.generation,
        "evaluations": saved.state["totals"]["evaluations"],
        **_who(saved, member, place),
        "data": task.description,
        "examples": len(getattr(task, split)),
        **metrics,
    }
