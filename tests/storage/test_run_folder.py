"""Run folders: taken by exactly one, written by exactly one, found again by path or name."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from galab.errors import RunFolderError, UsageError
from galab.storage import checkpoints, files, run_folder
from galab.storage.run_folder import RunFolder, free_name, list_runs, locate

CONFIG = {"task": "mnist", "sigma": 0.02, "seconds": None}
HOLDER = """
import sys, time
from pathlib import Path
from typing import Any
from galab.storage.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    time.sleep(60)
"""
RACER = """
import sys
from pathlib import Path
from typing import Any
from galab.errors import RunFolderError
from galab.storage.run_folder import RunFolder
print("ready", flush=True)
sys.stdin.readline()
try:
    RunFolder.create(Path(sys.argv[1]), "same", {"who": sys.argv[2]})
    print("won")
except RunFolderError as error:
    print("lost")
print(RunFolder.create_free(Path(sys.argv[1]), "auto", {}).name)
"""


def start(script: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", script, *map(str, arguments)]
    root = str(Path(run_folder.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "runs", "first", CONFIG)


def test_a_new_folder_holds_its_config_and_nothing_else_is_left(folder: RunFolder) -> None:
    assert folder.read_config() == CONFIG
    assert folder.name == "first"
    assert sorted(path.name for path in folder.path.iterdir()) == ["checkpoints", "config.json"]
    assert [path.name for path in folder.path.parent.iterdir()] == ["first"]
    assert folder.read_status() is None
    assert not folder.in_use()
    named = [folder.log_path, folder.lineage_path, folder.founders_path, folder.status_path]
    assert [path.name for path in named] == ["log.jsonl", "lineage.bin", "founders.pkl", "status.json"]
    assert folder.analysis.parent == folder.checkpoints.parent == folder.path


def test_a_taken_name_is_a_sentence_that_says_how_to_go_on(folder: RunFolder) -> None:
    with pytest.raises(RunFolderError, match=r"first' to be free.*galab resume .*first.* or choose another --name"):
        RunFolder.create(folder.path.parent, "first", {"other": 1})
    assert folder.read_config() == CONFIG
    (folder.path.parent / "file").write_text("mine")
    with pytest.raises(RunFolderError, match="to be free"):
        RunFolder.create(folder.path.parent, "file", CONFIG)
    (folder.path.parent / "empty").mkdir()
    assert RunFolder.create(folder.path.parent, "empty", CONFIG).read_config() == CONFIG


def test_of_eight_threads_exactly_one_wins(tmp_path: Path) -> None:
    barrier, winners, losers, free = threading.Barrier(8), [], [], []

    def race(number: int) -> None:
        barrier.wait()
        try:
            RunFolder.create(tmp_path / "runs", "same", {"who": number})
            winners.append(number)
        except RunFolderError:
            losers.append(number)
        barrier.wait()
        free.append(RunFolder.create_free(tmp_path / "runs", "auto", {"who": number}).name)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
    assert len(losers) == 7
    assert RunFolder(tmp_path / "runs" / "same").read_config() == {"who": winners[0]}
    assert sorted(free) == ["auto", *(f"auto-{number}" for number in range(2, 9))]
    assert not [path for path in (tmp_path / "runs").iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_of_four_processes_exactly_one_wins(tmp_path: Path) -> None:
    racers = [start(RACER, tmp_path, number) for number in range(4)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = [racer.communicate(timeout=60)[0].split() for racer in racers]
    assert sorted(answer[0] for answer in answers) == ["lost", "lost", "lost", "won"]
    assert sorted(answer[1] for answer in answers) == ["auto", "auto-2", "auto-3", "auto-4"]


def test_another_writer_is_a_sentence_and_kill_9_gives_the_lock_back(folder: RunFolder) -> None:
    (folder.path / ".status.json.0.galab-part").write_text("left by a kill")
    with start(HOLDER, folder.path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        assert folder.in_use()
        with pytest.raises(RunFolderError, match="first', got a run folder in use"), folder.lock():
            pass
        os.kill(holder.pid, signal.SIGKILL)
    assert not folder.in_use()
    with folder.lock():
        assert not (folder.path / ".status.json.0.galab-part").exists()
        assert folder.in_use()
        with pytest.raises(RunFolderError, match="in use"), folder.lock():
            pass
    with folder.lock():
        pass


def test_the_lock_is_given_back_after_an_error(folder: RunFolder) -> None:
    with pytest.raises(ZeroDivisionError), folder.lock():
        raise ZeroDivisionError
    with folder.lock():
        pass


def test_a_lock_in_a_read_only_folder_is_a_sentence(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    folder.lock_path.touch()
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(RunFolderError, match=r"\.lock'.*make its folder writable"), folder.lock():
        pass
    assert not folder.in_use()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir"])
def test_a_folder_that_cannot_be_made_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(RunFolderError, match=r"run'.*; (free|make)") as caught:
            RunFolder.create(tmp_path, "run", CONFIG)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_runs_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunFolderError, match="expected to write"):
        RunFolder.create(tmp_path / "runs", "a", CONFIG)
    assert list_runs(tmp_path / "runs") == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "a/b", "a\\b", "-a", " a", "a\n", "a\0", "a*", "x" * 201, "ü" * 101]
)
def test_impossible_names_are_refused(tmp_path: Path, name: str) -> None:
    for make in (RunFolder.create, RunFolder.create_free):
        with pytest.raises(UsageError, match="expected a run's name"):
            make(tmp_path, name, CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_fine(tmp_path: Path) -> None:
    for name in ("mnist-2", "größe 7", "a.b+c=d@e", "2026_01_01"):
        assert RunFolder.create(tmp_path, name, CONFIG).name == name
    assert [run.name for run in list_runs(tmp_path)] == sorted(["mnist-2", "größe 7", "a.b+c=d@e", "2026_01_01"])


def test_free_names_count_up(tmp_path: Path) -> None:
    assert free_name(tmp_path / "missing", "mnist") == "mnist"
    for expected in ("mnist", "mnist-2", "mnist-3"):
        assert free_name(tmp_path, "mnist") == expected
        RunFolder.create(tmp_path, expected, CONFIG)


def test_listing_skips_what_is_no_run(folder: RunFolder) -> None:
    runs = folder.path.parent
    RunFolder.create(runs, "another", CONFIG)
    (runs / "notes").mkdir()
    (runs / ".hidden").mkdir()
    (runs / ".hidden" / "config.json").write_text("{}")
    assert [run.name for run in list_runs(runs)] == ["another", "first"]
    assert list_runs(runs / "missing") == []


@pytest.mark.slow
def test_paths_mean_folders_checkpoints_or_lone_files(folder: RunFolder, tmp_path: Path) -> None:
    inside = checkpoints.save(folder.checkpoints, 3, {})
    lone = tmp_path / "gift.pkl"
    lone.write_bytes(inside.read_bytes())
    folder.founders_path.write_bytes(inside.read_bytes())
    assert locate(folder.path) == (folder, None)
    assert locate(inside) == (folder, inside)
    assert locate(folder.founders_path) == (folder, folder.founders_path)
    assert locate(lone) == (None, lone)
    assert RunFolder.open(inside) == RunFolder.open(folder.path) == folder
    with pytest.raises(RunFolderError, match="checkpoint outside any run"):
        RunFolder.open(lone)
    for path, got in [(tmp_path, "a folder without config.json"), (folder.config_path, "another file")]:
        with pytest.raises(RunFolderError, match=rf"got {got}.*galab list"):
            locate(path)
    with pytest.raises(RunFolderError, match="got nothing"):
        RunFolder.open(tmp_path / "missing")


def test_a_relative_path_to_a_checkpoint_finds_its_run(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.save(folder.checkpoints, 3, {})
    monkeypatch.chdir(folder.checkpoints)
    assert RunFolder.open(Path("gen_000003.pkl")) == folder


def test_status_says_how_the_run_is_doing(folder: RunFolder) -> None:
    folder.write_status("running", generation=7)
    folder.write_status("stopped", generation=9, message="asked to")
    status = folder.read_status()
    assert status is not None
    assert status.pop("updated").endswith("+00:00")
    assert status.pop("result") == {}
    assert status == {"state": "stopped", "generation": 9, "message": "asked to", "pid": os.getpid()}
    with pytest.raises(ValueError, match="expected a state"):
        folder.write_status("confused", generation=1)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_damaged_json_is_a_sentence(folder: RunFolder, content: bytes) -> None:
    folder.config_path.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"config.json"):
        folder.read_config()
    folder.config_path.unlink()
    with pytest.raises(RunFolderError, match=r"config.json"):
        folder.read_config()


def test_json_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    files.write_json_atomic(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": None}
    with pytest.raises(TypeError):
        files.write_json_atomic(path, {"a": object()})

    def fail(_: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunFolderError, match="free some space"):
        files.write_json_atomic(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": None}
    assert list(tmp_path.iterdir()) == [path]


def test_the_store_does_not_import_torch() -> None:
    script = "import sys, galab.storage.run_folder, galab.storage.checkpoints, galab.storage.log, "
    script += "galab.storage.lineage; print('torch' in sys.modules)"
    assert start(script).communicate(timeout=60)[0] == "False\n"


#: Makes a run folder, but what comes last, the rename, does something else.
MAKER = """
import os, signal, sys, time
from pathlib import Path
from typing import Any
from galab.storage.run_folder import RunFolder

