"""Children that were never born: made as the run makes its own, of any individual."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lab_outcome import ENGINE, EVOLUTION

from galab.genome.weights import Phenotype
from galab.saved_runs.history import History
from galab.saved_runs.mutants import Mutants, random_directions
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import open_saved

Evolve = Callable[..., Path]


def children(run: Path, count: int, start: int = 0) -> np.ndarray:
    saved = open_saved(run)
    found = Mutants(saved).children(saved.member(), count, generation=saved.generation, start=start)
    return np.stack([child.floats() for child in found])


@pytest.mark.parametrize("kind", ["plain", "parameter", "momentum", "shares", "memories", "low-rank", "union"])
def test_every_kind_of_run_has_mutants(evolve: Evolve, kind: str) -> None:
    run = evolve(**ENGINE.get(kind, {}))
    found = children(run, 5)
    assert np.isfinite(found).all()
    assert (found != open_saved(run).member().floats()).any(axis=1).all()
    np.testing.assert_array_equal(found[3:], children(run, 2, start=3))


def test_dense_mutants_have_the_parents_step_size(evolve: Evolve) -> None:
    run = evolve(hidden="32")
    saved = open_saved(run)
    changes = children(run, 40) - saved.member().floats()
    size = saved.rms_step_size(saved.member(), saved.generation)
    assert changes.std() == pytest.approx(size, rel=0.01)
    assert changes.mean() == pytest.approx(0, abs=0.01 * size)
    log = History(saved).log[-1]
    assert log["step_size_min"] <= size <= log["step_size_max"]


@pytest.mark.parametrize("kind", ["openai-es", "eggroll"])
def test_members_of_an_evolution_strategy_are_perturbed_as_its_own(evolve: Evolve, kind: str) -> None:
    run = evolve(**(EVOLUTION[kind] | {"sigma_schedule": "constant", "hidden": "32"}))
    changes = children(run, 40) - open_saved(run).member().floats()
    assert changes.std() == pytest.approx(0.1, rel=0.03)
    parts = open_saved(run).layout.split(changes)
    ranks = {np.linalg.matrix_rank(matrix, tol=1e-4) for matrix in parts["output.weight"]}
    assert ranks == ({2} if kind == "eggroll" else {10})


def test_a_child_that_cannot_live_is_nan(evolve: Evolve) -> None:
    saved = open_saved(evolve())
    edge = Phenotype(np.full(saved.layout.size, 2**31 - 1, dtype=np.int32), saved.member().log_sigma)
    assert np.isnan(next(Mutants(saved).children(edge, 1, generation=1)).floats()).all()


def test_random_directions_are_of_length_one_and_apart() -> None:
    found = np.stack(list(random_directions(1, 500, 4)))
    assert found @ found.T == pytest.approx(np.eye(4), abs=0.15)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(4))
    np.testing.assert_array_equal(next(random_directions(1, 500, 1, start=2)), found[2])


def test_right_answers_are_those_that_accuracy_counts(evolve: Evolve) -> None:
    probe = Probe(open_saved(evolve()))
    shown = probe.examples("train", 300)
    members = np.stack([probe.weights(), np.full_like(probe.weights(), np.nan), probe.weights(0)])
    right = probe.right(members, shown)
    assert right is not None
    means = probe.means([probe.saved.member()], shown)
    assert right[0].mean() == pytest.approx(means["correct"][0])
    assert not right[1].any()
    lines = Probe(open_saved(evolve("lines", task="linear-regression", model="linear", hidden=None, fitness="loss")))
    assert lines.right(lines.weights()[None], lines.examples()) is None
