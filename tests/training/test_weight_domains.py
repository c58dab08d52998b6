"""Runs and searches whose weights are whole, binary, bounded or of another range: exact as all others."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import ENGINE, log_of, newest_state
from torch import nn

import galab
from galab.config.registry import ANALYSES
from galab.config.run_config import RunConfig
from galab.errors import CheckpointError, GalabError, UsageError
from galab.saved_runs.export import export, network_of_genome
from galab.saved_runs.history import History
from galab.saved_runs.saved_run import open_saved
from galab.saved_runs.verify import conclusion, verify
from galab.storage.run_folder import RunFolder
from galab.training.compose import compose
from galab.training.saved_state import SavedState
from galab.training.start_or_resume import resume, start

KINDS = ("binary", "integer", "integer-genes", "reflect", "wide")


def allowed(kind: str, weights: np.ndarray) -> bool:
    """Whether float weights are those that the kind of run allows."""
    if kind == "binary":
        return bool(np.isin(weights, [-1, 1]).all())
    if kind == "reflect":
        return bool((np.abs(weights) <= 0.2).all())
    return kind == "wide" or bool((weights == np.rint(weights)).all())


@pytest.mark.parametrize("kind", KINDS)
def test_every_individual_of_a_run_has_weights_that_are_allowed(kind: str, evolve: Any, tmp_path: Path) -> None:
    folder = evolve(generations=6, keep="all", **ENGINE[kind])
    saved = open_saved(folder)
    walked = [member.floats() for _, member in History(saved).walk(saved.records["id"].tolist())]
    assert all(allowed(kind, weights) for weights in walked)
    assert len({weights.tobytes() for weights in walked}) > 5
    resume(folder, {"generations": 8})
    assert "every checkpoint follows from its seeds" in conclusion(verify(RunFolder(folder)))
    network = galab.load(folder)
    flat = torch.cat([value.detach().flatten() for value in network.parameters()]).numpy()
    assert allowed(kind, flat)
    for keyframe in (False, True):
        path = tmp_path / f"genome-{keyframe}.json"
        export(open_saved(folder), "genome", path, keyframe=keyframe)
        again = network_of_genome(path)
        assert all(map(torch.equal, network.state_dict().values(), again.state_dict().values()))


def test_a_binary_run_learns_by_one_flip_at_a_time(evolve: Any) -> None:
    folder = evolve(generations=60, children=24, parents=1, elites=1, genome="binary", batch=0, hidden="")
    state = newest_state(folder)
    assert state["hyperparameters"]["mutate"] == "flip"
    assert state["hyperparameters"]["step_size"] == "fixed"
    log = [line for line in log_of(folder) if "fitness_best" in line]
    assert log[-1]["train_accuracy"] > log[0]["train_accuracy"] + 0.2
    saved = open_saved(folder)
    births = saved.records["id"].tolist()
    line = [member.weights for _, member in History(saved).walk(births)]
    assert len(line) > 10
    assert {int((one != next_one).sum()) for one, next_one in pairwise(line)} <= {0, 1}


def test_a_child_beyond_the_usual_range_lives_where_the_range_is_larger(evolve: Any) -> None:
    changes = {"sigma": 8.0, "step_size": "fixed", "generations": 30, "distribution": "cauchy", "hidden": ""}
    narrow = log_of(evolve("narrow", **changes))
    folder = evolve("wide", weight_range=2.0**15, **changes)
    assert sum(line.get("lethal", 0) for line in narrow) > 0
    assert sum(line.get("lethal", 0) for line in log_of(folder)) == 0
    assert np.abs(newest_state(folder)["weights"]).max() * 2.0**-16 > 128


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_keeps_the_numbers_and_continues_from_its_state(kind: str) -> None:
    options = {"parents": 3, "children": 6, "seed": 4, **{name: value for name, value in ENGINE[kind].items()
                                                         if name not in ("batch",)}}  # fmt: skip
    search, fitness = galab.Search(nn.Linear(5, 3), **options), lambda network: float(network.weight.sum())
    for _ in range(4):
        search.tell([fitness(network) for network in search.ask()])
    other = galab.Search(nn.Linear(5, 3), **options)
    other.load_state_dict(search.state_dict())
    third = pickle.loads(pickle.dumps(search))
    for one, two, three in zip(search.ask(), other.ask(), third.ask(), strict=True):
        assert torch.equal(one.weight, two.weight)
        assert torch.equal(one.weight, three.weight)
        assert allowed(kind, one.weight.detach().numpy())


def test_a_run_from_another_takes_its_weights_where_they_fit(evolve: Any, tmp_path: Path) -> None:
    first = evolve("first", **ENGINE["integer"])
    start(RunConfig.from_dict(SavedState.open(first).config.to_dict() | {
        "origin": str(first), "genome": "real", "bounds": None, "weight_range": 64.0, "generations": 1,
    }), name="real", runs=tmp_path)  # fmt: skip
    real, whole = newest_state(tmp_path / "real"), newest_state(first)
    recipe = open_saved(tmp_path / "real").founders.given
    assert (recipe / 2.0**25 == whole["weights"]).all()
    assert real["hyperparameters"]["genome"] == "real"
    plain = evolve("plain", generations=1)
    with pytest.raises(UsageError, match="expected whole numbers, got .*; freeze this parameter"):
        start(RunConfig.from_dict(SavedState.open(plain).config.to_dict() | {
            "origin": str(plain), "genome": "integer", "sigma": 1.0, "sigma_floor": 0.25,
        }), name="whole", runs=tmp_path)  # fmt: skip


def test_a_checkpoint_whose_weights_are_not_allowed_is_refused(evolve: Any) -> None:
    from galab.storage import checkpoints, pickle_format

    folder = evolve(**ENGINE["binary"])
    path = checkpoints.list_checkpoints(folder / "checkpoints")[-1][1]
    state = pickle_format.load(path)
    state["weights"] = state["weights"].copy()
    state["weights"][0, 0] = 5
    pickle_format.dump(state, path)
    with pytest.raises(CheckpointError, match="expected -1 or 1 as 'weights' in .*, got 'another one'"):
        open_saved(path)


@pytest.mark.parametrize("name", ["step-size", "mutation-fitness", "gradient-cosine"])
@pytest.mark.parametrize("kind", ["binary", "reflect"])
def test_analyses_that_add_noise_refuse_weights_that_are_not_a_sum(name: str, kind: str, evolve: Any) -> None:
    folder = evolve(**ENGINE[kind])
    with pytest.raises(UsageError, match=r"expected a run of real weights without --bounds, .*`galab analyze replay`"):
        ANALYSES.load(name)(open_saved(folder), lambda *_: None)


@pytest.mark.parametrize("name", ["robustness", "landscape"])
def test_analyses_of_the_weights_around_refuse_those_that_have_none(name: str, evolve: Any) -> None:
    analysis = ANALYSES.load(name)
    binary, bounded = open_saved(evolve(**ENGINE["binary"])), open_saved(evolve("bounded", **ENGINE["reflect"]))
    with pytest.raises(UsageError, match=r"expected a run of real weights, to which noise can be added, .* -1 or 1"):
        analysis([binary] if name == "robustness" else binary, lambda *_: None)
    assert analysis([bounded] if name == "robustness" else bounded, lambda *_: None).sentence


def test_a_run_goes_on_from_a_binary_one_and_becomes_another(evolve: Any, tmp_path: Path) -> None:
    binary = evolve("binary", **ENGINE["binary"])
    for name, flags in (("same", {}), ("real", {"genome": "real"}), ("whole", {"genome": "integer"})):
        start(compose({"origin": str(binary), "generations": 2, **flags}), name=name, runs=tmp_path)
        state = newest_state(tmp_path / name)
        assert state["hyperparameters"]["genome"] == flags.get("genome", "binary")
    integer = evolve("integer", **ENGINE["integer"])
    config = compose({"genome": "real"}, config_file=integer / "config.json")
    assert (config.sigma, config.bounds, config.sigma_floor) == (0.02, None, None)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"genome": "integer", "sigma": 0.02}, "another --sigma with --genome integer, got 0.02; .* makes it 1.0"),
        ({"genome": "binary", "mutate": "dense"}, "another --mutate with --genome binary, got dense; .* makes it flip"),
    ],
)
def test_what_was_typed_is_not_replaced_without_a_word(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compose(values)
    with pytest.raises(UsageError, match="expected another"):
        galab.Search(nn.Linear(2, 1), **values)


def test_a_genome_does_not_become_another_network_by_another_range(evolve: Any, tmp_path: Path) -> None:
    for number, (kind, change) in enumerate((("wide", {"weight_range": 64.0}), ("binary", {"bounds": "0:1"}))):
        folder = evolve(kind, generations=3, **ENGINE[kind])
        for keyframe in (False, True):
            path = tmp_path / f"{number}-{keyframe}.json"
            export(open_saved(folder), "genome", path, keyframe=keyframe)
            content = json.loads(path.read_text())
            content["hyperparameters"] |= change
            path.write_text(json.dumps(content))
            with pytest.raises(GalabError, match=r"expected (an exported genome|the genome) in"):
                network_of_genome(path)


@pytest.mark.parametrize("weight_range", [16.0, 1024.0, 2.0**20])
def test_the_norm_is_kept_and_small_weights_are_seen_at_any_range(weight_range: float) -> None:
    search = galab.Search(
        nn.Linear(40, 30), mutate="norm-preserving", weight_range=weight_range, sigma=0.02, children=4, seed=1,
        step_size="fixed", parents=1,
    )  # fmt: skip
    parent = search.best().weight.norm()
    for child in search.ask():
        assert float(child.weight.norm()) == pytest.approx(float(parent), rel=2e-3)


def test_a_state_of_a_search_of_before_these_numbers_is_taken() -> None:
    search, other = (galab.Search(nn.Linear(2, 1), children=3, parents=2, seed=1) for _ in range(2))
    search.tell([1.0, 2.0, 3.0][: len(search.ask())])
    state = search.state_dict()
    for name in ("genome", "bounds", "at_bounds", "weight_range"):
        del state["fingerprint"][name]
    other.load_state_dict(state)
    assert other.generation == 1
    with pytest.raises(UsageError, match="genome='binary'"):
        galab.Search(nn.Linear(2, 1), children=3, parents=2, seed=1, genome="binary").load_state_dict(state)
