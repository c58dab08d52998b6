"""Measuring the network of a saved run: what weights score, and where the gradient points."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config.parsing import SMOOTH, parse_fitness
from galab.contracts import Examples, Member, Task
from galab.errors import UsageError
from galab.evaluation.blocks import Minibatches, fresh_examples
from galab.evaluation.fitness import ExampleScores, Means, deterministic_scores, has_classes, means_of, score
from galab.evaluation.member_evaluator import member_evaluator
from galab.evaluation.numeric_profile import keep_freed_memory, prepare_device, resolve_device
from galab.models.normalized import normalizes
from galab.operators.es_noise import WeightVector
from galab.saved_runs.history import History, Individual, champion_of
from galab.saved_runs.saved_run import SavedRun, open_saved
from galab.tasks.episodes import EpisodeTask
from galab.training.true_gradient import TrueGradient

logger = logging.getLogger("galab")

#: The splits of a task's data.
SPLITS = ("train", "validation", "test")


class Probe:
    """Scores any weights of a saved run's network as the run would, in float32, and differentiates its loss.

    Fitness is the first base of the run's ``--fitness`` as it stands, also where selection looks at improvement;
    ``sampled-accuracy`` is replaced by ``expected-accuracy``, its mean over all coins.

    Args:
        saved: the run.
        chunk: members run at once.
        device: where to compute.

    Attributes:
        saved: the run.
        task: its task.
        module: its network.
        layout: where each parameter lies in a weight vector.
        device: where it computes.
        base: what fitness is here, such as ``cross-entropy``.
        smooth: whether that is minus a mean loss; else gradients are those of minus the task's loss.
        run_key: the run's key.
        evaluator: what scores members.
    """

    def __init__(self, saved: SavedRun, *, chunk: int = 32, device: str = "auto") -> None:
        keep_freed_memory()
        self.saved = saved
        self.task: Task = saved.task
        self.module = saved.module
        if normalizes(self.module):
            logger.warning(
                "%s: what was observed up to generation %d normalises the observations of all members that are scored "
                "here, those of earlier generations too", saved.path, saved.generation,
            )  # fmt: skip
        self.layout = saved.layout
        name = resolve_device(device)
        prepare_device(name)
        self.device = torch.device(name)
        self.base = parse_fitness(saved.config.fitness).bases[0]
        if self.base == "cross-entropy" and not has_classes(self.task):
            self.base = "loss"  # which it is there
        self.smooth = self.base in SMOOTH
        self.run_key = saved.config.seed or 0
        self._each = deterministic_scores(self.base)
        self.evaluator = member_evaluator(
            saved.config, self.module, self.layout, self.task,
            chunk=chunk, precision="float32", device=self.device, final=True, reports_usage=True,
        )  # fmt: skip
        self._gradient = TrueGradient(self.module, self.task, self.base if self.smooth else "loss", self.device)

    @property
    def chunk(self) -> int:
        """Members run at once."""
        return self.evaluator.chunk

    @property
    def loss_name(self) -> str:
        """What minus the fitness is, in words."""
        return {"cross-entropy": "cross-entropy in nats", "wrong": "wrong answers", "loss": "the task's loss"}.get(
            self.base, f"minus the fitness, {self.base}"
        )

    def require_real_weights(self, *, bounded: bool = False) -> None:
        """Refuse a run whose children are more than their parent plus noise.

        Args:
            bounded: whether bounded weights will do.

        Raises:
            UsageError: its weights are whole, binary or bounded.
        """
        domain = self.layout.domain
        if not domain.plain and not (bounded and domain.genome == "real"):
            without = "" if bounded else " without --bounds"
            raise UsageError(
                f"expected a run of real weights{without}, to which noise can be added, got weights in "
                f"'{self.saved.path}' that are {self.layout.domain.shown}; `galab analyze replay` and "
                "generation-size ask what its own mutations do"
            )

    def weights(self, generation: int | None = None) -> NDArray[np.float32]:
        """(D,) the champion's weights, or the centre's.

        Args:
            generation: of which generation, see :meth:`History.champion`; of the checkpoint when absent.

        Raises:
            UsageError: the generation is not in the run's history.
        """
        return champion_of(self.saved, generation).weights

    def examples(self, split: str = "train", count: int = 0) -> Examples:
        """The first examples of a split, on the device.

        Args:
            split: one of :data:`SPLITS`.
            count: how many; 0 or too many is all of them.

        Raises:
            UsageError: there is no such split, or it is empty.
        """
        if split not in SPLITS or count < 0:
            raise UsageError(
                f"expected --split {', '.join(SPLITS)} and a number of examples, got '{split}' and {count}; correct it"
            )
        if isinstance(self.task, EpisodeTask) and split == "train":
            # Of starts there are as many as are wanted, but for those of validation and test.
            return self.task.sample(self.run_key, 0, count or len(self.task.validation))
        whole: Examples = getattr(self.task, split)
        size = min(count, len(whole)) or len(whole)
        if not size:
            raise UsageError(f"expected {split} examples in {self.task.description}, got none; choose another --split")
        return self.evaluator.prepared(Examples(whole.inputs[:size], whole.targets[:size]))

    def minibatches(self, size: int) -> Minibatches:
        """The run's minibatches: those of a size, in the order that a run with this seed and ``--batch`` sees them."""
        prepared = self.evaluator.prepared
        return Minibatches(prepared(self.task.train), size, self.run_key, fresh_examples(self.task, prepared))

    def means(self, members: Sequence[Member], examples: Examples) -> Means:
        """What the task measures of members, means over the examples: name to (P,); NaN where a member failed.

        Args:
            members: P of them.
            examples: on what.
        """
        return means_of(self.evaluator.measure(members, examples, self._each))

    def fitness(self, members: Sequence[Member] | NDArray[np.float32], examples: Examples) -> NDArray[np.float64]:
        """(P,) fitness of members, higher is better; NaN where one failed.

        Args:
            members: P of them, or their weights (P, D) float32.
            examples: on what.
        """
        several = [WeightVector(row) for row in members] if isinstance(members, np.ndarray) else members
        if not len(several):
            return np.empty(0)
        means = self.means(several, examples)
        return score(self.base, means, len(examples), deterministic=True) if means else np.full(len(several), np.nan)

    def right(self, members: Sequence[Member] | NDArray[np.float32], examples: Examples) -> NDArray[np.bool_] | None:
        """(P, B) whether members answer each example right; a failed one answers none right.

        Args:
            members: P of them, or their weights (P, D) float32.
            examples: on what.

        Returns:
            None where the task is no classification.
        """
        if examples.targets.ndim != 1 or examples.targets.is_floating_point():
            return None
        several = [WeightVector(row) for row in members] if isinstance(members, np.ndarray) else members
        found = self.evaluator.measure(several, examples, ExampleScores(["accuracy"])).examples.get("accuracy")
        return np.zeros((len(several), len(examples)), dtype=np.bool_) if found is None else found == 1

    def fitness_along(self, members: Iterator[Member], examples: Examples) -> Iterator[NDArray[np.float64]]:
        """:meth:`fitness` of many members, a chunk at a time, so that memory does not grow with their number.

        Yields:
            (P,) fitness of the next members, at most :attr:`chunk` of them.
        """
        while group := list(islice(members, self.chunk)):
            yield self.fitness(group, examples)

    def gradient(self, weights: NDArray[np.float32], examples: Examples) -> NDArray[np.float32]:
        """(D,) the gradient of the fitness, or of minus the task's loss where fitness has none; it points uphill.

        Args:
            weights: (D,) where.
            examples: on what; the mean over them.

        Raises:
            UsageError: the task or the network cannot be differentiated.
        """
        found = self._gradient.flat(self.layout, weights, examples)
        if found is None:
            raise UsageError(
                f"expected a network and a task with a gradient, got {self.saved.config.model} on {self.task.name}; "
                "analyse a run of others"
            )
        return found