def last(source, target):
    {last}

os.rename = last
RunFolder.create(Path({runs!r}), "made", {{}})
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot tell who holds a folder")
@pytest.mark.parametrize("by", ["create", "list"])
def test_what_a_killed_maker_left_goes_and_what_is_being_made_stays(tmp_path: Path, by: str, capsys: Any) -> None:
    from galab.cli.main import main

    killed = start(MAKER.format(last="os.kill(os.getpid(), signal.SIGKILL)", runs=str(tmp_path)))
    killed.communicate(timeout=60)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".made.")
    maker = start(MAKER.format(last="print('here', flush=True); sys.stdin.read()", runs=str(tmp_path)))
    assert maker.stdout is not None
    assert maker.stdout.readline() == "here\n"
    if by == "create":
        RunFolder.create(tmp_path, "other", {})
    else:
        with pytest.raises(SystemExit, match="0"):
            main(["list", "--runs", str(tmp_path)])
    assert not left.exists()
    (stays,) = tmp_path.glob(".made.*")
    assert (stays / "config.json").exists()
    maker.kill()
    maker.communicate(timeout=60)


def test_a_folder_taken_for_abandoned_before_it_was_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, hurried = os.open, []

    def late(path: Any, *rest: Any, **named: Any) -> int:
        if str(path).endswith(".galab-new") and not hurried:
            hurried.append(path)
            found = plain(path, *rest)
            os.rmdir(path)
            return found
        return plain(path, *rest, **named)

    monkeypatch.setattr(os, "open", late)
    assert RunFolder.create(tmp_path, "made", {}).config_path.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert hurried or os.name == "nt"
