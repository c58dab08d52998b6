"""Individuals taken out of a run: evaluated, exported, loaded."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import log_of, newest_state

import galab
from galab.errors import CheckpointError, GalabError, UsageError
from galab.genome.births import BIRTH
from galab.saved_runs.export import export, read_genome
from galab.saved_runs.saved_run import evaluate, open_saved
from galab.storage import pickle_format


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small: dict[str, Any]) -> Path:
    """A finished run that the tests only read."""
    galab.run(name="run", runs=tmp_path_factory.mktemp("runs"), **small | {"generations": 6, "keep": "all"})
    return next(tmp_path_factory.getbasetemp().glob("runs*/run"))


def accuracy(state: dict[str, torch.Tensor], run: Path) -> float:
    """Of a state_dict in a module that was built for it, on the test data."""
    saved = open_saved(run)
    module, test = saved.module, saved.task.test
    module.load_state_dict(state)
    with torch.no_grad():
        return float((module(test.inputs).argmax(1) == test.targets).double().mean())


def test_evaluate_repeats_the_logged_figure_to_the_bit(run: Path) -> None:
    last = log_of(run)[-1]
    found = evaluate(run)
    assert last["champion"] == found["birth"]
    assert found["test_accuracy"] == last["test_accuracy"]
    assert found["test_loss"] == last["test_loss"]
    assert (found["member"], found["generation"], found["examples"]) == ("champion", 6, 270)
    assert found["evaluations"] == last["evaluations"]
    assert found["data"].startswith("digits, the embedded 1,797 images")


def test_evaluate_any_checkpoint_and_any_member(run: Path) -> None:
    old = run / "checkpoints" / "gen_000002.pkl"
    assert evaluate(old)["test_loss"] == log_of(run)[1]["test_loss"]
    births = newest_state(run)["strategy"]["births"]["id"].tolist()
    assert [evaluate(run, member=place)["birth"] for place in range(3)] == births
    assert set(evaluate(run, split="validation")) >= {"validation_accuracy", "validation_loss"}
    with pytest.raises(UsageError, match=r"expected --member between 0 \(the fittest parent\) and 2, got 3"):
        evaluate(run, member=3)
    with pytest.raises(UsageError, match="got -1"):
        evaluate(run, member=-1)


def test_a_lone_checkpoint_can_be_evaluated_and_exported(run: Path, tmp_path: Path) -> None:
    lone = tmp_path / "lone.pkl"
    shutil.copy(run / "checkpoints" / "gen_000006.pkl", lone)
    assert evaluate(lone)["test_accuracy"] == evaluate(run)["test_accuracy"]
    export(open_saved(lone), "torch", tmp_path / "out.pt")
    export(open_saved(lone), "genome", tmp_path / "out.json", keyframe=True)
    with pytest.raises(CheckpointError, match=r"a lone checkpoint holds weights only.*--keyframe"):
        export(open_saved(lone), "genome", tmp_path / "out.json")


def test_torch_and_safetensors_give_the_same_network(run: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    expected = evaluate(run)["test_accuracy"]
    size = export(open_saved(run), "torch", tmp_path / "deep" / "out.pt")
    assert size == (tmp_path / "deep" / "out.pt").stat().st_size
    state = torch.load(tmp_path / "deep" / "out.pt", weights_only=True)
    assert accuracy(state, run) == pytest.approx(expected, abs=1e-12)
    export(open_saved(run), "safetensors", tmp_path / "out.safetensors")
    again = load_file(tmp_path / "out.safetensors")
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert len(again) == len(state)


@pytest.mark.parametrize("keyframe", [False, True])
@pytest.mark.parametrize("member", [None, 0, 2])
def test_a_genome_decodes_to_the_same_bits(run: Path, tmp_path: Path, keyframe: bool, member: int | None) -> None:
    saved = open_saved(run)
    export(saved, "genome", tmp_path / "genome.json", member=member, keyframe=keyframe)
    layout, individual, content = read_genome(tmp_path / "genome.json")
    values = content["hyperparameters"]
    assert np.array_equal(individual.weights, saved.member(member).weights)
    assert layout == saved.layout
    assert values == saved.config.to_dict()


@pytest.mark.slow
def test_a_genome_decodes_in_another_process_without_the_run(run: Path, tmp_path: Path) -> None:
    export(open_saved(run), "genome", tmp_path / "genome.json")
    script = (
        "import hashlib, pathlib, sys\nfrom galab.saved_runs.export import read_genome\n"
        "weights = read_genome(pathlib.Path(sys.argv[1]))[1].weights\n"
        "sys.stdout.write(hashlib.sha256(weights.tobytes()).hexdigest())"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "genome.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == json.loads((tmp_path / "genome.json").read_text())["sha256"]


def test_a_genome_of_given_weights_carries_them(evolve: Any, tmp_path: Path, run: Path) -> None:
    export(open_saved(run), "torch", tmp_path / "out.pt")
    folder = evolve("new", init=str(tmp_path / "out.pt"))
    export(open_saved(folder), "genome", tmp_path / "genome.json")
    weights = read_genome(tmp_path / "genome.json")[1].weights
    assert np.array_equal(weights, open_saved(folder).member().weights)


def test_a_changed_genome_is_refused(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "genome.json"
    export(open_saved(run), "genome", path)
    good = json.loads(path.read_text())

    def refused(match: str, **changes: Any) -> None:
        path.write_text(json.dumps(good | changes))
        with pytest.raises(GalabError, match=match):
            read_genome(path)

    refused("the file was changed; export it again", run_key=6)
    refused("expected an exported genome", births=good["births"][1:])
    refused("expected an exported genome", birth=10**6)
    refused("expected an exported genome", tables={"normal": "0" * 64})
    refused("expected an exported genome", weights="no base64!")
    refused("expected an exported genome", layout=None)
    for text in ("", "[]", "null", "{}", '{"kind": "other"}'):
        path.write_text(text)
        with pytest.raises(GalabError, match="expected an exported genome"):
            read_genome(path)


def test_a_strangers_genome_calls_no_function_of_its_choice(run: Path, tmp_path: Path) -> None:
    """A mutation may be named module:attribute; here it would be shutil.rmtree(run_key, ...)."""
    path, victim = tmp_path / "genome.json", tmp_path / "victim"
    victim.mkdir()
    export(open_saved(run), "genome", path)
    good = json.loads(path.read_text())
    values = good["hyperparameters"] | {"mutate": "shutil:rmtree"}
    path.write_text(json.dumps(good | {"run_key": str(victim), "hyperparameters": values}))
    with pytest.raises(UsageError, match=r"expected code that you have run before for --mutate 'shutil:rmtree'"):
        read_genome(path)
    with pytest.raises(GalabError, match="expected a whole number of 0 or more as 'run_key'"):
        read_genome(path, trust=True)
    path.write_text(json.dumps(good | {"hyperparameters": values}))
    with pytest.raises(GalabError, match=r"mutation 'shutil:rmtree': expected a class with a method apply"):
        read_genome(path, trust=True)
    assert victim.is_dir()


def test_an_unknown_format_is_one_sentence(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected --to to be one of genome, torch, safetensors, peft, got 'onnx'"):
        export(open_saved(run), "onnx", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_without_the_extra_the_command_that_installs_it_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(GalabError, match=r"pip install 'galab\[export\]'"):
        export(open_saved(run), "safetensors", tmp_path / "out")


def test_load_gives_the_champion_ready_to_use(run: Path) -> None:
    module = galab.load(run)
    test = open_saved(run).task.test
    assert not module.training
    with torch.no_grad():
        share = float((module(test.inputs).argmax(1) == test.targets).double().mean())
    assert share == pytest.approx(evaluate(str(run))["test_accuracy"], abs=1e-12)
    assert not torch.equal(
        *(torch.nn.utils.parameters_to_vector(galab.load(str(run), member=place).parameters()) for place in (0, 1))
    )


def test_buffers_travel_with_the_run(evolve: Any, tmp_path: Path) -> None:
    """A module's own buffers are part of the network: stored, frozen, exported."""
    (tmp_path / "net.py").write_text(
        "import torch\nclass Net(torch.nn.Module):\n"
        "    def __init__(self, input_shape, outputs):\n        super().__init__()\n"
        "        self.line = torch.nn.Linear(64, outputs)\n"
        "        self.register_buffer('scale', torch.rand(64))\n"
        "    def forward(self, x):\n        return self.line(x.flatten(1) * self.scale)\n"
    )
    folder = evolve(model=f"{tmp_path}/net.py:Net", hidden=None)
    export(open_saved(folder), "torch", tmp_path / "out.pt")
    state = torch.load(tmp_path / "out.pt", weights_only=True)
    assert state["scale"].shape == (64,)
    assert accuracy(state, folder) == pytest.approx(evaluate(folder)["test_accuracy"], abs=1e-12)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "resealed"])
