"""Environments of the package gymnasium, by their id, and environments of the user's own that look like them.

Source: M. Towers et al., "Gymnasium: a standard interface for reinforcement learning environments", 2024.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config.registry import import_reference
from galab.errors import GalabError, UsageError, closest, errors_ignored, pass_interrupts, printable
from galab.tasks.episodes import ActionSpace

#: Seeds of gymnasium are smaller than this; a start is taken modulo it.
SEEDS = 2**31


def gym(id: str, steps: int | None = None, **options: Any) -> Gymnasium:
    """An environment that gymnasium knows by its id, such as ``LunarLander-v3``.

    Args:
        id: as ``gymnasium.make`` takes it, or ``FILE.py:function`` for a function or class of your own that makes one.
        steps: after so many an episode is over at the latest; what the environment says itself where None.
        options: further arguments of ``gymnasium.make``.

    Raises:
        UsageError: see :class:`Gymnasium`.
    """
    place, _, attribute = id.rpartition(":")
    if place.endswith(".py"):
        maker = import_reference(id, "environment")
        if not callable(maker):
            raise UsageError(f"environment '{id}': expected '{attribute}' to be a function or a class, got {maker!r}")
        taken = {"id", "steps", "validation", "test"} & set(inspect.signature(maker).parameters)
        if taken:
            raise UsageError(
                f"environment '{id}': expected '{attribute}' to take other arguments than id, steps, validation and "
                f"test, which are galab's own, got {', '.join(sorted(taken))}; rename them"
            )
        return Gymnasium(maker, steps, options, reference=id)
    return Gymnasium(id, steps, options)


class SpacesError(UsageError):
    """Environments of one maker differ in what is seen or done in them."""


class Senses:
    """How observations of a gymnasium space become arrays.

    Args:
        space: a Box of any shape, or Discrete.
        who: whose space it is, for the sentences.

    Attributes:
        shape: of one observation; ``(1,)`` for a single number, (n,) with a one among zeros for Discrete.
        dtype: uint8 where all bounds are 0 and 255, else float32.

    Raises:
        UsageError: a space of another kind.
    """

    def __init__(self, space: Any, who: str) -> None:
        from gymnasium import spaces

        self._first = 0
        self._choices = 0
        self.dtype: type[np.float32] | type[np.uint8] = np.float32
        if isinstance(space, spaces.Discrete):
            self._first, self._choices = int(space.start), int(space.n)
            self.shape: tuple[int, ...] = (self._choices,)
        elif isinstance(space, spaces.Box) and space.low.size:
            self.shape = tuple(space.shape) or (1,)
            if space.dtype == np.uint8 and bool((space.low == 0).all() and (space.high == 255).all()):
                self.dtype = np.uint8
        else:
            kind = "a Box without a number" if isinstance(space, spaces.Box) else f"a {type(space).__name__} space"
            raise UsageError(
                f"{who}: expected observations of a Box or of a Discrete space, got {kind}; wrap the environment in "
                "gymnasium.wrappers.FlattenObservation"
            )
        self._own_shape = () if self._choices else tuple(space.shape)

    def array(self, observation: Any) -> NDArray[np.float32] | NDArray[np.uint8]:
        """An observation as an array of ``shape`` and ``dtype``.

        Raises:
            ValueError: it is of another shape or kind, or not finite.
        """
        found = np.asarray(observation)
        if found.shape != self._own_shape:
            raise ValueError(f"expected an observation of shape {self._own_shape}, got {found.shape}")
        if self._choices:
            number = int(found) - self._first
            if not 0 <= number < self._choices or number + self._first != found:
                last = self._first + self._choices - 1
                raise ValueError(f"expected an observation from {self._first} to {last}, got {found}")
            return np.eye(1, self._choices, number, dtype=np.float32)[0]
        if self.dtype is np.uint8:
            if found.dtype != np.uint8:
                raise ValueError(f"expected an observation of uint8, got {found.dtype}")
            return found.reshape(self.shape)
        if found.dtype == np.float32:
            numbers = found.reshape(self.shape)
        else:
            with np.errstate(over="ignore"):
                numbers = found.astype(np.float32).reshape(self.shape)
        if not np.isfinite(numbers).all():
            raise ValueError("expected an observation of finite numbers, got NaN or infinity")
        return numbers


class Limbs:
    """How a policy's actions become those of a gymnasium space.

    Args:
        space: Discrete, MultiDiscrete, MultiBinary or a Box.
        who: whose space it is, for the sentences.

    Attributes:
        actions: what a policy may do.

    Raises:
        UsageError: a space of another kind.
    """

    def __init__(self, space: Any, who: str) -> None:
        from gymnasium import spaces

        self._start: Any = 0
        if isinstance(space, spaces.Discrete):
            self.actions, self._start = ActionSpace(choices=(int(space.n),)), int(space.start)
        elif isinstance(space, spaces.MultiDiscrete) and space.nvec.size:
            self.actions = ActionSpace(choices=tuple(int(number) for number in space.nvec.reshape(-1)))
            self._start = space.start
        elif isinstance(space, spaces.MultiBinary) and (count := int(np.prod(space.shape))):
            self.actions = ActionSpace(choices=(2,) * count)
        elif isinstance(space, spaces.Box) and space.low.size:
            low, high = space.low.reshape(-1), space.high.reshape(-1)
            self.actions = ActionSpace(low=tuple(map(float, low)), high=tuple(map(float, high)))
        else:
            raise UsageError(
                f"{who}: expected actions of a Discrete, MultiDiscrete, MultiBinary or Box space, got "
                f"{type(space).__name__}; turn them into one of these in a gymnasium.ActionWrapper"
            )
        self._shape, self._dtype = tuple(space.shape or ()), np.dtype(space.dtype)
        self._single = isinstance(space, spaces.Discrete)
        self._whole = not self.actions.choices and self._dtype.kind in "iu"

    def action(self, chosen: Any) -> Any:
        """One row's action for the environment.

        Args:
            chosen: a row of what :meth:`galab.tasks.episodes.ActionSpace.greedy` gives.
        """
        if self._single:
            return self._dtype.type(int(np.asarray(chosen).item()) + self._start)
        numbers = np.asarray(chosen).reshape(self._shape)
        if self._whole:
            numbers = np.rint(numbers)
        return np.asarray(numbers + self._start, self._dtype)


class GymnasiumGame:
    """Episodes side by side, each in an environment of its own; see :class:`galab.tasks.episodes.Game`.

    Args:
        owner: whose episodes they are.
        starts: (N,) of the episodes.
    """

    def __init__(self, owner: Gymnasium, starts: NDArray[np.int64]) -> None:
        count = len(starts)
        self._owner = owner
        self._worlds: list[Any] = [None] * count
        self.observations: Any = np.zeros((count, *owner.input_shape), owner.senses.dtype)
        self.done = np.zeros(count, np.bool_)
        self.frames = np.zeros(count, np.int64)
        self.failures: dict[int, str] = {}
        for row, start in enumerate(starts):
            try:
                self._worlds[row] = owner.take()
            except SpacesError:
                self.close()
                raise
            except BaseException as error:
                self._fail(row, error)
                continue
            try:
                seen, _ = self._worlds[row].reset(seed=int(start) % SEEDS)
                self.observations[row] = owner.senses.array(seen)
            except BaseException as error:
                self._fail(row, error)

    def step(self, actions: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Take a step in every episode that is not over; (N,) or (N, numbers) actions, (N,) rewards.

        The reward of a step that fails is 0.
        """
        rewards = np.zeros(len(self.done))
        owner = self._owner
        for row in np.flatnonzero(~self.done).tolist():
            self.frames[row] += 1
            try:
                action = owner.limbs.action(actions[row])
                seen, reward, terminated, truncated, _ = self._worlds[row].step(action)
                gained = float(reward)
                if not math.isfinite(gained):
                    raise ValueError(f"expected a reward that is a finite number, got {reward}")
                self.observations[row] = owner.senses.array(seen)
                self.done[row] = bool(terminated) or bool(truncated) or self.frames[row] >= owner.steps
                rewards[row] = gained
            except BaseException as error:
                self._fail(row, error)
        return rewards

    def close(self) -> None:
        """Give the environments back; they serve other episodes then."""
        worlds, self._worlds = self._worlds, [None] * len(self._worlds)
        self.done[:] = True
        self._owner.give_back([world for world in worlds if world is not None])

    def _fail(self, row: int, error: BaseException) -> None:
        """End an episode whose environment failed, and throw that away; Ctrl-C is raised again."""
        pass_interrupts(error)
        self.failures[row] = reason(error)
        self.done[row] = True
        throw_away(self._worlds[row])
        self._worlds[row] = None


