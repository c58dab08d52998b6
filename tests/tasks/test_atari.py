"""Atari games: episodes are those of their starts, to the pixel, and frames are the emulator's."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from galab.errors import UsageError
from galab.tasks.atari import SIDE, Atari, Shrinker, area_weights, find

pytest.importorskip("ale_py")


@pytest.fixture(scope="module")
def frostbite() -> Atari:
    return Atari("frostbite", frames=240)


def moves(start: int, steps: int, choices: int) -> NDArray[np.int64]:
    """The actions of a start's episode."""
    return np.random.default_rng([start, 1]).integers(choices, size=steps)


def played(environment: Atari, starts: list[int], garbage: int = 10**9) -> list[list[tuple[Any, ...]]]:
    """Of each row, what was seen, earned and counted at each step of its episode."""
    game = environment.play(np.array(starts))
    plans = [moves(start, environment.steps, environment.actions.choices[0]) for start in starts]
    told: list[list[tuple[Any, ...]]] = [
        [(game.observations[row].tobytes(), 0.0, int(game.frames[row]))] for row in range(len(starts))
    ]
    for step in range(environment.steps):
        over = game.done.copy()
        last = game.observations.copy()
        actions = np.where(over, garbage, [plan[step] for plan in plans])
        rewards = game.step(actions)
        assert not rewards[over].any()
        assert np.array_equal(game.observations[over], last[over])
        for row in np.flatnonzero(~over):
            told[row].append((game.observations[row].tobytes(), float(rewards[row]), int(game.frames[row])))
    assert game.done.all()
    assert not game.failures
    game.close()
    return told


def test_an_episode_depends_on_its_start_alone(frostbite: Atari) -> None:
    alone = [played(frostbite, [start])[0] for start in (5, 2**63 - 1)]
    together = played(frostbite, [7, 2**63 - 1, 5, 8, 5])
    assert together[1] == alone[1]
    assert together[2] == together[4] == alone[0]
    assert together[0] != together[3]


def test_sticky_actions_come_from_the_start_too(frostbite: Atari) -> None:
    environment = Atari("frostbite", sticky=0.25, frames=240)
    alone = played(environment, [5])[0]
    played(environment, [9])
    assert played(environment, [1, 5])[1] == alone
    assert played(frostbite, [5])[0] != alone


def test_a_console_forgets_the_games_before() -> None:
    used, fresh = Atari("space_invaders", frames=200), Atari("space_invaders", frames=200)
    for start in range(3):
        played(used, [start])
    assert played(used, [4]) == played(fresh, [4])
    assert len(used._free) == 1


def test_the_share_of_sticky_frames_is_the_one_asked_for() -> None:
    environment = Atari("pong", sticky=0.25, noops=0)
    console = environment._free[0]
    console.begin(11)
    sticks = [console._sticks(frame) for frame in range(9000)]
    assert 0.23 < np.mean(sticks) < 0.27
    console.begin(11)
    assert [console._sticks(frame) for frame in range(9000)] == sticks


def test_frames_are_the_emulators_and_the_limit_ends_an_episode_amid_an_action(frostbite: Atari) -> None:
    game = frostbite.play(np.arange(4))
    noops = np.array([frostbite.noops_of(start) for start in range(4)])
    assert np.array_equal(game.frames, noops)
    for step in range(1, frostbite.steps + 1):
        game.step(np.zeros(4, np.int64))
        emulators = [console._ale.getEpisodeFrameNumber() for console in game._consoles]
        assert np.array_equal(game.frames, emulators)
        assert np.array_equal(game.frames, np.minimum(noops + 4 * step, 240))
        assert np.array_equal(game.done, game.frames == 240)
    game.close()


def test_a_game_that_ends_stays_as_it_was() -> None:
    game = Atari("breakout", frames=6000).play(np.array([1, 2]))
    fire = 1
    while not game.done.all():
        game.step(np.array([fire, fire]))
    frames, seen = game.frames.copy(), game.observations.copy()
    assert (frames < 6000).all()
    assert not game.step(np.array([-5, 10**6])).any()
    assert np.array_equal(game.frames, frames)
    assert np.array_equal(game.observations, seen)
    game.close()


def test_no_ops_are_one_to_thirty_and_different() -> None:
    environment = Atari("pong")
    counts = {environment.noops_of(start) for start in range(1000)}
    assert counts == set(range(1, 31))
    game = environment.play(np.arange(3))
    assert [environment.noops_of(start) for start in range(3)] == game.frames.tolist()
    game.close()
    none = Atari("pong", noops=0).play(np.arange(2))
    assert not none.frames.any()
    assert np.array_equal(none.observations[0], none.observations[1])


