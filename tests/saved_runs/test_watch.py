"""Films of a champion's episode: they show the episode that is scored, and are files that others can open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from galab.config.run_config import RunConfig
from galab.errors import GalabError, UsageError
from galab.evaluation.episode_evaluator import EpisodeEvaluator, EpisodePlayer
from galab.evaluation.film import GAP, Reel, film
from galab.genome.weights import Layout
from galab.models.policy import AtariPolicy, Policy
from galab.saved_runs.saved_run import SavedRun, evaluate, open_saved
from galab.saved_runs.watch import film_of, watch
from galab.tasks.classic_control import ENVIRONMENTS, CartPole, Pendulum
from galab.tasks.classic_drawings import draw, plainly
from galab.tasks.episodes import EpisodeTask
from galab.training.start_or_resume import start

RUN: dict[str, Any] = {
    "model": "policy", "hidden": "4", "seed": 3, "generations": 1, "parents": 2, "children": 4, "episodes": 1,
    "threads": 1, "sigma": 0.5,
}  # fmt: skip


@pytest.fixture
def saved(tmp_path: Path, no_waiting_for_the_disk: None, forked_processes: None) -> Callable[..., SavedRun]:
    """Makes a small run and opens it."""

    def make(task: str = "cartpole(steps=25,validation=2,test=3)", **changes: Any) -> SavedRun:
        start(RunConfig(task=task, **RUN | changes), name="first", runs=tmp_path)
        return open_saved(tmp_path / "first")

    return make


def network_and_weights(module: torch.nn.Module) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    return module, {name: value.detach() for name, value in module.named_parameters()}


def scored(module: torch.nn.Module, task: EpisodeTask) -> NDArray[np.float64]:
    """What a network's episodes of the test come to, (E, 3)."""
    own = {name: value.detach().numpy() for name, value in module.named_parameters()}
    layout = Layout(tuple(own), tuple(value.shape for value in own.values()))
    player = EpisodePlayer(module, layout, task, device=torch.device("cpu"))
    return player.play({name: value[None] for name, value in own.items()}, task.test.targets.numpy()).results[0]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_film_shows_the_episodes_that_are_scored(saved: Any, name: str) -> None:
    run = saved(f"{name}(steps=12,validation=2,test=3)")
    films = [film_of(run, episode=number) for number in range(3)]
    found = evaluate(run.path)
    # The mean in the order of the evaluator, to the bit.
    assert np.array([film.total for film in films]).sum() / 3 == found["test_return"]
    assert sum(film.steps for film in films) / 3 == found["test_episode_length"]
    assert all(film.ended and film.apart is None and len(film.reel) == film.steps + 1 for film in films)


def test_a_film_of_drawn_actions_shows_the_episodes_that_are_scored(saved: Any) -> None:
    run = saved(act="sample")
    films = [film_of(run, episode=number) for number in range(3)]
    assert np.array([film.total for film in films]).sum() / 3 == evaluate(run.path)["test_return"]


def test_a_film_of_one_start_has_the_return_that_the_evaluator_measures(saved: Any) -> None:
    run = saved("pendulum(steps=50,validation=1,test=1)")
    measures = [
        EpisodeEvaluator(run.module, run.layout, run.task, chunk=1, device=torch.device("cpu")).measure(
            [run.member()], examples
        )
        for examples in (run.task.test, run.task.validation)
    ]
    for split, measured in zip(("test", "validation"), measures, strict=True):
        assert film_of(run, split=split).total == measured.means["return"][0]


def test_a_gif_and_a_strip_can_be_opened(saved: Any, tmp_path: Path) -> None:
    run = saved()
    shown = watch(run, tmp_path / "film.gif", episode=1)
    with Image.open(tmp_path / "film.gif") as opened:
        assert (opened.size, opened.n_frames) == ((400, 300), shown.steps + 1)
        spent = 0
        for number in range(opened.n_frames):
            opened.seek(number)
            spent += opened.info["duration"]
            difference = np.asarray(opened.convert("RGB")).astype(int) - np.asarray(shown.reel[number])
            assert np.abs(difference).mean() < 4
        assert abs(spent - 1000 - 1000 * opened.n_frames / 30) <= 10
    watch(run, tmp_path / "deep" / "film.PNG", episode=1, scale=0.5)
    with Image.open(tmp_path / "deep" / "film.PNG") as opened:
        assert (opened.format, opened.size) == ("PNG", (8 * (200 + GAP) - GAP, 150))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "film.gif", "first"]


def test_a_film_ends_with_the_steps_that_are_asked_for_and_with_the_run_s_own(saved: Any, tmp_path: Path) -> None:
    run = saved("pendulum(validation=1,test=1)", episode_steps=9)
    cut = watch(run, tmp_path / "cut.png", steps=3)
    assert (cut.steps, cut.ended, len(cut.reel)) == (3, False, 4)
    with Image.open(tmp_path / "cut.png") as opened:
        assert opened.width == 4 * (400 + GAP) - GAP
    whole = film_of(run)
    assert (whole.steps, whole.ended) == (9, True)
    assert evaluate(run.path)["test_return"] == whole.total


