"""The generations of a run in two precisions: float32 is the run's own, and both go on from the same place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galab.analysis.precision import cohorts_twice
from galab.config.fields import RunConfig
from galab.errors import UsageError
from galab.saved_runs.saved_run import open_saved
from galab.storage.log import read_log
from galab.training.start import start


def test_a_genetic_algorithm_goes_on_by_its_scores_in_float32(evolve: Callable[..., Path]) -> None:
    path = evolve(precision="float32")
    seen = list(cohorts_twice(path / "checkpoints" / "gen_000002.pkl", 3))
    logged = {line["generation"]: line["fitness_best"] for line in read_log(path / "log.jsonl")}
    assert [one.generation for one in seen] == [3, 4, 5]
    for one in seen:
        assert one.fine.max() == pytest.approx(logged[one.generation], rel=1e-6)
        assert one.elsewhere is not None
        assert not np.array_equal(one.coarse, one.fine), "bfloat16 is another arithmetic"
        np.testing.assert_allclose(one.coarse, one.fine, rtol=0.05)
        assert np.abs(one.elsewhere - one.fine).max() > np.abs(one.coarse - one.fine).max()


def test_an_evolution_strategy_gives_both_estimates_from_the_same_centre(tmp_path: Path) -> None:
    config = RunConfig(
        task="digits", hidden="4", batch=32, strategy="eggroll", population=64, pairs="one-sided", seed=5, threads=1,
        generations=4, save_every=2, precision="float32", lr=1.0,
    )  # fmt: skip
    path = start(config, name="es", runs=tmp_path).folder.path
    seen = list(cohorts_twice(path / "checkpoints" / "gen_000002.pkl", 2))
    before, after = (open_saved(path / "checkpoints" / f"gen_{number:06}.pkl").state for number in (2, 4))
    steps: Any = [one.fine_step for one in seen]
    moved = np.asarray(after["weights"])[0] - np.asarray(before["weights"])[0]
    np.testing.assert_allclose(steps[0] + steps[1], moved, atol=1e-5)  # sgd with a rate of 1
    for one in seen:
        assert one.coarse_step is not None
        assert one.gradient is not None
        assert one.gradient.shape == one.coarse_step.shape == moved.shape
        assert not np.array_equal(one.coarse_step, one.fine_step)
        together = float(one.coarse_step @ one.fine_step)
        assert together > 0.9 * np.linalg.norm(one.coarse_step) * np.linalg.norm(one.fine_step)


def test_a_selection_that_looks_at_more_is_refused(evolve: Callable[..., Path]) -> None:
    path = evolve(fitness="improvement:cross-entropy")
    with pytest.raises(UsageError, match="expected a run with --selection truncation and one base as --fitness"):
        next(cohorts_twice(path, 1))
