"""Scores members by episodes: each plays those of the same starts, side by side, until all are over.

A score depends on the member and the starts alone, to the bit, whatever else is played beside it. Members whose
episodes are over leave the policies, so the longest episode of one does not keep the others waiting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.contracts import Examples, Member, Task
from galab.errors import pass_interrupts
from galab.evaluation import numeric_profile
from galab.evaluation.blocks import EachExample
from galab.evaluation.dense_evaluator import Evaluator, Measurements
from galab.evaluation.es_evaluator import Chunk, perturbed_parameters
from galab.evaluation.policies import Weights, policies_of
from galab.genome.weights import Layout
from galab.operators.es_noise import Noise, size_of
from galab.tasks.episodes import MEASURES, EpisodeTask, Game

#: Members leave the policies where so large a share of them has nothing left to play.
_FINISHED_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Played:
    """The episodes of P members, E of each.

    Attributes:
        results: (P, E, 3) float64, see :data:`galab.tasks.episodes.MEASURES`; NaN of members that failed.
        failures: place to the reason.
        steps: all steps that were taken, those of failed members too.
    """

    results: NDArray[np.float64]
    failures: dict[int, str]
    steps: int


class EpisodePlayer:
    """Plays episodes with the networks of several members.

    Args:
        module: the network.
        layout: where each parameter lies in a weight vector.
        task: the environment.
        device: where the networks are computed.
        steps: the most steps of an episode; as the environment says when absent.
    """

    def __init__(
        self, module: nn.Module, layout: Layout, task: EpisodeTask, *, device: torch.device, steps: int | None = None
    ) -> None:
        self._environment = task.environment
        self._policies = policies_of(module, layout.names, device)
        self._steps = min(steps or task.environment.steps, task.environment.steps)

    def play(self, weights: Weights, starts: NDArray[np.int64]) -> Played:
        """Play the episodes of E starts with each of P members.

        Args:
            weights: of the members.
            starts: (E,) the same for all.
        """
        members, episodes = len(next(iter(weights.values()))), len(starts)
        game = self._environment.play(np.tile(starts, members))
        try:
            self._policies.take(weights)
            return self._until_all_are_over(game, members, episodes)
        finally:
            game.close()

    def _until_all_are_over(self, game: Game, members: int, episodes: int) -> Played:
        returns, lengths = np.zeros(members * episodes), np.zeros(members * episodes, dtype=np.int64)
        failures, playing, actions = dict[int, str](), np.arange(members), None
        greedy, shape = self._environment.actions.greedy, self._environment.input_shape
        for _ in range(self._steps):
            live = ~game.done
            alive = np.any(live.reshape(members, episodes)[playing], axis=1)
            if not alive.any():
                break
            if alive.mean() <= 1 - _FINISHED_SHARE:
                self._policies.keep(np.flatnonzero(alive))
                playing = playing[alive]
            shown = game.observations.reshape(members, episodes, *shape)
            outputs = self._policies.answer(shown if len(playing) == members else shown[playing])
            if not np.isfinite(outputs).all():
                bad = ~np.isfinite(outputs).reshape(len(playing), episodes, -1).all(2)
                for place in playing[(bad & live.reshape(members, episodes)[playing]).any(1)].tolist():
                    failures.setdefault(place, "its outputs are not finite")
                playing, outputs = self._without(failures, playing, outputs)
                if not len(playing):
                    break
            chosen = greedy(outputs.reshape(-1, outputs.shape[-1]))
            if actions is None or len(playing) == members:
                actions = np.zeros((members * episodes, *chosen.shape[1:]), dtype=chosen.dtype)
            actions.reshape(members, episodes, *chosen.shape[1:])[playing] = chosen.reshape(
                len(playing), episodes, *chosen.shape[1:]
            )
            returns += game.step(actions)
            lengths += live
        return self._played(game, returns, lengths, failures, members, episodes)

    def _without(
        self, failures: Mapping[int, str], playing: NDArray[np.int64], outputs: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Those members that have not failed, and what they answered."""
        left = np.array([place not in failures for place in playing.tolist()])
        self._policies.keep(np.flatnonzero(left))
        return playing[left], outputs[left]

    @staticmethod
    def _played(
        game: Game, returns: NDArray[np.float64], lengths: NDArray[np.int64], failures: dict[int, str],
        members: int, episodes: int,
    ) -> Played:  # fmt: skip
        for row, reason in sorted(game.failures.items()):
            failures.setdefault(row // episodes, reason)
        results = np.stack([returns, lengths, game.frames], axis=1).reshape(members, episodes, len(MEASURES))
        results = results.astype(np.float64)
        for place in np.flatnonzero(~np.isfinite(results[..., 0]).all(1)).tolist():
            failures.setdefault(place, "a reward is not finite")
        results[list(failures)] = np.nan
        return Played(results, failures, int(lengths.sum()))


class EpisodeEvaluatorBase:
    """What evaluators by episodes have in common with those by examples, see :mod:`galab.evaluation.sources`."""

    #: The use of memories is not reported.
    heads = 0
    #: Examples run at once: there are none.
    block = 0
    compiled = False
    recompilations = 0
    forward_name = "episodes"

    def __init__(
        self, module: nn.Module, layout: Layout, task: EpisodeTask, *, chunk: int, device: torch.device,
        steps: int | None = None,
    ) -> None:  # fmt: skip
        self.module = module
        self.chunk = chunk
        self.outputs = task.outputs
        self._task = task
        self._layout = layout
        self._player = EpisodePlayer(module, layout, task, device=device, steps=steps)

    def prepared(self, examples: Examples) -> Examples:
        """The same: starts are whole numbers."""
        return examples

    def _play(self, weights: Weights, examples: Examples) -> Played:
        """Play; an error of the networks or the environment as a whole fails these members alone."""
        try:
            return self._player.play(weights, examples.targets.numpy())
        except BaseException as error:
            pass_interrupts(error)
            count = len(next(iter(weights.values())))
            if count > 1:
                return self._one_by_one(weights, examples)
            numeric_profile.log_member_failure(error)
            results = np.full((1, len(examples), len(MEASURES)), np.nan)
            return Played(results, {0: f"{type(error).__name__}: {error}"}, 0)

    def _one_by_one(self, weights: Weights, examples: Examples) -> Played:
        count = len(next(iter(weights.values())))
        alone = [
            self._play({name: value[place : place + 1] for name, value in weights.items()}, examples)
            for place in range(count)
        ]
        failures = {place: reason for place, own in enumerate(alone) for reason in own.failures.values()}
        return Played(np.concatenate([own.results for own in alone]), failures, sum(own.steps for own in alone))

    def _sums(self, played: Played, examples: Examples) -> dict[str, NDArray[np.float64]]:
        found = self._task.measure(torch.from_numpy(played.results), examples.targets)
        return {name: value.numpy() for name, value in found.items()}


class EpisodeEvaluator(EpisodeEvaluatorBase):
    """Scores members by episodes; used where :class:`galab.evaluation.dense_evaluator.Evaluator` is for examples.

    Args:
        module: the network.
        layout: where each parameter lies in a weight vector.
        task: the environment.
        chunk: members that play side by side.
        device: where the networks are computed.
        steps: the most steps of an episode; as the environment says when absent.
    """

    def measure(
        self, members: Sequence[Member], examples: Examples, each: EachExample | None = None
    ) -> Measurements:
        """Mean results of each member over the episodes; ``evaluations`` are the steps that were taken.

        Args:
            members: to score.
            examples: the starts.
            each: not asked for here.
        """
        sums: dict[str, list[NDArray[np.float64]]] = {}
        failures, steps = dict[int, str](), 0
        for first in range(0, len(members), self.chunk):
            group = members[first : first + self.chunk]
            played = self._play(self._stacked(group), examples)
            for name, values in self._sums(played, examples).items():
                sums.setdefault(name, []).append(values)
            failures |= {first + place: reason for place, reason in played.failures.items()}
            steps += played.steps
        means = {name: np.concatenate(parts) / len(examples) for name, parts in sums.items()}
        return Measurements(means, failures, steps)

    def _stacked(self, members: Sequence[Member]) -> dict[str, NDArray[np.float32]]:
        layout = self._layout
        stacks = {
            name: np.empty((len(members), *shape), dtype=np.float32)
            for name, shape in zip(layout.names, layout.shapes, strict=True)
        }
        for row, member in enumerate(members):
            member.write([stacks[name][row].reshape(-1) for name in layout.names])
        return stacks


def member_evaluator(
    module: nn.Module, layout: Layout, task: Task, *, chunk: int, device: torch.device, steps: int | None = None,
    **options: Any,
) -> Evaluator | EpisodeEvaluator:  # fmt: skip
    """What scores members by their weights: by episodes where the task is an environment, by examples elsewhere.

    Args:
        module: the network.
        layout: where each parameter lies in a weight vector.
        task: what is learned.
        chunk: members that are scored at once.
        device: where the networks are computed.
        steps: the most steps of an episode; as the environment says when absent.
        options: further ones of :class:`galab.evaluation.dense_evaluator.Evaluator`.
    """
    if isinstance(task, EpisodeTask):
        return EpisodeEvaluator(module, layout, task, chunk=chunk, device=device, steps=steps)
    return Evaluator(module, layout, task, chunk=chunk, device=device, **options)


class EpisodePerturbedEvaluator(EpisodeEvaluatorBase):
    """Scores perturbations of a centre by episodes; see :class:`galab.evaluation.es_evaluator.PerturbedEvaluator`.

    The members' weights are formed: a policy is small beside the steps of its episodes.

    Args:
        module: the network.
        layout: where each parameter lies in a weight vector.
        task: the environment.
        chunk: members that play side by side, made even.
        device: where the networks are computed.
        steps: the most steps of an episode; as the environment says when absent.
    """

    def directions_at_once(self, antithetic: bool) -> int:
        """How many directions make a chunk."""
        return max(1, self.chunk // 2) if antithetic else self.chunk

    def along(
        self,
        centre: Mapping[str, Tensor],
        noise: Noise,
        sigma: float,
        examples: Examples,
        each: EachExample | None,
        *,
        antithetic: bool,
        starts: Sequence[int] | None = None,
    ) -> Iterator[Chunk]:
        """The members along some directions, chunk by chunk, as that of the other evaluator does it."""
        width = self.directions_at_once(antithetic)
        for first in range(0, size_of(noise), width) if starts is None else starts:
            part = {name: values.part(first, first + width) for name, values in noise.items()}
            stacks = perturbed_parameters(
                centre, part, sigma, antithetic=antithetic, dtype_of=lambda _: torch.float32, common=None
            )
            count = size_of(part) * (2 if antithetic else 1)
            weights = {
                name: (stack if isinstance(stack, Tensor) else torch.stack([stack.member(p) for p in range(count)]))
                for name, stack in stacks.items()
            }
            played = self._play({name: value.cpu().numpy() for name, value in weights.items()}, examples)
            yield Chunk(first, size_of(part), self._sums(played, examples), {}, played.failures, played.steps)