@dataclass(frozen=True, slots=True, eq=False)
class ProbedChampion(Individual):
    """A champion, or a centre, of a run, with what scores it.

    Attributes:
        probe: scores weights as the run would.
    """

    probe: Probe

    @property
    def saved(self) -> SavedRun:
        """The run."""
        return self.probe.saved


def probe_champion(
    saved: SavedRun, generation: int | None = None, level: float | None = None, *, between: bool = False
) -> ProbedChampion:
    """The champion to look at.

    Args:
        saved: the run.
        generation: its champion at that generation; that of the checkpoint when absent.
        level: the champion at the first report whose best fitness was at least this, in place of a generation.
        between: whether any numbers near its weights will be looked at, too, which must be real then.

    Raises:
        UsageError: its weights are whole or binary and may not be, both are given, the level was never reached, or
            the generation is not in the run's history.
    """
    if level is not None:
        if generation is not None:
            raise UsageError(f"expected --generation or --level, got both ({generation} and {level}); drop one")
        generation = _first_at(saved, level)
    one = champion_of(saved, generation)
    probe = Probe(saved)
    if between:
        probe.require_real_weights(bounded=True)
    return ProbedChampion(one.generation, one.number, one.member, one.weights, probe)


def _first_at(saved: SavedRun, level: float) -> int:
    best = None
    for line in History(saved).log:
        fitness = line.get("fitness_best")
        if line.get("champion") is None or not isinstance(fitness, (int, float)):
            continue
        best = fitness if best is None else max(best, fitness)
        if fitness >= level:
            return int(line["generation"])
    raise UsageError(
        f"expected a --level that a report of '{saved.path}' has reached, got {level:g}; the best fitness of its "
        f"reports is {'unknown' if best is None else format(best, '.6g')}"
    )


def other_run(path: str, saved: SavedRun) -> SavedRun:
    """A second run of the same network, to compare with the first.

    Raises:
        UsageError: its network has other parameters, or there is nothing at that path.
    """
    other = open_saved(Path(path), trust=saved.trust)
    if parse_fitness(other.config.fitness).bases[0] != parse_fitness(saved.config.fitness).bases[0]:
        raise UsageError(
            f"expected --other as a run of the same fitness, {saved.config.fitness}, got '{path}' with "
            f"{other.config.fitness}: their losses are not in one unit; name one with the same --fitness"
        )
    if normalizes(other.module) or normalizes(saved.module):
        raise UsageError(
            f"expected --other between networks that see observations alike, got '{path}' and '{saved.path}', of which "
            "each normalises them by what it has seen; compare runs without --normalize-observations"
        )
    if other.layout != saved.layout:
        raise UsageError(
            f"expected --other as a run of the same network, {_shape(saved)}, got '{path}' with {_shape(other)}; "
            "name one with the same --model and --hidden"
        )
    return other


def _shape(saved: SavedRun) -> str:
    parts = zip(saved.layout.names, saved.layout.shapes, strict=True)
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in list(parts)[:4])