class Gymnasium:
    """An environment with gymnasium's interface; see :class:`galab.tasks.episodes.Environment`.

    An episode's seed is its start modulo 2^31. It is over when it terminates, when it is truncated, after ``steps``,
    and when its environment fails: raises, or answers with a reward or an observation that is not finite or of
    another shape. An environment that has failed is not used again; the others are, for later episodes.

    Args:
        maker: an id that gymnasium knows, or a function that returns a new environment.
        steps: after so many an episode is over at the latest; what the environment's ``spec`` says where None.
        options: arguments of ``gymnasium.make``, or of the function.
        reference: the text that stands for the function in ``identity``; its module and name where None.

    Attributes:
        name, identity, input_shape, actions, steps: see there.
        senses: how observations are read.
        limbs: how actions are written.

    Raises:
        UsageError: gymnasium is missing or does not know the id, or no environment can be made, or there is no limit
            of steps, or its spaces are not those of one array and of choices or numbers.
    """

    def __init__(
        self,
        maker: str | Callable[..., Any],
        steps: int | None = None,
        options: dict[str, Any] | None = None,
        reference: str | None = None,
    ) -> None:
        version = _package(maker).__version__
        self._maker, self._options = maker, dict(options or {})
        self._free: list[Any] = []
        given = ", ".join(f"{name}={value!r}" for name, value in sorted(self._options.items()))
        if isinstance(maker, str):
            self.name, text = maker, f"gym {maker}"
        else:
            self.name = str(reference or getattr(maker, "__name__", type(maker).__name__))
            text = f"gym {reference or _reference(maker)}"
        self._who = f"task 'gym({self.name})'"
        if steps is not None and (steps < 1 or steps != int(steps)):
            raise UsageError(
                f"{self._who}: expected steps to be a whole number of at least 1, got {steps}; name another"
            )
        self._steps = None if steps is None else int(steps)
        world = self._first()
        try:
            self.steps = self._steps or self._limit(world)
            self._spaces = world.observation_space, world.action_space
            self.senses = Senses(world.observation_space, self._who)
            self.limbs = Limbs(world.action_space, self._who)
        except AttributeError as error:
            raise UsageError(
                f"{self._who}: expected an environment of gymnasium, got {type(world).__name__}: {error}; return a "
                "gymnasium.Env"
            ) from error
        self._free.append(world)
        self.input_shape, self.actions = self.senses.shape, self.limbs.actions
        self.identity = f"{text}, options ({given}), steps {self.steps}, gymnasium {version}"

    def play(self, starts: NDArray[np.int64]) -> GymnasiumGame:
        """Begin the episodes of (N,) starts.

        Raises:
            UsageError: an environment that was made for it has other spaces than the first one.
        """
        return GymnasiumGame(self, starts)

    def take(self) -> Any:
        """An environment that nobody plays in; made where none is left."""
        if self._free:
            return self._free.pop()
        world = self._make()
        if (found := (world.observation_space, world.action_space)) != self._spaces:
            throw_away(world)
            raise SpacesError(
                f"{self._who}: expected every environment to have the spaces {self._spaces}, got one with {found}; "
                "make all of them alike"
            )
        return world

    def give_back(self, worlds: list[Any]) -> None:
        """Keep environments for later episodes."""
        self._free.extend(worlds)

    def frames_of(self, start: int, act: Callable[[NDArray[Any]], NDArray[Any] | float]) -> Iterator[NDArray[np.uint8]]:
        """One episode to look at.

        Args:
            start: of the episode.
            act: the action for observations (1, *input_shape).

        Yields:
            (H, W, 3) before the first action and after each.

        Raises:
            GalabError: the environment failed, or it draws no pictures.
        """
        world: Any = None
        try:
            world = self._make(render_mode="rgb_array")
            seen, _ = world.reset(seed=int(start) % SEEDS)
            for _ in range(self.steps):
                yield self._picture(world)
                action = self.limbs.action(act(self.senses.array(seen)[None]))
                seen, _, terminated, truncated, _ = world.step(action)
                if terminated or truncated:
                    break
            yield self._picture(world)
        except (GalabError, GeneratorExit):
            raise
        except BaseException as error:
            pass_interrupts(error)
            raise GalabError(
                f"{self._who}: expected pictures of an episode, got {reason(error)}; make an environment that can be "
                "made with render_mode='rgb_array'"
            ) from error
        finally:
            throw_away(world)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_free": []}

    def _picture(self, world: Any) -> NDArray[np.uint8]:
        picture = np.asarray(world.render())
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"a picture of {picture.dtype} of shape {picture.shape} instead of uint8 (H, W, 3)")
        return picture

    def _make(self, **more: Any) -> Any:
        """A new environment; whatever stops it from being made is raised as it is."""
        with warnings.catch_warnings():
            # Such as that there is a later version, or that bounds lose digits.
            warnings.simplefilter("ignore")
            if not isinstance(self._maker, str):
                if more and not _accepts(self._maker, *more):
                    raise TypeError("a function without the argument render_mode")
                return self._maker(**self._options, **more)
            import gymnasium

            arguments = {"max_episode_steps": self._steps, "disable_env_checker": True, **self._options, **more}
            return gymnasium.make(self._maker, **arguments)

    def _first(self) -> Any:
        """A new environment, or a sentence."""
        from gymnasium import error as errors

        try:
            world = self._make()
            _refuse_vectors(self._who, world)
            _refuse_statistics(self._who, world)
            return world
        except UsageError:
            raise
        except (errors.UnregisteredEnv, errors.DeprecatedEnv) as error:
            raise UsageError(
                f"expected the id of an environment that gymnasium knows, got '{self._maker}'; name another, or as "
                f"module:id the module that makes it known.{_near(str(self._maker))}"
            ) from error
        except errors.DependencyNotInstalled as error:
            raise UsageError(
                f"{self._who}: expected the packages that it needs, got: {error}; install them, with "
                "pip install 'gymnasium[all]' for instance"
            ) from error
        except BaseException as error:
            pass_interrupts(error)
            raise UsageError(
                f"{self._who}: expected to make an environment, got {reason(error)}; see that it can be made with "
                f"{self._options or 'no options'}"
            ) from error

    def _limit(self, world: Any) -> int:
        limit = getattr(getattr(world, "spec", None), "max_episode_steps", None)
        while limit is None and world is not None:  # an environment that is in no registry may be wrapped in a limit
            limit = getattr(world, "_max_episode_steps", None)
            world = getattr(world, "env", None)
        if not limit or limit < 1:
            raise UsageError(
                f"{self._who}: expected a limit of steps, got none from the environment; write "
                f"'gym({self.name}, steps=1000)', say, or wrap it in gymnasium.wrappers.TimeLimit"
            )
        return int(limit)