def test_refusals_say_what_to_do(saved: Any, tmp_path: Path) -> None:
    run = saved()
    for output, options, sentence in [
        ("film.mp4", {}, "expected a file that ends in .gif (a film) or .png (up to 8 pictures side by side), got"),
        ("film", {}, "expected a file that ends in .gif"),
        ("film.gif", {"episode": 3}, "expected --episode from 0 to 2 of the test episodes, got 3; name another"),
        ("film.gif", {"episode": 2, "split": "validation"}, "from 0 to 1 of the validation episodes, got 2"),
        ("film.gif", {"fps": 51}, "expected --fps from 1 to 50, got 51; name another"),
        ("film.gif", {"steps": 0}, "expected --steps from 1 to 20000, got 0; name another"),
        ("film.gif", {"scale": float("nan")}, "expected --scale from 0.1 to 8.0, got nan; name another"),
    ]:
        with pytest.raises(UsageError) as refusal:
            watch(run, tmp_path / output, **options)
        assert sentence in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_a_huge_film_is_refused_before_it_is_made(
    saved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galab.saved_runs.watch._MOST_PIXELS", 10**6)
    with pytest.raises(UsageError, match="expected a film of at most 1,000,000 pixels, got .* a smaller --scale"):
        watch(saved(), tmp_path / "film.gif")
    assert not (tmp_path / "film.gif").exists()


def test_a_run_of_examples_has_no_episodes(saved: Any, tmp_path: Path) -> None:
    run = saved("digits", model="mlp", episodes=None)
    with pytest.raises(UsageError, match="expected a run of episodes, such as --task cartpole, got one on 'digits'"):
        watch(run, tmp_path / "film.gif")


class Blind(CartPole):
    """A world that does not draw."""

    frames_of = None  # type: ignore[assignment]


class Forgetful(CartPole):
    """A world that draws another episode than that of the start."""

    def frames_of(self, start: int, act: Any) -> Iterator[NDArray[np.uint8]]:
        """See :meth:`CartPole.frames_of`."""
        return super().frames_of(start + 1, act)


def test_an_environment_without_pictures_is_refused_and_another_episode_is_noticed() -> None:
    module, weights = network_and_weights(Policy((4,), 2, (3,)))
    task = EpisodeTask(Blind())
    with pytest.raises(UsageError, match="expected an environment that draws pictures, got 'cartpole', which has no"):
        film(module, weights, task, np.array([5]), 0, steps=9)
    assert film(module, weights, EpisodeTask(Forgetful()), np.array([5]), 0, steps=9).apart == 0


def test_outputs_that_are_not_finite_are_said() -> None:
    module, weights = network_and_weights(Policy((3,), 1, (3,)))
    weights["output.bias"] = torch.full((1,), torch.nan)
    with pytest.raises(GalabError, match="in step 1, got outputs that are not finite"):
        film(module, weights, EpisodeTask(Pendulum()), np.array([5]), 0, steps=9)


def test_a_film_of_gymnasium(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium")
    pytest.importorskip("pygame")
    from galab.tasks.environments import gym

    task = gym("CartPole-v1", steps=15, test=2)
    module, weights = network_and_weights(Policy((4,), 2, (3,)))
    shown = film(module, weights, task, task.test.targets.numpy(), 1, steps=500)
    assert (len(shown.reel), shown.reel.size(), shown.apart) == (shown.steps + 1, (600, 400), None)
    assert shown.total == scored(module, task)[1, 0]


def test_an_environment_of_gymnasium_that_does_not_draw_is_refused() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    from galab.tasks.gymnasium_environments import Gymnasium

    def maker() -> Any:
        return gymnasium.make("CartPole-v1")

    module, weights = network_and_weights(Policy((4,), 2, (3,)))
    with pytest.raises(UsageError, match="a function without the argument render_mode; make an environment"):
        film(module, weights, EpisodeTask(Gymnasium(maker, 9)), np.array([5]), 0, steps=9)


def test_a_film_of_an_atari_game() -> None:
    pytest.importorskip("ale_py")
    from galab.tasks.environments import atari

    task = atari("frostbite", frames=80, test=1)
    module, weights = network_and_weights(AtariPolicy(task.input_shape, task.outputs))
    shown = film(module, weights, task, task.test.targets.numpy(), 0, steps=500)
    assert (shown.total, shown.steps) == tuple(scored(module, task)[0, :2])
    assert shown.ended
    assert shown.apart is None
    assert len(shown.reel) == shown.steps
    assert shown.reel.shown(0).size == (320, 420)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_drawings_move_with_the_state(name: str) -> None:
    world = ENVIRONMENTS[name]()
    state = world.begin(np.array([1]))[:, 0]
    pictures = [draw(name, one, 7.0) for one in (state, state, state + 0.3)]
    assert pictures[0].shape == (300, 400, 3)
    assert np.array_equal(pictures[0], pictures[1])
    changed = (pictures[0] != pictures[2]).any(2)
    assert changed.sum() > 300
    assert not changed[:28, :90].any()  # the return


def test_returns_are_written_plainly() -> None:
    assert [plainly(one) for one in (500.0, -0.001, -134.2345, 1e6, 100.0, 0.5)] == [
        "500", "0", "-134.23", "1,000,000", "100", "0.5",
    ]  # fmt: skip


def test_a_strip_holds_each_picture_of_a_short_reel_once() -> None:
    reel = Reel()
    for shade in (0, 100, 200):
        reel.append(np.full((20, 300, 3), shade, np.uint8))
    reel.append(np.full((40, 600, 3), 250, np.uint8))  # brought to the size of the first
    strip = np.asarray(reel.strip(widest=100))
    assert strip.shape == (7, 4 * (100 + GAP) - GAP, 3)
    assert [strip[3, 50 + column * (100 + GAP), 0] for column in range(4)] == [0, 100, 200, 250]
