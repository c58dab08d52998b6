"""Episodes: an environment as a task, whose examples are starts and whose scores are returns.

Every random bit of an episode derives from its *start*, a whole number. All members of a generation play the episodes
of the same starts, and the next generation those of others; the champion is chosen by starts of its own, and the test
is of starts that nothing was ever chosen by.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galab.contracts import Examples
from galab.errors import UsageError
from galab.genome.random import Stream, words

#: What an episode is measured by, in the order of the columns of its results: the sum of its rewards, the steps that it
#: took, and the same in the environment's own frames.
MEASURES = ("return", "episode_length", "frames")
#: Starts that the champion is chosen by, and those of its test.
VALIDATION, TEST = 20, 100
#: The column of an episode's random numbers from which on they are coins of actions.
_COINS = 1 << 32
#: Observations by which networks are tried, and the steps for which environments are.
_TRIED, _STEPS_TRIED = 4, 10
#: The action, as a row of what :meth:`ActionSpace.greedy` gives, for an observation (1, *input_shape).
Act = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class ActionSpace:
    """What a policy may do: one choice, several choices at once, or a vector of numbers between bounds.

    Attributes:
        choices: how many each choice is of; empty for numbers.
        low: the least of each number; empty for choices.
        high: the largest of each number.
    """

    choices: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @property
    def outputs(self) -> int:
        """Outputs that a network needs: one for each choice, or one for each number."""
        return sum(self.choices) or len(self.low)

    def greedy(self, outputs: NDArray[np.floating[Any]]) -> NDArray[np.int64] | NDArray[np.float64]:
        """The actions that outputs stand for.

        Args:
            outputs: (N, outputs). Of choices the largest is taken, the first of equal ones. Of numbers, -1 is the
                lower bound and 1 the upper one, and what lies beyond is cut off; without bounds they are taken as they
                are.

        Returns:
            (N,) for one choice, (N, choices) for several, (N, numbers) float64 for numbers.
        """
        if not self.choices:
            low, high = np.array(self.low), np.array(self.high)
            bounded = np.isfinite(low) & np.isfinite(high)
            with np.errstate(invalid="ignore"):  # of infinite bounds
                middle, half = np.where(bounded, (low + high) / 2, 0.0), np.where(bounded, (high - low) / 2, 1.0)
            return np.clip(middle + half * np.where(bounded, np.clip(outputs, -1, 1), outputs), low, high)
        if len(self.choices) == 1:
            return outputs.argmax(1)
        bounds = np.cumsum(self.choices)[:-1]
        return np.stack([part.argmax(1) for part in np.split(outputs, bounds, axis=1)], axis=1)


    def sampled(
        self, outputs: NDArray[np.float32], starts: NDArray[np.int64], step: int
    ) -> NDArray[np.int64] | NDArray[np.float64]:
        """Choices drawn with the odds that the softmax of the outputs gives, the same coins for all members.

        Args:
            outputs: (N, outputs), of choices.
            starts: (N,) of the episodes, which the coins derive from, with the step.
            step: of the episode, from 0.
        """
        coins = uniforms(starts, outputs.shape[1], _COINS + step * outputs.shape[1])
        # The largest of outputs plus Gumbel noise is drawn with these odds.
        noise = -np.log(-np.log(coins + 2.0**-54))
        return self.greedy(outputs + noise)


class Game(Protocol):
    """N episodes of one environment, played side by side; those that are over wait for the others."""

    @property
    def observations(self) -> NDArray[np.float32] | NDArray[np.uint8]:
        """(N, *input_shape) what is seen now, uint8 of pixels; of episodes that are over, what was seen last.

        The next step may overwrite it.
        """
        ...

    @property
    def done(self) -> NDArray[np.bool_]:
        """(N,) which episodes are over, whether they ended or ran out of time."""
        ...

    @property
    def frames(self) -> NDArray[np.int64]:
        """(N,) what the episodes took so far, in the environment's own frames."""
        ...

    @property
    def failures(self) -> dict[int, str]:
        """Row to the reason why its environment failed; such an episode is over."""
        ...

    def step(self, actions: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Take a step in every episode that is not over.

        Args:
            actions: of all N rows, as :meth:`ActionSpace.greedy` gives them; those of episodes that are over are
                ignored, and may be NaN.

        Returns:
            (N,) rewards; 0 of episodes that were over before.
        """
        ...

    def close(self) -> None:
        """Give back what the episodes hold."""
        ...


@runtime_checkable
class PacksEpisodes(Protocol):
    """Optional for a game: it can go on with some of its episodes alone."""

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Forget all episodes but those in these rows, which come in this order from now on."""
        ...


class Environment(Protocol):
    """A world in which episodes take place."""

    @property
    def name(self) -> str:
        """Its name, such as ``cartpole``."""
        ...

    @property
    def identity(self) -> str:
        """Everything that its dynamics depend on, in words: a resumed run refuses another."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        ...

    @property
    def actions(self) -> ActionSpace:
        """What a policy may do."""
        ...

    @property
    def steps(self) -> int:
        """The steps after which an episode is over at the latest."""
        ...

    def play(self, starts: NDArray[np.int64]) -> Game:
        """Begin episodes.

        Args:
            starts: (N,) from 0 to 2^63 - 1; an episode depends on its own start and on the actions in it, not on its
                row or on the other episodes. The same start may occur often.
        """
        ...


@runtime_checkable
class DrawsEpisodes(Protocol):
    """Optional for an environment: its episodes can be looked at."""

    def frames_of(self, start: int, act: Act) -> Iterator[NDArray[np.uint8]]:
        """One episode in pictures (H, W, 3), one before each action; the last may be of the end."""
        ...


class EpisodeTask:
    """An environment as a task, see :class:`galab.contracts.Task`: the targets of its examples are starts.

    A generation's starts derive from the run's key and the generation; those of validation and test from the name of
    the environment, so that all its runs are compared on the same episodes.

    Args:
        environment: where the episodes take place.
        validation: how many episodes the champion is chosen by.
        test: how many episodes it is tested by.
    """

    def __init__(self, environment: Environment, *, validation: int = VALIDATION, test: int = TEST) -> None:
        self.environment = environment
        self.name = environment.name
        self.description = f"{environment.name}, episodes of at most {environment.steps:,} steps"
        told = f"{environment.identity}, {environment.steps} steps, {validation} and {test} starts"
        self.fingerprint = hashlib.sha256(told.encode()).hexdigest()
        self.input_shape = tuple(environment.input_shape)
        self.outputs = environment.actions.outputs
        key = int.from_bytes(hashlib.sha256(environment.name.encode()).digest()[:8], "little")
        # Networks are tried on what is seen first.
        tried = _starts(key, 0, _TRIED)
        game = environment.play(tried)
        self.train = Examples(torch.from_numpy(np.array(game.observations)), torch.from_numpy(tried))
        game.close()
        self.validation = self._unseen(_starts(key, 1, validation))
        self.test = self._unseen(_starts(key, 2, test))

    @property
    def measures(self) -> tuple[str, ...]:
        """The columns of results."""
        return MEASURES

    def cut(self, steps: int | None) -> EpisodeTask:
        """The same task with episodes of at most so many steps, which are other data; itself where it allows no more.

        Args:
            steps: None cuts nothing.
        """
        if steps is None or steps >= self.environment.steps:
            return self
        other = copy.copy(self)
        other.description = f"{self.name}, episodes of at most {steps:,} of {self.environment.steps:,} steps"
        other.fingerprint = hashlib.sha256(f"{self.fingerprint}, {steps} steps".encode()).hexdigest()
        return other

    def check_repeats(self) -> None:
        """Play a few steps twice, with the same starts and actions.

        Raises:
            UsageError: what was seen, gained or ended differs, so scores would not repeat.
        """
        first, second = self._tried(), self._tried()
        for step, (one, other) in enumerate(zip(first, second, strict=True)):
            for what, was, now in zip(("observations", "rewards", "ends"), one, other, strict=True):
                if not np.array_equal(was, now, equal_nan=what != "ends"):
                    raise UsageError(
                        f"task '{self.name}': expected an episode that depends on its start and the actions alone, got "
                        f"other {what} in step {step} when it was played again; draw random numbers from the generator "
                        "that reset(seed) makes, and keep nothing from one episode to the next"
                    )

    def _tried(self) -> list[tuple[NDArray[Any], ...]]:
        """What a few steps show: observations, rewards and which episodes are over; nothing of those that fail."""
        starts, actions = self.train.targets.numpy(), self.environment.actions
        game, found = self.environment.play(starts), list[tuple[NDArray[Any], ...]]()
        try:
            rewards = np.zeros(len(starts))
            for step in range(_STEPS_TRIED):
                known = np.array([row not in game.failures for row in range(len(starts))])
                found.append((np.array(game.observations)[known], rewards[known], np.array(game.done)[known]))
                outputs = uniforms(starts, actions.outputs, step * actions.outputs) * 2 - 1
                rewards = game.step(actions.greedy(outputs))
            return found
        finally:
            game.close()

    def sample(self, run_key: int, generation: int, size: int) -> Examples:
        """The starts of a generation, see :class:`galab.contracts.FreshExamples`."""
        return self._unseen(_starts(run_key, generation, size))

    def measure(self, outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """Sums of results (P, B, 3), whose columns are :data:`MEASURES`, over the episodes: name to (P,)."""
        return {name: outputs[..., column].sum(1) for column, name in enumerate(MEASURES)}

    def _unseen(self, starts: NDArray[np.int64]) -> Examples:
        """Starts of which nothing was observed yet; all the inputs are one zero in memory."""
        blank = torch.zeros((), dtype=self.train.inputs.dtype)
        return Examples(blank.expand(len(starts), *self.input_shape), torch.from_numpy(starts))


def _starts(key: int, index: int, count: int) -> NDArray[np.int64]:
    return (words(key, index, Stream.EXAMPLES, count) >> np.uint64(1)).astype(np.int64)


_GOLDEN = 0x9E3779B97F4A7C15


def uniforms(starts: NDArray[np.int64], count: int, first: int = 0) -> NDArray[np.float64]:
    """Random numbers that depend on the start alone.

    SplitMix64 with the seed s gives, as its output number i from 1, mix(s + i G) modulo 2^64, where G is
    0x9E3779B97F4A7C15 and mix(z) does z ^= z >> 30, z *= 0xBF58476D1CE4E5B9, z ^= z >> 27, z *= 0x94D049BB133111EB,
    z ^= z >> 31. Here a start's own seed is the first output of the generator whose seed is the start, and column j
    from 0 is output j + 1 of that seed: its upper 53 bits, divided by 2^53. Source: G. Steele, D. Lea, C. Flood, "Fast
    splittable pseudorandom number generators", OOPSLA 2014.

    Args:
        starts: (N,) from 0 to 2^63 - 1.
        count: how many numbers of each.
        first: the column to begin with.

    Returns:
        (N, count), at least 0 and below 1.
    """
    golden = np.full(1, _GOLDEN, np.uint64)
    seeds = _mix(np.asarray(starts, np.int64).astype(np.uint64) + golden)
    outputs = _mix(seeds[:, None] + np.arange(first + 1, first + count + 1, dtype=np.uint64) * golden)
    return (outputs >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64; products are modulo 2^64."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
