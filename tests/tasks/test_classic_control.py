"""Classic control: the same dynamics as Gymnasium's, and episodes that depend on their starts and actions alone."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from galab.errors import UsageError
from galab.tasks.classic_control import ENVIRONMENTS
from galab.tasks.episodes import Environment, Game, uniforms

NAMES = sorted(ENVIRONMENTS)
LIMITS = {"acrobot": 500, "cartpole": 500, "mountain-car": 200, "mountain-car-continuous": 999, "pendulum": 200}
#: Where random states lie: a little beyond what an episode reaches, so that some of them end at once.
REACH = {
    "cartpole": ([-2.5, -4, -0.25, -4], [2.5, 4, 0.25, 4]),
    "acrobot": ([-math.pi, -math.pi, -4 * math.pi, -9 * math.pi], [math.pi, math.pi, 4 * math.pi, 9 * math.pi]),
    "pendulum": ([-70, -8], [70, 8]),
    "mountain-car": ([-1.2, -0.07], [0.6, 0.07]),
    "mountain-car-continuous": ([-1.2, -0.07], [0.6, 0.07]),
}
#: States at a bound.
EDGES = {
    "cartpole": [[2.4, 0, 0, 0], [-2.4, 0, 0, 0], [2.4, 0.1, 0, 0], [0, 0, math.radians(12), 0], [0, 0, -0.2094, -0.1],
                 [0, 0, 3, 0]],
    "acrobot": [[3.1, 3.1, 12.5, 28], [-3.1, -3.1, -12.5, -28], [math.pi, 0, 0, 0], [0, 0, 0, 0], [2, 0.3, 1, 1]],
    "pendulum": [[0.1, 8], [-0.1, -8], [math.pi, 0], [-math.pi, 0], [math.pi + 0.01, 7.9], [80, 8], [-80, -8]],
    "mountain-car": [[-1.2, 0], [-1.2, -0.07], [-1.19, -0.05], [-1.2, 0.07], [0.6, 0.07], [0.5, 0], [0.499, 0.02],
                     [-0.2, 0.07], [-0.8, -0.07]],
}  # fmt: skip
EDGES["mountain-car-continuous"] = [*EDGES["mountain-car"], [0.45, 0], [0.449, 0.01]]

#: Three numbers each of the starts 0, 1 and 2^63 - 1, and the first state of a pole of start 3.
PINNED = [
    [0.6524484863740322, 0.7012121095215252, 0.3871241409757855],
    [0.36818951565166946, 0.9435642308648544, 0.04525699773739167],
    [0.41323623306268253, 0.49811467765368467, 0.22721231409439835],
]
START = [0.023751816819151922, 0.009333243585273453, 0.013324393963958861, 0.029378472523747326]


def oracle(name):
    """Gymnasium's own environment, bare."""
    gymnasium = pytest.importorskip("gymnasium")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gymnasium.make(ENVIRONMENTS[name].title).unwrapped


def single(name):
    """Whether Gymnasium holds the state in float32."""
    return name == "mountain-car-continuous"


def put(env, name, state):
    """Set Gymnasium's state."""
    env.state = np.array(state, np.float32 if single(name) else np.float64)
    env.steps_beyond_terminated = None


