"""Classic control: five small worlds in NumPy, each stepping N episodes at once.

* ``cartpole``: keep a pole upright on a cart. Source: A. Barto, R. Sutton, C. Anderson, "Neuronlike adaptive elements
  that can solve difficult learning control problems", IEEE Transactions on Systems, Man, and Cybernetics, 1983.
* ``acrobot``: swing the free end of two links above a line. Source: R. Sutton, "Generalization in Reinforcement
  Learning: Successful Examples Using Sparse Coarse Coding", NIPS 1996; equations of R. Sutton, A. Barto,
  "Reinforcement Learning: An Introduction", 2018.
* ``pendulum``: swing a pendulum up with a weak motor, and hold it there.
* ``mountain-car``: drive out of a valley with an engine too weak to do so at once. Source: A. Moore, "Efficient
  Memory-based Learning for Robot Control", Cambridge 1990.
* ``mountain-car-continuous``: the same with an engine that is set by a number, and that costs.

The dynamics are those of Gymnasium (M. Towers et al., "Gymnasium: A Standard Interface for Reinforcement Learning
Environments", 2024, MIT license): from the same state and action the next state, the reward and the end are the same
within 1e-12. Starts have the distribution of Gymnasium's, but their numbers derive from the start alone.

A world holds nothing of its episodes. It makes their first states, steps them and says what is seen of them. States
are kept as (k, N), one contiguous row for each of the k numbers. The game does the rest: it freezes what is over,
counts, and ends all that ran out of time. Every number of an episode is computed from numbers of this episode alone, so
its row and its company change nothing, to the last bit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError
from galab.tasks.episodes import Act, ActionSpace, uniforms

#: What a step gives: the next states (k, N), the rewards (N,) and which episodes ended (N,).
Step = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]

class ClassicControl(ABC):
    """A world of classic control, see :class:`galab.tasks.episodes.Environment`.

    Args:
        steps: the steps after which an episode is over at the latest; Gymnasium's where absent.

    Attributes:
        title: the name in Gymnasium.
        precision: what states are computed in, in words.
        limit: Gymnasium's number of steps.
        lowest, highest: (k, 1) the bounds between which the numbers of a first state are uniform.
        name, identity, input_shape, actions, steps: see :class:`galab.tasks.episodes.Environment`.

    Raises:
        UsageError: there is no step.
    """

    name: str
    title: ClassVar[str]
    precision: ClassVar[str] = "float64"
    limit: ClassVar[int]
    lowest: ClassVar[NDArray[np.float64]]
    highest: ClassVar[NDArray[np.float64]]
    input_shape: tuple[int, ...]
    actions: ActionSpace

    def __init__(self, steps: int | None = None) -> None:
        self.steps = self.limit if steps is None else steps
        if self.steps < 1:
            raise UsageError(f"environment '{self.name}': expected steps of at least 1, got {steps}; name a larger one")
        self.identity = (
            f"{self.title} of Gymnasium in NumPy, states in {self.precision}, starts by SplitMix64, at most "
            f"{self.steps} steps"
        )

    def play(self, starts: NDArray[np.int64]) -> ClassicGame:
        """Begin episodes of starts (N,) from 0 to 2^63 - 1."""
        return ClassicGame(self, np.asarray(starts, np.int64))

    def frames_of(self, start: int, act: Act) -> Iterator[NDArray[np.uint8]]:
        """One episode in pictures (300, 400, 3), see :func:`galab.tasks.classic_drawings.frames`."""
        from galab.tasks.classic_drawings import frames
        return frames(self.name, self.play(np.array([start])), act)

    def begin(self, starts: NDArray[np.int64]) -> NDArray[np.float64]:
        """The first states (k, N) of starts (N,)."""
        numbers = np.ascontiguousarray(uniforms(starts, len(self.lowest)).T)
        return numbers * (self.highest - self.lowest) + self.lowest

    @abstractmethod
    def advance(self, state: NDArray[np.float64], actions: NDArray[Any]) -> Step:
        """Take one step in every episode, over or not.

        Args:
            state: (k, N), left as it is.
            actions: as :meth:`galab.tasks.episodes.ActionSpace.greedy` gives them: (N,) choices or (N, 1) numbers.

        Returns:
            new arrays: the next states (k, N), the rewards (N,) and which episodes ended (N,).
        """

    def observe(self, state: NDArray[np.float64]) -> NDArray[np.float32]:
        """What is seen (N, inputs) of states (k, N): the states themselves, where a world does not say otherwise."""
        return state.T.astype(np.float32)


class ClassicGame:
    """N episodes of a world, by their starts (N,), see :class:`galab.tasks.episodes.Game`.

    Attributes:
        observations: (N, inputs) float32 of the float64 states; in memory, input by input.
        done, frames, failures: see :class:`galab.tasks.episodes.Game`. Arrays are new after every step.
    """

    def __init__(self, world: ClassicControl, starts: NDArray[np.int64]) -> None:
        self._world = world
        self._rows = world.begin(starts)
        self._taken, self._over = 0, 0  # steps, and how many episodes are over
        self.observations = world.observe(self._rows)
        self.done: NDArray[np.bool_] = np.zeros(len(starts), np.bool_)
        self.frames: NDArray[np.int64] = np.zeros(len(starts), np.int64)
        self.failures: dict[int, str] = {}

    @property
    def state(self) -> NDArray[np.float64]:
        """A copy (N, k) of the states. Set it to go on from others; what is over remains so."""
        return self._rows.T.copy()

    @state.setter
    def state(self, state: NDArray[np.float64]) -> None:
        rows = np.array(np.asarray(state, np.float64).T, order="C")
        if rows.shape != self._rows.shape:
            raise ValueError(f"expected states of shape {self._rows.T.shape}, got {rows.T.shape}")
        self._rows = rows
        self.observations = self._world.observe(rows)

    def step(self, actions: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Take a step in every episode that is not over, see :meth:`galab.tasks.episodes.Game.step`."""
        before = self.done
        if self._over == len(before):
            return np.zeros(len(before))
        if self._over:
            actions = actions.copy()
            actions[before] = 0
        rows, rewards, ended = self._world.advance(self._rows, actions)
        if self._over:
            np.copyto(rows, self._rows, where=before)
            np.copyto(rewards, 0.0, where=before)
            self.frames = self.frames + ~before
        else:
            self.frames = self.frames + 1
        self._rows = rows
        self.observations = self._world.observe(rows)
        self._taken += 1
        if self._taken >= self._world.steps:
            self.done = np.ones(len(before), np.bool_)
            self._over = len(before)
        elif np.count_nonzero(ended):
            self.done = before | ended
            self._over = int(np.count_nonzero(self.done))
        return rewards

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Go on with the episodes in these rows, see :class:`galab.tasks.episodes.PacksEpisodes`."""
        self._rows = np.ascontiguousarray(self._rows[:, rows])
        self.observations, self.done, self.frames = self.observations[rows], self.done[rows], self.frames[rows]
        self._over = int(np.count_nonzero(self.done))

    def close(self) -> None:
        """Nothing is held."""


class CartPole(ClassicControl):
    """A pole on a cart that is pushed to the left (0) or to the right (1); 1 for every step until it falls.

    The state is what is seen: place, speed, angle and its speed. An episode ends beyond 2.4 m or 12 degrees.
    """

    name = "cartpole"
    title = "CartPole-v1"
    limit = 500
    input_shape = (4,)
    actions = ActionSpace(choices=(2,))
    lowest, highest = np.full((4, 1), -0.05), np.full((4, 1), 0.05)
    FARTHEST, STEEPEST = 2.4, 12 * 2 * math.pi / 360
    GRAVITY, SECONDS = 9.8, 0.02
    #: Half the pole's length times its share of the mass; both of them 0.1 kg, or 1.1 kg with the cart.
    SHARE = 0.1 * 0.5 / (0.1 + 1.0)
    #: The acceleration of all by a push of 10 N.
    PUSHES = np.array([-10.0, 10.0]) / (0.1 + 1.0)

    def advance(self, state: NDArray[np.float64], actions: NDArray[Any]) -> Step:
        """Newton's laws of cart and pole without friction, one step of Euler's method."""
        _, speed, angle, spin = state
        sine, cosine = np.sin(angle), np.cos(angle)
        after = np.empty_like(state)
        drive, turn = after[1], after[3]
        # The cart's acceleration, were the pole's angle not accelerated: push + SHARE spin^2 sine.
        np.multiply(spin, spin, out=drive)
        drive *= sine
        drive *= self.SHARE
        drive += self.PUSHES.take(actions)
        # turn = (GRAVITY sine - cosine drive) / (2/3 - SHARE cosine^2)
        lever = cosine * self.SHARE
        np.multiply(sine, self.GRAVITY, out=turn)
        np.multiply(cosine, drive, out=sine)
        turn -= sine
        cosine *= lever
        np.subtract(0.5 * 4.0 / 3.0, cosine, out=cosine)
        turn /= cosine
        lever *= turn
        drive -= lever
        after[0] = speed
        after[2] = spin
        after *= self.SECONDS
        after += state
        ended = np.abs(after[0]) > self.FARTHEST
        ended |= np.abs(after[2]) > self.STEEPEST
        return after, np.ones(len(angle)), ended


def _squared(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squares as those of Gymnasium, which raises single numbers to the power 2: now and then another last bit."""
    return np.float_power(values, 2)


