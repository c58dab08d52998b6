"""Cosines and laws of gradients of real runs: the numbers, and every kind of run that there is."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_runs import CLOUDS, CLOUDS_WITHOUT_GRADIENT, KINDS, SMALL

from galab.analysis.base import Analysis
from galab.analysis.gradient_cosine import gradient_cosine
from galab.analysis.gradients import gradients
from galab.analysis.sampling import gradient_steps, mutation_gains, noise_of, steps_taken
from galab.config import RunConfig
from galab.errors import UsageError
from galab.saved_runs.history import History
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import SavedRun, open_saved
from galab.training.start_or_resume import start

QUICK: dict[str, Any] = {"samples": 8, "repeats": 2, "top": "2,4", "sizes": "16", "steps": 3}


def silent(what: str, share: float) -> None:
    assert 0 <= share <= 1


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of a kind, made when it is first asked for."""
    home, made = tmp_path_factory.mktemp("runs"), dict[str, Path]()

    def run(kind: str) -> Path:
        if kind not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("os.fsync", lambda descriptor: None)
                start(RunConfig(**{**SMALL, **KINDS[kind]}), name=kind, runs=home)
            made[kind] = home / kind
        return made[kind]

    return run


def checked(found: Analysis, tmp_path: Path, *, figure: bool) -> Analysis:
    """Its values are plain data, its rows share their keys, and its figure can be drawn, which takes a second."""
    if figure:
        found.draw(tmp_path / "figure.png")
        assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    json.dumps(found.values, allow_nan=False)
    assert len({tuple(row) for row in found.rows}) == 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_has_an_answer(runs: Callable[[str], Path], kind: str, tmp_path: Path) -> None:
    saved = open_saved(runs(kind))
    figure = kind in ("ga", "one")
    found = checked(gradient_cosine(saved, silent, **QUICK), tmp_path, figure=figure)
    assert "training examples" in found.sentence
    assert found.values["single"]["predicted_deviation"] == pytest.approx(found.values["dimensions"] ** -0.5)
    if kind not in ("one", "random"):
        assert 0 < len(found.values["taken"]) <= 3
    law = checked(gradients(saved, silent, steps=2, looks=1), tmp_path, figure=figure)
    assert law.values["update_sigma"]["median"] > 0
    assert "10^" in law.sentence


@pytest.mark.slow
def test_the_same_question_has_the_same_answer(runs: Callable[[str], Path]) -> None:
    one, again = (gradient_cosine(open_saved(runs("ga")), silent, **QUICK) for _ in range(2))
    assert one.values == again.values
    assert one.sentence == again.sentence


@pytest.mark.slow
def test_random_mutations_have_deviation_one_over_root_d(runs: Callable[[str], Path]) -> None:
    options = {**QUICK, "samples": 256, "repeats": 4, "examples": 200, "steps": 0}
    found = gradient_cosine(open_saved(runs("ga")), silent, **options)
    assert found.values["single"]["deviation_times_root_dimensions"] == pytest.approx(1, abs=4 / math.sqrt(2 * 1024))
    # With so small a step fitness is nearly linear, and estimates follow their law on the minibatch.
    cosine = found.values["cosines"]["ES antithetic, minibatch"]
    assert cosine == pytest.approx(found.values["theory"]["ES antithetic"], abs=0.1)
    best = found.values["cosines"]["best of n by its cosine, minibatch"]
    assert best == pytest.approx(found.values["theory"]["best of n by its cosine"], abs=0.05)


def test_gains_are_those_of_single_networks(runs: Callable[[str], Path]) -> None:
    probe = Probe(open_saved(runs("ga")))
    weights, small, full = probe.weights(), probe.minibatches(32).of(1), probe.examples("train", 100)
    noise = noise_of(_normal(), 5, 0, (5, len(weights)))
    some = mutation_gains(probe, weights, noise, 0.125, small, full)
    for row, gain in enumerate(some.full):
        one = probe.fitness((weights + np.float32(0.125) * noise[row])[None], full)[0]
        assert gain == pytest.approx(one - probe.fitness(weights[None], full)[0], abs=1e-6)
    minus = probe.fitness((weights - np.float32(0.125) * noise[1])[None], small)[0]
    assert some.mirrored[1] == pytest.approx(minus - probe.fitness(weights[None], small)[0], abs=1e-6)
    assert len(some.mirrored) == 2