def take(env, action):
    """A step of Gymnasium: observation, state, reward and end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen, reward, ended, _, _ = env.step(action)
    return seen, np.array(env.state, np.float64), float(reward), ended


def choose(name, rng, count, extra=1.0):
    """Random actions of ``count`` episodes; ``extra`` times the bounds."""
    space = ENVIRONMENTS[name].actions
    if space.choices:
        return rng.integers(0, space.choices[0], count)
    return rng.uniform(extra * space.low[0], extra * space.high[0], (count, 1))


def garbage(name, rows, actions):
    """The actions with nonsense in some rows."""
    actions = actions.copy()
    actions[rows] = np.nan if actions.ndim == 2 else np.iinfo(np.int64).min + 5
    return actions


def states(name, rng, count):
    """Random and extreme states, those of float32 where Gymnasium holds them so."""
    low, high = REACH[name]
    found = np.concatenate([rng.uniform(low, high, (count, len(low))), np.array(EDGES[name], np.float64)])
    return found.astype(np.float32).astype(np.float64) if single(name) else found


def play_all(name, starts, steps=None, seed=0):
    """Play to the end: states, rewards, dones and observations of all steps; actions depend on the start alone."""
    world = ENVIRONMENTS[name](steps)
    game = world.play(starts)
    actions = [choose(name, np.random.default_rng([seed, int(start)]), world.steps) for start in starts]
    kept = [(game.state, np.zeros(len(starts)), game.done, game.observations.copy(), game.frames)]
    for step in range(world.steps):
        chosen = garbage(name, game.done, np.array([row[step] for row in actions]))
        rewards = game.step(chosen)
        kept.append((game.state, rewards, game.done, game.observations.copy(), game.frames))
    return [np.array(part) for part in zip(*kept, strict=True)]


@pytest.mark.parametrize("name", NAMES)
def test_a_world_is_an_environment_and_its_episodes_a_game(name) -> None:
    world: Environment = ENVIRONMENTS[name]()
    game: Game = world.play(np.arange(3))
    assert (world.name, world.steps) == (name, LIMITS[name])
    assert game.observations.shape == (3, *world.input_shape)
    assert game.observations.dtype == np.float32
    assert (game.done.dtype, game.frames.dtype, game.failures) == (np.bool_, np.int64, {})
    assert world.actions.outputs == (sum(world.actions.choices) or 1)
    outputs = np.random.default_rng(0).normal(size=(3, world.actions.outputs)).astype(np.float32)
    rewards = game.step(world.actions.greedy(outputs))
    assert (rewards.shape, rewards.dtype) == ((3,), np.float64)
    game.close()


def test_the_identity_says_what_the_dynamics_depend_on() -> None:
    assert ENVIRONMENTS["cartpole"]().identity == (
        "CartPole-v1 of Gymnasium in NumPy, states in float64, starts by SplitMix64, at most 500 steps"
    )
    assert ENVIRONMENTS["mountain-car-continuous"](steps=7).identity == (
        "MountainCarContinuous-v0 of Gymnasium in NumPy, states in float64, rounded to float32 after every step, "
        "starts by SplitMix64, at most 7 steps"
    )


@pytest.mark.parametrize("name", NAMES)
def test_spaces_are_those_of_gymnasium(name) -> None:
    env, world = oracle(name), ENVIRONMENTS[name]()
    assert env.observation_space.shape == world.input_shape
    assert pytest.importorskip("gymnasium").spec(world.title).max_episode_steps == world.steps
    if world.actions.choices:
        assert world.actions.choices == (env.action_space.n,)
    else:
        assert (world.actions.low, world.actions.high) == (
            tuple(map(float, env.action_space.low)),
            tuple(map(float, env.action_space.high)),
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_step_from_any_state_is_that_of_gymnasium(name) -> None:
    rng, env = np.random.default_rng(1), oracle(name)
    before = states(name, rng, 600)
    game = ENVIRONMENTS[name]().play(np.zeros(len(before), np.int64))
    actions = choose(name, rng, len(before))
    if not ENVIRONMENTS[name].actions.choices:
        actions[: len(EDGES[name])] = ENVIRONMENTS[name].actions.high
        actions[-len(EDGES[name]) :] = ENVIRONMENTS[name].actions.low
    game.state = before
    rewards = game.step(actions)
    ends = 0
    for row, state in enumerate(before):
        put(env, name, state)
        seen, after, reward, ended = take(env, actions[row])
        np.testing.assert_allclose(game.state[row], after, rtol=0, atol=1e-12)
        np.testing.assert_allclose(game.observations[row], seen, rtol=2e-7, atol=1e-7)
        assert abs(rewards[row] - reward) <= 1e-12
        assert game.done[row] == ended
        ends += ended
    assert name == "pendulum" or 10 < ends < 590


@pytest.mark.parametrize(("name", "within"), [("pendulum", 1e-12), ("mountain-car-continuous", 1e-7)])
def test_actions_beyond_the_bounds_are_cut_off_as_in_gymnasium(name, within) -> None:
    rng, env = np.random.default_rng(2), oracle(name)
    before = states(name, rng, 200)
    actions = choose(name, rng, len(before), extra=3.0)
    game = ENVIRONMENTS[name]().play(np.zeros(len(before), np.int64))
    game.state = before
    rewards = game.step(actions)
    for row, state in enumerate(before):
        put(env, name, state)
        _, after, reward, _ = take(env, actions[row])
        np.testing.assert_allclose(game.state[row], after, rtol=0, atol=within)
        assert abs(rewards[row] - reward) <= 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_whole_episodes_are_those_of_gymnasium(name) -> None:
    """Each step starts from our state: a last bit may differ, and an acrobot is chaotic."""
    env, starts = oracle(name), np.array([0, 5, 2**63 - 1])
    visited, rewards, dones, seen, frames = play_all(name, starts)
    for row, start in enumerate(starts):
        actions = choose(name, np.random.default_rng([0, int(start)]), LIMITS[name])
        total = 0.0
        for step in range(LIMITS[name]):
            put(env, name, visited[step, row])
            picture, after, reward, ended = take(env, actions[step])
            np.testing.assert_allclose(visited[step + 1, row], after, rtol=0, atol=1e-12)
            np.testing.assert_allclose(seen[step + 1, row], picture, rtol=2e-7, atol=1e-7)
            total += reward
            assert dones[step + 1, row] == (ended or step + 1 == LIMITS[name])
            if dones[step + 1, row]:
                break
        assert frames[-1, row] == step + 1
        assert math.isclose(rewards[:, row].sum(), total, rel_tol=1e-12)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "acrobot"])
def test_two_episodes_that_go_on_alone_stay_together(name) -> None:
    env, start = oracle(name), np.array([17])
    visited, rewards, dones, _, _ = play_all(name, start)
    actions = choose(name, np.random.default_rng([0, 17]), LIMITS[name])
    put(env, name, visited[0, 0])
    for step in range(int(dones[:, 0].argmax())):
        _, after, reward, _ = take(env, actions[step])
        np.testing.assert_allclose(visited[step + 1, 0], after, rtol=0, atol=1e-9)
        assert abs(rewards[step + 1, 0] - reward) <= 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_depends_on_neither_row_nor_company(name) -> None:
    starts = np.random.default_rng(3).integers(0, 2**63, 37)
    starts[20] = starts[4]
    together = play_all(name, starts)
    backwards = play_all(name, starts[::-1])
    for part, mirrored in zip(together, backwards, strict=True):
        np.testing.assert_array_equal(part, mirrored[:, ::-1])
        np.testing.assert_array_equal(part[:, 4], part[:, 20])
    for row in (0, 4, 36):
        for part, alone in zip(together, play_all(name, starts[row : row + 1]), strict=True):
            np.testing.assert_array_equal(part[:, row], alone[:, 0])


def test_what_is_over_is_frozen_and_worth_nothing() -> None:
    visited, rewards, dones, seen, frames = play_all("cartpole", np.arange(50))
    assert dones[-1].all()
    assert len(set(frames[-1])) > 10
    for row, length in enumerate(frames[-1]):
        assert dones[:, row].tolist() == [False] * length + [True] * (501 - length)
        assert rewards[1:, row].tolist() == [1.0] * length + [0.0] * (500 - length)
        assert frames[:, row].tolist() == [*range(length), *[length] * (501 - length)]
        assert (visited[length:, row] == visited[length, row]).all()
        assert (seen[length:, row] == visited[length, row].astype(np.float32)).all()


@pytest.mark.parametrize("name", NAMES)
def test_time_ends_all(name) -> None:
    rng = np.random.default_rng(4)
    game = ENVIRONMENTS[name](steps=5).play(np.arange(6))
    for step in range(5):
        assert not game.done.any()
        assert (game.frames == step).all()
        game.step(choose(name, rng, 6))
    assert game.done.all()
    state = game.state
    assert (game.step(garbage(name, np.arange(6), choose(name, rng, 6))) == 0).all()
    assert (game.frames == 5).all()
    assert (game.state == state).all()


def test_a_hill_climbed_is_worth_its_prize_less_the_engine() -> None:
    game = ENVIRONMENTS["mountain-car-continuous"](steps=400).play(np.arange(4))
    total, price = np.zeros(4), np.zeros(4)
    while not game.done.all():
        engine = np.where(game.observations[:, 1:] >= 0, 0.5, -0.5).astype(np.float64)
        price += 0.1 * 0.25 * ~game.done
        total += game.step(engine)
    assert (game.frames < 400).all()
    np.testing.assert_allclose(total, 100 - price, rtol=0, atol=1e-9)


def test_returns_of_simple_policies() -> None:
    games = {name: ENVIRONMENTS[name]().play(np.arange(8)) for name in ("cartpole", "mountain-car", "acrobot")}
    policies = {
        "cartpole": lambda seen: (3 * seen[:, 2] + seen[:, 3] > 0).astype(np.int64),
        "mountain-car": lambda seen: np.where(seen[:, 1] >= 0, 2, 0),
        "acrobot": lambda seen: np.where(seen[:, 4] >= 0, 0, 2),
    }
    returns = {name: np.zeros(8) for name in games}
    for name, game in games.items():
        while not game.done.all():
            returns[name] += game.step(policies[name](game.observations))
    assert (returns["cartpole"] == 500).all()
    # The last step of an acrobot is free, that of a car is not.
    assert (returns["mountain-car"] == -games["mountain-car"].frames).all()
    assert (games["mountain-car"].frames < 200).all()
    climbed = games["acrobot"].frames < 500
    assert climbed.any()
    assert (returns["acrobot"] == np.where(climbed, 1 - games["acrobot"].frames, -500)).all()


def test_random_numbers_of_starts_are_pinned() -> None:
    # SplitMix64 of seed 0 begins with 0xE220A8397B1DCDAF, the seed of start 0.
    state, outputs = 0xE220A8397B1DCDAF, []
    for _ in range(3):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        word = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
        outputs.append(((word ^ (word >> 31)) >> 11) / 2**53)
    found = uniforms(np.array([0, 1, 2**63 - 1]), 3)
    assert found[0].tolist() == outputs
    assert found.tolist() == PINNED
    assert (uniforms(np.array([1]), 2) == found[1:2, :2]).all()


def test_random_numbers_of_starts_are_uniform_and_unrelated() -> None:
    found = uniforms(np.arange(20000), 4)
    assert (found >= 0).all()
    assert (found < 1).all()
    assert len(np.unique(found)) == found.size
    assert (abs(found.mean(0) - 0.5) < 0.01).all()
    assert (abs(found.var(0) - 1 / 12) < 0.003).all()
    following = np.concatenate([found[:-1], found[1:]], axis=1)
    assert (abs(np.corrcoef(following.T) - np.eye(8)) < 0.04).all()
    assert uniforms(np.zeros(0, np.int64), 3).shape == (0, 3)


@pytest.mark.parametrize("name", NAMES)
def test_first_states_have_the_distribution_of_gymnasium(name) -> None:
    env, world = oracle(name), ENVIRONMENTS[name]()
    ours = world.play(np.arange(4000)).state
    env.reset(seed=0)
    theirs = []
    for _ in range(4000):
        env.reset()
        theirs.append(np.array(env.state, np.float64))
    low, high = np.array(theirs).min(0), np.array(theirs).max(0)
    for column in range(ours.shape[1]):
        edge = (high - low)[column] * 0.01
        assert abs(ours[:, column].min() - low[column]) <= edge
        assert abs(ours[:, column].max() - high[column]) <= edge
        assert abs(ours[:, column].mean() - np.mean(theirs, 0)[column]) <= 4 * edge
    assert (world.play(np.array([7, 7])).state[0] == ours[7]).all()
    assert len(np.unique(ours[:, 0])) > 3900


def test_a_start_state_is_pinned() -> None:
    assert ENVIRONMENTS["cartpole"]().play(np.array([3])).state.tolist() == [START]


def test_states_are_copies_and_of_one_shape() -> None:
    game = ENVIRONMENTS["pendulum"]().play(np.arange(3))
    game.state[:] = 0
    assert game.state.any()
    with pytest.raises(ValueError, match="expected states of shape"):
        game.state = np.zeros((2, 3))
    game.state = np.zeros((3, 2))
    assert game.observations.tolist() == [[1.0, 0.0, 0.0]] * 3


def test_no_steps_are_refused() -> None:
    with pytest.raises(UsageError, match="environment 'pendulum': expected steps of at least 1, got 0"):
        ENVIRONMENTS["pendulum"](steps=0)


def test_no_episodes_are_over_at_once() -> None:
    game = ENVIRONMENTS["acrobot"]().play(np.zeros(0, np.int64))
    assert game.step(np.zeros(0, np.int64)).shape == (0,)