class Acrobot(ClassicControl):
    """Two links hang from a joint; a motor between them turns by -1, 0 or 1 (choices 0, 1, 2).

    Every step costs 1, but for the one that lifts the free end a link's length above the joint, which ends the episode.
    The state is both angles and their speeds, the second angle measured from the first link. Seen are cosine and sine
    of the first angle, those of the second, and the speeds. Links are 1 m long, of 1 kg, with a moment of inertia of 1.
    """

    name = "acrobot"
    title = "Acrobot-v1"
    limit = 500
    input_shape = (6,)
    actions = ActionSpace(choices=(3,))
    lowest, highest = np.full((4, 1), -0.1), np.full((4, 1), 0.1)
    SECONDS, GRAVITY = 0.2, 9.8
    FASTEST = np.array([[4 * math.pi], [9 * math.pi]])
    TORQUES = np.array([-1.0, 0.0, 1.0])

    def begin(self, starts: NDArray[np.int64]) -> NDArray[np.float64]:
        """The first states (4, N), rounded to float32 as Gymnasium's are."""
        return super().begin(starts).astype(np.float32).astype(np.float64)

    def advance(self, state: NDArray[np.float64], actions: NDArray[Any]) -> Step:
        """One step of the method of Runge and Kutta; angles are wrapped to -pi to pi, speeds cut off."""
        torques = self.TORQUES.take(actions)
        slope = self._slope(state, torques)
        total = slope.copy()
        for share, weight in ((0.5, 2.0), (0.5, 2.0), (1.0, 1.0)):
            slope *= share * self.SECONDS
            slope += state
            slope = self._slope(slope, torques)
            total += weight * slope
        total *= self.SECONDS / 6
        total += state
        angles, speeds = total[:2], total[2:]
        # Less as many whole turns as it takes.
        angles -= np.rint(angles / (2 * math.pi)) * (2 * math.pi)
        np.minimum(speeds, self.FASTEST, out=speeds)
        np.maximum(speeds, -self.FASTEST, out=speeds)
        height = np.cos(angles[0])
        height += np.cos(angles[0] + angles[1])
        ended = height < -1.0
        return total, ended - 1.0, ended

    def _slope(self, state: NDArray[np.float64], torques: NDArray[np.float64]) -> NDArray[np.float64]:
        """How fast each number of the states (4, N) changes, by the equations of Sutton and Barto's book.

        At great speeds a step enlarges every rounding, so sums and products are in the order of Gymnasium's.
        """
        first, second, first_speed, second_speed = state
        slope = np.empty_like(state)
        slope[:2] = state[2:]
        sine, cosine = np.sin(second), np.cos(second)
        # Moments of inertia: of all about the joint, and of what the second link adds to them.
        whole = cosine + 1.25 + 0.25 + 1.0 + 1.0
        added = cosine * 0.5 + 0.25 + 1.0
        # Moments of forces: of the second link's weight, and of all weights and centrifugal forces.
        own = np.cos(first + second - math.pi / 2)
        own *= 0.5 * self.GRAVITY
        every = _squared(second_speed) * -0.5 * sine
        every -= second_speed * first_speed * sine
        every += np.cos(first - math.pi / 2) * (1.5 * self.GRAVITY)
        every += own
        turn = added / whole * every
        turn += torques
        turn -= _squared(first_speed) * 0.5 * sine
        turn -= own
        np.divide(turn, 1.25 - _squared(added) / whole, out=slope[3])
        added *= slope[3]
        added += every
        added /= whole
        np.negative(added, out=slope[2])
        return slope

    def observe(self, state: NDArray[np.float64]) -> NDArray[np.float32]:
        """Cosine and sine of both angles, and both speeds."""
        seen = np.empty((6, state.shape[1]), np.float32)
        seen[0:4:2] = np.cos(state[:2])
        seen[1:4:2] = np.sin(state[:2])
        seen[4:] = state[2:]
        return seen.T


