"""Sweeps: every cell a group; finished trials are skipped, the same call goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_outcome import outcome

from galab.config import RunConfig
from galab.errors import RunFolderError, UsageError
from galab.training.trials.sweep import sweep
from galab.training.trials.trials import resume_trials

GRID = {"sigma": [0.01, 0.05], "children": [6, 7]}


@pytest.fixture
def run_sweep(tmp_path: Path, small: dict[str, Any]) -> Callable[..., Any]:
    """``run_sweep("name", grid, seeds, generations=3)`` in this process."""

    def make(name: str = "s", grid: dict[str, Any] = GRID, seeds: tuple[int, ...] = (1, 2), **changes: Any) -> Any:
        config = RunConfig(**small | {"generations": 2} | changes)
        return sweep(config, grid, seeds, name=name, runs=tmp_path, jobs=1)

    return make


def stamps(path: Path) -> dict[str, int]:
    """When each run last said how it is doing."""
    return {str(file.relative_to(path)): file.stat().st_mtime_ns for file in path.rglob("status.json")}


@pytest.mark.slow
def test_every_cell_is_a_group_of_runs_as_they_would_be_alone(run_sweep: Any, evolve: Any) -> None:
    done = run_sweep()
    assert len(done.trials) == 8
    assert [one.path.relative_to(done.path).as_posix() for one in done.trials[:3]] == [
        "sigma=0.01,children=6/seed_1", "sigma=0.01,children=6/seed_2", "sigma=0.01,children=7/seed_1",
    ]  # fmt: skip
    alone = evolve("alone", sigma=0.05, children=7, seed=2, generations=2)
    assert outcome(done.path / "sigma=0.05,children=7" / "seed_2") == outcome(alone)


@pytest.mark.slow
def test_the_same_call_skips_what_is_finished_and_continues_the_rest(run_sweep: Any) -> None:
    done = run_sweep()
    killed, lost = done.path / "sigma=0.01,children=6" / "seed_1", done.path / "sigma=0.05,children=7"
    whole = outcome(killed)
    (killed / "checkpoints" / "gen_000002.pkl").unlink()
    status = json.loads((killed / "status.json").read_text())
    (killed / "status.json").write_text(json.dumps(status | {"state": "running"}))
    shutil.rmtree(lost)
    before = stamps(done.path)
    again = run_sweep()
    assert [one.state for one in again.trials] == ["finished"] * 8
    assert outcome(killed) == whole
    changed = {name for name, stamp in stamps(done.path).items() if before.get(name) != stamp}
    assert changed == {
        "sigma=0.01,children=6/seed_1/status.json",
        *(f"sigma=0.05,children=7/seed_{seed}/status.json" for seed in (1, 2)),
    }


@pytest.mark.slow
def test_a_sweep_grows_by_values_and_seeds_and_limits(run_sweep: Any) -> None:
    done = run_sweep(grid={"sigma": [0.01]}, seeds=(1,))
    before = stamps(done.path)
    more = run_sweep(grid={"sigma": [0.01, 0.02]}, seeds=(1, 2))
    assert len(more.trials) == 4
    assert stamps(done.path)["sigma=0.01/seed_1/status.json"] == before["sigma=0.01/seed_1/status.json"]
    longer = run_sweep(grid={"sigma": [0.02]}, seeds=(1,), generations=4)
    assert [one.generation for one in longer.trials] == [4]
    everything = resume_trials(done.path, jobs=1)
    assert len(everything.trials) == 4
    assert {one.state for one in everything.trials} == {"finished"}


def test_cells_that_cannot_work_are_all_named_before_anything_runs(run_sweep: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        run_sweep(grid={"children": [6, 1, 2], "model": ["mlp", "unheard"]})
    said = str(refused.value)
    assert "got 5 of 6 that are not" in said
    for words in ("children=1,model=mlp: expected --children plus", "children=2,model=mlp: ", "no model is called"):
        assert words in said
    assert not (tmp_path / "s").exists()


def test_other_hyperparameters_need_another_name(run_sweep: Any, tmp_path: Path, small: dict[str, Any]) -> None:
    run_sweep(grid={"sigma": [0.01]}, seeds=(1,))
    with pytest.raises(UsageError, match=r"--parents 3\), got --parents 4; choose another --name"):
        run_sweep(grid={"sigma": [0.01]}, seeds=(1,), parents=4)
    with pytest.raises(RunFolderError, match="got trials of one configuration"):
        sweep(RunConfig(**small), {"sigma": [0.01]}, (1,), name="sigma=0.01", runs=tmp_path / "s", jobs=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("")
    with pytest.raises(RunFolderError, match="another folder"):
        run_sweep("other")
