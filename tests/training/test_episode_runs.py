"""Runs that are scored by episodes: the same whatever computes them, killed or not, and what they say of themselves."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import EPISODES, log_of, outcome
from small_runs import SMALL
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import galab
from galab.config import RunConfig
from galab.contracts import Cohort, Scores
from galab.errors import GalabError, UsageError
from galab.evaluation.blocks import SECOND_LOOK, Minibatches
from galab.models.normalized import SUMS, sums_of
from galab.models.policy import AtariPolicy, Policy
from galab.saved_runs.export import export
from galab.saved_runs.history import best_generation
from galab.saved_runs.probe import other_run
from galab.saved_runs.saved_run import open_saved
from galab.saved_runs.verify import conclusion, verify
from galab.storage.run_folder import RunFolder
from galab.strategies.survival import all_failed_message
from galab.tasks.environments import cartpole
from galab.tasks.episodes import EpisodeTask
from galab.training.compose import compose
from galab.training.confirmation import confirmed, contenders, second_cohort
from galab.training.start_or_resume import resume, start

RUN: dict[str, Any] = {
    "task": "cartpole", "seed": 3, "generations": 4, "report_every": 2, "save_every": 2, "episodes": 3, "threads": 1,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "ga": {"parents": 4, "children": 12, "elites": 1, "sigma": 0.3, "confirm": 2, "confirm_episodes": 4},
    "eggroll": {
        "strategy": "eggroll", "population": 12, "sigma": 0.3, "optimizer": "adam", "lr": 0.05,
        "shaping": "centred-ranks",
    },
    "snes": {"strategy": "snes", "population": 12, "sigma": 0.3},
    "ga-normalized": {"parents": 4, "children": 12, "sigma": 0.3, "confirm": 2, "normalize_observations": "on"},
    "eggroll-normalized": {"strategy": "eggroll", "population": 12, "normalize_observations": "on"},
    "random": {"strategy": "random", "parents": 2, "children": 12},
}  # fmt: skip


@pytest.fixture
def play(tmp_path: Path, no_waiting_for_the_disk: None, forked_processes: None) -> Any:
    def make(name: str = "first", **changes: Any) -> Path:
        start(RunConfig(**RUN | changes), name=name, runs=tmp_path)
        return tmp_path / name

    return make


def result(folder: Path) -> dict[str, Any]:
    found = outcome(folder)
    found.pop("numeric_profile")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_and_resuming_change_nothing(play: Any, kind: str) -> None:
    whole = result(play("whole", **KINDS[kind]))
    assert whole["verified"]
    assert result(play("chunks", chunk=2, **KINDS[kind])) == whole
    half = play("half", **KINDS[kind] | {"generations": 2})
    resume(half, {"generations": 4})
    again = result(half)
    for part in ("records", "lineage"):  # an evolution strategy's say how long the run was meant to be
        if kind.startswith("eggroll"):
            again.pop(part), whole.pop(part)
    assert again == whole


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_workers_change_nothing(play: Any, kind: str) -> None:
    assert result(play("there", workers=3, chunk=4, **KINDS[kind])) == result(play("here", **KINDS[kind]))


def test_a_run_says_what_its_episodes_came_to(play: Any) -> None:
    folder = play(**KINDS["ga"])
    lines = log_of(folder)
    last = lines[-1]
    assert {"validation_return", "test_return", "test_episode_length", "train_return"} <= last.keys()
    assert "fitness_confirmed" in last
    # A step of CartPole is worth 1.
    assert last["test_return"] == last["test_episode_length"] == last["test_frames"]
    assert last["fitness_best"] == last["train_return"]
    # Twelve children and the elite, of whom two or three play four more.
    assert 4 * (12 * 3 + 2 * 4) <= last["episodes"] <= 4 * (13 * 3 + 3 * 4)
    assert last["frames"] == last["evaluations"]
    assert all(one["evaluations"] > before["evaluations"] for before, one in pairwise(lines))
    saved = json.loads((folder / "config.json").read_text())["hyperparameters"]
    assert (saved["fitness"], saved["model"], saved["episodes"], saved["batch"]) == ("return", "policy", 3, 3)
    module = galab.load(folder)
    assert isinstance(module, Policy)
    assert "every weight" in conclusion(verify(RunFolder(folder))) or verify(RunFolder(folder))[0].good


def test_the_target_is_a_return(play: Any) -> None:
    folder = play(target=20.0, report_every=1, generations=40, parents=4, children=16, sigma=0.3)
    status = RunFolder(folder).read_status()
    assert status is not None
    assert status["message"].startswith("validation return ")
    assert status["message"].endswith(" reached the target 20")


def test_starts_are_the_same_for_all_members_and_new_in_each_generation() -> None:
    task = cartpole()
    minibatches = Minibatches(task.train, 3, 7, task.sample, 5)
    first, second, third = minibatches.of(1), minibatches.of(2), minibatches.of(1 + SECOND_LOOK)
    assert (len(first), len(second), len(third)) == (3, 3, 5)
    starts = np.concatenate([part.targets.numpy() for part in (first, second, third, task.validation, task.test)])
    assert len(set(starts.tolist())) == 3 + 3 + 5 + 20 + 100
    assert torch.equal(minibatches.of(1).targets, first.targets)
    assert not torch.equal(Minibatches(task.train, 3, 8, task.sample).of(1).targets, first.targets)
    assert torch.equal(cartpole().test.targets, task.test.targets)
    assert cartpole(steps=400).fingerprint != task.fingerprint


def test_a_second_look_ranks_the_best_by_all_their_episodes_and_before_the_others() -> None:
    config = RunConfig(task="cartpole", episodes=2, confirm=3, confirm_episodes=8, seed=1)
    births = np.zeros(7, dtype=[("id", "<i8")])
    births["id"] = np.arange(7)
    cohort = Cohort(5, births, 6)  # the last one is an elite
    scores = Scores(np.array([100.0, 90.0, 80.0, 70.0, 60.0, np.nan, 10.0]), evaluations=50)
    places = contenders(config, cohort, scores)
    assert places.tolist() == [0, 1, 2, 6]
    again = second_cohort(cohort, places)
    assert (again.generation, again.births["id"].tolist()) == (5 + SECOND_LOOK, [0, 1, 2, 6])
    second = Scores(np.array([20.0, 90.0, np.nan, 60.0]), failures={2: "fell"}, evaluations=32)
    found = confirmed(config, scores, places, second)
    assert found.fitness[[0, 1, 6]].tolist() == [36.0, 90.0, 50.0]
    assert np.isnan(found.fitness[[2, 5]]).all()
    assert found.fitness[3] == np.nextafter(36.0, 0)
    assert found.fitness[3] - found.fitness[4] == pytest.approx(10)
    assert (found.failures, found.evaluations) == ({2: "fell"}, 82)
    assert scores.fitness[0] == 100
    rng = np.random.default_rng(0)
    for _ in range(300):  # also where a difference is rounded
        first = Scores(rng.normal(0, 30, 7))
        places = contenders(config, cohort, first)
        found = confirmed(config, first, places, Scores(rng.normal(0, 30, len(places))))
        others = np.setdiff1d(np.arange(7), places)
        assert found.fitness[others].max() < found.fitness[places].min()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"task": "digits", "episodes": 3}, "expected --episodes with an environment as --task, such as cartpole"),
        ({"task": "cartpole", "batch": 64}, r"expected --episodes with --task cartpole, got --batch 64"),
        ({"task": "cartpole", "fitness": "accuracy"}, "expected --fitness return with --task cartpole, got accuracy"),
        ({"task": "cartpole", "strategy": "adam"}, "got --strategy adam: a return has no gradient"),
        ({"task": "digits", "fitness": "return"}, "expected an environment as --task with --fitness return"),
        ({"task": "cartpole", "confirm_episodes": 9}, "expected --confirm with --confirm-episodes, got 9 without it"),
        ({"task": "cartpole", "diversity": 0.5}, "expected a selection by returns with --task cartpole"),
        ({"task": "digits", "target": 475.0}, "expected --target between 0 and 1, a share of right answers, got 475"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_an_environment_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RunConfig(**values)


@pytest.mark.slow
def test_a_game_of_atari_is_played_and_resumed(play: Any) -> None:
    pytest.importorskip("ale_py")
    run = {
        "task": "atari(frostbite, validation=1, test=1)", "parents": 2, "children": 3, "sigma": 0.02, "episodes": 1,
        "episode_steps": 12, "generations": 2,
    }  # fmt: skip
    whole = play("whole", **run)
    last = log_of(whole)[-1]
    # An action takes four frames, and no-ops come before the first.
    assert last["test_frames"] >= 4 * last["test_episode_length"]
    assert isinstance(galab.load(whole), AtariPolicy)
    half = play("half", **run | {"generations": 1, "save_every": 1})
    resume(half, {"generations": 2})
    assert result(half)["records"] == result(whole)["records"]


def test_an_environment_of_gymnasium_is_played(play: Any) -> None:
    pytest.importorskip("gymnasium")
    folder = play(
        task="gym(Pendulum-v1, steps=20, validation=2, test=3)", parents=2, children=4, episodes=1, generations=2,
        sigma=0.3,
    )  # fmt: skip
    assert log_of(folder)[-1]["test_episode_length"] == 20
    assert all(verdict.good for verdict in verify(RunFolder(folder)))


def test_small_runs_by_episodes_are_what_the_tests_of_kills_use() -> None:
    from lab_outcome import merged

    for changes in EPISODES.values():
        RunConfig(**merged(SMALL, changes))


def test_a_task_of_episodes_is_what_others_are() -> None:
    task = cartpole(validation=3, test=4)
    assert isinstance(task, EpisodeTask)
    assert (task.input_shape, task.outputs, len(task.validation), len(task.test)) == ((4,), 2, 3, 4)
    assert task.train.inputs.dtype == torch.float32
    assert task.description == "cartpole, episodes of at most 500 steps"


def test_cut_episodes_are_other_data_and_say_so(play: Any) -> None:
    task = cartpole(steps=40)
    cut = task.cut(9)
    assert task.cut(None) is task.cut(40) is task
    assert cut.description == "cartpole, episodes of at most 9 of 40 steps"
    assert cut.fingerprint != task.fingerprint
    folder = play(episode_steps=9, **KINDS["random"])
    assert log_of(folder)[-1]["test_episode_length"] <= 9
    assert all(verdict.good for verdict in verify(RunFolder(folder)))
    assert "at most 9 of 500 steps" in (folder / "config.json").read_text()


@pytest.mark.parametrize("kind", ["snes", "ga-normalized"])
def test_a_run_sums_what_its_members_saw_and_nothing_else(play: Any, kind: str) -> None:
    """Second looks, validation and test are not counted in."""
    folder = play(**KINDS[kind] | {"normalize_observations": "on", "save_every": 1, "keep": "all"})
    saved = open_saved(folder)
    counts, steps = [], [0, *(line["evaluations"] for line in log_of(folder))]
    for generation in saved.generations:
        module = saved.at(generation).module
        counts.append(int(sums_of(module)[0]))
        assert saved.at(generation).state["buffers"][SUMS].tolist() == sums_of(module).tolist()
    if kind == "snes":
        assert counts == steps
    else:  # second looks are steps too
        assert all(0 < seen < taken for seen, taken in zip(np.diff(counts), np.diff(steps), strict=True))
    assert sums_of(galab.load(folder))[0] == counts[-1]
    best = best_generation(log_of(folder))
    assert best is not None
    assert sums_of(galab.load(folder, best=True))[0] == counts[best]


def test_weights_that_see_other_numbers_than_before_are_told(play: Any, caplog: pytest.LogCaptureFixture) -> None:
    first = play(**KINDS["snes"] | {"normalize_observations": "on", "generations": 2})
    play("second", **KINDS["snes"] | {"origin": str(first), "generations": 2})
    assert "were made with --normalize-observations on, and see other numbers now" in caplog.text
    again = play("third", **KINDS["snes"] | {"origin": str(first), "normalize_observations": "on", "generations": 2})
    count, more = (sums_of(galab.load(run))[0] for run in (first, again))
    assert more == count + log_of(again)[-1]["evaluations"]


def test_what_all_members_raise_is_a_matter_of_the_task() -> None:
    cohort = Cohort(4, np.zeros(3, dtype=[("id", np.int64)]), 3)
    failures = dict.fromkeys(range(3), "ValueError: no wind")
    message = all_failed_message(cohort, Scores(np.full(3, np.nan), failures), "children", "--sigma")
    assert message.endswith("(ValueError: no wind); the last good checkpoint is kept: look at the task, as all of them "
                            "failed alike")  # fmt: skip
    failures = dict.fromkeys(range(3), "fitness was nan")
    message = all_failed_message(cohort, Scores(np.full(3, np.nan), failures), "children", "--sigma")
    assert message.endswith("try a smaller --sigma, or look at the task")


def test_networks_that_have_seen_other_things_are_not_compared(play: Any) -> None:
    one, other = (play(name, **KINDS["eggroll-normalized"] | {"generations": 1}) for name in ("one", "other"))
    with pytest.raises(UsageError, match="expected --other between networks that see observations alike"):
        other_run(str(other), open_saved(one))


def test_a_genome_without_what_was_observed_is_refused(play: Any, tmp_path: Path) -> None:
    folder, file = play(**KINDS["ga-normalized"]), tmp_path / "one.json"
    export(open_saved(folder), "genome", file)
    content = json.loads(file.read_text())
    shown = torch.randn(5, 4)
    assert torch.equal(galab.load(file)(shown), galab.load(folder)(shown))
    file.write_text(json.dumps(content | {"buffers": {}}))
    with pytest.raises(GalabError, match=f"as 'buffers.{SUMS}' in"):
        galab.load(file)


def test_pixels_are_not_normalised(play: Any) -> None:
    pytest.importorskip("ale_py")
    with pytest.raises(UsageError, match="expected observations that are numbers with --normalize-obs"):
        play(task="atari(frostbite, validation=1, test=1)", normalize_observations="on")


def test_sizes_that_a_network_of_pixels_does_not_take_are_refused() -> None:
    with pytest.raises(UsageError, match="a constructor that takes hidden, got atari-policy with --hidden 16"):
        compose({"task": "atari(frostbite)", "hidden": "16"})


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_event_files_show_the_champions_episode(play: Any, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("galab.training.loop._SECONDS_TO_DRAW", seconds)
    task = {"task": "pendulum(validation=2,test=2)", "generations": 5, "report_every": 1, "episode_steps": 12}
    folder = play(**task, **KINDS["snes"])
    images = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    if seconds:
        assert images.Tags()["images"] == []
    else:
        shown = images.Images("episode")
        assert [(one.step, one.height) for one in shown] == [(1, 150), (2, 150), (4, 150), (5, 150)]
