"""Groups of trials: each is the run that it would be alone, and what befalls one leaves the others alone."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_outcome import outcome

import galab
from galab.config import RunConfig
from galab.errors import RunFolderError, UsageError
from galab.storage import checkpoints
from galab.training.start_or_resume import resume
from galab.training.trials import trials as module
from galab.training.trials.processes import Trial
from galab.training.trials.trials import resume_trials, start_trials, trial_batches


@pytest.fixture
def group(tmp_path: Path, small: dict[str, Any]) -> Callable[..., Any]:
    """Runs a small group in this process: ``group("name", (0, 1), children=9)``."""

    def make(name: str = "group", seeds: tuple[int, ...] = (3, 5, 8), jobs: int = 1, **changes: Any) -> Any:
        return start_trials(RunConfig(**small | changes), seeds, name=name, runs=tmp_path, jobs=jobs)

    return make


def kill_after(run: Path, generation: int) -> None:
    """Leave a run as kill -9 would have left it after a checkpoint: a longer log, and a status that says running."""
    for reached, path in checkpoints.list_checkpoints(run / "checkpoints"):
        if reached > generation:
            path.unlink()
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(status | {"state": "running", "result": {}}))


@pytest.mark.parametrize("changes", [{}, {"elites": 1}, {"survival": "plus", "batch": 0}, {"precision": "float32"}])
def test_a_trial_is_bit_for_bit_the_run_alone(group: Any, evolve: Any, changes: dict[str, Any]) -> None:
    done = group(**changes)
    assert [(one.seed, one.state, one.generation) for one in done.trials] == [(s, "finished", 5) for s in (3, 5, 8)]
    for seed in (3, 8):
        alone = evolve(f"alone-{seed}", seed=seed, **changes)
        assert outcome(done.path / f"seed_{seed}") == outcome(alone)


@pytest.mark.slow
def test_trials_one_after_the_other_are_the_same_too(group: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    side_by_side = group("a")
    monkeypatch.setattr(module, "MOST_TOGETHER", 1)
    in_turn = group("b")
    for one, other in zip(side_by_side.trials, in_turn.trials, strict=True):
        assert outcome(one.path) == outcome(other.path)


@pytest.mark.slow
def test_trials_in_processes_are_the_same_too(group: Any, evolve: Any) -> None:
    done = group(seeds=(3, 5, 8), jobs=2)
    assert not done.failed
    for seed in (3, 5, 8):
        assert outcome(done.path / f"seed_{seed}") == outcome(evolve(f"alone-{seed}", seed=seed))


@pytest.mark.slow
def test_a_group_goes_on_where_trials_were_killed_and_never_begun(group: Any) -> None:
    whole, broken = group("whole"), group("broken")
    kill_after(broken.path / "seed_5", 2)
    shutil.rmtree(broken.path / "seed_8")
    before = (broken.path / "seed_3" / "status.json").read_bytes()
    done = resume_trials(broken.path, jobs=1)
    assert [one.state for one in done.trials] == ["finished"] * 3
    assert (broken.path / "seed_3" / "status.json").read_bytes() == before  # nothing was left to do
    for one in whole.trials:
        assert outcome(one.path) == outcome(broken.path / one.path.name)
    assert resume_trials(broken.path, jobs=1).trials == done.trials


@pytest.mark.slow
def test_one_trial_of_a_group_is_resumed_alone(group: Any) -> None:
    whole, broken = group("whole"), group("broken")
    kill_after(broken.path / "seed_5", 2)
    resume(broken.path / "seed_5")
    assert outcome(whole.path / "seed_5") == outcome(broken.path / "seed_5")


@pytest.mark.slow
def test_new_limits_reach_every_trial_also_those_that_had_not_begun(group: Any) -> None:
    longer, first = group("longer", generations=8), group("first")
    shutil.rmtree(first.path / "seed_8")
    done = resume_trials(first.path, {"generations": 8}, jobs=1)
    assert [one.generation for one in done.trials] == [8, 8, 8]
    assert outcome(first.path / "seed_8") == outcome(longer.path / "seed_8")
    with pytest.raises(UsageError, match=r"--children 6 .* got --children 7"):
        resume_trials(first.path, {"children": 7}, jobs=1)


def test_a_trial_that_fails_leaves_the_others_alone(clouds: Any, tmp_path: Path, small: dict[str, Any]) -> None:
    task = clouds(
        """
        global calls
        calls += outputs.shape[0] == 6
        return loss * float('nan') if (calls > 3 and FAILS) else loss
        """
    )
    source = Path(task.rpartition(":")[0])
    # A task of somebody's own is loaded anew for each trial, and once before: the second trial fails.
    loads = tmp_path / "loads"
    loads.touch()
    source.write_text(
        f"from pathlib import Path\nLOADS = Path({str(loads)!r})\nLOADS.write_text(LOADS.read_text() + 'x')\n"
        f"FAILS = len(LOADS.read_text()) == 3\n{source.read_text()}"
    )
    config = RunConfig(**small | {"task": task, "batch": 50})
    done = start_trials(config, (1, 2, 3), name="g", runs=tmp_path, jobs=1)
    assert [one.state for one in done.trials] == ["finished", "failed", "finished"]
    (failed,) = done.failed
    assert "not one of 6 children has a finite fitness" in failed.message
    assert json.loads((failed.path / "status.json").read_text())["state"] == "failed"
    assert [one.generation for one in done.trials if one.state == "finished"] == [5, 5]


@pytest.mark.slow
def test_an_interrupt_saves_every_trial_and_they_go_on_exactly(
    group: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = group("whole")
    real = module.run_in_this_process

    def interrupting(batches: Any, trials: Any, progress: Any, interrupted: threading.Event) -> Any:
        return real(batches, trials, lambda index, progress: interrupted.set(), interrupted)

    monkeypatch.setattr(module, "run_in_this_process", interrupting)
    stopped = group("stopped")
    monkeypatch.undo()
    assert stopped.interrupted
    assert {one.state for one in stopped.trials} <= {"stopped", "waiting"}
    assert all(0 < one.generation < 5 for one in stopped.trials if one.state == "stopped")
    resume_trials(stopped.path, jobs=1)
    for one in whole.trials:
        assert outcome(one.path) == outcome(stopped.path / one.path.name)


def test_what_cannot_work_is_refused_before_a_folder_is_made(group: Any, tmp_path: Path) -> None:
    for seeds, changes, words in (
        ((1, 1), {}, "1 twice"), ((), {}, "at least one seed"),
        ((1,), {"init": "no.pt"}, "no.pt"), ((1,), {"jobs": 0}, "--jobs"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as refused:
            group("refused", seeds, **changes)
        assert words in str(refused.value)
    assert not (tmp_path / "refused").exists()
    group("taken", (1,))
    with pytest.raises(RunFolderError, match="galab resume"):
        group("taken", (1,))


def test_from_python(tmp_path: Path, small: dict[str, Any]) -> None:
    own = {name: value for name, value in small.items() if name != "seed"}
    done = galab.run_trials(seeds="0-1", runs=tmp_path, jobs=1, **own)
    assert done.path == tmp_path / "digits-ga"
    assert [one.seed for one in done.trials] == [0, 1]
    assert all(0 < one.metrics["test_accuracy"] < 1 for one in done.trials)
    assert "digits" in done.data
    assert galab.run_trials(seeds=[4], runs=tmp_path, jobs=1, **own).path.name == "digits-ga-2"
    with pytest.raises(UsageError, match="expected seeds alone"):
        galab.run_trials(seeds=[1], runs=tmp_path, **small)


def test_batches_are_even_and_hold_small_networks_of_one_configuration() -> None:
    one, other = RunConfig(children=32), RunConfig(children=33)
    trials = [Trial(Path(str(n)), one if n < 20 else other, {}) for n in range(24)]
    small = trial_batches(trials, [100] * 24, 2)
    assert sorted(index for batch in small for index in batch) == list(range(24))
    assert [len(batch) for batch in small] == [10, 10, 2, 2]
    assert trial_batches(trials, [100_000] * 24, 2) == [[index] for index in range(24)]
    assert [len(batch) for batch in trial_batches(trials[:20], [100] * 20, 1)] == [10, 10]
    assert trial_batches([], [], 1) == []


@pytest.mark.slow
def test_trials_mutate_with_a_distribution_of_their_own(group: Callable[..., Any], evolve: Callable[..., Path]) -> None:
    """All of them with the numbers of one table, and each as it would be alone."""
    together = group(distribution="scipy:t(df=5)", seeds=(3, 5))
    alone = evolve("alone", distribution="scipy:t(df=5)", seed=5)
    folders = [one.path for one in together.trials]
    assert {one.state for one in together.trials} == {"finished"}
    assert outcome(folders[1]) == outcome(alone)
    saved = {json.loads((one / "config.json").read_text())["hyperparameters"]["distribution"] for one in folders}
    assert len(saved) == 1
    assert "#" in saved.pop()
