"""Environments of gymnasium: episodes depend on their starts alone, and what fails ends one episode."""

from __future__ import annotations

import functools
import pickle
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from galab.errors import GalabError, UsageError
from galab.tasks.gymnasium_environments import Gymnasium, Limbs, Senses, gym

gymnasium = pytest.importorskip("gymnasium")
spaces = gymnasium.spaces


class World(gymnasium.Env):  # type: ignore[misc, name-defined]
    """Adds up random numbers; ``faults`` says what happens to which seed at its third step, or at its beginning."""

    made = 0

    def __init__(self, faults: dict[int, Any] | None = None, length: int = 10, render_mode: str | None = None) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Discrete(3, start=-1)
        self.faults, self.length, self.render_mode = faults or {}, length, render_mode
        self.closed = False
        type(self).made += 1

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seed, self.count, self.sum = seed, 0, 0.0
        if self.faults.get(seed) == "reset":
            raise RuntimeError("no\nbeginning")
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.count += 1
        self.sum += self.np_random.normal() + int(action)
        seen, reward = np.array([self.sum, self.count], np.float32), self.sum
        fault = self.faults.get(self.seed) if self.count == 3 else None
        if isinstance(fault, BaseException):
            raise fault
        if callable(fault):
            seen, reward = fault(seen, reward)
        return seen, reward, self.count >= self.length, False, {}

    def render(self) -> Any:
        return np.full((4, 5, 3), self.count, np.uint8)

    def close(self) -> None:
        self.closed = True


def played(environment: Gymnasium, starts: list[int]) -> list[list[tuple[bytes, float]]]:
    """Of each row, what was seen and earned at each step of its episode; rows that are over get garbage."""
    game = environment.play(np.array(starts))
    choices = environment.actions.choices
    plans = [np.random.default_rng([start, 1]).integers(choices[0], size=environment.steps) for start in starts]
    told = [[(game.observations[row].tobytes(), 0.0)] for row in range(len(starts))]
    for step in range(environment.steps):
        over, last = game.done.copy(), game.observations.copy()
        rewards = game.step(np.where(over, np.nan, [plan[step] for plan in plans]))
        assert not rewards[over].any()
        assert np.array_equal(game.observations[over], last[over])
        for row in np.flatnonzero(~over):
            told[row].append((game.observations[row].tobytes(), float(rewards[row])))
    assert game.done.all()
    assert game.frames.tolist() == [len(row) - 1 for row in told]
    game.close()
    return told


@pytest.mark.parametrize("id", ["CartPole-v1", "LunarLander-v3"])
def test_an_episode_depends_on_its_start_alone(id: str) -> None:
    if id == "LunarLander-v3":
        pytest.importorskip("Box2D")
    environment = gym(id, steps=120)
    alone = [played(environment, [start])[0] for start in (5, 2**63 - 1)]
    together = played(environment, [7, 2**63 - 1, 5, 8, 5])
    assert together[1] == alone[1]
    assert together[2] == together[4] == alone[0]
    assert together[0] != together[3]
    assert played(gym(id, steps=120), [8])[0] == together[3]


def test_an_episode_is_the_one_that_gymnasium_plays() -> None:
    theirs = gymnasium.make("CartPole-v1")
    environment = gym("CartPole-v1")
    assert (environment.steps, environment.input_shape, environment.actions.choices) == (500, (4,), (2,))
    game = environment.play(np.array([3]))
    seen, _ = theirs.reset(seed=3)
    terminated = False
    while not terminated:
        assert np.array_equal(game.observations[0], seen)
        seen, reward, terminated, _, _ = theirs.step(1)
        assert game.step(np.array([1]))[0] == reward
        assert game.done[0] == terminated


def test_steps_limit_an_episode_from_both_sides() -> None:
    for steps in (3, 700):
        environment = gym("MountainCar-v0", steps=steps)
        game = environment.play(np.array([1]))
        while not game.done.all():
            game.step(np.array([1]))
        assert game.frames.tolist() == [steps]
    endless = Gymnasium(functools.partial(World, length=10**9), 20)
    assert [len(row) for row in played(endless, [1, 2])] == [21, 21]


def test_environments_are_made_once_and_used_again() -> None:
    World.made = 0
    environment = Gymnasium(World, 10)
    for starts in ([1, 2, 3], [4], [5, 6, 7]):
        played(environment, starts)
    assert World.made == 3


FAULTS = {
    1: "reset",
    2: ValueError("bad\x1b luck"),
    3: lambda seen, reward: (seen, np.nan),
    4: lambda seen, reward: (seen * np.inf, reward),
    5: lambda seen, reward: (seen[:1], reward),
    6: SystemExit(3),
    7: lambda seen, reward: (seen, np.inf),
    8: lambda seen, reward: ("words", reward),
    9: KeyError(),
    10: lambda seen, reward: (seen.astype(np.float64) * 1e300, reward),
}


def test_what_fails_ends_its_own_episode_and_is_not_used_again() -> None:
    environment = Gymnasium(World, 10, {"faults": FAULTS})
    sound = played(Gymnasium(World, 10), [0, 11])
    World.made = 0
    game = environment.play(np.arange(12))
    assert game.failures == {1: "RuntimeError: no beginning"}
    assert not game.observations[1].any()
    worlds = list(game._worlds)
    plans = [np.random.default_rng([start, 1]).integers(3, size=10) for start in range(12)]
    earned = np.array([game.step(np.array([plan[step] for plan in plans])) for step in range(10)])
    infinite = "expected an observation of finite numbers, got NaN or infinity"
    assert game.failures == {
        1: "RuntimeError: no beginning",
        2: "ValueError: bad\\u001b luck",
        3: "ValueError: expected a reward that is a finite number, got nan",
        4: f"ValueError: {infinite}",
        5: "ValueError: expected an observation of shape (2,), got (1,)",
        6: "SystemExit: 3",
        7: "ValueError: expected a reward that is a finite number, got inf",
        8: "ValueError: expected an observation of shape (2,), got ()",
        9: "KeyError",
        10: f"ValueError: {infinite}",
    }
    assert game.frames.tolist() == [10, 0, *[3] * 9, 10]
    assert np.isfinite(game.observations).all()
    assert not earned[2:, 1:11].any()
    for row, told in zip((0, 11), sound, strict=True):
        assert earned[:, row].tolist() == [reward for _, reward in told[1:]]
    assert [world.closed for world in worlds if world] == [False, *[True] * 9, False]
    game.close()
    assert len(environment._free) == 2


def test_an_environment_that_cannot_be_made_again_fails_its_episode() -> None:
    def maker() -> World:
        if World.made >= 2:
            raise OSError("too many")
        return World()

    World.made = 0
    game = Gymnasium(maker, 10).play(np.arange(3))
    assert game.failures == {2: "OSError: too many"}
    assert game.done.tolist() == [False, False, True]


@pytest.mark.parametrize("where", ["reset", "step"])
def test_ctrl_c_passes(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    environment = Gymnasium(World, 10)
    game = environment.play(np.arange(2))
    monkeypatch.setattr(World, where, interrupt)
    with pytest.raises(KeyboardInterrupt):
        game.step(np.zeros(2)) if where == "step" else environment.play(np.arange(2))


class Odd(World):
    """A world of other spaces."""

    def __init__(self, observations: Any = None, actions: Any = None, seen: Any = None) -> None:
        super().__init__()
        self.observation_space = observations or self.observation_space
        self.action_space = actions or self.action_space
        self.seen = seen

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.seen, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.action = action
        return self.seen, np.float32(1), False, True, {}


@pytest.mark.parametrize(
    ("space", "seen", "expected"),
    [
        (spaces.Discrete(4, start=2), np.int64(3), np.array([0, 1, 0, 0], np.float32)),
        (spaces.Discrete(4), 0, np.array([1, 0, 0, 0], np.float32)),
        (spaces.Box(0, 255, (2, 2, 3), np.uint8), np.full((2, 2, 3), 7, np.uint8), np.full((2, 2, 3), 7, np.uint8)),
        (spaces.Box(0, 9, (2,), np.uint8), np.array([3, 9], np.uint8), np.array([3, 9], np.float32)),
        (spaces.Box(-1, 1, (2, 1), np.float64), [[0.5], [1]], np.array([[0.5], [1]], np.float32)),
        (spaces.Box(-1, 1, (), np.float32), 0.25, np.array([0.25], np.float32)),
    ],
)
def test_observations_of_each_space(space: Any, seen: Any, expected: NDArray[Any]) -> None:
    environment = Gymnasium(Odd, 5, {"observations": space, "seen": seen})
    game = environment.play(np.array([0]))
    assert not game.failures
    assert environment.input_shape == expected.shape
    assert game.observations.dtype == expected.dtype
    assert np.array_equal(game.observations[0], expected)


@pytest.mark.parametrize(
    ("space", "seen", "sentence"),
    [
        (spaces.Discrete(4, start=2), 1, "expected an observation from 2 to 5, got 1"),
        (spaces.Discrete(4), 0.5, "expected an observation from 0 to 3, got 0.5"),
        (spaces.Box(0, 255, (2,), np.uint8), np.ones(2), "expected an observation of uint8, got float64"),
        (spaces.Box(0, 255, (2,), np.uint8), np.ones(3, np.uint8), "expected an observation of shape (2,), got (3,)"),
    ],
)
def test_observations_outside_of_their_space_fail(space: Any, seen: Any, sentence: str) -> None:
    with pytest.raises(ValueError) as failure:  # noqa: PT011  (the sentence is compared)
        Senses(space, "x").array(seen)
    assert str(failure.value) == sentence


@pytest.mark.parametrize(
    ("space", "outputs", "expected"),
    [
        (spaces.Discrete(3, start=5), [0, 2, 1], np.int64(6)),
        (spaces.MultiDiscrete([2, 3]), [0, 1, 0, 0, 1], np.array([1, 2])),
        (spaces.MultiDiscrete([2, 3], start=[1, -1]), [0, 1, 0, 0, 1], np.array([2, 1])),
        (spaces.MultiDiscrete([3]), [0, 1, 0], np.array([1])),
        (spaces.MultiDiscrete([[2, 2], [2, 2]]), [0, 1, 1, 0, 1, 0, 0, 1], np.array([[1, 0], [0, 1]])),
        (spaces.MultiBinary(2), [0, 1, 1, 0], np.array([1, 0], np.int8)),
        (spaces.Box(-2, 4, (1, 2), np.float32), [0.5, 9], np.array([[2.5, 4]], np.float32)),
        (spaces.Box(0, 10, (1,), np.int32), [0.36], np.array([7], np.int32)),
        (spaces.Box(-1, 1, (), np.float32), [0.5], np.array(0.5, np.float32)),
    ],
)
def test_actions_of_each_space(space: Any, outputs: list[float], expected: Any) -> None:
    environment = Gymnasium(Odd, 5, {"actions": space, "seen": np.zeros(2, np.float32)})
    game = environment.play(np.array([0]))
    assert environment.actions.outputs == len(outputs)
    world = game._worlds[0]
    assert game.step(environment.actions.greedy(np.array([outputs], np.float32))) == [1]
    assert not game.failures
    assert world.action.dtype == expected.dtype
    assert np.array_equal(world.action, expected)
    assert game.done[0]


@pytest.mark.parametrize(
    ("observations", "actions", "sentence"),
    [
        (
            spaces.Dict(a=spaces.Discrete(2)),
            None,
            "task 'gym(Odd)': expected observations of a Box or of a Discrete space, got a Dict space; wrap the "
            "environment in gymnasium.wrappers.FlattenObservation",
        ),
        (spaces.Tuple([spaces.Discrete(2)]), None, "got a Tuple space; wrap the environment in gymnasium.wrappers."),
        (spaces.MultiBinary(3), None, "got a MultiBinary space; wrap the environment in gymnasium.wrappers."),
        (spaces.Box(0, 1, (0,)), None, "got a Box without a number"),
        (
            None,
            spaces.Dict(a=spaces.Discrete(2)),
            "task 'gym(Odd)': expected actions of a Discrete, MultiDiscrete, MultiBinary or Box space, got Dict; turn "
            "them into one of these in a gymnasium.ActionWrapper",
        ),
    ],
)
def test_other_spaces_are_refused(observations: Any, actions: Any, sentence: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Gymnasium(Odd, 5, {"observations": observations, "actions": actions})
    assert sentence in str(refusal.value)


def test_a_wrapper_makes_a_dictionary_playable() -> None:
    def maker() -> Any:
        odd = Odd(spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(0, 1, (2,))), None, {"a": 1, "b": np.zeros(2)})
        return gymnasium.wrappers.FlattenObservation(odd)

    environment = Gymnasium(maker, 5)
    assert environment.play(np.array([0])).observations.tolist() == [[0, 1, 0, 0]]


def test_spaces_that_change_are_refused() -> None:
    def maker() -> World:
        world = World()
        world.action_space = spaces.Discrete(World.made)
        return world

    environment = Gymnasium(maker, 5)
    with pytest.raises(UsageError, match="every environment to have the spaces .*, got one with .*; make all of them"):
        environment.play(np.arange(2))
    assert len(environment._free) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("LunarLandr-v3",),
            "expected the id of an environment that gymnasium knows, got 'LunarLandr-v3'; name another, or as "
            "module:id the module that makes it known. Did you mean 'LunarLander-v3'?",
        ),
        (("CartPole-v9",), "got 'CartPole-v9'; name another, or as module:id the module that makes it known. Did you"),
        (("LunarLander-v2",), "Did you mean 'LunarLander-v3'?"),
        (("no_module:Foo-v0",), "expected to make an environment, got ModuleNotFoundError: No module named 'no_module"),
        (("Blackjack-v1",), "task 'gym(Blackjack-v1)': expected a limit of steps, got none from the environment;"),
        (("CartPole-v1", 0), "task 'gym(CartPole-v1)': expected steps to be a whole number of at least 1, got 0; name"),
        (("CartPole-v1", None, {"x": 3}), "argument 'x' was raised"),
        ((World,), "task 'gym(World)': expected a limit of steps, got none from the environment; write"),
        ((dict, 5), "task 'gym(dict)': expected an environment of gymnasium, got dict: 'dict' object has no attribute"),
        ((lambda: 1 / 0, 5), "expected to make an environment, got ZeroDivisionError: division by zero; see that"),
    ],
)
def test_refusals(arguments: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Gymnasium(*arguments)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_package_of_an_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("Box2D is not installed")

    monkeypatch.setattr(gymnasium, "make", fail)
    with pytest.raises(UsageError, match="expected the packages that it needs, got: Box2D is not installed; install"):
        gym("CartPole-v1")


def test_gymnasium_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(UsageError) as refusal:
        gym("CartPole-v1")
    assert str(refusal.value) == (
        "expected the package gymnasium for --task gym(CartPole-v1), found none; install it with pip install "
        "'galab[rl]'"
    )


def test_what_dynamics_depend_on_is_in_the_identity() -> None:
    version = gymnasium.__version__
    assert gym("CartPole-v1", sutton_barto_reward=True).identity == (
        f"gym CartPole-v1, options (sutton_barto_reward=True), steps 500, gymnasium {version}"
    )
    assert Gymnasium(World, 9, {"length": 3}).identity == (
        f"gym {__name__}:World, options (length=3), steps 9, gymnasium {version}"
    )
    assert Gymnasium(World, 9, reference="worlds.py:World").identity.startswith("gym worlds.py:World, ")


def test_a_copy_for_another_process_makes_its_own_environments() -> None:
    environment = gym("CartPole-v1", steps=30)
    copy = pickle.loads(pickle.dumps(environment))
    assert not copy._free
    assert played(copy, [5]) == played(environment, [5])


def test_an_episode_can_be_looked_at() -> None:
    seen = []

    def act(observations: NDArray[Any]) -> NDArray[np.int64]:
        seen.append(observations.copy())
        return np.array([1])

    pictures = list(Gymnasium(World, 20).frames_of(4, act))
    assert [picture[0, 0, 0] for picture in pictures] == list(range(11))
    game = Gymnasium(World, 20).play(np.array([4]))
    for observation in seen:
        assert np.array_equal(observation, game.observations)
        game.step(np.array([1]))
    assert game.done.all()


def test_what_cannot_be_looked_at_is_said() -> None:
    def maker() -> World:
        return World()

    for environment, sentence in [
        (Gymnasium(maker, 5), "got TypeError: a function without the argument render_mode; make an environment"),
        (Gymnasium(World, 5, {"faults": {0: "reset"}}), "got RuntimeError: no beginning"),
    ]:
        with pytest.raises(GalabError) as refusal:
            list(environment.frames_of(0, lambda seen: 0))
        assert sentence in str(refusal.value)


def test_numbers_without_bounds_are_taken_as_they_are() -> None:
    limbs = Limbs(spaces.Box(-np.inf, np.inf, (1, 2), np.float32), "x")
    assert limbs.actions.low == (-np.inf, -np.inf)
    assert limbs.action(np.array([0.5, 9.0])).tolist() == [[0.5, 9.0]]


def test_limbs_take_a_plain_number_for_one_choice() -> None:
    assert Limbs(spaces.Discrete(3, start=-1), "x").action(2) == 1