def test_the_score_is_not_cut_off() -> None:
    rewards = [reward for _, reward, _ in played(Atari("frostbite", frames=1000), [1])[0]]
    assert max(rewards) >= 10


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pictures_and_scores_are_those_of_the_vector_environment() -> None:
    from ale_py.vector_env import AtariVectorEnv

    theirs = AtariVectorEnv("frostbite", 1, noop_max=1, reward_clipping=False, use_fire_reset=False, num_threads=1)
    environment = Atari("frostbite", noops=0)
    game = environment.play(np.array([0]))
    seen, _ = theirs.reset(seed=np.array([0]))
    differing = 0
    for action in moves(0, 60, 18):
        gap = np.abs(seen.astype(int) - game.observations)
        assert gap.max() <= 1
        differing += int(gap[0, -1].sum())
        seen, rewards, ended, _, info = theirs.step(np.array([action]))
        assert game.step(np.array([action])) == rewards
        assert game.done == ended
        assert game.frames == info["episode_frame_number"]
    assert differing < 20  # out of 423,360
    game.close()


@pytest.mark.parametrize("height", [210, 214, 220, 230, 250])
def test_pictures_shrink_by_the_mean_of_each_area(height: int) -> None:
    pair = np.random.default_rng(height).integers(0, 256, (2, height, 160)).astype(np.uint8)
    low = np.repeat(pair.max(0).astype(np.int64), SIDE, 0).reshape(SIDE, height, 160).sum(1)
    sums = np.repeat(low, SIDE, 1).reshape(SIDE, SIDE, 160).sum(2)
    expected = np.rint(sums / (height * 160))
    assert np.array_equal(Shrinker(height).shrink(pair).astype(np.uint8), expected)
    assert (area_weights(height).sum(0) == height // np.gcd(height, SIDE)).all()


def test_other_skips_and_all_actions() -> None:
    environment = Atari("pong", skip=1, frames=50, noops=0, all_actions=True)
    assert environment.actions.choices == (18,)
    assert Atari("pong").actions.choices == (6,)
    assert environment.steps == 50
    assert len(played(environment, [1])[0]) == 51
    assert Atari("pong", skip=3, frames=50).steps == 17


def test_an_episode_can_be_looked_at(frostbite: Atari) -> None:
    plan, seen = iter(moves(5, 100, 18)), []

    def act(observations: NDArray[np.uint8]) -> NDArray[np.int64]:
        seen.append(observations.tobytes())
        return np.array([next(plan)])

    pictures = list(frostbite.frames_of(5, act))
    told = played(frostbite, [5])[0]
    assert seen == [observation for observation, _, _ in told[:-1]]
    assert len(pictures) == len(seen)
    assert {(picture.shape, picture.dtype) for picture in pictures} == {((210, 160, 3), np.dtype(np.uint8))}


@pytest.mark.parametrize("game", ["frostbite", "Frostbite", "ALE/Frostbite-v5", "FrostbiteNoFrameskip-v4"])
def test_a_game_has_many_names(game: str) -> None:
    assert find(game)[0] == "frostbite"
    assert find("MsPacman")[0] == find("ms_pacman")[0] == "ms_pacman"


def test_what_dynamics_depend_on_is_in_the_identity(frostbite: Atari) -> None:
    assert frostbite.identity.startswith(
        "atari frostbite, noops 30, sticky 0.0, frames 240, minimal actions, skip 4, ale-py "
    )
    assert (frostbite.name, frostbite.input_shape, frostbite.steps) == ("frostbite", (4, 84, 84), 60)


def test_a_copy_for_another_process_holds_no_emulator(frostbite: Atari) -> None:
    copy = pickle.loads(pickle.dumps(frostbite))
    assert not copy._free
    assert played(copy, [5]) == played(frostbite, [5])


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import ale_py.roms

    monkeypatch.setenv("ALE_ROMS_DIR", str(ale_py.roms.__path__[0]))
    Atari("pong").play(np.arange(1)).close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"game": "frostbit"}, "got 'frostbit'; name another. Did you mean 'frostbite'?"),
        ({"game": "MsPackman"}, "got 'MsPackman'; name another. Did you mean 'ms_pacman'?"),
        ({"game": "combat"}, "expected a game of ale-py, such as frostbite or ms_pacman, got 'combat'; name another."),
        ({"sticky": 1.0}, "task 'pong': expected sticky from 0 to less than 1, got 1.0; name a smaller"),
        ({"sticky": float("nan")}, "expected sticky from 0 to less than 1, got nan"),
        ({"noops": -1}, "task 'pong': expected noops to be a whole number of at least 0, got -1; name another"),
        ({"skip": 0}, "task 'pong': expected skip to be a whole number of at least 1, got 0; name another"),
        ({"frames": 30}, "task 'pong': expected frames to be a whole number of at least 31, got 30; name another"),
        ({"skip": 2.5}, "expected skip to be a whole number of at least 1, got 2.5"),
    ],
)
def test_refusals(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Atari(**{"game": "pong", **options})
    assert sentence in str(refusal.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(UsageError) as refusal:
        Atari("frostbite")
    assert str(refusal.value) == (
        "expected the package ale-py for --task atari(frostbite), found none; install it with pip install 'galab[rl]'"
    )


def test_missing_files_of_games_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALE_ROMS_DIR", "/nowhere")
    with pytest.raises(UsageError, match="expected the game 'frostbite' among the files of ale-py, got: ROM directory"):
        Atari("frostbite")