def _normal() -> Any:
    from galab.genome.random import table

    return table("normal")


@pytest.mark.parametrize("kind", ["ga", "eggroll"])
def test_steps_taken_are_differences_along_the_way(runs: Callable[[str], Path], kind: str) -> None:
    saved = open_saved(runs(kind))
    way = list(History(saved).trajectory())
    found = list(steps_taken(saved, 1000))
    assert [step[0] for step in found] == [generation for generation, _ in way[1:]]
    for (_, before, change), (_, first), (_, second) in zip(found, way, way[1:], strict=False):
        np.testing.assert_array_equal(before, first.floats())
        np.testing.assert_array_equal(change, second.floats() - first.floats())
    assert len(list(steps_taken(saved, 2))) == 2


@pytest.mark.parametrize("optimizer", ["sgd", "sgd(momentum=0.9)", "adam"])
def test_updates_are_those_of_torch(runs: Callable[[str], Path], optimizer: str) -> None:
    saved = open_saved(runs("ga"))
    probe = Probe(saved)
    module = saved.module_with(saved.member()).requires_grad_(True)
    made: dict[str, Any] = {
        "sgd": lambda own: torch.optim.SGD(own, lr=0.05),
        "sgd(momentum=0.9)": lambda own: torch.optim.SGD(own, lr=0.05, momentum=0.9),
        "adam": lambda own: torch.optim.Adam(own, lr=0.05),
    }
    theirs = made[optimizer](module.parameters())
    minibatches = probe.minibatches(32)
    for step in gradient_steps(
        probe, probe.weights(), minibatches, optimizer=optimizer, learning_rate=0.05, steps=4
    ):
        examples = probe.minibatches(32).of(step.number)
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(module(examples.inputs), examples.targets).backward()
        theirs.step()
        after = torch.cat([own.detach().flatten() for own in module.parameters()]).numpy()
        np.testing.assert_allclose(step.before + step.update, after, atol=2e-5)


def test_the_matching_mutation_has_the_length_of_the_step(runs: Callable[[str], Path]) -> None:
    saved = open_saved(runs("ga"))
    found = gradients(saved, silent, steps=1, looks=1, lr=0.3).values
    probe = Probe(saved)
    slope = probe.gradient(probe.weights(), probe.minibatches(32).of(1)).astype(np.float64)
    sigma = 0.3 * np.linalg.norm(slope) / math.sqrt(len(slope))
    assert found["update_sigma"]["median"] == pytest.approx(sigma, rel=1e-3)
    assert found["norm_ratio"] == pytest.approx(sigma / found["sigma"], rel=1e-3)


def test_an_exported_law_mutates_a_run(runs: Callable[[str], Path], tmp_path: Path) -> None:
    file = tmp_path / "law.npy"
    found = gradients(open_saved(runs("ga")), silent, steps=3, looks=3, export=str(file))
    assert found.sentence.endswith(f"galab run --distribution table:{file}")
    start(RunConfig(**{**SMALL, "distribution": f"table:{file}", "generations": 2}), name="again", runs=tmp_path)
    assert abs(np.load(file).std() - 1) < 1e-6
    with pytest.raises(UsageError, match="expected --export as the name of a .npy file"):
        gradients(open_saved(runs("ga")), silent, export="law.txt")


def test_a_lone_checkpoint_has_an_answer_but_no_past(runs: Callable[[str], Path], tmp_path: Path) -> None:
    lone = tmp_path / "lone.pkl"
    shutil.copy(sorted((runs("ga") / "checkpoints").glob("*.pkl"))[-1], lone)
    found = gradient_cosine(open_saved(lone), silent, **QUICK)
    assert found.values["taken"] == []
    assert "Note: the run's own steps are not known" in found.sentence
    assert gradients(open_saved(lone), silent, steps=1, looks=1).values["steps"] == 1
    with pytest.raises(UsageError, match="expected a run folder"):
        gradients(open_saved(lone), silent, generation=0)