class Pendulum(ClassicControl):
    """A pendulum, turned by a motor of -2 to 2 Nm; being off the top costs, and so do speed and turning.

    The state is the angle from the top, which is not wrapped, and its speed. Seen are cosine, sine and speed. Episodes
    end by time alone.
    """

    name = "pendulum"
    title = "Pendulum-v1"
    limit = 200
    input_shape = (3,)
    actions = ActionSpace(low=(-2.0,), high=(2.0,))
    lowest, highest = np.array([[-math.pi], [-1.0]]), np.array([[math.pi], [1.0]])
    SECONDS, GRAVITY, FASTEST, STRONGEST = 0.05, 10.0, 8.0, 2.0

    def advance(self, state: NDArray[np.float64], actions: NDArray[Any]) -> Step:
        """The equation of a rod of 1 m and 1 kg, one step with the new speed."""
        angle, speed = state
        torque = np.minimum(actions[:, 0], self.STRONGEST, dtype=np.float64)
        np.maximum(torque, -self.STRONGEST, out=torque)
        after = np.empty_like(state)
        place, spin = after
        # Less the wrapped angle's square, a tenth of the speed's and a thousandth of the torque's.
        np.multiply(angle, 1 / (2 * math.pi), out=place)
        np.rint(place, out=place)
        place *= -2 * math.pi
        place += angle
        place *= place
        rewards = speed * speed
        rewards *= -0.1
        rewards -= place
        rewards -= 0.001 * (torque * torque)
        np.sin(angle, out=spin)
        spin *= 1.5 * self.GRAVITY
        spin += 3.0 * torque
        spin *= self.SECONDS
        spin += speed
        np.minimum(spin, self.FASTEST, out=spin)
        np.maximum(spin, -self.FASTEST, out=spin)
        np.multiply(spin, self.SECONDS, out=place)
        place += angle
        return after, rewards, np.zeros(len(angle), np.bool_)

    def observe(self, state: NDArray[np.float64]) -> NDArray[np.float32]:
        """Cosine and sine of the angle, and its speed."""
        seen = np.empty((3, state.shape[1]), np.float32)
        seen[0] = np.cos(state[0])
        seen[1] = np.sin(state[0])
        seen[2] = state[1]
        return seen.T