def test_a_damaged_lineage_becomes_no_genome(run: Path, tmp_path: Path, damage: str) -> None:
    folder, out = Path(shutil.copytree(run, tmp_path / "run")), tmp_path / "genome.json"
    lineage = folder / "lineage.bin"
    rows = np.frombuffer(lineage.read_bytes(), BIRTH).copy()
    if damage == "empty":
        lineage.write_bytes(b"")
    elif damage == "cut":
        lineage.write_bytes(rows[:-1].tobytes())
    else:
        rows["parents"][rows["generation"] == 1, 0] = (rows["parents"][rows["generation"] == 1, 0] + 1) % 3
        lineage.write_bytes(rows.tobytes())
    if damage == "resealed":
        newest = folder / "checkpoints" / "gen_000006.pkl"
        state = pickle_format.load(newest)
        state["lineage"]["sha256"] = hashlib.sha256(rows.tobytes()).hexdigest()
        pickle_format.dump(state, newest)
    with pytest.raises(CheckpointError, match="rows were lost|another run's or damaged|--keyframe"):
        export(open_saved(folder), "genome", out)
    assert not out.exists()
    assert export(open_saved(folder), "genome", out, keyframe=True)


def test_no_text_of_a_genome_unpacks_to_more_than_it_should(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "genome.json"
    bomb = base64.b64encode(zlib.compress(bytes(2**28), 9)).decode()
    for keyframe, places in ((False, ["given", "buffers"]), (True, ["weights", "log_sigma", "buffers"])):
        export(open_saved(run), "genome", path, keyframe=keyframe)
        good = json.loads(path.read_text())
        changes = {"buffers": {"x": ["float32", [2**26], bomb]}, "weights": bomb, "log_sigma": bomb}
        changes["given"] = good.get("founders", {}) | {"given": bomb}
        for place in places:
            path.write_text(json.dumps(good | {"founders" if place == "given" else place: changes[place]}))
            tracemalloc.start()
            with pytest.raises(GalabError, match=f"expected an exported genome in .*'[a-z.]*{place}"):
                read_genome(path)
            assert tracemalloc.get_traced_memory()[1] < 2**25
            tracemalloc.stop()


@pytest.mark.parametrize("keyframe", [False, True])
@pytest.mark.parametrize("width", [10**5, 10**9])
def test_a_genome_of_a_gigantic_network_is_refused_in_little_memory(
    run: Path, tmp_path: Path, width: int, keyframe: bool
) -> None:
    path = tmp_path / "genome.json"
    export(open_saved(run), "genome", path, keyframe=keyframe)
    value = json.loads(path.read_text())
    value["layout"]["shapes"] = [[width, 64], [width], [10, width], [10]]
    path.write_text(json.dumps(value))
    with pytest.raises(GalabError, match="choose the model and sizes|weights \\(trust=True allows more\\) as 'layout'"):
        read_genome(path)
    value["hyperparameters"]["hidden"] = str(width)
    if width > 10**6:
        path.write_text(json.dumps(value))
        with pytest.raises(GalabError, match="weights \\(trust=True allows more\\) as 'layout'"):
            read_genome(path)