def _refuse_vectors(who: str, world: Any) -> None:
    """Refuse several environments in one: they share a generator, so a start would depend on its row."""
    from gymnasium.vector import VectorEnv

    if isinstance(world, VectorEnv):
        throw_away(world)
        raise UsageError(
            f"{who}: expected one environment, got a {type(world).__name__} of {world.num_envs}; return one: galab "
            "makes as many as it needs, and --workers share them"
        )


def _refuse_statistics(who: str, world: Any) -> None:
    """Refuse wrappers that learn from the episodes before: a score would depend on who played there."""
    while world is not None:
        kind = type(world).__name__
        if kind in ("NormalizeObservation", "NormalizeReward", "VecNormalize"):
            raise UsageError(
                f"{who}: expected episodes that depend on their start alone, got a {kind}, which learns from those "
                "before; drop the wrapper"
            )
        world = getattr(world, "env", None)


def reason(error: BaseException) -> str:
    """What an environment raised, in one line: ``ValueError: text``."""
    text = printable(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def throw_away(world: Any) -> None:
    """Close an environment that is not used again, whatever it does."""
    if world is not None:
        with errors_ignored():
            world.close()


def _package(maker: object) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import gymnasium

            if str(maker).startswith("ALE/"):
                with contextlib.suppress(ImportError):
                    import ale_py  # noqa: F401  (it makes its games known to gymnasium)
    except ImportError as error:
        name = maker if isinstance(maker, str) else "..."
        raise UsageError(
            f"expected the package gymnasium for --task gym({name}), found none; install it with "
            "pip install 'galab[rl]'"
        ) from error
    return gymnasium


def _near(name: str) -> str:
    from gymnasium import registry

    return closest(name, sorted(registry))


def _reference(maker: Callable[..., Any]) -> str:
    """A name that is the same in another process, unlike the ``repr`` of a function."""
    name = getattr(maker, "__qualname__", None)
    return f"{maker.__module__}:{name}" if name else repr(maker)


def _accepts(maker: Callable[..., Any], *names: str) -> bool:
    try:
        parameters = inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return True
    return all(name in parameters for name in names) or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )
