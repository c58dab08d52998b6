"""Code that a checkpoint names runs only where somebody here has asked for it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import galab
from galab.errors import UsageError
from galab.saved_runs.export import export
from galab.saved_runs.saved_run import evaluate, open_saved
from galab.training import trust
from galab.training.compose import compose
from galab.training.start_or_resume import resume

NET = """
import pathlib
import torch
from torch import nn

pathlib.Path(__file__).with_suffix(".ran").touch()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 4, bias=False)
        self.last = nn.Linear(4, 10)
        self.again = self.last
        self.register_buffer("shift", torch.zeros(1))
        self.register_buffer("passing", torch.zeros(1), persistent=False)

    def forward(self, x):
        return self.again(torch.tanh(self.first(x.flatten(1)))) + self.shift
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A file with a network of one's own; it leaves a trace when it runs."""
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


@pytest.fixture
def stranger(evolve: Any, net: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A run made on another machine, with its code beside it."""
    folder: Path = evolve("run", model=f"{net}:Net")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "nobody"))
    net.with_suffix(".ran").unlink()
    return folder


def test_a_strangers_code_does_not_run(stranger: Path, net: Path) -> None:
    for command in (
        lambda: evaluate(stranger),
        lambda: galab.load(stranger),
        lambda: resume(stranger, {"generations": 9}),
        lambda: compose({"origin": str(stranger)}),
        lambda: compose({}, config_file=stranger / "config.json"),
    ):
        with pytest.raises(UsageError, match="expected code that you have run before for --model .*say --trust"):
            command()
    assert not net.with_suffix(".ran").exists()


def test_what_needs_no_code_needs_no_trust(stranger: Path, net: Path, tmp_path: Path) -> None:
    export(open_saved(stranger), "torch", tmp_path / "weights.pt")
    assert not net.with_suffix(".ran").exists()


def test_a_word_is_enough_and_is_remembered(stranger: Path) -> None:
    assert "test_accuracy" in evaluate(stranger, trust=True)
    assert "test_accuracy" in evaluate(stranger)


def test_changed_code_is_new_code(evolve: Any, net: Path) -> None:
    folder = evolve("run", model=f"{net}:Net")
    net.write_text(NET + "# changed\n")
    with pytest.raises(UsageError, match="got new or changed code"):
        resume(folder, {"generations": 9})


def test_a_network_that_has_changed_its_shape_is_refused(evolve: Any, net: Path) -> None:
    folder = evolve("run", model=f"{net}:Net")
    net.write_text(NET.replace("nn.Linear(64, 4, bias=False)", "nn.Linear(64, 4)"))
    for command in (lambda: resume(folder, {"generations": 9}, trust=True), lambda: evaluate(folder, trust=True)):
        with pytest.raises(UsageError, match=r"to hold a network like Net here.*'first\.bias' with shape \(4,\)"):
            command()


def test_a_folder_that_cannot_be_written_is_a_warning(
    evolve: Any, net: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    trust.remember(compose({"model": f"{net}:Net"}))
    assert "later commands need --trust" in caplog.text


def test_an_exported_state_dict_loads_strictly(evolve: Any, net: Path, tmp_path: Path) -> None:
    """Tied parameters have two names, transient buffers none."""
    folder = evolve("run", model=f"{net}:Net")
    export(open_saved(folder), "torch", tmp_path / "weights.pt")
    state = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert set(state) == {"first.weight", "last.weight", "last.bias", "again.weight", "again.bias", "shift"}
    galab.load(folder).load_state_dict(state, strict=True)


def test_given_weights_bring_their_buffers(evolve: Any, net: Path, tmp_path: Path) -> None:
    state = galab.load(evolve("run", model=f"{net}:Net")).state_dict()
    state["shift"] += 3
    torch.save(state, tmp_path / "weights.pt")
    folder = evolve("next", model=f"{net}:Net", init=str(tmp_path / "weights.pt"))
    assert galab.load(folder).state_dict()["shift"].item() == 3
    torch.save(state | {"shift": torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.raises(UsageError, match=r"the given buffer 'shift' to have shape \(1,\), got \(2,\)"):
        evolve("other", model=f"{net}:Net", init=str(tmp_path / "weights.pt"))


def test_an_exported_genome_is_a_network(evolve: Any, net: Path, tmp_path: Path) -> None:
    folder = evolve("run", model=f"{net}:Net")
    for keyframe in (False, True):
        path = tmp_path / f"genome-{keyframe}.json"
        export(open_saved(folder), "genome", path, keyframe=keyframe)
        here, there = galab.load(folder).state_dict(), galab.load(path).state_dict()
        assert all(torch.equal(here[name], there[name]) for name in here)


def test_a_network_needs_no_data(evolve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = evolve()
    monkeypatch.setattr("galab.training.build.load_task", lambda *_, **__: pytest.fail("the data was loaded"))
    assert galab.load(folder)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    shutil.rmtree(folder)


def test_a_file_that_is_not_here_is_called_absent_and_not_changed(
    stranger: Path, net: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    net.unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"expected the file of --model '.*net.py:Net' in .*, found none; go to"):
        evaluate(stranger)
