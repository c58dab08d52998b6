"""A saved run is opened once: its parts are checked, made when they are asked for, and the same ones every time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_outcome import EVOLUTION, GRADIENTS, log_of

from galab.errors import CheckpointError, UsageError
from galab.training.saved_state import SavedState, newest


def test_each_part_is_made_once(evolve: Any) -> None:
    saved = SavedState.open(evolve())
    for name in ("task", "module", "founders", "law", "records"):
        assert getattr(saved, name) is getattr(saved, name), name
    assert saved.new_module() is not saved.module


@pytest.mark.parametrize("kind", ["ga", "eggroll", "sgd"])
def test_a_run_is_built_at_its_start_and_restored_at_its_checkpoint(evolve: Any, kind: str) -> None:
    folder = evolve(**(EVOLUTION | GRADIENTS).get(kind, {}))
    saved = SavedState.open(folder)
    assert saved.built().strategy.generation == 0
    components = saved.components()
    assert components.strategy.generation == saved.generation == 5
    weights = [member.floats() for member in components.search.candidates()[1]]
    if kind == "ga":
        weights = [np.rint(row * 2.0**24) for row in weights]
    np.testing.assert_array_equal(weights, saved.state["weights"])


def test_an_older_checkpoint_counts_on_fewer_records(evolve: Any) -> None:
    folder = evolve(keep="all")
    older = SavedState.open(folder / "checkpoints" / "gen_000002.pkl")
    assert older.generation == 2
    assert older.home.path.resolve() == folder.resolve()
    rows = SavedState.open(folder).records
    assert 0 < len(older.records) < len(rows)
    np.testing.assert_array_equal(older.records, rows[: len(older.records)])


def test_a_run_goes_on_from_its_components_as_it_did(evolve: Any) -> None:
    folder = evolve(keep="all")
    components = SavedState.open(folder / "checkpoints" / "gen_000002.pkl").components()
    scores = components.executor.score(components.strategy.ask())
    assert scores.fitness.max() == log_of(folder)[2]["fitness_best"]


def test_another_runs_founders_are_refused(evolve: Any) -> None:
    folder = evolve()
    shutil.copy(evolve("other", seed=6) / "founders.pkl", folder / "founders.pkl")
    with pytest.raises(CheckpointError, match=r"founders\.pkl' to hold the founders of this run, got others"):
        SavedState.open(folder).components()


def test_a_lone_checkpoint_has_a_task_and_a_network_alone(evolve: Any, tmp_path: Path) -> None:
    lone = shutil.copy(newest(SavedState.open(evolve()).home), tmp_path / "lone.pkl")
    saved = SavedState.open(Path(lone))
    assert len(saved.task.train) > 0
    assert saved.law.name == "normal"
    assert sum(part.numel() for part in saved.module.parameters()) == saved.layout.size
    for part in ("founders", "records"):
        with pytest.raises(UsageError, match=r"expected the run folder of '.*lone\.pkl'.*give the checkpoint inside"):
            getattr(saved, part)


def test_a_run_without_a_checkpoint_says_how_to_go_on(evolve: Any) -> None:
    folder = evolve()
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(CheckpointError, match="killed before its first; continue it with `galab resume"):
        SavedState.open(folder)
