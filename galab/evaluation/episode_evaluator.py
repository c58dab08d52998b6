"""Scores members by episodes: each plays those of the same starts, side by side, until all are over.

A score depends on the member and the starts alone, to the bit, whatever else is played beside it. Members whose
episodes are over leave the policies, so the longest episode of one does not keep the others waiting.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.config import RunConfig
from galab.contracts import Examples, Member
from galab.errors import UsageError, pass_interrupts
from galab.evaluation import numeric_profile
from galab.evaluation.atari_policies import AtariPolicies
from galab.evaluation.blocks import EachExample, added, rows_of, stacked
from galab.evaluation.dense_evaluator import Measurements
from galab.evaluation.es_evaluator import Chunk, perturbed_parameters
from galab.evaluation.policies import Policies, Weights, one_blas_thread, policies_of
from galab.genome.weights import Layout
from galab.models.normalized import normalizes, sums_of
from galab.operators.es_noise import Noise, chunks_of, size_of
from galab.tasks.episodes import MEASURES, Environment, EpisodeTask, Game, PacksEpisodes


@dataclass(frozen=True, slots=True)
class EpisodeRules:
    """How episodes are played.

    Attributes:
        steps: the most steps of one; as the environment says when None.
        act: ``greedy`` or ``sample``, see :class:`galab.tasks.episodes.ActionSpace`.
    """

    steps: int | None = None
    act: str = "greedy"

    @classmethod
    def of(cls, config: RunConfig) -> EpisodeRules:
        """The rules of a run."""
        return cls(config.episode_steps, config.act)


@dataclass(frozen=True, slots=True)
class Played:
    """The episodes of P members, E of each.

    Attributes:
        results: (P, E, 3) float64, see :data:`galab.tasks.episodes.MEASURES`; NaN of members that failed.
        failures: place to the reason.
        steps: all steps that were taken, those of failed members too.
        frames: the same in the environment's own frames.
        observed: (P, 1 + 2 D) what the members saw, where the network normalises it; see
            :class:`galab.contracts.Scores`.
    """

    results: NDArray[np.float64]
    failures: dict[int, str]
    steps: int
    frames: int
    observed: NDArray[np.float64] | None = None

    @property
    def spent(self) -> dict[str, int]:
        """What it took, apart from steps; see :class:`galab.contracts.Scores`."""
        return {"episodes": self.results.shape[0] * self.results.shape[1], "frames": self.frames}


#: As far as the environment goes, and the best action of each step.
PLAIN = EpisodeRules()


class EpisodePlayer:
    """Plays episodes with the networks of several members.

    Args:
        module: the network.
        layout: where each parameter lies in a weight vector.
        task: the environment.
        device: where the networks are computed.
        rules: how they are played.
    """

    def __init__(
        self, module: nn.Module, layout: Layout, task: EpisodeTask, *, device: torch.device,
        rules: EpisodeRules = PLAIN,
    ) -> None:  # fmt: skip
        self._environment = task.environment
        self._policies = policies_of(module, layout.names, device, task.train.inputs)
        self._steps = min(rules.steps or task.environment.steps, task.environment.steps)
        self._act = rules.act
        self._observes = normalizes(module)
        self.forward_name = "episodes" + (" atari" if isinstance(self._policies, AtariPolicies) else "")
        if rules.act == "sample" and not task.environment.actions.choices:
            raise UsageError(
                f"expected an environment of choices with --act sample, got {task.name}, whose actions are numbers; "
                "use --act greedy"
            )

    def play(self, weights: Weights, starts: NDArray[np.int64]) -> Played:
        """Play the episodes of E starts with each of P members.

        Args:
            weights: of the members.
            starts: (E,) the same for all.
        """
        members = len(next(iter(weights.values())))
        game = self._environment.play(np.tile(starts, members))
        try:
            self._policies.take(weights)
            round_ = _Round(
                game, self._policies, self._environment, starts, members,
                sampled=self._act == "sample", observes=self._observes,
            )  # fmt: skip
            with one_blas_thread():
                for _ in range(self._steps):
                    if not round_.step():
                        break
            return round_.played()
        finally:
            game.close()


class _Round:
    """Members that play side by side, from their first step to the last one of the longest episode.

    Rows of the game are those of the members that are left, E for each, where the game can let the others go; else all
    rows stay, and only the policies let members go.

    Args:
        game: with a row for each member and episode.
        policies: of the members.
        environment: where they play.
        starts: (E,) of the episodes of each member.
        members: P.
        sampled: whether actions are drawn.
        observes: whether to add up what is seen.
    """

    def __init__(
        self, game: Game, policies: Policies, environment: Environment, starts: NDArray[np.int64], members: int, *,
        sampled: bool, observes: bool,
    ) -> None:  # fmt: skip
        episodes = len(starts)
        self._game, self._policies = game, policies
        self._shape, self._space = tuple(environment.input_shape), environment.actions
        self._starts, self._sampled, self._step = starts, sampled, 0
        self._episodes = episodes
        self._playing = np.arange(members)
        #: The members that the game's rows are of.
        self._seated = self._playing
        self._results = np.zeros((members, episodes, len(MEASURES)))
        self._returns, self._lengths = np.zeros((2, members * episodes))
        width = math.prod(self._shape) if observes else 0
        self._observed = np.zeros((members, 2 * width))
        #: Of each row of the game: the sums of what is seen in it, and of the squares.
        self._seen = np.zeros((members * episodes, 2 * width)) if observes else None
        self._failures: dict[int, str] = {}

    def step(self) -> bool:
        """Take one step in every episode that is not over; False where there is none."""
        game, episodes = self._game, self._episodes
        live = ~game.done
        if not live.all():
            self._let_go(live)
            live = ~game.done
        if not len(self._playing):
            return False
        shown = game.observations.reshape(-1, episodes, *self._shape)
        if self._seen is not None:
            numbers = shown.reshape(len(live), -1).astype(np.float64)
            numbers[~live] = 0
            self._seen += np.concatenate([numbers, numbers * numbers], axis=1)
        playing = self._own(live.reshape(-1, episodes))
        outputs = self._policies.answer(self._own(shown), playing)
        if not np.isfinite(outputs).all():
            outputs = self._without_broken(outputs, playing)
        chosen = self._chosen(outputs.reshape(-1, outputs.shape[-1]))
        self._returns += game.step(self._all_rows(chosen))
        self._lengths += live
        return True

    def _chosen(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """The actions of the members that play."""
        self._step += 1
        if not self._sampled:
            return self._space.greedy(outputs)
        return self._space.sampled(outputs, np.tile(self._starts, len(self._playing)), self._step - 1)

    def played(self) -> Played:
        """What came of it."""
        self._write()
        for row, reason in sorted(self._game.failures.items()):
            self._failures.setdefault(int(self._seated[row // self._episodes]), reason)
        for place in np.flatnonzero(~np.isfinite(self._results[..., 0]).all(1)).tolist():
            self._failures.setdefault(place, "a reward is not finite")
        steps, frames = int(self._results[..., 1].sum()), int(self._results[..., 2].sum())
        self._results[list(self._failures)] = np.nan
        if self._seen is None:
            return Played(self._results, self._failures, steps, frames)
        # Episodes that failed are NaN, and so is the number of what was seen in them.
        observed = np.concatenate([self._results[..., 1].sum(1, keepdims=True), self._observed], axis=1)
        return Played(self._results, self._failures, steps, frames, observed)

    def _own(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Of rows (members of the game, E, ...) those of the members that play."""
        if len(self._playing) == len(rows):
            return rows
        chosen: NDArray[Any] = rows[self._playing]
        return chosen

    def _all_rows(self, chosen: NDArray[Any]) -> NDArray[Any]:
        """Actions of all rows of the game, from those of the members that play; zeros for others."""
        if len(self._playing) == len(self._seated):
            return chosen
        actions = np.zeros((len(self._seated), self._episodes, *chosen.shape[1:]), dtype=chosen.dtype)
        actions[self._playing] = chosen.reshape(-1, self._episodes, *chosen.shape[1:])
        return actions.reshape(-1, *chosen.shape[1:])

    def _let_go(self, live: NDArray[np.bool_]) -> None:
        """Part with the members whose episodes are all over, as soon as they are many."""
        alive = np.any(self._own(live.reshape(-1, self._episodes)), axis=1, keepdims=True)[:, 0]
        left = int(np.count_nonzero(alive))
        if left == len(alive) or (left and left > (1 - self._policies.finished_share) * len(alive)):
            return
        self._policies.keep(np.flatnonzero(alive))
        self._playing = self._playing[alive]
        if left and isinstance(self._game, PacksEpisodes):
            self._write()
            rows = (self._playing[:, None] * self._episodes + np.arange(self._episodes)).ravel()
            self._game.keep(rows)
            self._returns, self._lengths = self._returns[rows], self._lengths[rows]
            self._seen = None if self._seen is None else self._seen[rows]
            self._seated, self._playing = self._seated[self._playing], np.arange(left)

    def _write(self) -> None:
        """Enter the results of the members that the game's rows are of."""
        columns = np.stack([self._returns, self._lengths, self._game.frames], axis=1)
        self._results[self._seated] = columns.reshape(-1, self._episodes, len(MEASURES))
        if self._seen is not None:
            self._observed[self._seated] = self._seen.reshape(len(self._seated), self._episodes, -1).sum(1)

    def _without_broken(self, outputs: NDArray[np.float32], live: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Zeros in the place of what is no number; members that answer so in an episode that goes on have failed."""
        bad = ~np.isfinite(outputs).all(2) & live
        for place in np.flatnonzero(bad.any(1)).tolist():
            self._failures.setdefault(int(self._seated[self._playing[place]]), "its outputs are not finite")
        return np.nan_to_num(outputs, nan=0.0, posinf=0.0, neginf=0.0)


class EpisodeEvaluatorBase:
    """What evaluators by episodes have in common with those by examples, see :mod:`galab.evaluation.sources`."""

    #: The use of memories is not reported.
    heads = 0
    #: Examples run at once: there are none.
    block = 0
    compiled = False
    recompilations = 0

    def __init__(
        self, module: nn.Module, layout: Layout, task: EpisodeTask, *, chunk: int, device: torch.device,
        rules: EpisodeRules = PLAIN,
    ) -> None:  # fmt: skip
        self.module = module
        self.chunk = chunk
        self.outputs = task.outputs
        self._task = task
        self._layout = layout
        self._player = EpisodePlayer(module, layout, task, device=device, rules=rules)

    @property
    def forward_name(self) -> str:
        """How networks are computed, for the numeric profile."""
        return self._player.forward_name

    def prepared(self, examples: Examples) -> Examples:
        """The same: starts are whole numbers."""
        return examples

    def _play(self, weights: Weights, examples: Examples) -> Played:
        """Play; an error of the networks or the environment as a whole fails these members alone."""
        try:
            return self._player.play(weights, examples.targets.numpy())
        except BaseException as error:
            pass_interrupts(error)
            if isinstance(error, (MemoryError, UsageError)):
                raise  # no fault of a member's
            count = len(next(iter(weights.values())))
            if count > 1:
                return self._one_by_one(weights, examples)
            numeric_profile.log_member_failure(error)
            results = np.full((1, len(examples), len(MEASURES)), np.nan)
            return Played(results, {0: f"{type(error).__name__}: {error}"}, 0, 0, self._nothing_observed())

    def _nothing_observed(self) -> NDArray[np.float64] | None:
        return np.full((1, len(sums_of(self.module))), np.nan) if normalizes(self.module) else None

    def _one_by_one(self, weights: Weights, examples: Examples) -> Played:
        count = len(next(iter(weights.values())))
        alone = [
            self._play({name: value[place : place + 1] for name, value in weights.items()}, examples)
            for place in range(count)
        ]
        failures = {place: reason for place, own in enumerate(alone) for reason in own.failures.values()}
        steps, frames = sum(own.steps for own in alone), sum(own.frames for own in alone)
        results = np.concatenate([own.results for own in alone])
        return Played(results, failures, steps, frames, rows_of([own.observed for own in alone]))

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
        rules: how they are played.
    """

    def measure(self, members: Sequence[Member], examples: Examples, each: EachExample | None = None) -> Measurements:
        """Mean results of each member over the episodes; ``evaluations`` are the steps that were taken.

        Args:
            members: to score.
            examples: the starts.
            each: not asked for here.
        """
        sums: dict[str, list[NDArray[np.float64]]] = {}
        failures, steps, spent = dict[int, str](), 0, dict[str, int]()
        observed: list[NDArray[np.float64] | None] = []
        for first in range(0, len(members), self.chunk):
            group = members[first : first + self.chunk]
            played = self._play(stacked(self._layout, group), examples)
            for name, values in self._sums(played, examples).items():
                sums.setdefault(name, []).append(values)
            failures |= {first + place: reason for place, reason in played.failures.items()}
            steps += played.steps
            spent = added([spent, played.spent])
            observed.append(played.observed)
        means = {name: np.concatenate(parts) / len(examples) for name, parts in sums.items()}
        return Measurements(means, failures, steps, spent=spent, observed=rows_of(observed))


class EpisodePerturbedEvaluator(EpisodeEvaluatorBase):
    """Scores perturbations of a centre by episodes; see :class:`galab.evaluation.es_evaluator.PerturbedEvaluator`.

    The members' weights are formed: a policy is small beside the steps of its episodes.

    Args:
        module: the network.
        layout: where each parameter lies in a weight vector.
        task: the environment.
        chunk: members that play side by side, made even.
        device: where the networks are computed.
        rules: how they are played.
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
        for first, part in chunks_of(noise, width, starts):
            stacks = perturbed_parameters(
                centre, part, sigma, antithetic=antithetic, dtype_of=lambda _: torch.float32, common=None
            )
            count = size_of(part) * (2 if antithetic else 1)
            weights = {
                name: (stack if isinstance(stack, Tensor) else torch.stack([stack.member(p) for p in range(count)]))
                for name, stack in stacks.items()
            }
            played = self._play({name: value.cpu().numpy() for name, value in weights.items()}, examples)
            sums = self._sums(played, examples)
            yield Chunk(first, size_of(part), sums, {}, played.failures, played.steps, played.spent, played.observed)
