"""What a probe says of weights is what the run said, and its gradient is the slope of its fitness."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lab_outcome import ENGINE, EVOLUTION

from galab.errors import UsageError
from galab.operators.es_noise import WeightVector
from galab.saved_runs.history import History
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import evaluate, open_saved

Evolve = Callable[..., Path]


@pytest.mark.parametrize("kind", ["plain", "memories", "eggroll"])
def test_the_champion_scores_what_evaluate_says(evolve: Evolve, kind: str) -> None:
    run = evolve(**(ENGINE | EVOLUTION).get(kind, {}))
    probe = Probe(open_saved(run))
    means = probe.means([probe.saved.member()], probe.examples("validation"))
    said = evaluate(run, split="validation")
    assert means["correct"][0] == pytest.approx(said["validation_accuracy"])
    assert means["loss"][0] == pytest.approx(said["validation_loss"], rel=1e-5)


def test_fitness_is_what_the_run_logged(evolve: Evolve) -> None:
    run = evolve(batch=0, precision="float32", keep="all")
    history, probe = History(open_saved(run)), Probe(open_saved(run))
    best = [line["best"] for line in history.log]
    members = [history.member(number) for number in best]
    found = np.concatenate(list(probe.fitness_along(iter(members), probe.examples())))
    np.testing.assert_allclose(found, [line["fitness_best"] for line in history.log], rtol=1e-5)


def test_a_failed_member_has_no_fitness_and_harms_no_other(evolve: Evolve) -> None:
    probe = Probe(open_saved(evolve()))
    good = probe.weights()
    bad = np.full_like(good, np.nan)
    found = probe.fitness(np.stack([good, bad]), probe.examples())
    assert np.isfinite(found).tolist() == [True, False]


@pytest.mark.parametrize("fitness", ["cross-entropy", "accuracy", "sampled-accuracy"])
def test_the_gradient_is_the_slope_of_minus_the_loss(evolve: Evolve, fitness: str) -> None:
    probe = Probe(open_saved(evolve(fitness=fitness)))
    assert probe.smooth == (fitness == "cross-entropy")
    weights, examples = probe.weights(), probe.examples()
    slope = probe.gradient(weights, examples).astype(np.float64)
    length = np.linalg.norm(slope)
    reach = 1e-2 * slope / length
    ends = [member(weights + sign * reach) for sign in (1, -1)]
    losses = probe.means(ends, examples)["loss"]
    assert (losses[1] - losses[0]) / 2e-2 == pytest.approx(length, rel=0.02)


def member(weights: np.ndarray) -> WeightVector:
    return WeightVector(weights.astype(np.float32))


def test_minibatches_are_those_of_the_run(evolve: Evolve) -> None:
    probe = Probe(open_saved(evolve()))
    one, again = probe.minibatches(32).of(3), probe.minibatches(32).of(3)
    assert len(one) == 32
    assert one.targets.tolist() == again.targets.tolist() != probe.minibatches(32).of(4).targets.tolist()


def test_earlier_champions_can_be_probed(evolve: Evolve) -> None:
    run = evolve(keep="all")
    probe = Probe(open_saved(run))
    earlier = open_saved(run / "checkpoints" / "gen_000002.pkl").member().floats()
    np.testing.assert_array_equal(probe.weights(2), earlier)
    np.testing.assert_array_equal(probe.weights(), open_saved(run).member().floats())


def test_splits_are_checked(evolve: Evolve) -> None:
    probe = Probe(open_saved(evolve()))
    assert len(probe.examples("train", 7)) == 7
    assert len(probe.examples("test", 10**9)) == 270
    with pytest.raises(UsageError, match="expected --split train, validation, test"):
        probe.examples("trian")