@pytest.mark.slow
def test_earlier_moments_can_be_asked_for(runs: Callable[[str], Path]) -> None:
    for kind in ("ga", "eggroll"):
        saved = open_saved(runs(kind))
        assert gradients(saved, silent, generation=0, steps=1, looks=1).values["generation"] == 0
        assert gradient_cosine(saved, silent, generation=2, **QUICK).values["generation"] == 2


def test_the_beginning_has_taken_no_step(runs: Callable[[str], Path]) -> None:
    for kind in ("ga", "eggroll"):
        saved = open_saved(runs(kind) / "checkpoints" / "gen_000000.pkl")
        found = gradient_cosine(saved, silent, **QUICK)
        assert found.values["taken"] == []
        assert found.sentence.endswith("Note: the run has taken no step yet.")


def test_fewer_examples_stand_for_all(runs: Callable[[str], Path]) -> None:
    found = gradient_cosine(open_saved(runs("ga")), silent, **{**QUICK, "examples": 20, "steps": 0})
    # A minibatch of all of them has the full gradient.
    assert (found.values["batch"], found.values["examples"]) == (20, 20)
    assert found.values["cosines"]["minibatch gradient, full"] == pytest.approx(1)
    assert found.values["best_worse_share"] == 0


def test_members_that_fail_harm_no_answer(tmp_path: Path) -> None:
    file = tmp_path / "clouds.py"
    measured = "sums | {'loss': sums['loss'] / (sums['loss'] < LIMIT * len(targets)).float()}"
    body = CLOUDS.replace("MEASURED", measured)
    file.write_text("LIMIT = 1e9\n" + body)
    start(RunConfig(**{**SMALL, "task": f"{file}:clouds"}), name="some", runs=tmp_path)
    saved = open_saved(tmp_path / "some", trust=True)
    probe = Probe(saved)
    loss = -probe.fitness(probe.weights()[None], probe.examples())[0]
    file.write_text(f"LIMIT = {1.5 * loss}\n" + body)
    options = {**QUICK, "sigma": 1.0, "batch": 0, "steps": 0, "examples": 0, "samples": 32}
    found = gradient_cosine(open_saved(tmp_path / "some", trust=True), silent, **options)
    checked(found, tmp_path, figure=False)
    assert 0 <= found.values["best_worse_share"] <= 1


@pytest.mark.parametrize("ask", [gradient_cosine, gradients])
def test_a_task_without_a_gradient_is_one_sentence(ask: Callable[..., Analysis], tmp_path: Path) -> None:
    file = tmp_path / "clouds.py"
    file.write_text(CLOUDS_WITHOUT_GRADIENT)
    start(RunConfig(**{**SMALL, "task": f"{file}:clouds"}), name="flat", runs=tmp_path)
    with pytest.raises(UsageError, match="expected a network and a task with a gradient"):
        ask(open_saved(tmp_path / "flat", trust=True), silent)


@pytest.mark.parametrize(
    ("ask", "options", "said"),
    [
        (gradient_cosine, {"samples": 2}, "--samples of at least 4"),
        (gradient_cosine, {"top": "two"}, "expected --top"),
        (gradient_cosine, {"sigma": -1.0}, "expected --sigma above 0"),
        (gradient_cosine, {"sigma": 1e38}, "choose a smaller --sigma"),
        (gradient_cosine, {"samples": 10**9}, "choose fewer"),
        (gradients, {"optimizer": "sdg"}, "Did you mean 'sgd'"),
        (gradients, {"lr": math.inf}, "expected --lr above 0"),
        (gradients, {"lr": 1e38}, "choose a smaller --lr"),
        (gradients, {"steps": 0}, "--steps of at least 1"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    runs: Callable[[str], Path], ask: Callable[..., Analysis], options: dict[str, Any], said: str
) -> None:
    saved: SavedRun = open_saved(runs("ga"))
    quick = QUICK if ask is gradient_cosine else {}
    with pytest.raises(UsageError, match=said):
        ask(saved, silent, **{**quick, **options})