class _Valley(ClassicControl):
    """A car in a valley, whose state is its place and speed; the episode ends on the right hill."""

    input_shape = (2,)
    lowest, highest = np.array([[-0.6], [0.0]]), np.array([[-0.4], [0.0]])
    LEFT, RIGHT, FASTEST, GRAVITY = -1.2, 0.6, 0.07, 0.0025
    GOAL: float

    def _roll(
        self, state: NDArray[np.float64], push: NDArray[np.float64], slope: NDArray[np.float64], fastest: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The states (2, N) after a step, and which cars (N,) are on the hill.

        The engine's accelerations and the slopes, both (N,), are overwritten; ``fastest`` is what a speed beyond the
        limit becomes.
        """
        after = np.empty_like(state)
        place, speed = after
        slope *= self.GRAVITY
        push -= slope
        np.add(state[1], push, out=speed)
        for beyond, bound in ((speed > self.FASTEST, fastest), (speed < -self.FASTEST, -fastest)):
            if np.count_nonzero(beyond):
                np.copyto(speed, bound, where=beyond)
        np.add(state[0], speed, out=place)
        np.minimum(place, self.RIGHT, out=place)
        wall = place <= self.LEFT
        if np.count_nonzero(wall):
            np.copyto(place, self.LEFT, where=wall)
            np.copyto(speed, 0.0, where=wall & (speed < 0))
        ended = place >= self.GOAL
        ended &= speed >= 0.0
        return after, ended


class MountainCar(_Valley):
    """A car in a valley whose engine pulls to the left, not at all or to the right (choices 0, 1, 2); a step costs 1.

    The state is what is seen: place and speed.
    """

    name = "mountain-car"
    title = "MountainCar-v0"
    limit = 200
    actions = ActionSpace(choices=(3,))
    GOAL = 0.5
    PUSHES = np.array([-0.001, 0.0, 0.001])

    def advance(self, state: NDArray[np.float64], actions: NDArray[Any]) -> Step:
        """Engine and slope change the speed, and the new speed the place; the left end is a wall."""
        slope = state[0] * 3.0
        after, ended = self._roll(state, self.PUSHES.take(actions), np.cos(slope, out=slope), self.FASTEST)
        return after, np.full(len(ended), -1.0), ended


class MountainCarContinuous(_Valley):
    """The car with an engine from -1 to 1; a tenth of its square is what a step costs, and the hill is worth 100.

    The state is what is seen: place and speed. Gymnasium rounds it to float32 after every step, and so does this; here
    the first one is rounded too. With actions beyond -1 and 1, which no policy takes, Gymnasium computes in float32,
    and the states agree to about 1e-7.
    """

    name = "mountain-car-continuous"
    title = "MountainCarContinuous-v0"
    precision = "float64, rounded to float32 after every step"
    limit = 999
    actions = ActionSpace(low=(-1.0,), high=(1.0,))
    GOAL, POWER, PRIZE, PRICE = 0.45, 0.0015, 100.0, 0.1

    def begin(self, starts: NDArray[np.int64]) -> NDArray[np.float64]:
        """The first states (2, N), rounded to float32."""
        return super().begin(starts).astype(np.float32).astype(np.float64)

    def advance(self, state: NDArray[np.float64], actions: NDArray[Any]) -> Step:
        """As in :class:`MountainCar`, with a float32 where Gymnasium has one: in 3 x place, and in a speed cut off."""
        engine = actions[:, 0]
        push = np.minimum(engine, 1.0, dtype=np.float64)
        np.maximum(push, -1.0, out=push)
        push *= self.POWER
        slope = (state[0].astype(np.float32) * np.float32(3.0)).astype(np.float64)
        after, ended = self._roll(state, push, np.cos(slope, out=slope), float(np.float32(self.FASTEST)))
        rewards = np.multiply(engine, engine, dtype=np.float64)
        rewards *= -self.PRICE
        if np.count_nonzero(ended):
            rewards += self.PRIZE * ended
        after[...] = after.astype(np.float32)
        return after, rewards, ended


#: The worlds by their names.
ENVIRONMENTS: dict[str, type[ClassicControl]] = {
    world.name: world for world in (CartPole, Acrobot, Pendulum, MountainCar, MountainCarContinuous)
}
