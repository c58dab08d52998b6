"""Coarser arithmetic: what it selects and how far it steps, and the generations of a run in two precisions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from galab.analysis.precision import cohorts_in_both_precisions, in_common, progress_kept, run_off, spearman, survivors
from galab.config.run_config import RunConfig
from galab.errors import UsageError
from galab.saved_runs.saved_run import open_saved
from galab.stats.vectors import cosine
from galab.storage.log import read_log
from galab.training.start_or_resume import start

NAN = float("nan")


def row(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_spearman_is_that_of_scipy_with_ties() -> None:
    one, other = row(3, 1, 4, 1, 5, 9), row(2, 7, 1, 8, 2, 8)
    assert spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)
    assert spearman(one, np.exp(one)) == pytest.approx(1.0)
    assert spearman(one, -one) == pytest.approx(-1.0)


def test_spearman_takes_failures_for_the_worst() -> None:
    assert spearman(row(NAN, 1, 2), row(-np.inf, 5, 6)) == pytest.approx(1.0)
    assert spearman(row(NAN, 1, 2), row(7, 5, 6)) == pytest.approx(-0.5)
    assert np.isnan(spearman(row(1, 1, 1), row(1, 2, 3)))


def test_survivors_are_the_best_and_of_equals_the_younger() -> None:
    assert survivors(row(1, 5, NAN, 5, 3), 3).tolist() == [3, 1, 4]
    assert in_common(survivors(row(1, 2, 3, 4), 2), survivors(row(1, 4, 2, 3), 2)) == 0.5


def test_a_run_off_lets_the_fine_score_decide_among_the_best_by_the_coarse_one() -> None:
    coarse, fine = row(9, 8, 7, 1, 0), row(1, 3, 2, 9, 0)
    assert run_off(coarse, fine, 2, 3).tolist() == [1, 2], "who is not among the candidates is not looked at"
    assert run_off(coarse, fine, 2, 5).tolist() == [3, 1]
    assert run_off(coarse, fine, 2, 2).tolist() == [1, 0]


def test_progress_is_a_share_of_the_best_differential() -> None:
    fitness = row(0, 2, 4, 6)  # mean 3; the best two have mean 5
    assert progress_kept(np.array([2, 3]), fitness) == 1.0
    assert progress_kept(np.array([1, 3]), fitness) == 0.5
    assert progress_kept(np.array([0, 1]), fitness) == -1.0
    assert np.isnan(progress_kept(np.array([0]), row(1, 1)))


def test_cosine() -> None:
    assert cosine(row(1, 0), row(1, 1)) == pytest.approx(0.5**0.5)
    assert np.isnan(cosine(row(0, 0), row(1, 1)))


def test_a_genetic_algorithm_goes_on_by_its_scores_in_float32(evolve: Callable[..., Path]) -> None:
    path = evolve(precision="float32")
    seen = list(cohorts_in_both_precisions(path / "checkpoints" / "gen_000002.pkl", 3))
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
    seen = list(cohorts_in_both_precisions(path / "checkpoints" / "gen_000002.pkl", 2))
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
        next(cohorts_in_both_precisions(path, 1))
