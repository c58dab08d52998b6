"""Mutants of a run on fitnesses whose change is known in closed form, and the lethal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lab_outcome import ENGINE, EVOLUTION

from galab.genome.random import Stream, draw, table
from galab.saved_runs.mutants import MutationScores
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import open_saved

Evolve = Callable[..., Path]


@pytest.mark.parametrize("kind", ["plain", "memories", "eggroll"])
def test_mutants_score_what_a_probe_says(evolve: Evolve, kind: str) -> None:
    probe = Probe(open_saved(evolve(**(ENGINE | EVOLUTION).get(kind, {}))))
    mutants, weights, shown = MutationScores(probe, chunk=4), probe.weights(), probe.examples("train", 100)
    assert mutants.together == (kind != "memories")
    found = mutants.changes(weights, table("laplace"), [0.01, 0.1], 6, shown)
    z = [draw(table("laplace"), probe.run_key, n, Stream.OPERATOR, len(weights)) for n in range(6)]
    for row, sigma in enumerate(np.float32([0.01, 0.1])):
        formed = np.stack([weights + sigma * one for one in z])
        wanted = probe.fitness(formed, shown) - probe.fitness(weights[None], shown)
        np.testing.assert_allclose(found.change[0, row], wanted, atol=2e-5)
    assert found.before == pytest.approx(probe.fitness(weights[None], shown)[0], rel=1e-5)


@pytest.mark.slow
def test_on_a_quadratic_the_mean_change_is_that_of_the_curvature(evolve: Evolve) -> None:
    run = evolve(task="linear-regression", model="linear", hidden=None, fitness="loss", batch=64)
    probe = Probe(open_saved(run))
    shown, weights = probe.examples(), probe.weights()
    sigmas = [0.1, 0.5]
    # The loss is a quadratic, so its curvature along any axis comes from three points exactly.
    base = probe.fitness(weights[None], shown)[0]
    axes = np.eye(len(weights), dtype=np.float32)
    ends = probe.fitness(weights + axes, shown) + probe.fitness(weights - axes, shown) - 2 * base
    found = MutationScores(probe).changes(weights, table("normal"), sigmas, 1024, shown)
    for row, sigma in enumerate(sigmas):
        exact = sigma**2 * ends.sum() / 2
        error = found.change[0, row].std() / 32
        assert found.change[0, row].mean() == pytest.approx(exact, abs=4 * error)
        assert 4 * error < abs(exact) or sigma < 0.5, "or the test proves nothing"


def test_the_lethal_are_counted_and_have_no_change(evolve: Evolve) -> None:
    probe = Probe(open_saved(evolve()))
    names = probe.layout.names
    found = MutationScores(probe).changes(
        probe.weights(), table("normal"), [0.1, 40.0, 1000.0], 32, probe.examples("train", 20),
        subsets=[names, names[-1:]],
    )  # fmt: skip
    assert found.lethal[0].tolist()[0] == 0
    assert found.lethal[0, 2] == 32
    assert 0 <= found.lethal[1, 1] < found.lethal[0, 1]
    np.testing.assert_array_equal(np.isnan(found.change).sum(axis=2), found.lethal)
